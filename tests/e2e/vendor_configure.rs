//! `configure` called as ali-instance-cli: its questions, and which profile is the current one then.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use tokio::process::Command;

use crate::configure::{ID, PRESENT, SECRET, content, file, lab, profile, write};
use crate::dialogue::Dialogue;
use crate::lab::{Bridge, Ended, Lab};
use crate::world;

/// The program as ali-instance-cli, without credentials but those of its profiles.
fn vendor(lab: &Lab, line: &str) -> Command {
    let program = lab.dir.path().join("ali-instance-cli");
    if !program.exists() {
        symlink(env!("CARGO_BIN_EXE_ecs-bridge"), &program).unwrap();
    }
    let mut command = world::command(program, &lab.cloud, lab.dir.path());
    for name in ["ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "REGION_ID"] {
        command.env_remove(format!("ALIBABA_CLOUD_{name}"));
    }
    command.args(line.split_whitespace());
    command
}

async fn run(command: &mut Command) -> Ended {
    Bridge::start(command).end().await
}

/// Runs a command line that has to succeed; what it prints on stdout and stderr.
async fn good(lab: &Lab, line: &str) -> [String; 2] {
    let ended = run(&mut vendor(lab, line)).await;
    assert_eq!(ended.code, Some(0), "{line}: {}", ended.stderr);
    [String::from_utf8(ended.stdout).unwrap(), ended.stderr]
}

/// As the vendor's page has it: `configure --mode AK`, and the answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_asks_in_the_words_and_the_order_of_the_vendor() {
    let lab = lab(&[]).await;
    let mut it = Dialogue::start(vendor(&lab, "configure --mode AK"));
    it.expect("Configuring profile 'default' in 'AK' authenticate mode...").await;
    it.answer("Access Key Id []: ", ID).await;
    it.answer("Access Key Secret []: ", SECRET).await;
    it.answer("Default Region Id []: ", "cn-hangzhou").await;
    it.expect("Default Output Format [json]: json (Only support json)").await;
    it.answer("Default Language [zh|en] en: ", "zh").await;
    it.expect("Saving profile[default] ...Done.").await;
    let (code, screen) = it.end().await;
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("hush"), "{screen}");
    let written = profile(&lab, "default");
    for (field, value) in [
        ("mode", "AK"),
        ("access_key_id", ID),
        ("access_key_secret", SECRET),
        ("region_id", "cn-hangzhou"),
        ("output_format", "json"),
        ("language", "zh"),
    ] {
        assert_eq!(written[field], value, "{field}");
    }

    // Enter keeps each answer, and no secret is shown.
    let mut it = Dialogue::start(vendor(&lab, "configure"));
    it.answer("Access Key Id [LTAI…001]: ", "").await;
    it.answer("Access Key Secret [****jkl]: ", "").await;
    it.answer("Default Region Id [cn-hangzhou]: ", "").await;
    it.answer("Default Language [zh|en] zh: ", "").await;
    let (code, screen) = it.end().await;
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("hush") && !screen.contains(ID), "{screen}");
    assert_eq!(profile(&lab, "default"), written);

    let uri = lab.cloud.credentials_uri();
    let mut it = Dialogue::start(vendor(&lab, "configure --mode=CredentialsURI"));
    it.expect(
        "changing the authentication type of profile 'default' from 'AK' to 'CredentialsURI'",
    )
    .await;
    it.answer("Credentials URI []: ", &uri).await;
    it.answer("Default Region Id [cn-hangzhou]: ", "").await;
    it.answer("Default Language [zh|en] zh: ", "en").await;
    it.expect("Saving profile[default] ...Done.").await;
    assert_eq!(it.end().await.0, Some(0));
    assert_eq!(profile(&lab, "default")["credentials_uri"], uri);
}

/// ali-instance-cli makes each profile that it writes the current one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_that_is_written_becomes_the_current_one() {
    let lab = lab(&[]).await;
    write(&lab, PRESENT);
    let current = |name: &str| assert!(content(&lab).contains(&format!("\"current\": \"{name}\"")));
    let mut it = Dialogue::start(vendor(&lab, "configure --profile asked"));
    it.expect("Configuring profile 'asked' in 'AK' authenticate mode...").await;
    it.answer("Access Key Id []: ", ID).await;
    it.answer("Access Key Secret []: ", SECRET).await;
    it.answer("Default Region Id []: ", "cn-hangzhou").await;
    it.answer("Default Language [zh|en] en: ", "").await;
    it.expect("Saving profile[asked] ...Done.").await;
    assert_eq!(it.end().await.0, Some(0));
    current("asked");
    let line = "configure set --profile=set --mode=StsToken --region=cn-beijing --access-key-id=STS.x \
                --access-key-secret=hush --sts-token=hush";
    let [_, stderr] = good(&lab, line).await;
    assert!(!stderr.contains("configure switch"), "it is the current one: {stderr}");
    current("set");
    assert_eq!(
        good(&lab, "configure get profile mode region").await[0],
        "set\nStsToken\ncn-beijing\n"
    );

    // The first one follows one that is deleted.
    let [_, stderr] = good(&lab, "configure delete -p set").await;
    assert!(stderr.contains("profile 'work' is the current one now"), "{stderr}");
    current("work");
    let own = lab.bridge(["configure", "delete", "work"]).output().await.unwrap();
    assert_eq!(own.status.code(), Some(2), "under its own name the user chooses: {own:?}");
    current("work");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_count_as_they_do_for_the_vendor_s() {
    let lab = lab(&[]).await;
    write(&lab, PRESENT);
    std::fs::set_permissions(file(&lab), Permissions::from_mode(0o600)).unwrap();
    // Keys of the environment do not go before a profile, and `configure list` does not say so.
    let mut list = vendor(&lab, "configure list");
    list.envs([
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "other"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "hush"),
    ]);
    let ended = run(&mut list).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    // Variables that name a profile count for `configure`.
    good(
        &lab,
        "configure set -p two --region cn-beijing --access-key-id i --access-key-secret hush",
    )
    .await;
    let mut get = vendor(&lab, "configure get region");
    let ended = run(get.env("ALIBABA_CLOUD_PROFILE", "work")).await;
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), "cn-hangzhou\n");
}
