//! A program that prints credentials, and programs that do not.

use local_cloud::SourcePart;

use crate::case::run_all;
use crate::lab::{Bridge, Lab};
use crate::profiles::{
    ECS_ROLE, KEYS, OIDC_TOKEN, PROVIDER, ROLE, carries, cloud, failing, file, instance, one,
    shows_nothing, without_keys, write,
};
use crate::world::INSTANCE;

fn external(command: &str) -> String {
    one("External", &format!(r#""process_command": "{command}""#))
}

const CHAINED: &str = r#"{"mode": "ChainableRamRoleArn", "source_profile": "q",
    "ram_role_arn": "acs:ram::1234567890:role/ops"}"#;

/// What it prints is used as a profile of that mode is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_may_print_a_profile_of_any_mode() {
    let oidc =
        format!(r#"{ROLE}, "oidc_provider_arn": "{PROVIDER}", "oidc_token_file": "DIR/token""#);
    let role_of_instance = format!(r#"{ROLE}, "ram_role_name": "{ECS_ROLE}""#);
    let source = format!(r#"{ROLE}, "source_profile": "q""#);
    for (mode, fields, calls_of_sts, asked) in [
        ("RamRoleArn", &*format!("{KEYS}, {ROLE}"), &["AssumeRole"][..], None),
        ("CredentialsURI", r#""credentials_uri": "CLOUD/credentials""#, &[], Some(SourcePart::Uri)),
        ("EcsRamRole", r#""ram_role_name": "EcsRole""#, &[], Some(SourcePart::MetadataKeys)),
        (
            "RamRoleArnWithRoleName",
            &role_of_instance,
            &["AssumeRole"],
            Some(SourcePart::MetadataKeys),
        ),
        ("ChainableRamRoleArn", &source, &["AssumeRole"], None),
        ("OIDC", &oidc, &["AssumeRoleWithOIDC"], None),
    ] {
        eprintln!("--- {mode}");
        let lab = Lab::with(cloud(), instance()).await;
        let dir = lab.dir.path().display().to_string();
        let printed = format!(r#"{{"mode": "{mode}", {fields}}}"#);
        let printed = printed.replace("CLOUD", &lab.cloud.endpoint()).replace("DIR", &dir);
        file(&lab, "printed", &printed);
        file(&lab, "token", OIDC_TOKEN);
        let q = format!(r#", {{"name": "q", "mode": "AK", {KEYS}}}"#);
        write(&lab, &(external("cat DIR/printed") + &q));
        let mut command = lab.bridge(["proxy", INSTANCE]);
        let ended = carries(&lab, without_keys(&mut command)).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{mode}");
        let assumed: Vec<_> = lab.cloud.calls().into_iter().map(|call| call.action).collect();
        let assumed: Vec<_> =
            assumed.iter().filter(|action| action.starts_with("Assume")).collect();
        assert_eq!(assumed, calls_of_sts, "{mode}");
        let parts = lab.cloud.sources().into_iter().map(|source| source.part);
        let is_asked =
            |part: &SourcePart| [SourcePart::Uri, SourcePart::MetadataKeys].contains(part);
        assert_eq!(parts.filter(is_asked).collect::<Vec<_>>(), Vec::from_iter(asked), "{mode}");
        let sessions = lab.cloud.sessions();
        assert!(sessions[0].access_key_id.starts_with("STS."), "{mode}");
    }
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
            "what 'sh' printed is invalid: it is not JSON",
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
        script("a role without keys", "echo '{\"mode\": \"RamRoleArn\"}'").fails(
            3,
            "what 'sh' printed is invalid: it has no access_key_id",
            "",
            "mode (AK or StsToken)",
        ),
        script("a program", "echo '{\"mode\": \"External\", \"process_command\": \"true\"}'")
            .fails(
                3,
                "(mode External) is circular",
                "may not lead to a program again",
                "a profile of any mode but External",
            ),
        failing(
            "a profile that runs a program",
            external("cat DIR/printed")
                + r#", {"name": "q", "mode": "External", "process_command": "true"}"#,
        )
        .file("printed", CHAINED)
        .fails(3, "profile 'q' of ", "takes its keys from", "any mode but External"),
        failing("a profile that is not there", external("cat DIR/printed"))
            .file("printed", CHAINED)
            .fails(3, "names 'q', which does not exist", "there are: p", "correct source_profile"),
        script("BearerToken", "echo '{\"mode\": \"BearerToken\"}'").fails(
            3,
            "(mode BearerToken) cannot be used: its mode is not supported",
            "supported are AK, StsToken, CredentialsURI",
            "use a profile of another mode",
        ),
        script("Anonymous", "echo '{\"mode\": \"Anonymous\"}'").fails(
            3,
            "(mode Anonymous) cannot be used: its mode is not supported",
            "supported are AK, StsToken, CredentialsURI",
            "use a profile of another mode",
        ),
        script(
            "keys that are over",
            "echo '{\"access_key_id\": \"i\", \"access_key_secret\": \"testsecret\", \
             \"sts_token\": \"testsecret\", \"expiration\": \"2020-01-01T00:00:00Z\"}'",
        )
        .fails(
            3,
            "have expired",
            "expiration is 2020-01-01T00:00:00Z",
            "correct what process_command of profile p prints",
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
            "what 'echo' printed is invalid: it is not JSON",
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
    let ended = carries(&lab, without_keys(&mut command)).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), "touch the key\n"));
    let log = std::fs::read_to_string(lab.dir.path().join("log")).unwrap();
    assert!(log.contains("(mode External) are there"), "{log}");
    shows_nothing(&lab, &log);
}
