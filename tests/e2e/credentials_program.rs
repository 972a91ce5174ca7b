//! A program that prints credentials, and programs that do not.

use crate::case::run_all;
use crate::lab::{Bridge, Lab};
use crate::profiles::{
    KEYS, cloud, failing, file, instance, one, shows_nothing, without_keys, write,
};
use crate::world::INSTANCE;

fn external(command: &str) -> String {
    one("External", &format!(r#""process_command": "{command}""#))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_gives_none_is_told() {
    let run = |name, command: &str| failing(name, external(command));
    let script = |name, script: &'static str| run(name, "sh DIR/script").file("script", script);
    let by_hand = "run process_command by hand";
    run_all(vec![
        script("it fails", "echo testsecret; exit 3").fails(
            3,
            "'sh' failed: exit status: 3",
            "",
            by_hand,
        ),
        script("it is killed", "kill -9 $$").fails(3, "'sh' failed: signal: 9", "", by_hand),
        script("no JSON", "echo testsecret").fails(
            3,
            "what 'sh' printed is of no use: it is not JSON",
            "",
            by_hand,
        ),
        script("nothing", ":").fails(3, "it is empty", "", by_hand),
        script("JSON of another kind", "echo '[\"testsecret\"]'").fails(
            3,
            "it is JSON, but not an object",
            "",
            by_hand,
        ),
        script("a key without a secret", "echo '{\"access_key_id\": \"testid\"}'").fails(
            3,
            "it has no access_key_secret",
            "",
            "access_key_secret and sts_token",
        ),
        script("another mode", "echo '{\"mode\": \"RamRoleArn\"}'").fails(
            3,
            "its mode is 'RamRoleArn'",
            "",
            "mode (AK or StsToken)",
        ),
        script("100 MB", "head -c 100000000 /dev/zero; echo more").fails(
            3,
            "printed more than 1 MiB, and was ended",
            "",
            by_hand,
        ),
        script("without an end", "exec yes testsecret").fails(3, "more than 1 MiB", "", by_hand),
        script("no text", "printf '\\377\\376'").fails(3, "it is not text", "", by_hand),
        run("no such program", "DIR/nowhere --key testsecret").fails(
            3,
            "nowhere' cannot be started: No such file",
            "",
            "correct process_command",
        ),
        run("what only a shell would run", "echo '{}' | cat").fails(
            3,
            "what 'echo' printed is of no use: it is not JSON",
            "",
            by_hand,
        ),
        run("a quote that is not closed", "cat 'DIR").fails(
            3,
            "process_command of profile 'p'",
            "",
            "correct it there",
        ),
    ])
    .await;
}

/// It says what it waits for, and waits; and so does what it has started.
pub(crate) const HANGS: &str = "trap '' HUP INT TERM\n(trap '' HUP INT TERM; exec sleep 300) &\n\
                     echo waiting >&2\nread answer\nsleep 300\n";

/// Nothing of it is left behind: all of it has the stderr that the test reads to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_hangs_is_ended_with_the_command() {
    for (args, signal, code) in [
        (&["proxy", INSTANCE][..], "INT", 130),
        (&["proxy", INSTANCE], "TERM", 143),
        (&["proxy", INSTANCE], "HUP", 129),
        (&["forward", "-i", INSTANCE, "-L", "0:localhost:22"], "INT", 130),
        (&["known-hosts", INSTANCE], "INT", 130),
        (&["known-hosts", INSTANCE], "TERM", 143),
    ] {
        let lab = Lab::with(cloud(), instance()).await;
        file(&lab, "script", HANGS);
        write(&lab, &external("sh DIR/script"));
        let mut bridge = Bridge::start(without_keys(&mut lab.bridge(args)));
        bridge.logged("waiting").await;
        bridge.signal(signal).await;
        let ended = bridge.end().await;
        assert_eq!(ended.code, Some(code), "{args:?} {signal}: {}", ended.stderr);
        assert!(lab.cloud.calls().is_empty());
    }
}

/// Nor when ssh goes away.
#[tokio::test]
async fn a_program_that_hangs_is_ended_with_its_reader() {
    let lab = Lab::with(cloud(), instance()).await;
    file(&lab, "script", HANGS);
    write(&lab, &external("sh DIR/script"));
    let mut bridge = Bridge::start(without_keys(&mut lab.bridge(["proxy", INSTANCE])));
    bridge.logged("waiting").await;
    drop(bridge.stdout.take());
    let ended = bridge.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// What the program says to people reaches them, and nothing of what it prints.
#[tokio::test]
async fn its_words_are_passed_on_and_its_keys_are_not() {
    let lab = Lab::with(cloud(), instance()).await;
    let script = format!("echo 'touch the key' >&2; echo '{{{KEYS}}}'");
    file(&lab, "script", &script);
    write(&lab, &external("sh DIR/script"));
    let mut command = lab.bridge(["-vvv", "--log-file", "log", "proxy", INSTANCE]);
    let ended = crate::profiles::carries(&lab, without_keys(&mut command)).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), "touch the key\n"));
    let log = std::fs::read_to_string(lab.dir.path().join("log")).unwrap();
    assert!(log.contains("(mode External) are there"), "{log}");
    shows_nothing(&lab, &log);
}
