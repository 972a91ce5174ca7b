//! Commands and shells on pipes, one and many on a connection.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

use crate::lab::{Lab, PATIENCE, ended, fed, finish, five_megabytes, line, noise, ok};

#[tokio::test]
async fn a_command_and_its_exit_code() {
    let lab = Lab::new().await;
    let output = lab.run("echo hello; pwd; echo $USER; exit 7").await;
    assert_eq!(output.status.code(), Some(7));
    let root = lab.root("").canonicalize().unwrap();
    let expected = format!("hello\n{}\nroot\n", root.display());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert_eq!(lab.run("true").await.status.code(), Some(0));
    assert_eq!(lab.server.accepted(), 2);
}

#[tokio::test]
async fn standard_error_is_apart() {
    let lab = Lab::new().await;
    let output = lab.run("echo out; echo err >&2").await;
    assert_eq!(output.stdout, b"out\n");
    assert_eq!(output.stderr, b"err\n");
}

#[tokio::test]
async fn all_the_output_comes_before_the_exit_code() {
    let lab = Lab::new().await;
    let output = lab.run("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 3").await;
    assert_eq!((output.stdout.len(), output.stderr.len()), (3_000_000, 3_000_000));
    assert_eq!(output.status.code(), Some(3));
}

#[tokio::test]
async fn an_end_by_a_signal_is_told() {
    let lab = Lab::new().await;
    let output = finish(lab.ssh(["-v", "127.0.0.1", "kill -TERM $$"])).await;
    assert_eq!(output.status.code(), Some(255));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("rtype exit-signal"), "{log}");
}

#[tokio::test]
async fn five_megabytes_up_and_down() {
    let lab = Lab::new().await;
    let data = five_megabytes();
    ok(&fed(lab.ssh(["127.0.0.1", "cat > up"]), &data).await);
    assert!(fs::read(lab.root("up")).unwrap() == data);
    let output = lab.run("cat up").await;
    assert!(output.stdout == data);
    // Both ways at once, and with new keys on the way.
    let echo = lab.ssh(["-o", "RekeyLimit=1M", "127.0.0.1", "cat"]);
    let output = fed(echo, &data).await;
    ok(&output);
    assert!(output.stdout == data);
}

#[tokio::test]
async fn a_command_may_end_before_its_input() {
    let lab = Lab::new().await;
    let output = fed(lab.ssh(["127.0.0.1", "head -c 5; exit 4"]), &five_megabytes()).await;
    assert_eq!(output.stdout.len(), 5);
    assert_eq!(output.status.code(), Some(4));
}

#[tokio::test]
async fn a_client_that_stops_reading_stops_the_command() {
    let lab = Lab::new().await;
    // It notes each megabyte that it got rid of.
    let script = "i=0; while [ $i -lt 64 ]; do head -c 1048576 /dev/zero; i=$((i+1)); \
                  echo $i > progress; done; exit 6";
    let mut child = lab.ssh(["127.0.0.1", script]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 1];
    stdout.read_exact(&mut first).await.unwrap();
    // Nothing tells that something does *not* go on, so this waits until it stood still.
    let progress = || fs::read_to_string(lab.root("progress")).unwrap_or_default();
    let mut before = progress();
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = progress();
        if now == before {
            break;
        }
        before = now;
    }
    let written: u32 = before.trim().parse().unwrap_or(0);
    assert!(written <= 8, "{written} MB went out to a client that reads nothing");
    let mut rest = Vec::new();
    timeout(PATIENCE, stdout.read_to_end(&mut rest)).await.expect("it hangs").unwrap();
    assert_eq!(rest.len() + 1, 64 << 20);
    assert_eq!(child.wait().await.unwrap().code(), Some(6));
}

#[tokio::test]
async fn only_harmless_variables_are_taken() {
    let lab = Lab::with(|builder| builder.env("FROM_BUILDER", "yes")).await;
    let script = "echo $LC_THING $GIT_PROTOCOL; env";
    let mut ssh = lab.ssh(["-o", "SendEnv=LC_THING GIT_PROTOCOL EVIL", "127.0.0.1", script]);
    ssh.env("LC_THING", "thing").env("GIT_PROTOCOL", "version=2").env("EVIL", "1");
    let output = ok(&finish(ssh).await);
    assert!(output.starts_with("thing version=2\n"), "{output}");
    assert!(output.contains("FROM_BUILDER=yes"), "{output}");
    assert!(!output.contains("EVIL") && !output.contains("CARGO"), "{output}");
}

