//! The first `proxy --send-key` on an instance without the key plug-in: installing that restarts
//! sshd, which asks for keys on connections that it accepts from then on.

use std::time::{Duration, SystemTime};

use local_cloud::{
    Agent, ApiFault, CommandFault, CommandKind, Ending, Instance, InstanceStatus, InvocationRecord,
    KeyPlugin, SessionRecord, Sshd,
};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::lab::{BANNER, Bridge, Lab, SOON};
use crate::send_key::{lab, send};
use crate::send_key_memory::count;
use crate::send_key_ssh::is_let_in;
use crate::world::{INSTANCE, PATIENCE, World, installed, program, run};

/// A session that does not wait for the installation opens long before that has ended.
const SLOW: Duration = Duration::from_millis(700);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(100);

fn instance() -> Instance {
    Instance::new(INSTANCE).agent(Agent::d().quick()).command_time(SLOW)
}

async fn world(change: impl FnOnce(Sshd) -> Sshd) -> Option<World> {
    World::without_plugin(instance(), change).await
}

fn options(world: &World) -> String {
    format!("--send-key {} --user %r", world.path("id.pub").display())
}

fn of(world: &World, kind: CommandKind) -> Vec<InvocationRecord> {
    world.cloud.invocations().into_iter().filter(|asked| asked.kind == kind).collect()
}

/// When the call came that started the session which was started last.
fn last_start(world: &World) -> SystemTime {
    let calls = world.cloud.calls();
    calls.iter().rfind(|call| call.action == "StartTerminalSession").unwrap().at
}

