//! `ssh-config` on machines of each kind: old ssh and none, odd shells, files that others make.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::lab::Ended;
use crate::ssh_config::{BRIDGE, Home};
use crate::world::{INSTANCE, installed, make_key, program, succeed};

/// A home with an `ssh` that says that it is this version.
fn with_ssh(version: &str) -> Home {
    let home = Home::new();
    program(&home.path("bin/ssh"), &format!("#!/bin/sh\necho '{version}' >&2\n"));
    home
}

/// Runs ssh-config where PATH has nothing but that.
async fn ssh_config(home: &Home, env: &[(&str, &str)], args: &[&str]) -> Ended {
    let mut command = home.command(BRIDGE);
    command.arg("ssh-config").args(args).env("PATH", home.path("bin"));
    command.envs(env.iter().copied());
    crate::lab::Bridge::start(&mut command).end().await
}

fn own(home: &Home) -> String {
    fs::read_to_string(home.own()).unwrap()
}

#[tokio::test]
async fn an_old_ssh_gets_no_line_that_stops_it() {
    for (version, is_old) in [
        ("OpenSSH_8.4p1 Debian-5+deb11u3, OpenSSL 1.1.1w", true),
        ("OpenSSH_for_Windows_8.1p1, LibreSSL 3.0.2", true),
        ("OpenSSH_7.4p1, OpenSSL 1.0.2k-fips", true),
        ("OpenSSH_8.5p1, OpenSSL 3", false),
        ("OpenSSH_10.0p2, OpenSSL 3", false),
    ] {
        let home = with_ssh(version);
        make_key(&home.path(""), "id").await;
        let key = home.path("id.pub").display().to_string();
        let ended = ssh_config(&home, &[], &["--write", "--send-key", &key]).await;
        assert_eq!(ended.code, Some(0), "{version}: {}", ended.stderr);
        let text = own(&home);
        assert_eq!(text.contains("StrictHostKeyChecking yes"), !is_old, "{text}");
        assert_eq!(text.contains("IgnoreUnknown KnownHostsCommand\n"), is_old, "{text}");
        let name = version.split([' ', ',']).next().unwrap();
        let is_told = ended.stderr.contains(name) && ended.stderr.contains("known-hosts");
        assert_eq!(is_told, is_old, "{version}: {}", ended.stderr);
        // Nothing is missing where no key is sent.
        let ended = ssh_config(&home, &[], &["--write"]).await;
        assert!(!ended.stderr.contains(name), "{}", ended.stderr);
        assert!(!own(&home).contains("KnownHosts"), "{}", own(&home));
    }
}

#[tokio::test]
async fn microsofts_ssh_gets_no_control_master() {
    let home = with_ssh("OpenSSH_for_Windows_9.5p1, LibreSSL 3.8.2");
    for args in [&["--write", "--control-master"][..], &["--control-master"]] {
        let ended = ssh_config(&home, &[], args).await;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        let told = "OpenSSH_for_Windows_9.5p1 has no ControlMaster";
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        assert!(ended.stderr.contains("leave out --control-master"), "{}", ended.stderr);
        assert!(!home.own().exists() && !home.config().exists());
    }
    assert_eq!(ssh_config(&home, &[], &["--write"]).await.code, Some(0));
}

#[tokio::test]
async fn a_byte_order_mark_stays_the_first_of_the_file() {
    // Microsoft's ssh skips it there, and takes it for a part of the word elsewhere.
    let home = with_ssh("OpenSSH_for_Windows_9.5p1, LibreSSL 3.8.2");
    fs::create_dir(home.path(".ssh")).unwrap();
    let text = "\u{feff}Host x\r\n    User me\r\n";
    fs::write(home.config(), text).unwrap();
    for _ in 0..2 {
        assert_eq!(ssh_config(&home, &[], &["--write"]).await.code, Some(0));
        let new = fs::read_to_string(home.config()).unwrap();
        let rest = new.strip_prefix('\u{feff}').unwrap();
        assert!(rest.starts_with("# >>> ecs-bridge") && !rest.contains('\u{feff}'), "{new}");
        assert!(new.ends_with("<<<\r\nHost x\r\n    User me\r\n"), "{new}");
        assert_eq!(new.matches('\n').count(), new.matches("\r\n").count(), "{new}");
    }
    assert_eq!(ssh_config(&home, &[], &["--uninstall"]).await.code, Some(0));
    assert_eq!(fs::read_to_string(home.config()).unwrap(), text);
}

