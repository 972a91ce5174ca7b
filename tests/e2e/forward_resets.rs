//! A connection that has not come to an end of its own is reset, so that no program takes what it got
//! for all; and one that is amiss is warned of.

use std::process::Stdio;
use std::time::Duration;

use local_cloud::{Action, Agent, Corruption, Fault, FrameFault, Instance, Pace, Point, Which};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::forward_driver::{Forward, Server, is_reset, read, rest, text};
use crate::forward_ending::stopped_listening;
use crate::lab::{Bridge, Lab, QUIET_PORT, SOON};
use crate::world::{INSTANCE, PATIENCE};

/// What curl exits with where a transfer is cut short: 18, or 56 for a reset.
const CUT_SHORT: [i32; 2] = [18, 56];
/// Of an answer so much comes, and the rest never does.
const PART: usize = 400_000;

fn quick(agent: Agent) -> Instance {
    Instance::new(INSTANCE).agent(agent.quick()).pace(Pace::announced(u64::from(u32::MAX)))
}

/// Begins an answer of which only its end would tell that it is whole.
async fn half_an_answer() -> Server {
    Server::start(async |mut stream: TcpStream| {
        let mut question = [0; 1024];
        if stream.read(&mut question).await? > 0 {
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await?;
            stream.write_all(&[b'x'; PART]).await?;
        }
        // The rest of it never comes.
        stream.read(&mut question).await.map(|_| ())
    })
    .await
}

