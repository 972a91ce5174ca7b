//! The script that instances run for `known-hosts`, as `dash` runs it, in surroundings of its own.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use local_cloud::CommandKind;
use tempfile::TempDir;
use tokio::process::Command;

use crate::lab::Bridge;
use crate::send_key::lab;
use crate::send_key_memory::tell_host_key;
use crate::world::{INSTANCE, installed, make_key, program, succeed};

/// A folder in place of `/etc/ssh`, and one of programs.
struct Host {
    dir: TempDir,
    dash: PathBuf,
    script: String,
}

impl Host {
    async fn new() -> Option<Self> {
        let dash = installed("dash")?;
        let lab = lab(|instance| instance).await;
        tell_host_key(&lab, INSTANCE);
        let ended = Bridge::start(&mut lab.bridge(["known-hosts", INSTANCE])).end().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let asked = lab.cloud.invocations();
        let script = asked.iter().find(|asked| asked.kind == CommandKind::Script).unwrap();
        let dir = TempDir::new().unwrap();
        for folder in ["etc", "etc/sshd_config.d", "bin"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let etc = dir.path().join("etc");
        let text = script.content.clone().unwrap();
        let system = "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin\n";
        assert!(text.contains("/etc/ssh/") && text.contains(system));
        // Where this machine's own keys are, and its sshd, is none of the test's business.
        let script = text.replace("/etc/ssh/", &format!("{}/", etc.display()));
        let host = Self { dir, dash, script: script.replace(system, "") };
        for program in ["sed", "cat", "ls", "ssh-keygen"] {
            symlink(installed(program)?, host.path(&format!("bin/{program}"))).unwrap();
        }
        Some(host)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let text = text.replace("ETC", self.path("etc").to_str().unwrap());
        std::fs::write(self.path(name), text).unwrap();
    }

    /// An `sshd`, which is given its arguments.
    fn sshd(&self, text: &str) {
        let text = text.replace("ETC", self.path("etc").to_str().unwrap());
        program(&self.path("bin/sshd"), &format!("#!{}\n{text}\n", self.dash.display()));
    }

    /// A key in `/etc/ssh`, as the script is to tell it.
    async fn key(&self, name: &str) -> String {
        make_key(&self.path("etc"), name).await;
        self.line(&format!("{name}.pub"))
    }

    fn line(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.path("etc").join(name)).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// The keys that it tells of.
    async fn told(&self) -> Vec<String> {
        let script = self.path("script");
        std::fs::write(&script, &self.script).unwrap();
        let mut command = Command::new(&self.dash);
        command.arg(&script).env_clear().env("PATH", self.path("bin"));
        let said = String::from_utf8(succeed(&mut command).await).unwrap();
        let two = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        said.lines().map(two).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_keys_of_sshd_are_told_whatever_their_names() {
    let Some(host) = Host::new().await else { return };
    let (one, two) = (host.key("one").await, host.key("with two blanks").await);
    // Not all that is there is in use.
    host.key("ssh_host_unused_key").await;
    host.write("etc/sshd_config", "HostKey ETC/ssh_host_unused_key\n");
    let keys = "printf 'port 22\\nhostkey ETC/one\\nhostkey ETC/with two blanks\\n'";
    let both = [one, two];
    host.sshd(&format!("[ \"$1\" = -T ] && {keys}"));
    assert_eq!(host.told().await, both);
    // An older one, that takes no -C without all its parts.
    host.sshd(&format!("[ \"$*\" = -T ] && {keys}"));
    assert_eq!(host.told().await, both);
    // A public file may be stale, and is all there is for a key in an agent or of a token.
    std::fs::copy(host.path("etc/one.pub"), host.path("etc/with two blanks.pub")).unwrap();
    assert_eq!(host.told().await, both);
    std::fs::remove_file(host.path("etc/one")).unwrap();
    assert_eq!(host.told().await, both);
    host.sshd(
        "printf 'hostkey ETC/one.pub\\nhostkey ETC/with two blanks\\nhostkey ETC/missing\\n'",
    );
    assert_eq!(host.told().await, both);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_sshd_does_not_tell_its_files_do() {
    let Some(host) = Host::new().await else { return };
    let usual = host.key("ssh_host_ed25519_key").await;
    let one = host.key("one").await;
    let two = host.key("with two blanks").await;
    let three = host.key("three").await;
    // Neither is there, or it has nothing to say.
    assert_eq!(host.told().await, std::slice::from_ref(&usual));
    host.sshd("echo 'Missing privilege separation directory: /run/sshd' >&2; exit 255");
    assert_eq!(host.told().await, std::slice::from_ref(&usual));
    host.write("etc/sshd_config", "Port 22\n#HostKey ETC/ssh_host_rsa_key\n");
    assert_eq!(host.told().await, std::slice::from_ref(&usual));
    host.write("etc/sshd_config", "Port 22\n\thostkey=ETC/three # the third\n");
    assert_eq!(host.told().await, std::slice::from_ref(&three));
    host.write("etc/sshd_config.d/10.conf", "HostKey ETC/one\n");
    host.write("etc/sshd_config.d/20.conf", "  HOSTKEY = \"ETC/with two blanks\"\n");
    assert_eq!(host.told().await, [one.clone(), two.clone(), three.clone()]);
    std::fs::remove_file(host.path("bin/sshd")).unwrap();
    assert_eq!(host.told().await, [one, two, three]);
}

/// Nothing to tell is no failure of the script's, but of whoever reads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_keys_tells_none() {
    let Some(host) = Host::new().await else { return };
    assert!(host.told().await.is_empty());
}