#[tokio::test]
async fn a_configuration_in_utf_16_is_left_as_it_is() {
    // As PowerShell 5.1 makes it with >.
    let text: Vec<u8> = "\u{feff}Host x\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let home = with_ssh("OpenSSH_for_Windows_9.5p1, LibreSSL 3.8.2");
    fs::create_dir(home.path(".ssh")).unwrap();
    for (utf16, other) in [(home.config(), home.own()), (home.own(), home.config())] {
        fs::write(&utf16, &text).unwrap();
        let ended = ssh_config(&home, &[], &["--write"]).await;
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        let told = format!("{} was left as it is: it is UTF-16", utf16.display());
        assert!(ended.stderr.contains(&told), "{}", ended.stderr);
        assert!(ended.stderr.contains("save it as UTF-8"), "{}", ended.stderr);
        assert_eq!(fs::read(&utf16).unwrap(), text);
        assert!(!other.exists());
        fs::remove_file(&utf16).unwrap();
    }
}

#[tokio::test]
async fn the_guard_keeps_an_ssh_going_that_does_not_know_the_line() {
    if installed("ssh").is_none() {
        return;
    }
    let home = with_ssh("OpenSSH_8.4p1");
    assert_eq!(ssh_config(&home, &[], &["--write", "--send-key"]).await.code, Some(0));
    // No ssh knows this one.
    fs::write(home.own(), own(&home).replace("KnownHostsCommand", "NoSuchCommand")).unwrap();
    for host in [INSTANCE, "www.example.com"] {
        home.options(host).await;
    }
    fs::write(home.own(), own(&home).replace("IgnoreUnknown", "#")).unwrap();
    let mut ssh = home.command("ssh");
    ssh.arg("-F").arg(home.config()).args(["-G", "www.example.com"]);
    assert!(!ssh.output().await.unwrap().status.success(), "the guard is what does it");
}

#[tokio::test]
async fn a_guard_of_the_users_own_stays_in_force() {
    let home = with_ssh("OpenSSH_8.4p1");
    fs::create_dir(home.path(".ssh")).unwrap();
    fs::write(home.config(), "ignoreunknown UseKeychain\nUseKeychain yes\n").unwrap();
    let ended = ssh_config(&home, &[], &["--write", "--send-key"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!own(&home).contains("KnownHostsCommand"), "{}", own(&home));
    assert!(ended.stderr.contains("is left out"), "{}", ended.stderr);
    if installed("ssh").is_some() {
        home.options("www.example.com").await;
    }
}

#[tokio::test]
async fn where_there_is_no_openssh_that_is_told() {
    let home = Home::new();
    let ended = ssh_config(&home, &[], &["--write"]).await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("there is no ssh in PATH"), "{}", ended.stderr);

    let home = with_ssh("Dropbear v2022.83");
    let ended = ssh_config(&home, &[], &["--write"]).await;
    assert!(ended.stderr.contains("not OpenSSH: Dropbear"), "{}", ended.stderr);

    let home = with_ssh("OpenSSH_6.6.1p1, OpenSSL 1.0.1e-fips");
    let ended = ssh_config(&home, &[], &["--write"]).await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("does not know Include"), "{}", ended.stderr);
    assert!(!home.own().exists() && !home.config().exists());

    // One that never ends is not waited for; its version is not known, and nothing may stop it.
    let home = with_ssh("");
    program(&home.path("bin/ssh"), "#!/bin/sh\nread line </dev/null\nexec /bin/sleep 60\n");
    let ended = ssh_config(&home, &[], &["--write", "--send-key"]).await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("`ssh -V` did not end"), "{}", ended.stderr);
    assert!(!own(&home).contains("StrictHostKeyChecking"), "{}", own(&home));
}

