//! What `forward` says when it cannot, and what it survives.

use std::os::unix::fs::PermissionsExt;

use local_cloud::{AccessKey, Action, Agent, ApiFault, DialFailure, Instance, KeyState, Pace};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::case::{Case, run_all};
use crate::forward_driver::{Forward, Server, read, text};
use crate::lab::{Bridge, Lab, SOON, connected};
use crate::world::INSTANCE;

const START: &str = "StartTerminalSession";

/// A forward that fails before it listens.
fn case(name: &'static str, args: &[&str]) -> Case {
    Case::new(name).command(&["forward", "-i", INSTANCE]).args(args)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_cannot_be_reached_is_told_before_it_is_listened_for() {
    let checks = "check that the service runs and listens there";
    run_all(vec![
        case("a port that nobody listens on", &["-L", "0:localhost:81"])
            .fails(
                6,
                "nothing listens on port 81 of i-bp1example0001 (OpenTargetPortFailed)",
                ": OpenTargetPortFailed",
                checks,
            )
            .request_id(),
        // Bytes would flow before the agent has dialled.
        case("the same without a delay", &["-L", "0:localhost:81", "--ready-delay", "0"])
            .instance(|instance| instance.agent(Agent::d()))
            .within(5)
            .fails(
                6,
                "nothing listens on port 81 of i-bp1example0001 (OpenTargetPortFailed)",
                ": OpenTargetPortFailed",
                checks,
            )
            .request_id(),
        case("the same by an older agent", &["--local-port", "0", "--remote-port", "81"])
            .instance(|instance| instance.agent(Agent::a().quick()))
            .fails(
                6,
                "port 81 of i-bp1example0001 (Open_port_failed)",
                ": Open_port_failed",
                checks,
            )
            .request_id(),
        case("a name that does not exist", &["-L", "0:nosuch.internal:80"])
            .fails(
                6,
                "the instance i-bp1example0001 cannot resolve the host name nosuch.internal",
                "no such host",
                "or give an address",
            )
            .request_id(),
        case("the second of two", &["-L", "0:localhost:22", "-L", "0:localhost:81"])
            .stdout(Vec::new())
            .fails(6, "port 81 of", "", checks)
            .request_id(),
        case("a port of another host that nobody listens on", &["-L", "0:db.internal:81"])
            .instance(|instance| instance.remote("db.internal", 80, "127.0.0.1:1".parse().unwrap()))
            .fails(
                6,
                "db.internal:81, seen from i-bp1example0001 (",
                "OpenTargetPortFailed",
                "check",
            )
            .request_id(),
        case("an instance that does not exist", &[])
            .command(&["forward", "-i", "i-nosuch", "-L", "0:localhost:22"])
            .fails(6, "there is no such instance", "i-nosuch", "region")
            .request_id(),
        case("an API that is not there", &["-L", "0:localhost:22"])
            .env("ALIBABA_CLOUD_ENDPOINT", "http://127.0.0.1:1")
            .within(20)
            .fails(7, "127.0.0.1", "", ""),
        case("no credentials", &["-L", "0:localhost:22"]).without_keys().calls(START, 0).fails(
            3,
            "no credentials were found",
            "",
            "ecs-bridge configure",
        ),
        case("nothing to forward", &[]).calls(START, 0).fails(
            2,
            "nothing to forward",
            "",
            "give --local-port 2222",
        ),
        case("no target", &[])
            .command(&["forward", "-i", "tag:", "-L", "2222"])
            .calls(START, 0)
            .fails(2, "\"tag:\" names no tag", "", "tag:key=value"),
    ])
    .await;
}

#[tokio::test]
async fn a_forward_that_is_misspelt_is_told_with_what_is_wrong() {
    let lab = Lab::new(Instance::new(INSTANCE)).await;
    for (args, what) in [
        (&["-L", "80:h"][..], "expected [bind:]port:host:hostport"),
        (&["-L", "a:b:c:d:e"], "expected [bind:]port:host:hostport"),
        (&["-L", "/tmp/s:80"], "expected [bind:]port:host:hostport"),
        (&["-L", "ssh"], "\"ssh\" is not a port, a number from 1 to 65535"),
        (&["-L", "0"], "\"0\" is not a port, a number from 1 to 65535"),
        (&["-L", "65536:h:80"], "\"65536\" is not a port, a number from 0 to 65535"),
        (&["-L", "80:h:0"], "\"0\" is not a port, a number from 1 to 65535"),
        (&["-L", "80::80"], "\"\" is not a host"),
        (&["-L", "example.com:80:h:80"], "is not an address of this machine to listen on"),
        (&["-L", "22:localhost:22", "--bind", "everywhere"], "is not an address of this machine"),
        (&["-L"], "a value is required"),
        (&["--local-port", "70000"], "expected a number from 0 to 65535"),
        (&["--local-port", "80", "--remote-port", "0"], "expected a number from 1 to 65535"),
        (&["-L", "80:/run/docker.sock"], "\"/run/docker.sock\" is a socket on the remote side"),
        (&["--remote-host", "h"], "--local-port"),
        (&["-L", "80", "--remote-port", "81"], "--local-port"),
        (&["-L", "80", "--max-connections", "0"], "a number from 1 to 1000"),
        (&["-L", "80", "--json", "--exec", "--", "true"], "cannot be used with"),
        (&["-L", "80", "--exec"], "CMD"),
        (&["-L", "80", "--json", "--", "true"], "cannot be used with"),
        (&["-L", "80", "--once", "--", "true"], "cannot be used with"),
        (&["ssh"], "'ssh' cannot be forwarded"),
    ] {
        let mut command = lab.bridge(["forward", "-i", INSTANCE].iter().chain(args));
        let ended = Bridge::start(&mut command).end().await;
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(what), "{args:?}: {}", ended.stderr);
        ended.said(b"");
    }
    let ended = Bridge::start(&mut lab.bridge(["forward", "-L", "80"])).end().await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--instance"), "{}", ended.stderr);
    assert!(lab.cloud.calls().is_empty());
}