#[tokio::test]
async fn a_shell_without_a_terminal() {
    let lab = Lab::with(|builder| builder.shell("/bin/sh")).await;
    let output = fed(lab.ssh(["-T", "127.0.0.1"]), b"echo hi; tty; exit 5\n").await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hi\nnot a tty\n");
    assert_eq!(output.status.code(), Some(5));
}

/// A connection for others to share: the option that finds it, and the client that holds it until
/// its input ends.
async fn share(lab: &Lab) -> (String, Child) {
    let control = format!("ControlPath={}", lab.path("control").display());
    let mut ssh = lab.ssh(["-o", &control, "-o", "ControlMaster=yes", "127.0.0.1"]);
    let mut master = ssh.arg("echo ready; cat").stdin(Stdio::piped()).spawn().unwrap();
    assert_eq!(line(&mut BufReader::new(master.stdout.take().unwrap())).await, "ready");
    (control, master)
}

/// A client that shares a connection closes its channel as soon as both directions have ended,
/// without waiting for the exit status, and then fails for want of one.
#[tokio::test]
async fn the_exit_code_of_a_command_that_closed_its_output_before_its_end() {
    let lab = Lab::new().await;
    let (control, mut master) = share(&lab).await;
    let run = async |terminal, end| {
        let script = format!("echo out; exec <&- >&- 2>&-; sleep 0.5; {end}");
        let output = finish(lab.ssh(["-o", &control, terminal, "127.0.0.1", &script])).await;
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), "out", "{terminal} {end}");
        output
    };
    for terminal in ["-T", "-tt"] {
        assert_eq!(run(terminal, "exit 9").await.status.code(), Some(9), "{terminal}");
        assert_eq!(run(terminal, "exit 0").await.status.code(), Some(0), "{terminal}");
    }
    drop(master.stdin.take());
    ended(master).await;
}

#[tokio::test]
async fn ten_sessions_over_one_connection() {
    let lab = Lab::new().await;
    let (control, mut master) = share(&lab).await;
    let data = noise(500_000);
    let sessions = (0..10).map(|number| {
        let script = format!("cat; exit {number}");
        let session = lab.ssh(["-o", &control, "127.0.0.1", &script]);
        let data = data.clone();
        tokio::spawn(async move { (number, fed(session, &data).await) })
    });
    for session in sessions.collect::<Vec<_>>() {
        let (number, output) = session.await.unwrap();
        assert_eq!(output.status.code(), Some(number));
        assert!(output.stdout == data);
    }
    assert_eq!((lab.server.accepted(), lab.server.connections()), (1, 1));

    // A session that is killed takes its process along, and leaves the others.
    lab.server.wait_for_processes(1).await;
    let mut victim = lab.ssh(["-o", &control, "127.0.0.1", "sleep 1000"]).spawn().unwrap();
    timeout(PATIENCE, lab.server.wait_for_processes(2)).await.expect("it did not start");
    victim.kill().await.unwrap();
    timeout(PATIENCE, lab.server.wait_for_processes(1)).await.expect("the process stayed");
    drop(master.stdin.take());
    ended(master).await;
}

#[tokio::test]
async fn keepalives_are_answered() {
    let lab = Lab::new().await;
    let alive = ["-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2"];
    let mut ssh = lab.ssh(alive);
    assert_eq!(
        ok(&finish({
            ssh.args(["127.0.0.1", "sleep 4; echo ok"]);
            ssh
        })
        .await),
        "ok\n"
    );
}

/// Not a test of anything but the machine: `cargo test -- --ignored --nocapture throughput`.
#[tokio::test]
#[ignore = "a measurement"]
async fn throughput() {
    let lab = Lab::new().await;
    let data = noise(100 << 20);
    fs::write(lab.root("big"), &data).unwrap();
    let report = |what: &str, started: Instant| {
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("{what}: {:.1} MB/s", data.len() as f64 / 1e6 / seconds);
    };
    let started = Instant::now();
    ok(&fed(lab.ssh(["127.0.0.1", "cat > up"]), &data).await);
    report("ssh up", started);
    let started = Instant::now();
    assert_eq!(lab.run("cat big").await.stdout.len(), data.len());
    report("ssh down", started);
    let started = Instant::now();
    let mut up = lab.client("scp");
    ok(&finish({
        up.arg(lab.root("big")).arg("127.0.0.1:up2");
        up
    })
    .await);
    report("scp up", started);
    let started = Instant::now();
    let mut down = lab.client("scp");
    ok(&finish({
        down.arg("127.0.0.1:big").arg(lab.path("down"));
        down
    })
    .await);
    report("scp down", started);
    assert!(fs::read(lab.path("down")).unwrap() == data);
}