#[tokio::test]
async fn a_key_that_is_named_is_the_one_that_ssh_offers() {
    let home = with_ssh("OpenSSH_9.2p1");
    make_key(&home.path(""), "my 50% key").await;
    let ended = ssh_config(&home, &[], &["--write", "--send-key", "my 50% key.pub"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    if installed("ssh").is_some() {
        let options = home.options(INSTANCE).await;
        let key = format!("identityfile {}", home.path("my 50%% key").display());
        assert!(options.contains(&key), "{options:#?}");
        assert!(options.contains(&"identitiesonly yes".to_owned()), "{options:#?}");
        let options = home.options("www.example.com").await;
        assert!(!options.contains(&key), "{options:#?}");
    }

    fs::write(home.path("no.pub"), "hello\n").unwrap();
    for (key, what) in [("my 50% key", "is a private key"), ("no.pub", "is no public key")] {
        let before = own(&home);
        let ended = ssh_config(&home, &[], &["--write", "--send-key", key]).await;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(what), "{}", ended.stderr);
        assert_eq!(own(&home), before);
    }
    // The private half may be in an agent.
    fs::remove_file(home.path("my 50% key")).unwrap();
    let ended = ssh_config(&home, &[], &["--write", "--send-key", "my 50% key.pub"]).await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("there is no private key"), "{}", ended.stderr);
}