/// With `--json` the failure is an event, too; the report on stderr is as ever.
#[tokio::test]
async fn programs_are_told_of_a_start_that_fails() {
    let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::d().quick())).await;
    let over = Forward::start(&lab, &["-L", "0:localhost:81"]).end().await;
    assert_eq!((over.code(), over.events.len()), (6, 1), "{over:?}");
    let error = over.all("error")[0];
    let report = over.ended.report().unwrap();
    assert_eq!(error["connection"], serde_json::Value::Null);
    assert_eq!(text(error, "message"), report.what);
    assert_eq!(text(error, "why"), report.why);
    assert_eq!(text(error, "fix"), report.fix);
    assert_eq!(text(error, "request_id"), report.request_id);
    lab.all_ended().await;
}

/// Which need no look-up there: not all instances have a name server that knows them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_instance_s_own_names_mean_the_instance() {
    let server = Server::echo().await;
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    let lab = Lab::new(instance.target(7, server.addr)).await;
    let port = ["--local-port", "0", "--remote-port", "7", "--linger", "0", "--no-probe"];
    for host in ["localhost", "127.0.0.1", "::1", "[::1]"] {
        let args = [&port[..], &["--remote-host", host]].concat();
        let mut forward = Forward::start(&lab, &args);
        echoes(&mut forward).await;
        assert_eq!(forward.so_far("listening")[0]["remote_host"], serde_json::Value::Null);
        ends_well(&lab, forward).await;
    }
}

/// A lab with an echo server behind port 7 and a forward to it, with more of the command line.
async fn echo(agent: Agent, args: &[&str]) -> (Lab, Server, Forward) {
    let server = Server::echo().await;
    let instance = Instance::new(INSTANCE).agent(agent.quick()).pace(Pace::off());
    let lab = Lab::new(instance.target(7, server.addr)).await;
    let forward = forwarding(&lab, args);
    (lab, server, forward)
}

fn forwarding(lab: &Lab, args: &[&str]) -> Forward {
    Forward::start(lab, &[&["-L", "0:localhost:7", "--linger", "0", "--grace", "0"], args].concat())
}

async fn echoes(forward: &mut Forward) -> TcpStream {
    let mut connection = forward.connect().await;
    connection.write_all(b"are you there?").await.unwrap();
    assert_eq!(read(&mut connection, 14).await, b"are you there?");
    connection
}