/// curl in the middle of an answer.
async fn curl(address: &str) -> Child {
    let mut command = Command::new("curl");
    command.args(["-sS", "--noproxy", "*", &format!("http://{address}/")]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut curl = command.kill_on_drop(true).spawn().unwrap();
    let mut part = vec![0; PART / 2];
    let read = curl.stdout.as_mut().unwrap().read_exact(&mut part);
    timeout(PATIENCE, read).await.expect("half of it comes in time").unwrap();
    curl
}

async fn is_cut_short(mut curl: Child) {
    let mut stdout = curl.stdout.take().unwrap();
    let mut rest = Vec::new();
    let ended = async {
        // A pipe that is full would hold it up.
        stdout.read_to_end(&mut rest).await.unwrap();
        curl.wait().await.unwrap().code().unwrap()
    };
    let code = timeout(PATIENCE, ended).await.expect("curl ends");
    assert!(CUT_SHORT.contains(&code), "curl took {} bytes for all: {code}", PART / 2 + rest.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_does_not_take_half_an_answer_for_all_when_the_forward_is_stopped() {
    for (agent, grace, signals) in [
        (Agent::d(), "0", 1),
        (Agent::d(), "1", 1),
        (Agent::a(), "1", 1),
        (Agent::b(), "1", 1),
        (Agent::c(), "1", 1),
        (Agent::d(), "3600", 2),
    ] {
        let server = half_an_answer().await;
        let lab = Lab::new(quick(agent).target(80, server.addr)).await;
        let mut forward = Forward::start(&lab, &["-L", "0:localhost:80", "--grace", grace]);
        let address = forward.address().await;
        let curl = curl(&address).await;
        for _ in 1..signals {
            forward.bridge.signal("TERM").await;
            // Two that come together are one.
            stopped_listening(&address).await;
        }
        let over = forward.stop("TERM").await;
        assert_eq!(over.code(), 143);
        // Others may have come while it stopped listening.
        let closed = over.all("closed").into_iter().find(|event| event["connection"] == 1);
        assert_eq!(closed.unwrap()["reason"], "stopped");
        is_cut_short(curl).await;
        lab.all_ended().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_does_not_take_half_an_answer_for_all_when_the_program_of_exec_ends() {
    let server = half_an_answer().await;
    let lab = Lab::new(quick(Agent::d()).target(80, server.addr)).await;
    let script = "echo $ECS_BRIDGE_ADDR; read line";
    let args = ["forward", "-i", INSTANCE, "-L", "0:localhost:80", "--exec", "--"];
    let mut bridge = Bridge::start(lab.bridge(args).args(["bash", "-c", script]));
    let mut line = String::new();
    let mut stdout = BufReader::new(bridge.stdout.take().unwrap());
    timeout(PATIENCE, stdout.read_line(&mut line)).await.unwrap().unwrap();
    let curl = curl(line.trim()).await;
    bridge.send(b"go\n").await;
    let ended = timeout(SOON, bridge.end()).await.expect("it ends with the program");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    is_cut_short(curl).await;
    lab.all_ended().await;
}

/// Nothing of ours runs any more: the system resets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_does_not_take_half_an_answer_for_all_when_the_process_is_killed() {
    let server = half_an_answer().await;
    let lab = Lab::new(quick(Agent::d()).target(80, server.addr)).await;
    let mut forward = Forward::start(&lab, &["-L", "0:localhost:80"]);
    let curl = curl(&forward.address().await).await;
    forward.bridge.signal("KILL").await;
    is_cut_short(curl).await;
}

/// One that does come to its end is closed as ever, the stop of the forward or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_within_the_grace_is_closed_cleanly() {
    let lab = Lab::new(quick(Agent::d())).await;
    let spec = format!("0:localhost:{QUIET_PORT}");
    let mut forward = Forward::start(&lab, &["-L", &spec, "--grace", "3600"]);
    let mut client = forward.connect().await;
    let mut target = lab.accept().await;
    client.write_all(b"a question").await.unwrap();
    assert_eq!(read(&mut target, 10).await, b"a question");
    forward.bridge.signal("TERM").await;
    target.write_all(b"an answer").await.unwrap();
    drop(target);
    assert_eq!(rest(&mut client).await.unwrap(), b"an answer");
    let over = forward.end().await;
    assert_eq!((over.code(), &over.all("closed")[0]["reason"]), (143, &"target".into()));
    lab.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_of_file_that_is_not_answered_is_warned_of_and_a_reset() {
    for agent in [Agent::a(), Agent::b(), Agent::c(), Agent::d()] {
        let lab = Lab::new(quick(agent)).await;
        let spec = format!("0:localhost:{QUIET_PORT}");
        let mut forward = Forward::start(&lab, &["-L", &spec, "--linger", "1"]);
        let mut client = forward.connect().await;
        client.write_all(b"a line\n").await.unwrap();
        client.shutdown().await.unwrap();
        let mut target = lab.accept().await;
        assert_eq!(read(&mut target, 7).await, b"a line\n");
        is_reset(&mut client).await;
        let warning = forward.told(1, "warning").await;
        assert!(text(&warning, "message").contains("did not answer"), "{warning}");
        assert!(text(&warning, "message").contains("--linger"), "{warning}");
        assert!(text(&warning, "fix").contains("end of file"), "{warning}");
        assert_eq!(forward.told(1, "closed").await["reason"], "local");
        // The answer comes too late for anybody.
        let _ = target.write_all(b"an answer\n").await;
        let over = forward.stop("TERM").await;
        let line = "warning: connection 1: port 6379 of ";
        assert!(over.ended.stderr.contains(line), "{}", over.ended.stderr);
        assert_eq!(over.all("error").len(), 0);
        lab.all_ended().await;
    }
}

/// A client that has its answer, and only then says that it has no more to send, gets a clean end; one
/// that has sent more behind the answer is reset.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_the_end_of_file_is_whole() {
    for (agent, more) in
        [(Agent::a(), 0), (Agent::d(), 0), (Agent::resumable(), 0), (Agent::d(), 1_000)]
    {
        let lab = Lab::new(quick(agent)).await;
        let spec = format!("0:localhost:{QUIET_PORT}");
        let mut forward = Forward::start(&lab, &["-L", &spec, "--linger", "1", "--no-probe"]);
        let mut client = forward.connect().await;
        client.write_all(b"a line\n").await.unwrap();
        let mut target = lab.accept().await;
        assert_eq!(read(&mut target, 7).await, b"a line\n");
        target.write_all(b"an answer").await.unwrap();
        assert_eq!(read(&mut client, 9).await, b"an answer");
        client.write_all(&vec![7; more]).await.unwrap();
        client.shutdown().await.unwrap();
        if more == 0 {
            assert_eq!(rest(&mut client).await.unwrap(), b"");
        } else {
            is_reset(&mut client).await;
            let warning = forward.told(1, "warning").await;
            assert!(text(&warning, "message").contains("did not answer"), "{warning}");
        }
        assert_eq!(forward.told(1, "closed").await["reason"], "local");
        let over = forward.stop("TERM").await;
        assert_eq!(over.all("warning").len(), usize::from(more > 0), "{over:?}");
        lab.all_ended().await;
    }
}

/// The target closes in the middle of an upload. A client that has heard nothing from it is reset; one that
/// has an answer gets all of it first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_the_target_does_not_take_is_warned_of() {
    for (agent, answer, once) in [
        (Agent::d(), &b""[..], "--once"),
        (Agent::d(), b"413 too large", "--no-probe"),
        (Agent::resumable(), b"", "--no-probe"),
    ] {
        let pace = Pace::announced(1_000_000);
        let lab = Lab::new(Instance::new(INSTANCE).agent(agent.quick()).pace(pace)).await;
        let spec = format!("0:localhost:{QUIET_PORT}");
        let mut forward = Forward::start(&lab, &["-L", &spec, once]);
        let mut client = forward.connect().await;
        client.write_all(&[7; 200_000]).await.unwrap();
        let mut target = lab.accept().await;
        read(&mut target, 1_000).await;
        target.write_all(answer).await.unwrap();
        target.shutdown().await.unwrap();
        match answer {
            b"" => is_reset(&mut client).await,
            _ => assert_eq!(rest(&mut client).await.unwrap(), answer),
        }
        let warning = forward.told(1, "warning").await;
        assert!(text(&warning, "message").contains("were not sent to port 6379"), "{warning}");
        assert!(text(&warning, "fix").contains("both directions"), "{warning}");
        assert_eq!(forward.told(1, "closed").await["reason"], "target");
        let (over, code) = match once {
            "--once" => (forward.end().await, 8),
            _ => (forward.stop("TERM").await, 143),
        };
        assert_eq!((over.all("error").len(), over.code()), (0, code));
        lab.all_ended().await;
    }
}

/// The target may have had more to say, and a script that has waited for it has to know.
#[tokio::test]
async fn a_session_that_is_ended_from_elsewhere_is_a_reset_and_no_success() {
    let notified = Fault::new(Point::OutputBytes(5), Action::status(6, "Notified: by the API"));
    let lab = Lab::new(quick(Agent::d()).fault(notified)).await;
    let spec = format!("0:localhost:{QUIET_PORT}");
    let mut forward = Forward::start(&lab, &["-L", &spec, "--no-probe", "--once"]);
    let mut client = forward.connect().await;
    lab.accept().await.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut client, 5).await, b"hello");
    is_reset(&mut client).await;
    let warning = forward.told(1, "warning").await;
    assert!(text(&warning, "message").contains("(Notified: by the API)"), "{warning}");
    let over = forward.end().await;
    assert_eq!(over.code(), 8);
    assert!(over.ended.stderr.contains("ended from elsewhere"), "{:?}", over.ended);
    lab.all_ended().await;
}

