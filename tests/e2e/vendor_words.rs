//! ali-instance-cli's words: the pages of its documentation, profiles, credentials, and what is wrong.

use std::os::unix::fs::symlink;

use local_cloud::{Agent, Instance, Pace};
use serde_json::Value;
use tokio::process::Command;

use crate::lab::{Bridge, Ended, Lab};
use crate::profiles;
use crate::world::{self, INSTANCE, daily_log};

async fn lab() -> Lab {
    let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off())).await;
    let program = env!("CARGO_BIN_EXE_ecs-bridge");
    for name in ["ali-instance-cli", "ali-instance-cli.exe"] {
        symlink(program, lab.dir.path().join(name)).unwrap();
    }
    lab
}

/// The same with a key.
async fn lab_with_key() -> Lab {
    let lab = lab().await;
    std::fs::create_dir(lab.dir.path().join(".ssh")).unwrap();
    world::make_key(&lab.dir.path().join(".ssh"), "id_ed25519").await;
    lab
}

/// A command line in the folder of the program, with these variables and no credentials.
fn command(lab: &Lab, line: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = world::command("sh", &lab.cloud, lab.dir.path());
    for (name, _) in lab.cloud.env().iter().filter(|(name, _)| *name != "ALIBABA_CLOUD_ENDPOINT") {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).args(["-c", line]);
    command
}

/// Runs a command line, as [`command`] has it.
async fn shell(lab: &Lab, line: &str, variables: &[(&str, &str)]) -> Ended {
    let mut bridge = Bridge::start(&mut command(lab, line, variables));
    drop(bridge.stdin.take());
    bridge.end().await
}

fn variable(lab: &Lab, name: &str) -> String {
    let variables = lab.cloud.env();
    variables.into_iter().find(|(known, _)| *known == name).expect(name).1
}

/// The access key of the cloud, id and secret.
fn keys(lab: &Lab) -> [String; 2] {
    ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"]
        .map(|name| variable(lab, name))
}