async fn ends_well(lab: &Lab, forward: Forward) {
    assert_eq!(forward.stop("TERM").await.code(), 143);
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_refuses_later_resets_that_connection() {
    for (agent, reason) in [(Agent::d(), "OpenTargetPortFailed"), (Agent::a(), "Open_port_failed")]
    {
        let (lab, server, mut forward) = echo(agent, &[]).await;
        let open = echoes(&mut forward).await;
        let targets = |instance: &mut Instance| std::mem::take(&mut instance.targets);
        let mut kept = None;
        lab.cloud.update_instance(INSTANCE, |instance| kept = Some(targets(instance)));
        forward.refused().await;
        let error = forward.told(2, "error").await;
        assert!(text(&error, "message").contains(reason), "{error}");
        assert!(text(&error, "message").contains("nothing listens on port 7 of"), "{error}");
        // The service comes up again.
        lab.cloud.update_instance(INSTANCE, |instance| instance.targets = kept.take().unwrap());
        echoes(&mut forward).await;
        drop((open, server));
        ends_well(&lab, forward).await;
    }
}

/// Older agents may also say nothing at all: then there is nothing to be told but silence, and the
/// linger ends what the client has given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_refuses_without_a_word_is_left_by_its_client() {
    let agent = Agent::a().dial_failure(DialFailure::Silent);
    let (lab, server, mut forward) = echo(agent, &["--no-probe"]).await;
    let address = server.addr;
    lab.cloud.update_instance(INSTANCE, |instance| instance.targets.clear());
    drop(forward.connect().await);
    assert_eq!(forward.told(1, "closed").await["reason"], "local");
    lab.cloud.update_instance(INSTANCE, |instance| {
        *instance = instance.clone().target(7, address);
    });
    echoes(&mut forward).await;
    ends_well(&lab, forward).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_is_away_for_a_while_costs_the_connections_of_that_while() {
    let (lab, _server, mut forward) = echo(Agent::d(), &[]).await;
    let mut open = echoes(&mut forward).await;
    for fault in [ApiFault::on_any().cut(), ApiFault::on_any().raw(502, "text/html", "<html>")] {
        lab.cloud.faults().api(fault);
        let before = forward.so_far("closed").len();
        forward.refused().await;
        forward.all(before + 1, "closed").await;
        assert_eq!(forward.so_far("error").last().unwrap()["connection"], before as u64 + 2);
        lab.cloud.faults().clear();
    }
    // It is back; and what was open has not noticed.
    let another = echoes(&mut forward).await;
    open.write_all(b"are you there?").await.unwrap();
    assert_eq!(read(&mut open, 14).await, b"are you there?");
    drop(another);
    ends_well(&lab, forward).await;
}

fn write_profile(lab: &Lab, id: &str, secret: &str) {
    let path = lab.dir.path().join("config.json");
    let text = format!(
        r#"{{"current": "p", "profiles": [{{"name": "p", "mode": "AK", "access_key_id": "{id}",
            "access_key_secret": "{secret}", "region_id": "cn-hangzhou"}}]}}"#
    );
    // As programs do that renew it: whoever reads it meanwhile finds one or the other.
    let new = lab.dir.path().join("config.new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_read_again_for_each_session() {
    let server = Server::echo().await;
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    let lab = Lab::new(instance.target(7, server.addr)).await;
    write_profile(&lab, "testid", "testsecret");
    let args = ["forward", "--json", "-i", INSTANCE, "-L", "0:localhost:7", "--linger", "0"];
    let mut command = lab.bridge(args);
    command.env("ECS_BRIDGE_CONFIG", lab.dir.path().join("config.json"));
    for name in ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"] {
        command.env_remove(name);
    }
    let mut forward = Forward::run(command.args(["--grace", "0"]));
    drop(echoes(&mut forward).await);

    lab.cloud.update_access_key("testid", |key| key.state = KeyState::Expired);
    forward.refused().await;
    let error = forward.told(2, "error").await;
    assert!(text(&error, "message").contains("InvalidSecurityToken.Expired"), "{error}");
    assert!(error.to_string().contains("config.json"), "where they came from: {error}");

    // Somebody is in the middle of writing it: that is the next connection's failure alone.
    std::fs::write(lab.dir.path().join("config.json"), "{\"current\"").unwrap();
    forward.refused().await;
    assert!(text(&forward.told(3, "error").await, "message").contains("config.json"));

    lab.cloud.add_access_key(AccessKey::new("renewed", "newsecret"));
    write_profile(&lab, "renewed", "newsecret");
    drop(echoes(&mut forward).await);
    let last = lab.cloud.sessions().pop().unwrap();
    assert_eq!(last.access_key_id, "renewed");
    forward.told(4, "closed").await;
    let over = forward.stop("TERM").await;
    for secret in ["testsecret", "newsecret", "token="] {
        assert!(!over.ended.stderr.contains(secret), "it shows '{secret}'");
        assert!(!format!("{:?}", over.events).contains(secret), "it shows '{secret}'");
    }
    // The expired key's session was ended while the key was good, or with its successor.
    let all = lab.cloud.wait_for(|state| state.sessions().all(|session| session.live == 0), SOON);
    all.await.expect("none is connected any more");
}

/// A client is not kept waiting for a call that nobody needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_failed_is_reset_before_its_session_is_ended() {
    let server = Server::echo().await;
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    let lab = Lab::new(instance.target(7, server.addr)).await;
    let socket = lab.dir.path().join("s");
    let spec = format!("{}:localhost:7", socket.display());
    let args = ["-vv", "forward", "-i", INSTANCE, "-L", &spec, "--grace", "0"];
    let mut bridge = Bridge::start(&mut lab.bridge(args));
    bridge.logged("Forwarding ").await;
    let mut client = connected(&socket).await;
    client.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    client.read_exact(&mut back).await.unwrap();
    lab.cloud.faults().api(ApiFault::on("EndTerminalSession").silent());
    let id = lab.cloud.sessions()[0].id.clone();
    assert!(lab.cloud.faults().inject(&id, Action::Reset));
    // A unix socket knows no reset.
    assert_eq!(client.read(&mut back).await.unwrap(), 0);
    let given_up = "the API did not answer in time whether the session is ended";
    bridge.logged(given_up).await;
    bridge.signal("TERM").await;
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(143), "{}", ended.stderr);
    let at =
        |text: &str| ended.stderr.find(text).unwrap_or_else(|| panic!("{text}: {}", ended.stderr));
    assert!(at("error: connection 1: ") < at(given_up), "{}", ended.stderr);
    assert!(at("connection 1: closed after ") < at(given_up), "{}", ended.stderr);
}