/// A client that leaves with a reset asks for no answer, and one that had an answer has nothing to be
/// warned of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_is_not_warned_of() {
    let lab = Lab::new(quick(Agent::d())).await;
    let spec = format!("0:localhost:{QUIET_PORT}");
    let mut forward = Forward::start(&lab, &["-L", &spec, "--linger", "0"]);
    for (connection, resets) in [(1, true), (2, false)] {
        let mut client = forward.connect().await;
        client.write_all(b"a line\n").await.unwrap();
        let mut target = lab.accept().await;
        assert_eq!(read(&mut target, 7).await, b"a line\n");
        if resets {
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        } else {
            target.write_all(b"an answer").await.unwrap();
            assert_eq!(read(&mut client, 9).await, b"an answer");
        }
        drop(client);
        assert_eq!(forward.told(connection, "closed").await["reason"], "local");
    }
    let over = forward.stop("TERM").await;
    assert_eq!((over.all("warning").len(), &over.ended.stderr[..]), (0, ""));
    lab.all_ended().await;
}

/// In a stream that is not SSH nothing else tells that bytes are missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_in_the_outputs_is_warned_of_with_its_connection() {
    let lose = FrameFault::to_client(Which::Nth(2), Corruption::Lose);
    let lab = Lab::new(quick(Agent::d()).frame_fault(lose)).await;
    let spec = format!("0:localhost:{QUIET_PORT}");
    let mut forward = Forward::start(&lab, &["-L", &spec, "--linger", "0"]);
    let mut client = forward.connect().await;
    let mut target = lab.accept().await;
    target.write_all(b"one").await.unwrap();
    assert_eq!(read(&mut client, 3).await, b"one");
    target.write_all(b"two").await.unwrap();
    lab.session(|session| session.corrupted_frames == 1).await;
    target.write_all(b"three").await.unwrap();
    assert_eq!(read(&mut client, 5).await, b"three");
    let warning = forward.told(1, "warning").await;
    assert!(text(&warning, "message").contains("may be missing"), "{warning}");
    drop(client);
    forward.told(1, "closed").await;
    let over = forward.stop("TERM").await;
    assert!(over.ended.stderr.contains("warning: connection 1: bytes of"), "{:?}", over.ended);
    lab.all_ended().await;
}
