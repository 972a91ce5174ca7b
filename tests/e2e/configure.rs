//! `configure` at a terminal: what it asks, what it shows, what it writes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use local_cloud::{AccessKey, Agent, Instance, LocalCloud};
use rustix::process::Signal;
use serde_json::Value;
use tokio::process::Command;

use crate::dialogue::Dialogue;
use crate::lab::{Bridge, Ended, Lab, refusing};
use crate::world::INSTANCE;

pub(crate) const ID: &str = "LTAI5tExample0001";
pub(crate) const SECRET: &str = "hush-0123456789abcdefghijkl";

/// A lab whose cloud knows one more key, which may do everything but what is named.
pub(crate) async fn lab(denied: &[&str]) -> Lab {
    let mut key = AccessKey::new(ID, SECRET);
    for action in denied {
        key = key.deny(*action);
    }
    let cloud = LocalCloud::builder().access_key(AccessKey::new("testid", "testsecret"));
    Lab::with(cloud.access_key(key), Instance::new(INSTANCE).agent(Agent::d().quick())).await
}

/// The binary without credentials or a region but those that it is told.
pub(crate) fn bare(lab: &Lab, args: &[&str]) -> Command {
    let mut command = lab.bridge(args);
    for name in ["ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "REGION_ID"] {
        command.env_remove(format!("ALIBABA_CLOUD_{name}"));
    }
    command
}

pub(crate) fn start(lab: &Lab, args: &[&str]) -> Dialogue {
    Dialogue::start(bare(lab, &[&["configure"], args].concat()))
}

pub(crate) async fn run(lab: &Lab, args: &[&str]) -> Ended {
    Bridge::start(&mut bare(lab, &[&["configure"], args].concat())).end().await
}

pub(crate) fn file(lab: &Lab) -> PathBuf {
    lab.dir.path().join(".aliyun/config.json")
}

pub(crate) fn content(lab: &Lab) -> String {
    fs::read_to_string(file(lab)).unwrap()
}

pub(crate) fn write(lab: &Lab, text: &str) {
    fs::create_dir_all(file(lab).parent().unwrap()).unwrap();
    fs::write(file(lab), text).unwrap();
}