#[tokio::test]
async fn the_key_of_the_variable_is_one_to_log_in_with() {
    let home = with_ssh("OpenSSH_9.2p1");
    make_key(&home.path(""), "work").await;
    let with = async |key: &str| {
        let env = [("ECS_BRIDGE_PUBLIC_KEY", key)];
        ssh_config(&home, &env, &["--write", "--send-key"]).await
    };
    // A proxy cannot read it from stdin: then it is as if the variable were not set.
    for (key, what) in
        [("", "there is no key in"), ("-", "there is no key in"), ("no.pub", "no.pub")]
    {
        let ended = with(key).await;
        assert!(ended.stderr.contains("no login will work yet"), "{key:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(what), "{key:?}: {}", ended.stderr);
    }
    let ended = with("work.pub").await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn options_are_passed_on_and_one_that_is_dropped_is_named() {
    let home = with_ssh("OpenSSH_9.2p1");
    make_key(&home.path(""), "id").await;
    let all = ["--write", "--send-key", "id.pub", "--start", "--regions", "cn-beijing,cn-shanghai"];
    let args = [&all[..], &["--connection-type", "intranet", "--host", "web-1.ecs"]].concat();
    let ended = ssh_config(&home, &[], &args).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let text = own(&home);
    let regions = "--regions cn-beijing,cn-shanghai";
    let proxy = format!("--start --connection-type intranet {regions} '%h' %p\n");
    assert_eq!(text.matches(&proxy).count(), 2, "{text}");
    assert!(text.contains(&format!("known-hosts {regions} %H\n")), "{text}");
    // Nothing is dropped, so nothing is said.
    assert_eq!(ssh_config(&home, &[], &args).await.stderr, "");

    let ended = ssh_config(&home, &[], &["--write", "--start"]).await;
    assert_eq!(ended.code, Some(0));
    for option in ["--send-key", "--connection-type intranet", regions, "--host web-1.ecs"] {
        assert!(ended.stderr.contains(option), "{option}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("--start"), "{}", ended.stderr);

    let ended = ssh_config(&home, &[], &["--write", "--regions", "Beijing"]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
}

#[tokio::test]
async fn lines_of_the_users_own_for_the_same_hosts_are_named() {
    let home = with_ssh("OpenSSH_9.2p1");
    fs::create_dir(home.path(".ssh")).unwrap();
    let mine = "Match host i-*,mi-*,*.ecs\n    ProxyCommand x %h %p\n    StrictHostKeyChecking yes\n\
                Host *\n    ProxyJump other\n";
    fs::write(home.config(), mine).unwrap();
    let ended = ssh_config(&home, &[], &["--write"]).await;
    assert_eq!(ended.code, Some(0));
    // Four lines of the part stand before them.
    assert!(ended.stderr.contains("line 6: ProxyCommand has no effect"), "{}", ended.stderr);
    assert!(ended.stderr.contains("line 7: StrictHostKeyChecking yes holds"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("ProxyJump"), "{}", ended.stderr);
}

#[tokio::test]
async fn credentials_of_the_environment_are_told_and_so_is_the_next_step() {
    let home = with_ssh("OpenSSH_9.2p1");
    let keys = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI5texample0001"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "testsecret"),
    ];
    let ended = ssh_config(&home, &keys, &["--write"]).await;
    assert!(ended.stderr.contains("VS Code, cron and other shells"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("testsecret"));
    assert!(String::from_utf8_lossy(&ended.stdout).contains("\nnext: ssh root@"));
    let ended = ssh_config(&home, &[], &["--write"]).await;
    assert_eq!(ended.stderr, "");
    assert!(String::from_utf8_lossy(&ended.stdout).contains("\nnext: ecs-bridge configure"));
}

#[tokio::test]
async fn a_configuration_that_another_program_makes_is_told_what_to_include() {
    let home = with_ssh("OpenSSH_9.2p1");
    fs::create_dir_all(home.path(".ssh")).unwrap();
    let store = home.path("store/hm_ssh_config");
    program(&store, "Host x\n");
    fs::set_permissions(&store, fs::Permissions::from_mode(0o444)).unwrap();
    symlink(&store, home.config()).unwrap();
    let ended = ssh_config(&home, &[], &["--write"]).await;
    let include = format!("Include {}", home.own().display());
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains(&include), "{}", ended.stderr);
    assert!(!ended.stderr.contains("chmod"), "{}", ended.stderr);
    assert!(own(&home).contains("ProxyCommand"));
    assert_eq!(fs::read_to_string(&store).unwrap(), "Host x\n");
    assert!(fs::symlink_metadata(home.config()).unwrap().is_symlink());

    // Once it is there, all is as it should be.
    fs::remove_file(&store).unwrap();
    program(&store, &format!("{include}\nHost x\n"));
    fs::set_permissions(&store, fs::Permissions::from_mode(0o444)).unwrap();
    let ended = ssh_config(&home, &[], &["--write"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn a_shell_that_cannot_run_the_command_is_named() {
    let home = with_ssh("OpenSSH_9.2p1");
    let shell = home.path("xonsh").display().to_string();
    for (shell, what) in
        [("/nonexistent/sh", "No such file"), ("/bin/false", "did not start ecs-bridge")]
    {
        let ended = ssh_config(&home, &[("SHELL", shell)], &["--write"]).await;
        assert_eq!(ended.code, Some(0));
        let is_named = ended.stderr.contains(&format!("SHELL={shell} cannot run"));
        assert!(is_named && ended.stderr.contains(what), "{}", ended.stderr);
    }
    // One with quoting of its own, where the path has a blank.
    program(&home.path("xonsh"), "#!/bin/sh\nexec /bin/sh \"$@\"\n");
    let ended = ssh_config(&home, &[("SHELL", &shell)], &["--write"]).await;
    assert_eq!(ended.stderr, "");
    let odd = crate::ssh_config::bridge_in(&home.path("we ird"));
    let mut command = home.command(&odd);
    command.args(["ssh-config", "--write"]).env("PATH", home.path("bin")).env("SHELL", &shell);
    let ended = crate::lab::Bridge::start(&mut command).end().await;
    assert!(ended.stderr.contains("reads the path"), "{}", ended.stderr);
    for good in ["bash", "fish"].iter().filter_map(|name| installed(name)) {
        let mut command = home.command(&odd);
        command.args(["ssh-config", "--write"]).env("PATH", home.path("bin")).env("SHELL", &good);
        let ended = crate::lab::Bridge::start(&mut command).end().await;
        assert_eq!(ended.stderr, "", "{}", good.display());
    }
    succeed(home.command(&odd).args(["ssh-config", "--uninstall"])).await;
}
