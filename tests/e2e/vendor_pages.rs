//! The command lines of ali-instance-cli that are published, each as it stands but for the names of
//! instances, keys and ports: the vendor's page on connecting with it, in the forms of Linux and macOS and of
//! Windows, and `portforward` as people write it. The other pages of the vendor could not be read as a whole.

use std::env;
use std::os::unix::fs::symlink;

use local_cloud::{AccessKey, Agent, Instance, LocalCloud, Pace};
use tokio::process::Command;

use crate::configure::{ID, SECRET};
use crate::dialogue::Dialogue;
use crate::forward_driver::Server;
use crate::lab::{Bridge, Lab};
use crate::vendor::Stdout;
use crate::world::{self, INSTANCE};

/// How the program is called on Linux and macOS, and on Windows in its folder.
const PROGRAMS: [&str; 2] = ["./ali-instance-cli", "ali-instance-cli.exe"];

/// A lab with an echo server at port 7, and a key and temporary keys of a user.
async fn lab() -> (Lab, Server) {
    let server = Server::echo().await;
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    let keys = [
        AccessKey::new("testid", "testsecret"),
        AccessKey::new(ID, SECRET),
        AccessKey::new("STS.user", "hush-of-sts").token("hush-token"),
    ];
    let builder = keys.into_iter().fold(LocalCloud::builder(), local_cloud::Builder::access_key);
    let lab = Lab::with(builder, instance.target(7, server.addr)).await;
    for name in ["ali-instance-cli", "ali-instance-cli.exe"] {
        symlink(env!("CARGO_BIN_EXE_ecs-bridge"), lab.dir.path().join(name)).unwrap();
    }
    (lab, server)
}

/// A line of the page in its folder, where the current folder is searched as on Windows.
fn shell(lab: &Lab, line: &str) -> Command {
    let mut command = world::command("sh", &lab.cloud, lab.dir.path());
    for name in ["ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "REGION_ID"] {
        command.env_remove(format!("ALIBABA_CLOUD_{name}"));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [lab.dir.path().to_owned()].into_iter().chain(env::split_paths(&path));
    command.env("PATH", env::join_paths(folders).unwrap());
    command.args(["-c", &line.replace("i-bp1******", INSTANCE)]);
    command
}

/// A session as the page has it, with the keys that are configured.
async fn session(lab: &Lab, line: &str) {
    let mut bridge = Bridge::start(&mut shell(lab, line));
    bridge.send(b"echo sum-$((40+2))\n").await;
    drop(bridge.stdin.take());
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(0), "{line}: {}", ended.stderr);
    assert!(String::from_utf8_lossy(&ended.stdout).contains("sum-42"), "{line}: {ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_on_connecting_is_followed_line_by_line() {
    for program in PROGRAMS {
        let (lab, _server) = lab().await;
        let connect = format!("{program} session --instance i-bp1******");

        let mut it = Dialogue::start(shell(&lab, &format!("{program} configure --mode AK")));
        it.answer("Access Key Id []: ", ID).await;
        it.answer("Access Key Secret []: ", SECRET).await;
        it.answer("Default Region Id []: ", "cn-hangzhou").await;
        it.answer("Default Language [zh|en] en: ", "").await;
        it.expect("Done.").await;
        assert_eq!(it.end().await.0, Some(0));
        session(&lab, &connect).await;

        let set = format!(
            "{program} configure set --mode StsToken --region \"cn-hangzhou\" --access-key-id \
             \"STS.user\" --access-key-secret \"hush-of-sts\" --sts-token \"hush-token\""
        );
        let ended = Bridge::start(&mut shell(&lab, &set)).end().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        session(&lab, &connect).await;

        let line = format!("{program} configure --mode=CredentialsURI");
        let mut it = Dialogue::start(shell(&lab, &line));
        it.answer("Credentials URI []: ", &lab.cloud.credentials_uri()).await;
        it.answer("Default Region Id [cn-hangzhou]: ", "").await;
        it.answer("Default Language [zh|en] en: ", "").await;
        it.expect("Done.").await;
        assert_eq!(it.end().await.0, Some(0));
        session(&lab, &connect).await;
        session(&lab, &format!("{connect} --idle-timeout 600")).await;
        lab.all_ended().await;
        // The keys that signed the sessions were those of the three profiles.
        let calls = lab.cloud.calls();
        let started = calls.iter().filter(|call| call.action == "StartTerminalSession");
        assert_eq!(started.filter(|call| call.code.is_none()).count(), 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn portforward_runs_as_people_write_it() {
    let (lab, _server) = lab().await;
    let keys = format!("--access-key-id {ID} --access-key-secret {SECRET}");
    let environment =
        format!("ALIBABA_CLOUD_ACCESS_KEY_ID={ID} ALIBABA_CLOUD_ACCESS_KEY_SECRET={SECRET}");
    for line in [
        format!(
            "exec ali-instance-cli portforward --instance i-bp1****** --local-port 0 --remote-port 7 \
             --region cn-hangzhou {keys}"
        ),
        format!(
            "export {environment}; exec ali-instance-cli portforward --instance i-bp1****** \
             --local-port 0 --remote-port 7 --region cn-hangzhou"
        ),
        format!(
            "export {environment} REGION=cn-hangzhou; exec ./ali-instance-cli.exe portforward \\\n    \
             -i \"i-bp1******\" \\\n    -r 7 \\\n    -l 0"
        ),
    ] {
        let mut bridge = Bridge::start(&mut shell(&lab, &line));
        let mut stdout = Stdout::of(&mut bridge);
        let first = stdout.next().await;
        assert!(first.starts_with("Port forwarding for SessionId: s-"), "{line}: {first}");
        assert_eq!(stdout.next().await, "Waiting for connections...", "{line}");
        bridge.signal("TERM").await;
        assert_eq!(bridge.end().await.code, Some(143), "{line}");
    }
    lab.all_ended().await;
    // The vendor's own usage text has these words, which its parser does not know either.
    let line = "ali-instance-cli portforward --instance i-bp1****** --localport 1 --remoteport 2";
    let ended = Bridge::start(&mut shell(&lab, line)).end().await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("did you mean --local-port?"), "{}", ended.stderr);
}