/// Names of what is in the folder of the file.
pub(crate) fn folder(lab: &Lab) -> Vec<String> {
    let entries = fs::read_dir(file(lab).parent().unwrap()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

pub(crate) fn profile(lab: &Lab, name: &str) -> Value {
    let file: Value = serde_json::from_str(&content(lab)).unwrap();
    let profiles = file["profiles"].as_array().unwrap();
    profiles.iter().find(|profile| profile["name"] == name).unwrap().clone()
}

/// A file of the vendor's CLI, and of somebody who has edited it.
pub(crate) const PRESENT: &str = "{\n\t\"current\": \"work\",\n\t\"profiles\": [\n\t\t{\n\t\t\t\"name\": \"work\",\n\t\t\t\
    \"region_id\": \"cn-hangzhou\",\n\t\t\t\"mode\": \"AK\",\n\t\t\t\"access_key_id\": \"LTAI5tExample0001\",\n\
    \t\t\t\"access_key_secret\": \"hush-0123456789abcdefghijkl\",\n\t\t\t\"new_thing\": {\"x\": 1.50},\n\t\t\t\
    \"output_format\": \"json\"\n\t\t}\n\t],\n\t\"meta_path\": \"\"\n}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_profile_is_asked_for_tried_and_written() {
    let lab = lab(&[]).await;
    let mut it = start(&lab, &[]);
    it.expect("profile 'default'").await;
    it.answer("AccessKey ID: ", ID).await;
    it.answer("AccessKey secret: ", SECRET).await;
    it.answer("Region, such as cn-hangzhou: ", "cn-hangzhou").await;
    it.expect("the credentials are good").await;
    let (code, screen) = it.end().await;
    assert_eq!(code, Some(0));
    assert!(!screen.contains("hush"), "{screen}");
    assert!(screen.contains(ID) && screen.contains("cn-hangzhou"), "what may be seen is");
    assert!(screen.contains(", mode AK (others: --mode MODE"), "{screen}");
    let next = "next: ecs-bridge ssh-config --write, then ssh root@i-…";
    assert_eq!(screen.trim_end().lines().last().unwrap().trim(), next);
    assert_eq!(
        content(&lab),
        format!(
            "{{\n\t\"current\": \"default\",\n\t\"profiles\": [\n\t\t{{\n\t\t\t\"name\": \"default\",\n\
             \t\t\t\"mode\": \"AK\",\n\t\t\t\"access_key_id\": \"{ID}\",\n\t\t\t\
             \"access_key_secret\": \"{SECRET}\",\n\t\t\t\"region_id\": \"cn-hangzhou\",\n\t\t\t\
             \"output_format\": \"json\",\n\t\t\t\"language\": \"en\"\n\t\t}}\n\t]\n}}\n"
        )
    );
    assert_eq!(folder(&lab), ["config.json"]);
    let calls = lab.cloud.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].action, "DescribeInstanceStatus");
    assert_eq!(calls[0].code, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enter_keeps_what_is_there_and_shows_no_secret() {
    let lab = lab(&[]).await;
    write(&lab, PRESENT);
    let mut it = start(&lab, &[]);
    it.answer("AccessKey ID [LTAI…001]: ", "").await;
    it.answer("AccessKey secret [****jkl]: ", "").await;
    it.answer("[cn-hangzhou]: ", "").await;
    it.expect("profile 'work' is as it was").await;
    let (code, screen) = it.end().await;
    assert_eq!(code, Some(0));
    assert!(!screen.contains("hush") && !screen.contains(ID), "{screen}");
    assert!(!screen.contains("next:"), "nothing was written: {screen}");
    assert_eq!(content(&lab), PRESENT);

    // One answer, and nothing else is touched.
    let mut it = start(&lab, &["--no-check"]);
    it.answer("]: ", "").await;
    it.answer("]: ", "").await;
    it.answer("[cn-hangzhou]: ", "cn-beijing").await;
    assert_eq!(it.end().await.0, Some(0));
    assert_eq!(content(&lab), PRESENT.replace("cn-hangzhou", "cn-beijing"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_profile_does_not_become_the_current_one() {
    let lab = lab(&[]).await;
    write(&lab, PRESENT);
    let mut it = start(&lab, &["--profile", "my other", "--mode", "stsTOKEN", "--no-check"]);
    it.expect("profile 'my other'").await;
    it.expect("mode StsToken").await;
    it.answer("AccessKey ID: ", "STS.example").await;
    it.answer("secret: ", "hush").await;
    // Longer than what a terminal keeps of a line by itself.
    let token = format!("hush-{}", "0123456789".repeat(700));
    it.answer("token: ", &token).await;
    it.answer("Region", "cn-beijing").await;
    it.expect("--profile 'my other', or: ecs-bridge configure switch 'my other'").await;
    it.expect("next: ecs-bridge ssh-config --write --profile 'my other', then ssh root@i-…").await;
    let (code, screen) = it.end().await;
    assert_eq!(code, Some(0));
    assert!(!screen.contains("hush"), "{screen}");
    assert!(!screen.contains("others: --mode"), "the mode was chosen: {screen}");
    assert_eq!(profile(&lab, "my other")["sts_token"], token);
    let head = PRESENT.split_once("\n\t],").unwrap().0;
    assert!(content(&lab).starts_with(&format!("{head},\n\t\t{{\n\t\t\t\"name\": \"my other\"")));
    assert!(content(&lab).contains("\"current\": \"work\""));
    assert!(content(&lab).ends_with("\n\t\t}\n\t],\n\t\"meta_path\": \"\"\n}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_typed_ahead_is_not_seen_either() {
    let lab = lab(&[]).await;
    let mut it = start(&lab, &[]);
    it.expect("AccessKey ID: ").await;
    it.type_in(&format!("{ID}\r{SECRET}\rcn-hangzhou\r")).await;
    let (code, screen) = it.end().await;
    assert_eq!(code, Some(0));
    assert!(screen.contains(ID) && !screen.contains("hush"), "{screen}");
    assert_eq!(profile(&lab, "default")["access_key_secret"], SECRET);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_bad_are_written_only_if_somebody_says_so() {
    for (answer, code) in [("\rn", 4), ("n\rn", 4), ("what?\rno\rno", 4), ("y", 0)] {
        let lab = lab(&[]).await;
        let mut it = start(&lab, &[]);
        it.answer("AccessKey ID: ", ID).await;
        it.answer("AccessKey secret: ", "hush-not-this-one").await;
        it.answer("Region", "cn-hangzhou").await;
        it.expect("SignatureDoesNotMatch").await;
        it.expect(&format!("profile 'default' of {}", file(&lab).display())).await;
        it.answer("all the same? [y/N]: ", answer).await;
        let (ended, screen) = it.end().await;
        assert_eq!(ended, Some(code), "{answer}");
        assert!(!screen.contains("hush") && !screen.contains(".ecs-bridge-"), "{screen}");
        match code {
            0 => assert_eq!(profile(&lab, "default")["access_key_secret"], "hush-not-this-one"),
            _ => assert!(!file(&lab).exists() && screen.contains("nothing was written")),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_lack_a_permission_are_good() {
    let lab = lab(&["DescribeInstanceStatus"]).await;
    let mut it = start(&lab, &[]);
    it.answer("AccessKey ID: ", ID).await;
    it.answer("AccessKey secret: ", SECRET).await;
    it.answer("Region", "cn-hangzhou").await;
    it.expect("the credentials are good, but:").await;
    it.expect("a permission is missing").await;
    it.expect("is written to").await;
    assert_eq!(it.end().await.0, Some(0));
    assert_eq!(profile(&lab, "default")["access_key_id"], ID);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_can_be_reached_somebody_has_to_decide() {
    for (answer, code) in [("n\rn", 7), ("\rn", 7), ("y", 0)] {
        let lab = lab(&[]).await;
        let (_bound, addr) = refusing();
        let mut command = bare(&lab, &["configure"]);
        command.env("ALIBABA_CLOUD_ENDPOINT", format!("http://{addr}"));
        let mut it = Dialogue::start(command);
        it.answer("AccessKey ID: ", ID).await;
        it.answer("AccessKey secret: ", SECRET).await;
        it.answer("Region", "hangzhou").await;
        it.expect("note: did you mean cn-hangzhou, the public region?").await;
        it.answer("could not be verified; write it? [y/N]: ", answer).await;
        let (ended, screen) = it.end().await;
        assert_eq!(ended, Some(code), "{answer}");
        assert_eq!(screen.contains("nothing was written"), code != 0, "{screen}");
        assert_eq!(file(&lab).exists(), code == 0);
    }
}

/// Nothing that was typed is lost: each answer is offered, and one of them is changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_did_not_work_can_be_changed() {
    let lab = lab(&[]).await;
    let mut it = start(&lab, &[]);
    it.answer("AccessKey ID: ", ID).await;
    it.answer("AccessKey secret: ", "hush-not-this-one").await;
    it.answer("Region", "cn-hangzhou").await;
    it.answer("all the same? [y/N]: ", "").await;
    it.answer("change the answers and try again? [Y/n]: ", "").await;
    it.answer("AccessKey ID [LTAI…001]: ", "").await;
    it.answer("AccessKey secret [****]: ", SECRET).await;
    it.answer("[cn-hangzhou]: ", "").await;
    it.expect("the credentials are good").await;
    let (code, screen) = it.end().await;
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("hush") && !screen.contains("nothing was written"), "{screen}");
    let written = profile(&lab, "default");
    assert_eq!((&written["mode"], &written["access_key_id"]), (&"AK".into(), &ID.into()));
    assert_eq!(
        (&written["access_key_secret"], &written["region_id"]),
        (&SECRET.into(), &"cn-hangzhou".into())
    );
}

/// Who gives up is told how to go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_up_is_told_what_to_do() {
    let lab = lab(&[]).await;
    let mut it = start(&lab, &["--profile", "new"]);
    it.answer("AccessKey ID: ", ID).await;
    it.answer("AccessKey secret: ", "hush-not-this-one").await;
    it.answer("Region", "cn-hangzou").await;
    it.expect("note: did you mean cn-hangzhou, the public region?").await;
    it.answer("[y/N]: ", "n").await;
    it.answer("change the answers and try again? [Y/n]: ", "n").await;
    it.expect("nothing was written").await;
    it.expect("ecs-bridge configure --mode AK --profile new; with --no-check").await;
    assert_ne!(it.end().await.0, Some(0));
    assert!(!file(&lab).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slip_is_told_and_asked_about_again_but_not_for_ever() {
    let lab = lab(&[]).await;
    let mut it = start(&lab, &["--no-check"]);
    it.answer("AccessKey ID: ", "LTAI 5t").await;
    it.expect("invalid value: it has blanks").await;
    it.answer("AccessKey ID: ", "").await;
    it.expect("invalid value: it is needed").await;
    it.answer("AccessKey ID: ", "STS.x\x7f\x7f\x7f\x7f\x7fLTAI5t").await;
    it.answer("secret: ", "hush").await;
    it.answer("Region", "Hangzhou").await;
    it.expect("did you mean cn-hangzhou?").await;
    it.answer("Region", "cn_hangzhou").await;
    it.answer("Region", "中国").await;
    it.expect("no region_id that can be used was given: nothing was written").await;
    assert_eq!(it.end().await.0, Some(2));
    assert!(!file(&lab).exists());

    let mut it = start(&lab, &["--no-check"]);
    it.answer("AccessKey ID: ", "STS.example").await;
    it.expect("use mode StsToken").await;
    it.type_in("\u{3}").await;
    assert_eq!(it.end().await.0, Some(130));
}

/// How somebody leaves before the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_leaves_no_trace() {
    let lab = lab(&[]).await;
    for hidden in [false, true] {
        for (key, signal, code) in [
            (Some("\u{3}"), None, 130),
            (Some("\u{4}"), None, 1),
            (Some("\u{1c}"), None, 130),
            (None, Some(Signal::TERM), 143),
            (None, Some(Signal::INT), 130),
            (None, Some(Signal::HUP), 129),
        ] {
            let mut it = start(&lab, &[]);
            it.expect("AccessKey ID: ").await;
            if hidden {
                it.type_in(&format!("{ID}\r")).await;
                it.expect("AccessKey secret: ").await;
            }
            assert!(!it.echoes());
            if let Some(key) = key {
                it.type_in(key).await;
            }
            if let Some(signal) = signal {
                it.signal(signal);
            }
            let (ended, screen) = it.end().await;
            assert_eq!(ended, Some(code), "{key:?} {signal:?}");
            assert!(screen.contains("nothing was written"), "{screen}");
        }
        let mut it = start(&lab, &[]);
        it.expect("AccessKey ID: ").await;
        if hidden {
            it.type_in(&format!("{ID}\r")).await;
            it.expect("AccessKey secret: ").await;
        }
        assert_eq!(it.hang_up().await, Some(129));
    }
    assert!(!lab.dir.path().join(".aliyun").exists());
    assert!(lab.cloud.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_waited_for_can_be_left_too() {
    let lab = lab(&[]).await;
    lab.cloud.faults().api(local_cloud::ApiFault::on("DescribeInstanceStatus").silent());
    write(&lab, PRESENT);
    let mut it = start(&lab, &[]);
    it.answer("AccessKey ID", ID).await;
    it.answer("AccessKey secret", SECRET).await;
    it.answer("Region", "cn-beijing").await;
    it.expect("trying it").await;
    let called = lab.cloud.wait_for(|state| state.calls().count() > 0, crate::world::PATIENCE);
    called.await.unwrap();
    it.type_in("\u{3}").await;
    assert_eq!(it.end().await.0, Some(130));
    assert_eq!(content(&lab), PRESENT);
    assert_eq!(folder(&lab), ["config.json"], "what was tried is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_is_stopped_the_terminal_is_the_shell_s() {
    let lab = lab(&[]).await;
    let mut it = start(&lab, &["--no-check"]);
    it.answer("AccessKey ID: ", ID).await;
    it.expect("AccessKey secret: ").await;
    // What comes with an answer has been read once that one is rejected.
    it.type_in("\rhush-").await;
    it.expect("invalid value").await;
    it.expect("AccessKey secret: ").await;
    // Once as the terminal does it, once as kill does.
    for by_key in [true, false] {
        assert!(!it.echoes());
        match by_key {
            true => it.type_in("\u{1a}").await,
            false => it.signal(Signal::TSTP),
        }
        it.stopped().await;
        assert!(it.echoes(), "the shell gets the terminal as it was");
        it.signal(Signal::CONT);
        it.expect("AccessKey secret: ").await;
    }
    assert!(!it.echoes());
    it.type_in("more\r").await;
    it.answer("Region", "cn-hangzhou").await;
    let (code, screen) = it.end().await;
    assert_eq!(code, Some(0));
    assert!(!screen.contains("hush") && !screen.contains("more"), "{screen}");
    let secret = profile(&lab, "default")["access_key_secret"].clone();
    assert_eq!(secret, "more", "nobody could have known how far it had come");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_asked_in_vain() {
    let lab = lab(&[]).await;
    write(&lab, PRESENT);
    fs::set_permissions(file(&lab), fs::Permissions::from_mode(0o400)).unwrap();
    let (code, screen) = start(&lab, &[]).end().await;
    assert_eq!(code, Some(3));
    assert!(screen.contains("is read-only: it was left as it is"), "{screen}");
    fs::remove_file(file(&lab)).unwrap();
    write(&lab, "{\"hush");
    let (code, screen) = start(&lab, &[]).end().await;
    assert_eq!(code, Some(3));
    assert!(screen.contains("it is not JSON") && !screen.contains("hush"), "{screen}");
    assert_eq!(content(&lab), "{\"hush");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_terminal_there_is_another_way() {
    let lab = lab(&[]).await;
    let ended = run(&lab, &[]).await;
    assert_eq!(ended.code, Some(2));
    let report = ended.report().unwrap();
    assert_eq!(report.what, "stdin is not a terminal, and this command has prompts");
    assert!(report.fix.contains("ecs-bridge configure set"), "{}", report.fix);
    assert!(!file(&lab).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_write_meanwhile_is_not_lost() {
    let lab = lab(&[]).await;
    write(&lab, PRESENT);
    let mut it = start(&lab, &["--profile", "new", "--no-check"]);
    it.answer("AccessKey ID: ", ID).await;
    let other = ["set", "--profile", "other", "--region", "cn-x", "--access-key-id", "i"];
    assert_eq!(run(&lab, &other).await.code, Some(0));
    it.answer("secret: ", "hush").await;
    it.answer("Region", "cn-y").await;
    assert_eq!(it.end().await.0, Some(0));
    assert_eq!(profile(&lab, "other")["region_id"], "cn-x");
    assert_eq!(profile(&lab, "new")["region_id"], "cn-y");

    // But nobody overwrites what he has not seen.
    let mut it = start(&lab, &["--profile", "other", "--no-check"]);
    it.answer("AccessKey ID", "LTAI5tOther").await;
    let other = ["set", "--profile", "other", "--region", "cn-z"];
    assert_eq!(run(&lab, &other).await.code, Some(0));
    it.answer("secret: ", "hush").await;
    it.answer("Region", "cn-w").await;
    it.expect("was changed meanwhile: nothing was written").await;
    assert_eq!(it.end().await.0, Some(3));
    assert_eq!(profile(&lab, "other")["region_id"], "cn-z");
    assert_eq!(profile(&lab, "other")["access_key_id"], "i");
}