fn profiles(lab: &Lab) -> Value {
    let file = std::fs::read(lab.dir.path().join(".aliyun/config.json")).unwrap();
    serde_json::from_slice(&file).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_are_kept_in_the_words_of_the_pages() {
    let lab = lab_with_key().await;
    let [id, secret] = keys(&lab);
    for program in ["./ali-instance-cli", "./ali-instance-cli.exe"] {
        let set = format!(
            "{program} configure set --mode AK --region \"cn-hangzhou\" --access-key-id \"{id}\" \
             --access-key-secret \"{secret}\" -p default"
        );
        let ended = shell(&lab, &set, &[]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("--access-key-secret"), "a warning: {}", ended.stderr);
        assert!(!ended.stderr.contains(&secret), "{}", ended.stderr);
        let sts = format!(
            "{program} configure set --mode=StsToken --region=cn-beijing --access-key-id={id} \
             --access-key-secret={secret} --sts-token=token --profile=sts"
        );
        assert_eq!(shell(&lab, &sts, &[]).await.code, Some(0));
        let uri = format!(
            "{program} configure set --mode CredentialsURI --credentials-uri {} -p uri \
                           --region cn-hangzhou",
            lab.cloud.credentials_uri()
        );
        let ended = shell(&lab, &uri, &[]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(!ended.stderr.contains("warning"), "no secret is given: {}", ended.stderr);
        let list = profiles(&lab)["profiles"].clone();
        let mode = |profile: &serde_json::Value| profile["mode"].as_str().unwrap().to_owned();
        let mut modes: Vec<_> = list.as_array().unwrap().iter().map(mode).collect();
        modes.sort();
        assert_eq!(modes, ["AK", "CredentialsURI", "StsToken"]);
        for (line, text) in [
            ("configure get region --profile sts", "cn-beijing\n"),
            ("configure get mode region_id -p default", "AK\ncn-hangzhou\n"),
            ("configure list", "sts"),
            ("configure get -p default", "region_id = cn-hangzhou"),
            ("version", "ecs-bridge 0."),
            ("help", "send_public_key"),
            ("--help", "portforward"),
            ("ssh --nosuch --help", "Usage: ali-instance-cli ssh"),
            ("configure set --help", "--access-key-secret"),
        ] {
            let ended = shell(&lab, &format!("{program} {line}"), &[]).await;
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{line}");
            let stdout = String::from_utf8(ended.stdout).unwrap();
            assert!(stdout.contains(text) && !stdout.contains(&secret), "{line}: {stdout}");
        }
        // A profile as it stands is what signs.
        let send = key_line("-p uri --verbose").replace("./ali-instance-cli", program);
        let ended = shell(&lab, &send, &[]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("profile 'uri'"), "{}", ended.stderr);
        assert_eq!(
            shell(&lab, &format!("{program} configure delete -p sts"), &[]).await.code,
            Some(0)
        );
    }
    assert!(!daily_log(lab.dir.path()).contains(&secret));
}

/// A command that needs credentials and ends by itself.
fn key_line(rest: &str) -> String {
    format!(
        "./ali-instance-cli send_public_key -i {INSTANCE} --public-key .ssh/id_ed25519.pub {rest}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_come_from_the_command_line_the_profile_or_the_environment() {
    let lab = lab_with_key().await;
    let [id, secret] = keys(&lab);
    let good = format!("--access-key-id {id} --access-key-secret {secret} --region cn-hangzhou");
    let ended = shell(&lab, &key_line(&good), &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let warnings = ended.stderr.lines().filter(|line| line.contains("other users")).count();
    assert_eq!(warnings, 1, "{}", ended.stderr);
    assert!(!ended.stderr.contains(&secret), "{}", ended.stderr);

    // The same in variables that need no prefix; a variable that names a profile counts for nothing.
    let bare: [(&str, &str); 4] = [
        ("ACCESS_KEY_ID", &id),
        ("ACCESS_KEY_SECRET", &secret),
        ("REGION", "cn-hangzhou"),
        ("ALIBABA_CLOUD_PROFILE", "nobody"),
    ];
    let ended = shell(&lab, &key_line(""), &bare).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));

    let wrong = bare.map(|(name, value)| match name {
        "ACCESS_KEY_SECRET" => (name, "hush"),
        _ => (name, value),
    });
    let ended = shell(&lab, &key_line(""), &wrong).await;
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stderr.contains("set ACCESS_KEY_ID, ACCESS_KEY_SECRET anew"), "{}", ended.stderr);

    for prefix in ["ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_"] {
        let names = ["ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "REGION_ID"];
        let [id_name, secret_name, region] = names.map(|name| format!("{prefix}{name}"));
        let variables: [(&str, &str); 3] =
            [(&id_name, &id), (&secret_name, &secret), (&region, "cn-hangzhou")];
        let ended = shell(&lab, &key_line(""), &variables).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{prefix}");
    }

    // A profile goes before them, and the command line before it.
    let set = "./ali-instance-cli configure set --mode AK --access-key-id nobody \
               --access-key-secret hush --region cn-hangzhou";
    assert_eq!(shell(&lab, set, &[]).await.code, Some(0));
    let ended = shell(&lab, &key_line(""), &bare).await;
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stderr.contains("profile 'default'"), "{}", ended.stderr);
    assert_eq!(shell(&lab, &key_line(&good), &[]).await.code, Some(0));
    let log = daily_log(lab.dir.path());
    assert!(log.contains("--access-key-secret …"), "{log}");
    assert!(!log.contains(&secret) && !log.contains("hush"), "{log}");
}

/// Each option of credentials, as it may stand on any command line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mode_may_be_given_on_the_command_line() {
    let lab = Lab::with(profiles::cloud(), profiles::instance()).await;
    symlink(env!("CARGO_BIN_EXE_ecs-bridge"), lab.dir.path().join("ali-instance-cli")).unwrap();
    let keys = "--access-key-id testid --access-key-secret testsecret";
    let printed = format!(r#"{{"mode": "AK", {}}}"#, profiles::KEYS);
    profiles::file(&lab, "keys.json", &printed);
    let set = format!(
        "./ali-instance-cli configure set --config-path other.json --mode AK {keys} --region cn-hangzhou"
    );
    assert_eq!(shell(&lab, &set, &[]).await.code, Some(0));
    let (endpoint, uri) = (lab.cloud.endpoint(), lab.cloud.credentials_uri());
    let variables = [
        ("ECS_BRIDGE_STS_ENDPOINT", endpoint.as_str()),
        ("ECS_BRIDGE_METADATA_URL", endpoint.as_str()),
        ("ALIBABA_CLOUD_CREDENTIALS_URI", uri.as_str()),
    ];
    let role = format!(
        "--ram-role-arn {} --role-session-name tests --expired-seconds 900 --sts-region cn-hangzhou",
        profiles::ARN
    );
    for options in [
        "--config-path other.json".to_owned(),
        format!("--mode AK {keys}"),
        format!("--mode=CredentialsURI --credentials-uri={uri}"),
        "--mode:CredentialsURI".to_owned(),
        "--mode External --process-command 'cat keys.json'".to_owned(),
        format!("--mode RamRoleArn {keys} {role}"),
        format!("--mode EcsRamRole --ram-role-name {}", profiles::ECS_ROLE),
        format!("{keys} --connect-timeout 5 --read-timeout 9 --retry-count 2 --language zh"),
        format!("{keys} --retry-timeout 9"),
    ] {
        let line =
            format!("exec ./ali-instance-cli ssh -i {INSTANCE} --region cn-hangzhou {options}");
        let mut command = command(&lab, &line, &variables);
        let ended = profiles::carries(&lab, &mut command).await;
        assert_eq!(ended.code, Some(0), "{options}: {}", ended.stderr);
        assert!(!ended.stderr.contains("testsecret"), "{options}: {}", ended.stderr);
        lab.all_ended().await;
    }
    let log = daily_log(lab.dir.path());
    assert!(!log.contains("testsecret") && log.contains("--mode External"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_exits_2_and_says_what_to_do() {
    let lab = lab().await;
    for (line, words) in [
        ("sesion -i i-1", "did you mean session?"),
        ("ssh --instence i-1", "did you mean --instance?"),
        ("ssh", "needs an instance"),
        ("session", "needs an instance"),
        ("portforward -l 80", "needs an instance"),
        ("send_public_key", "needs an instance"),
        ("ssh i-1", "takes no argument"),
        ("session i-1", "takes no argument"),
        ("portforward i-1", "takes no argument"),
        ("send_public_key i-1", "takes no argument"),
        ("ssh -i i-1 --instance i-1", "given twice"),
        ("ssh -i i-1 -- ls", "unknown option '--'"),
        ("ssh -vi i-1", "unknown option '-vi'"),
        ("session -i i-1 --mode RsaKeyPair", "--mode cannot be 'RsaKeyPair'"),
        ("session -i i-1 --idle-timeout soon", "60 at least"),
        ("ssh -i i-1 --skip-secure-verify", "certificates are always verified"),
        ("session -i i-1 --password hush", "--password-name NAME"),
        ("session -i i-1 --passwd=hush", "--password-name NAME"),
        ("portforward -i i-1 -r x", "--remote-port cannot be"),
        ("--profile x", "no command is given"),
    ] {
        let ended = shell(&lab, &format!("./ali-instance-cli {line}"), &[]).await;
        assert_eq!((ended.code, ended.stdout.len()), (Some(2), 0), "{line}: {}", ended.stderr);
        let report = ended.report().unwrap();
        assert!(ended.stderr.contains(words) && !report.fix.is_empty(), "{line}: {}", ended.stderr);
    }
    assert_eq!(lab.cloud.calls(), []);
    // Who guesses a command of this program is told what to type.
    let guessed = lab.bridge(["ssh", "root@web-1"]).output().await.unwrap();
    let stderr = String::from_utf8_lossy(&guessed.stderr);
    assert!(stderr.contains("ssh root@web-1.ecs"), "{stderr}");
}