/// Forgets which keys are registered, here and in the cloud.
fn forget_keys(world: &World, cache: &str) {
    world.cloud.forget_keys(INSTANCE);
    let mut forgotten = 0;
    for entry in std::fs::read_dir(world.path(cache).join("ecs-bridge")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("key-") {
            std::fs::remove_file(path).unwrap();
            forgotten += 1;
        }
    }
    assert_eq!(forgotten, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_login_is_let_in_and_the_second_does_not_wait() {
    let agents = [Agent::a, Agent::b, Agent::c, Agent::d];
    for (round, agent) in agents.iter().cycle().take(10).enumerate() {
        let instance = instance().agent(agent().quick());
        let Some(world) = World::without_plugin(instance, |sshd| sshd).await else { return };
        assert!(is_let_in(&world, &options(&world), "cache").await, "the first login");
        let (install, key) = (of(&world, CommandKind::Install), of(&world, CommandKind::SendKey));
        assert_eq!((install.len(), key.len()), (1, 1));
        assert!(key[0].started < install[0].ended.unwrap(), "one after the other");
        assert!(last_start(&world) >= install[0].ended.unwrap());

        if round > 3 {
            continue;
        }
        forget_keys(&world, "cache");
        assert!(is_let_in(&world, &options(&world), "cache").await, "the second login");
        let (install, key) = (of(&world, CommandKind::Install), of(&world, CommandKind::SendKey));
        assert_eq!((install.len(), key.len()), (1, 2));
        assert!(last_start(&world) < key[1].ended.unwrap(), "one after the other");
        world.check().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_that_fails_after_its_work_is_tried_once_more() {
    let Some(world) = world(|sshd| sshd.installations_fail(1)).await else { return };
    assert!(is_let_in(&world, &options(&world), "cache").await);
    let install = of(&world, CommandKind::Install);
    assert_eq!(install.len(), 2);
    assert!(!install[0].succeeded() && install[1].succeeded());
    assert!(last_start(&world) >= install[1].ended.unwrap());
    assert!(install.iter().all(|asked| asked.calls == 1));
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_has_to_be_started_is_up_before_its_session() {
    let boot = SLOW;
    let stopped = instance().status(InstanceStatus::Stopped).boot(boot, boot);
    let Some(world) = World::without_plugin(stopped, |sshd| sshd).await else { return };
    let options = format!("--start {}", options(&world));
    assert!(is_let_in(&world, &options, "cache").await);
    let installed = of(&world, CommandKind::Install).pop().unwrap();
    assert!(installed.succeeded());
    assert!(last_start(&world) >= installed.ended.unwrap());
    let calls = world.cloud.calls();
    let count = |action: &str| calls.iter().filter(|call| call.action == action).count();
    assert_eq!((count("StartInstance"), count("StartTerminalSession")), (1, 1));
    world.check().await;
}

/// The agent is up before the services are, as with an instance whose plug-in is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_up_after_its_agent_is_waited_for() {
    let boot = Duration::from_millis(200);
    let lab = lab(|instance| instance.status(InstanceStatus::Stopped).boot(boot, boot)).await;
    let mut targets = None;
    lab.cloud.update_instance(INSTANCE, |instance| {
        targets = Some(std::mem::take(&mut instance.targets));
    });
    let mut bridge = lab.start(&["--start", "--send-key"]);
    let refused =
        |session: &SessionRecord| session.end_reason.as_deref() == Some("OpenTargetPortFailed");
    lab.session(refused).await;
    assert!(lab.cloud.has_key_plugin(INSTANCE));
    lab.cloud.update_instance(INSTANCE, |instance| instance.targets = targets.unwrap());
    let mut far = lab.accept().await;
    far.write_all(BANNER).await.unwrap();
    bridge.expect(BANNER).await;
    drop(far);
    assert_eq!(bridge.end().await.code, Some(0));
}

/// Nothing is to be started there, and nobody is to wait for it for minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_away_is_told_although_its_instance_could_be_started() {
    let lab = lab(|instance| instance.agent_online(false)).await;
    let ended = lab.start(&["--start", "--send-key"]).end().await;
    assert_eq!(ended.code, Some(6), "{}", ended.stderr);
    let report = ended.report().unwrap_or_else(|problem| panic!("{problem}: {}", ended.stderr));
    assert!(report.why.contains("is not online"), "{report:?}");
    assert!(lab.cloud.calls().iter().all(|call| call.action != "StartInstance"));
}

/// The plug-in writes nothing and says Success: this is what `doctor --send-key` is for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_sshd_asks_somebody_else_no_temporary_key_works_and_doctor_says_so() {
    let Some(world) = world(|sshd| sshd).await else { return };
    let config = world.path("sshd_config");
    let other = "AuthorizedKeysCommand /bin/false\nAuthorizedKeysCommandUser nobody\n";
    let text = std::fs::read_to_string(&config).unwrap() + other;
    std::fs::write(&config, &text).unwrap();
    assert!(!is_let_in(&world, &options(&world), "cache").await);
    assert!(of(&world, CommandKind::Install)[0].succeeded());
    assert_eq!(std::fs::read_to_string(&config).unwrap(), text);

    let programs = world.path("bin");
    let sshd = installed("sshd").unwrap();
    let script = format!("#!/bin/sh\nexec {} -f {} \"$@\"\n", sshd.display(), config.display());
    program(&programs.join("sshd"), &script);
    world.cloud.update_instance(INSTANCE, |instance| instance.commands.shell = Some(programs));
    let mut doctor = world.command(env!("CARGO_BIN_EXE_ecs-bridge"));
    let output = run(doctor.args(["doctor", INSTANCE, "--send-key"])).await;
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(6), "{shown}");
    assert!(shown.contains("sshd asks another program for keys: /bin/false"), "{shown}");
}

/// A proxy that waits for an installation which does not come to an end.
async fn waiting(lab: &Lab, args: &[&str]) -> Bridge {
    let slow = CommandFault::on(CommandKind::Install).takes(LONG);
    assert!(lab.cloud.faults().command(INSTANCE, slow));
    let bridge = lab.start(&[&["--send-key", "--user", "root"], args].concat());
    let asked =
        |asked: &InvocationRecord| asked.kind == CommandKind::Install && asked.polls.len() > 1;
    lab.cloud.wait_for_invocation(asked, PATIENCE).await.unwrap();
    bridge
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_ends_at_once_when_nobody_wants_it_any_more() {
    for args in [&[][..], &["--start"]] {
        for by_signal in [true, false] {
            let lab = lab(|instance| instance).await;
            let mut bridge = waiting(&lab, args).await;
            match by_signal {
                true => bridge.signal("TERM").await,
                false => drop(bridge.stdout.take()),
            }
            let ended = timeout(SOON, bridge.end()).await.expect("it ends within 2 s");
            assert_eq!(ended.code, Some(if by_signal { 143 } else { 0 }), "{}", ended.stderr);
            ended.said(b"");
            assert!(lab.cloud.sessions().is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_refused_ends_the_wait_for_the_installation() {
    let lab = lab(|instance| instance).await;
    let fault = CommandFault::on(CommandKind::SendKey).ends(Ending::delivery_timeout());
    assert!(lab.cloud.faults().command(INSTANCE, fault.takes(Duration::from_secs(1))));
    let ended = waiting(&lab, &[]).await.end().await;
    assert_eq!(ended.code, Some(6), "{}", ended.stderr);
    assert!(ended.report().unwrap().what.contains("DeliveryTimeout"), "{}", ended.stderr);
    assert!(lab.cloud.sessions().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_command_that_failed_itself_is_tried_once_more() {
    // What the installation comes to, how often it is tried, and the exit code.
    let broken = lab(|instance| instance.key_plugin(KeyPlugin::broken(3, "no space left"))).await;
    let denied = lab(|instance| instance).await;
    denied.cloud.faults().api(ApiFault::on("RunCommand").error(403, "Forbidden.RAM", "no"));
    let late = lab(|instance| instance).await;
    let fault = CommandFault::on(CommandKind::Install).ends(Ending::delivery_timeout());
    assert!(late.cloud.faults().command(INSTANCE, fault));
    for (lab, tries, code) in [(&broken, 2, 6), (&denied, 0, 5), (&late, 1, 6)] {
        let ended = lab.start(&["--send-key", "--user", "root"]).end().await;
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        ended.said(b"");
        assert_eq!(count(lab, CommandKind::Install), tries, "{}", ended.stderr);
        assert!(lab.cloud.sessions().is_empty());
    }
    let calls = denied.cloud.calls();
    assert_eq!(calls.iter().filter(|call| call.action == "RunCommand").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_key_alone_tries_once_more_too() {
    let lab = lab(|instance| instance).await;
    let fault = CommandFault::on(CommandKind::Install).ends(Ending::failed(1));
    assert!(lab.cloud.faults().command(INSTANCE, fault.times(1)));
    let ended = send(&lab, &[]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(count(&lab, CommandKind::Install), 2);
    assert_eq!(count(&lab, CommandKind::SendKey), 1);
}

/// A session whose remote side ends is not opened again, and a fresh key needs no installation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_key_is_not_waited_for() {
    let lab = lab(|instance| instance).await;
    assert_eq!(send(&lab, &["--user-name", "root"]).await.code, Some(0));
    let bridge = lab.start(&["--send-key", "--user", "root"]);
    drop(lab.accept().await);
    assert_eq!(bridge.end().await.code, Some(0));
    lab.session(|session: &SessionRecord| session.ended_by_api).await;
    assert_eq!(lab.cloud.invocations().len(), 2);
}
