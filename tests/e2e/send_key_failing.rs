//! `send-key` and `known-hosts` when they cannot do their work: before anything is sent, and after.

use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use local_cloud::{
    ApiFault, CommandFault, CommandKind, Ending, Instance, InstanceStatus, KeyPlugin, Os,
};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::lab::{Bridge, Ended, Lab, Report};
use crate::send_key::{lab, public_key, send};
use crate::world::{INSTANCE, succeed};

/// The command that the vendor's page tells people to run by hand.
const BY_HAND: &str = "acs-plugin-manager -e -P config_ecs_instance_connect --params --install";

fn refused(ended: &Ended, code: i32) -> Report {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    ended.said(b"");
    let report = ended.report().unwrap();
    assert!(!report.fix.is_empty(), "{}", ended.stderr);
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_key_never_leaves_the_machine() {
    let lab = lab(|instance| instance).await;
    let private = std::fs::read_to_string(lab.dir.path().join(".ssh/id_ed25519")).unwrap();
    let body: Vec<&str> = private.lines().filter(|line| !line.starts_with("-----")).collect();
    let log = lab.dir.path().join("log");
    let options = ["-vvv", "--log-file", log.to_str().unwrap()];
    let give = |args: &[&str]| Bridge::start(&mut lab.bridge([&options[..], args].concat())).end();
    for (args, fix) in [
        (&["send-key", "-i", INSTANCE, "--public-key", "~/.ssh/id_ed25519"][..], "id_ed25519.pub"),
        (&["send-key", "-i", INSTANCE, "--public-key", &private], "public half"),
        (&["send-key", "-i", INSTANCE, "--public-key", body[0]], "public half"),
        (
            &["proxy", "--send-key", "~/.ssh/id_ed25519", "--user", "root", INSTANCE],
            "id_ed25519.pub",
        ),
    ] {
        let ended = give(args).await;
        let report = refused(&ended, 2);
        assert!(report.what.contains("private key"), "{report:?}");
        assert!(report.fix.contains(fix), "{report:?}");
        let logged = std::fs::read_to_string(&log).unwrap_or_default();
        for line in &body {
            assert!(!ended.stderr.contains(line) && !logged.contains(line));
        }
    }
    assert!(lab.cloud.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_key_or_no_user_is_refused_before_any_call() {
    let lab = lab(|instance| instance).await;
    let folder = lab.dir.path();
    for args in [
        &["-N", "", "-t", "rsa", "-b", "1024", "-f", "short"][..],
        &["-N", "", "-t", "ecdsa", "-f", "good"],
        &["-s", "good", "-I", "id", "-n", "root", ".ssh/id_ed25519.pub"],
    ] {
        let mut keygen = Command::new("ssh-keygen");
        succeed(keygen.arg("-q").args(args).current_dir(folder)).await;
    }
    std::fs::write(folder.join("empty.pub"), "").unwrap();
    std::fs::write(folder.join("page.html"), "<html>Log in</html>").unwrap();
    let good = std::fs::read_to_string(folder.join("good.pub")).unwrap();
    std::fs::write(folder.join("several.pub"), format!("{good}{good}")).unwrap();
    let dsa = "ssh-dss AAAAB3NzaC1kc3MAAAABBQAAAAEFAAAAAQUAAAABBQ==";
    for (key, what) in [
        ("missing.pub", "cannot read the key file"),
        ("empty.pub", "there is no public key"),
        ("page.html", "no public key"),
        ("several.pub", "2 keys"),
        ("short.pub", "1024 bits"),
        (".ssh/id_ed25519-cert.pub", "a certificate"),
        (dsa, "ssh-dss cannot be registered"),
        ("", "there is no public key"),
    ] {
        let report = refused(&send(&lab, &["--public-key", key]).await, 2);
        assert!(report.what.contains(what), "{key}: {report:?}");
    }
    for user in
        ["two words", "a;b", "$(id)", "`id`", "a|b", "-x", "", "a\nb", "ä", "a/b", &"u".repeat(33)]
    {
        let user = format!("--user-name={user}");
        let report = refused(&send(&lab, &[&user]).await, 2);
        assert!(report.what.contains("not the name of a user"), "{report:?}");
        let proxy = Bridge::start(&mut lab.bridge(["proxy", "--send-key", &user, INSTANCE]));
        let report = refused(&proxy.end().await, 2);
        assert!(report.what.contains("not the name of a user"), "{report:?}");
    }
    for (args, what) in [
        (&["send-key", "-i", "tag:"][..], "names no tag"),
        (&["known-hosts", ".ecs"], "the target is empty"),
        (&["known-hosts", "web-*"], "\"web-*\" cannot be the name of a host in known_hosts"),
        (&["known-hosts", "[i-a]:99999"], "is not a number from 1 to 65535"),
        (&["proxy", "--send-key", INSTANCE, "22"], "takes \"i-bp1example0001\" for the file"),
        (&["proxy", "--send-key=-", INSTANCE], "takes \"-\" for the file"),
    ] {
        let report = refused(&Bridge::start(&mut lab.bridge(args)).end().await, 2);
        assert!(report.what.contains(what), "{report:?}");
    }
    // Another key is not registered in the place of one whose name is not text.
    let mut command = lab.bridge(["proxy", "--send-key", "--user", "root", INSTANCE]);
    command.env("ECS_BRIDGE_PUBLIC_KEY", std::ffi::OsStr::from_bytes(b"key\xff.pub"));
    let report = refused(&Bridge::start(&mut command).end().await, 2);
    assert!(report.what.contains("cannot read the key file"), "{report:?}");
    assert!(lab.cloud.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_that_fails_is_told_with_the_command_to_run_by_hand() {
    let broken = KeyPlugin::broken(3, "no space left on device");
    let lab = lab(|instance| instance.key_plugin(broken)).await;
    for _ in 0..2 {
        let report = refused(&send(&lab, &[]).await, 6);
        assert!(report.what.starts_with("the key plug-in cannot be installed on i-"), "{report:?}");
        assert!(report.why.contains("no space left on device"), "{report:?}");
        assert!(report.why.contains("exit code 3"), "{report:?}");
        assert!(report.fix.contains("try again") && report.fix.ends_with(BY_HAND), "{report:?}");
        assert!(!report.request_id.is_empty());
    }
    // A failure is not remembered, and each was tried twice.
    let installs = lab.cloud.invocations();
    assert_eq!(installs.iter().filter(|asked| asked.kind == CommandKind::Install).count(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_cannot_do_it_is_told_from_one_that_did_not() {
    type Change = Box<dyn FnOnce(Instance) -> Instance>;
    let rows: Vec<(Change, &str, &str)> = vec![
        (Box::new(|instance| instance.os(Os::Windows)), "it runs Windows", "forward"),
        (
            Box::new(|instance| instance.status(InstanceStatus::Stopped)),
            "the instance does not run",
            "start the instance",
        ),
        (Box::new(|instance| instance.agent_online(false)), "is not online", "agent"),
    ];
    for (change, why, fix) in rows {
        let lab = lab(change).await;
        for args in [&["send-key", "-i", INSTANCE][..], &["known-hosts", INSTANCE]] {
            let report = refused(&Bridge::start(&mut lab.bridge(args)).end().await, 6);
            assert!(report.why.contains(why), "{args:?}: {report:?}");
            assert!(report.fix.contains(fix) || args[0] == "known-hosts", "{report:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_end_has_its_own_words() {
    for (ending, word) in [
        (Ending::delivery_timeout(), "DeliveryTimeout"),
        (Ending::execution_timeout(), "ExecutionTimeout"),
        (Ending::new("Failed").error("AccountNotExists", "no such user"), "AccountNotExists"),
        (Ending::new("Aborted").error("ClientNetworkBlocked", "blocked"), "ClientNetworkBlocked"),
        (Ending::new("Cancelled"), "Cancelled"),
        (Ending::new("Terminated"), "Terminated"),
        (Ending::new("Error").error("Whatever", "new"), "Whatever"),
    ] {
        let lab = lab(|instance| instance).await;
        let fault = CommandFault::on(CommandKind::SendKey).ends(ending);
        assert!(lab.cloud.faults().command(INSTANCE, fault));
        let report = refused(&send(&lab, &[]).await, 6);
        assert!(report.what.starts_with("the key cannot be registered with i-"), "{report:?}");
        assert!(report.what.contains(word), "{report:?}");
        assert!(!report.request_id.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_in_the_middle_is_waited_out() {
    let lab = lab(|instance| instance.command_time(Duration::from_millis(500))).await;
    for action in ["RunCommand", "InvokeCommand"] {
        lab.cloud.faults().api(ApiFault::on(action).error(400, "Throttling.User", "slow").times(2));
    }
    let slow = ApiFault::on("DescribeInvocationResults").error(400, "Throttling", "slow");
    lab.cloud.faults().api(slow.times(9));
    let ended = send(&lab, &[]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    // However often it was asked for, it was done once.
    assert_eq!(lab.cloud.invocations().len(), 2);
    assert_eq!(lab.cloud.keys()[0].key, public_key(&lab));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_that_is_missing_is_named_with_its_policy() {
    let lab = lab(|instance| instance).await;
    let denied = ApiFault::on("InvokeCommand").error(403, "Forbidden.RAM", "no");
    lab.cloud.faults().api(denied);
    let report = refused(&send(&lab, &[]).await, 5);
    assert!(report.fix.contains("\"ecs:InvokeCommand\""), "{report:?}");
    assert!(report.fix.contains("\"ecs:DescribeInvocationResults\""), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_that_fails_ends_the_session_that_waits_for_it() {
    let lab = lab(|instance| instance).await;
    // Where the plug-in is not known no session is started before the key is refused.
    assert_eq!(send(&lab, &["--user-name", "admin"]).await.code, Some(0));
    let fault = CommandFault::on(CommandKind::SendKey).ends(Ending::delivery_timeout());
    assert!(lab.cloud.faults().command(INSTANCE, fault));
    let bridge = lab.start(&["--send-key", "--user", "root"]);
    let mut target = lab.accept().await;
    target.write_all(b"SSH-2.0-server\r\n").await.unwrap();
    let report = refused(&bridge.end().await, 6);
    assert!(report.what.contains("DeliveryTimeout"), "{report:?}");
    lab.all_ended().await;
}

/// Nobody waits longer than 60 seconds: with a status that stays, that is waited out for real.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_ends_is_given_up() {
    let (pending, dreaming, empty) = tokio::join!(
        stays(|lab: &Lab| {
            let fault = CommandFault::on(CommandKind::SendKey).stays("Pending");
            assert!(lab.cloud.faults().command(INSTANCE, fault));
        }),
        stays(|lab: &Lab| {
            let fault = CommandFault::on(CommandKind::SendKey).stays("Dreaming");
            assert!(lab.cloud.faults().command(INSTANCE, fault));
        }),
        stays(|lab: &Lab| {
            lab.cloud.update_instance(INSTANCE, |instance| instance.commands.results_empty = 1000);
        }),
    );
    assert!(pending.what.ends_with("no result within 60 s, it is still Pending"), "{pending:?}");
    assert!(dreaming.what.contains("does not know: \"Dreaming\""), "{dreaming:?}");
    assert!(
        empty.what.ends_with("no result within 60 s, and the service has not listed it"),
        "{empty:?}"
    );
}

async fn stays(prepare: impl FnOnce(&Lab)) -> Report {
    let lab = lab(|instance| instance).await;
    prepare(&lab);
    let mut command = lab.bridge(["send-key", "-i", INSTANCE]);
    let began = Instant::now();
    let output = tokio::time::timeout(Duration::from_secs(75), command.output()).await;
    let output = output.expect("60 seconds at most").unwrap();
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(55), "given up after {took:?}");
    let asked = lab.cloud.invocations();
    let send = asked.iter().find(|asked| asked.kind == CommandKind::SendKey).unwrap();
    // The later the rarer: 60 s at 200 ms would be 300.
    assert!((25..60).contains(&send.polls.len()), "{} questions", send.polls.len());
    // Never rare: most of them, for a busy machine may have slept now and then.
    let mut intervals = send.poll_intervals();
    intervals.sort();
    let nearly_longest = intervals[intervals.len() * 9 / 10];
    assert!(nearly_longest < Duration::from_secs(4), "{intervals:?}");
    assert_eq!(output.status.code(), Some(6));
    let ended = Ended {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
        took: Duration::ZERO,
    };
    ended.report().unwrap()
}
