//! `configure set`, `get`, `list`, `delete`, `switch`, and the files that they meet.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use local_cloud::{AccessKey, Agent, Instance, LocalCloud};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::configure::{bare, content, file, folder, profile, run, write};
use crate::lab::{Bridge, Ended, Lab};
use crate::world::INSTANCE;

async fn lab() -> Lab {
    Lab::new(Instance::new(INSTANCE).agent(Agent::d().quick())).await
}

async fn with_stdin(mut command: Command, stdin: &str) -> Ended {
    let mut bridge = Bridge::start(&mut command);
    let mut pipe = bridge.stdin.take().unwrap();
    // One that has failed already does not read it.
    let _ = pipe.write_all(stdin.as_bytes()).await;
    drop(pipe);
    bridge.end().await
}

/// It ends with 0.
async fn done(lab: &Lab, args: &[&str]) -> Ended {
    let ended = run(lab, args).await;
    assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
    ended
}

async fn said(lab: &Lab, args: &[&str]) -> String {
    String::from_utf8(done(lab, args).await.stdout).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// One profile, as the vendor's CLI writes it.
fn one(region: &str) -> String {
    format!(
        "{{\n\t\"current\": \"work\",\n\t\"profiles\": [\n\t\t{{\n\t\t\t\"name\": \"work\",\n\t\t\t\
         \"mode\": \"AK\",\n\t\t\t\"access_key_id\": \"LTAI5tExample0001\",\n\t\t\t\
         \"access_key_secret\": \"hush-0123456789abcdefghijkl\",\n\t\t\t\"region_id\": \"{region}\"\n\
         \t\t}}\n\t],\n\t\"meta_path\": \"\"\n}}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_are_set_shown_switched_and_deleted() {
    let lab = lab().await;
    assert_eq!(said(&lab, &["list", "--json"]).await, "[]\n");
    let id = ["--access-key-id", "LTAI5tExample0001", "--region", "cn-hangzhou"];
    let mut command = bare(&lab, &["configure", "set", "--profile", "one"]);
    command.args(id).args(["--access-key-secret", "-"]);
    let ended = with_stdin(command, "hush-one\n").await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stderr, format!("profile 'one' is written to {}\n", file(&lab).display()));
    assert_eq!((mode(&file(&lab)), mode(file(&lab).parent().unwrap())), (0o600, 0o700));

    let mut command = bare(&lab, &["configure", "set", "--profile", "zwei ü"]);
    command.args(["--mode", "ststoken", "--access-key-id", "-", "--access-key-secret", "-"]);
    command.args(["--sts-token", "-", "--region", "cn-beijing", "--sts-expiration", "4102444800"]);
    let ended = with_stdin(command, "STS.two\r\nhush-two\r\nhush-token").await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("configure switch 'zwei ü'"), "{}", ended.stderr);

    let table = said(&lab, &["list"]).await;
    assert_eq!(
        table,
        "PROFILE  MODE      ACCESS KEY  REGION       STATUS\n\
         one *    AK        LTAI…001    cn-hangzhou  ok\n\
         zwei ü   StsToken  …           cn-beijing   ok\n"
    );
    done(&lab, &["switch", "zwei ü"]).await;
    let list: Value = serde_json::from_str(&said(&lab, &["list", "--json"]).await).unwrap();
    assert_eq!(
        list[1],
        json!({"name": "zwei ü", "current": true, "mode": "StsToken", "access_key_id": "…",
            "region_id": "cn-beijing", "file": file(&lab).to_str().unwrap(), "problem": null})
    );

    assert_eq!(said(&lab, &["get", "region", "mode"]).await, "cn-beijing\nStsToken\n");
    for fields in [&["sts_token"][..], &["region", "sts-token"], &["--json", "access_key_secret"]] {
        let ended = run(&lab, &[&["get"], fields].concat()).await;
        assert_eq!(ended.code, Some(1), "{fields:?}: {}", ended.stderr);
        ended.said(b"");
        let report = ended.report().unwrap();
        assert!(report.what.ends_with("was not printed: it is a secret"), "{}", ended.stderr);
        assert!(report.fix.contains("--show-secrets"), "{}", ended.stderr);
    }
    let ended = done(&lab, &["--profile", "one", "get", "access_key_id"]).await;
    ended.said("LTAI…001\n".as_bytes());
    assert!(ended.stderr.contains("--show-secrets"), "{}", ended.stderr);
    let ended = run(&lab, &["--no-check", "list"]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert_eq!(said(&lab, &["get", "sts-token", "--show-secrets"]).await, "hush-token\n");
    let all = said(&lab, &["get", "--profile", "one"]).await;
    assert!(all.contains("region_id = cn-hangzhou\n") && !all.contains("hush"), "{all}");
    let all = said(&lab, &["get", "--json", "--profile", "zwei ü"]).await;
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all["sts_expiration"], 4_102_444_800_u64);
    assert_eq!(all["access_key_secret"], "****");

    let ended = run(&lab, &["delete", "zwei ü"]).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.report().unwrap().fix.contains("switch"));
    done(&lab, &["switch", "one"]).await;
    done(&lab, &["delete", "zwei ü"]).await;
    for args in [&["delete", "gone"][..], &["switch", "gone"], &["get", "--profile", "gone"]] {
        let ended = run(&lab, args).await;
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        assert_eq!(ended.report().unwrap().what, "there is no profile 'gone'");
    }
    done(&lab, &["delete", "one"]).await;
    assert_eq!(content(&lab), "{\n\t\"current\": \"\",\n\t\"profiles\": []\n}\n");
    assert_eq!(folder(&lab), ["config.json"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_is_used() {
    let key = AccessKey::new("STS.here", "hush-here").token("hush-token");
    let builder = LocalCloud::builder().access_key(AccessKey::new("testid", "testsecret"));
    let lab = Lab::with(builder.access_key(key), Instance::new(INSTANCE)).await;
    let set = |token: &str| {
        let mut command = bare(&lab, &["configure", "set", "--check", "--mode", "StsToken"]);
        command.args(["--access-key-id", "STS.here", "--region", "cn-hangzhou"]);
        command.env("ECS_BRIDGE_ACCESS_KEY_SECRET", "hush-here").env("ECS_BRIDGE_STS_TOKEN", token);
        Bridge::start(&mut command).end()
    };
    let ended = set("hush-token").await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("the credentials are good"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("others on this machine"), "{}", ended.stderr);

    // What was set stays set, and the exit code tells.
    let ended = set("hush-other").await;
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stderr.contains("is written to") && !ended.stderr.contains("hush"));
    assert!(content(&lab).contains("hush-other"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_others_could_see_is_warned_of_and_not_repeated() {
    let lab = lab().await;
    let set = ["set", "--profile", "x", "--access-key-secret", "hush-1", "--sts-token", "hush-2"];
    let ended = done(&lab, &set).await;
    for option in ["--access-key-secret", "--sts-token"] {
        let warning = format!("others on this machine could see the value of {option}");
        assert!(ended.stderr.contains(&warning), "{}", ended.stderr);
    }
    assert!(ended.stderr.contains("it cannot be used as it is: lacks access_key_id"));
    assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_not_written() {
    let lab = lab().await;
    write(&lab, &one("cn-a"));
    for (args, stdin, what) in [
        (&["set"][..], "", "there is nothing to set"),
        (&["set", "--region", "cn a"], "", "--region is not accepted"),
        (&["set", "--ram-role-arn", "x"], "", "--ram-role-arn is not accepted"),
        (&["set", "--expired-seconds", "1"], "", "--expired-seconds is not accepted"),
        (&["set", "--endpoint", "http://example.com"], "", "--endpoint is not accepted"),
        (&["set", "--access-key-secret", "-"], "", "stdin has no line for --access-key-secret"),
        (&["set", "--access-key-secret", "-", "--sts-token", "-"], "hush\n\n", "for --sts-token"),
        (
            &["set", "--access-key-secret", "-"],
            "hush hush\n",
            "--access-key-secret is not accepted",
        ),
    ] {
        let ended = with_stdin(bare(&lab, &[&["configure"], args].concat()), stdin).await;
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.report().unwrap().what.contains(what), "{}", ended.stderr);
        assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
        assert_eq!(content(&lab), one("cn-a"));
    }
    let ended = run(&lab, &["get", "nothing"]).await;
    assert_eq!(ended.code, Some(3));
    assert_eq!(ended.report().unwrap().what, "profile 'work' has no nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_is_taken_out_and_an_end_goes_with_its_token() {
    let lab = lab().await;
    let more = ",\n\t\t\t\"sts_token\": \"t\",\n\t\t\t\"sts_expiration\": 1700000000";
    let before = one("cn-a").replace("\"cn-a\"", &format!("\"cn-a\"{more}"));
    write(&lab, &before);
    done(&lab, &["set", "--region", "cn-b"]).await;
    assert_eq!(content(&lab), before.replace("cn-a", "cn-b"), "not with other fields");
    let mut command = bare(&lab, &["configure", "set", "--sts-token", "-"]);
    command.env("ECS_BRIDGE_REGION", "cn-other").env("ECS_BRIDGE_ENDPOINT", "other.example.com");
    assert_eq!(with_stdin(command, "u").await.code, Some(0));
    let after = before.replace("cn-a", "cn-b").replace("\"t\"", "\"u\"");
    let end = ",\n\t\t\t\"sts_expiration\": 1700000000";
    assert_eq!(content(&lab), after.replace(end, ""), "and the environment is not written down");
    done(&lab, &["set", "--sts-token="]).await;
    assert_eq!(content(&lab), one("cn-b"));
}

/// A variable may have the very value that the command line gives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_command_line_gives_is_set_whatever_a_variable_has() {
    let lab = lab().await;
    for fields in [&["--region", "cn-b"][..], &["--region", "cn-b", "--access-key-id", "other"]] {
        write(&lab, &one("cn-a"));
        let mut command = bare(&lab, &[&["configure", "set"], fields].concat());
        let ended = Bridge::start(command.env("ECS_BRIDGE_REGION", "cn-b")).end().await;
        assert_eq!(ended.code, Some(0), "{fields:?}: {}", ended.stderr);
        assert_eq!(profile(&lab, "work")["region_id"], "cn-b", "{fields:?}");
    }
    let endpoint = "ecs.example.com";
    let mut command = bare(&lab, &["configure", "set", "--endpoint", endpoint]);
    let ended = Bridge::start(command.env("ECS_BRIDGE_ENDPOINT", endpoint)).end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(profile(&lab, "work")["endpoint"], endpoint);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_all_kinds() {
    let set = ["set", "--profile", "work", "--region", "cn-b"];
    // What becomes of each; `None` is a file that is left as it is, with a reason.
    for (before, after, problem) in [
        (String::new(), None, ""),
        (" \n".to_owned(), None, ""),
        (format!("\u{feff}{}", one("cn-a")), Some(one("cn-b")), ""),
        (one("cn-a").replace('\n', "\r\n"), Some(one("cn-b").replace('\n', "\r\n")), ""),
        (
            r#"{"profiles":[{"name":"work","region_id":"cn-0","x":1,"region_id":"cn-a","x":1}]}"#.into(),
            Some(
                // Of a field that stands there twice the last is read, and kept.
                r#"{"profiles":[{"name":"work","region_id":"cn-b","x":1}],"current":"work"}"#.into(),
            ),
            "",
        ),
        (
            r#"{"current":"","profiles":[{"name":"work"},{"name":"work","region_id":"cn-a"}]}"#.into(),
            Some(
                r#"{"current":"work","profiles":[{"name":"work","region_id":"cn-b"},{"name":"work","region_id":"cn-a"}]}"#
                    .into(),
            ),
            "",
        ),
        ("{\"profiles\": [".to_owned(), None, "is not JSON"),
        (one("cn-a").replace("\"cn-a\"", "\"cn-a\","), None, "is not JSON, at line 10, column"),
        ("[]".to_owned(), None, "it is JSON, but not an object"),
        ("{\"profiles\": {\"work\": {}}}".to_owned(), None, "its 'profiles' is not a list"),
        ("{\"current\": {\"name\": \"x\"}}".to_owned(), None, "its 'current' is not a name"),
        ("{\"profiles\": [\"work\"]}".to_owned(), None, "one of its 'profiles' is not a profile"),
        (one("cn-a").replace("\"cn-a\"", "[\"cn-a\"]"), None, "the region_id of profile 'work' is no text"),
        (" ".repeat(10 << 20), None, "it is larger than 1 MiB"),
    ] {
        let lab = lab().await;
        write(&lab, &before);
        let ended = run(&lab, &set).await;
        if problem.is_empty() {
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            let written: Value = serde_json::from_str(&content(&lab)).unwrap();
            assert_eq!(written["current"], "work");
            if let Some(after) = after {
                assert_eq!(content(&lab), after);
            }
            assert_eq!(mode(&file(&lab)), 0o600, "it was readable for others");
        } else {
            assert_eq!(ended.code, Some(3), "{}", ended.stderr);
            let report = ended.report().unwrap();
            assert!(report.what.contains(problem), "{problem}: {}", ended.stderr);
            assert!(!report.fix.is_empty() && !ended.stderr.contains("hush"), "{}", ended.stderr);
            assert!(content(&lab) == before);
        }
        assert_eq!(folder(&lab), ["config.json"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_of_all_kinds() {
    let lab = lab().await;
    let at = |name: &str| lab.dir.path().join(name);
    fs::create_dir_all(at("real")).unwrap();
    fs::create_dir_all(at("folder")).unwrap();
    fs::write(at("real/old"), one("cn-a")).unwrap();
    fs::write(at("real/fixed"), one("cn-a")).unwrap();
    fs::set_permissions(at("real/fixed"), fs::Permissions::from_mode(0o400)).unwrap();
    symlink("real/old", at("link")).unwrap();
    symlink("real/new", at("dangling")).unwrap();
    symlink("nowhere/new", at("lost")).unwrap();
    let set = async |path: &str| {
        run(&lab, &["set", "--profile", "work", "--region", "cn-b", "--config", path]).await
    };
    for (path, real) in
        [("link", "real/old"), ("dangling", "real/new"), ("new/folders/file", "new/folders/file")]
    {
        let ended = set(path).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(fs::read_to_string(at(real)).unwrap().contains("\"cn-b\""));
        assert_eq!(mode(&at(real)), 0o600);
    }
    assert_eq!(fs::read_to_string(at("real/old")).unwrap(), one("cn-b"));
    assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("real/old"));
    assert_eq!(fs::read_link(at("dangling")).unwrap(), Path::new("real/new"));
    assert_eq!(mode(&at("new/folders")), 0o700);

    for (path, what, fix) in [
        ("folder", "it is a folder", "name another file"),
        ("lost", "where it leads nothing can be written: there is no folder", "remove the link"),
        ("real/fixed", "is read-only: it was left as it is", "chmod u+w"),
        #[cfg(target_os = "linux")]
        ("/sys/config.json", "cannot be written", "make its folder /sys writable"),
    ] {
        let ended = set(path).await;
        assert_eq!(ended.code, Some(3), "{path}: {}", ended.stderr);
        let report = ended.report().unwrap();
        assert!(report.what.contains(what) && report.fix.contains(fix), "{}", ended.stderr);
    }
    assert_eq!(fs::read_to_string(at("real/fixed")).unwrap(), one("cn-a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_leaves_the_old_file() {
    let lab = lab().await;
    write(&lab, &one("cn-a"));
    let set = bare(&lab, &["configure", "set", "--region", "cn-b"]);
    let program = set.as_std().get_program().to_str().unwrap().to_owned();
    // Not one byte may be written to a file.
    let mut command = bare(&lab, &[]);
    let mut shell = Command::new("sh");
    for (name, value) in command.as_std_mut().get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.current_dir(lab.dir.path()).args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]);
    shell.arg(program).args(set.as_std().get_args());
    let ended = Bridge::start(&mut shell).end().await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let report = ended.report().unwrap();
    assert!(report.what.contains("cannot be written"), "{}", ended.stderr);
    assert_eq!(report.fix, "free some space, and try again");
    assert_eq!(content(&lab), one("cn-a"));
    assert_eq!(folder(&lab), ["config.json"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_lose_no_profile() {
    let lab = lab().await;
    let mut writers = JoinSet::new();
    for number in 0..12 {
        let name = format!("p{number}");
        let mut command = bare(&lab, &["configure", "set", "--region", "cn-a", "--profile", &name]);
        writers.spawn(async move { Bridge::start(&mut command).end().await });
    }
    while let Some(ended) = writers.join_next().await {
        let ended = ended.unwrap();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    let list: Value = serde_json::from_str(&said(&lab, &["list", "--json"]).await).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 12);
    assert_eq!(folder(&lab), ["config.json"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_that_is_read_first_is_changed_where_it_has_a_say() {
    let lab = lab().await;
    write(&lab, &one("cn-a"));
    let first = lab.dir.path().join(".aliyun/config_ecs.json");
    let ecs = r#"{"current":"ecs","profiles":[{"name":"ecs","mode":"AK","region_id":"cn-e"}]}"#;
    fs::write(&first, ecs).unwrap();
    assert_eq!(said(&lab, &["get", "region_id"]).await, "cn-e\n");
    let table = said(&lab, &["list"]).await;
    assert!(table.contains("FILE") && table.contains("\necs * "), "{table}");

    done(&lab, &["set", "--region", "cn-f"]).await;
    assert_eq!(fs::read_to_string(&first).unwrap(), ecs.replace("cn-e", "cn-f"));
    done(&lab, &["switch", "work"]).await;
    assert_eq!(said(&lab, &["get", "region_id"]).await, "cn-a\n");
    done(&lab, &["set", "--region", "cn-b"]).await;
    assert_eq!(content(&lab), one("cn-b"));
    done(&lab, &["set", "--profile", "new", "--region", "cn-c"]).await;
    assert!(content(&lab).contains("\"new\""), "new ones are where the vendor's tools look");

    let named = lab.dir.path().join("named.json");
    let mut command = bare(&lab, &["configure", "set", "--profile", "x", "--region", "cn-d"]);
    command.env("ALIBABA_CLOUD_CONFIG_FILE", "~/named.json");
    assert_eq!(Bridge::start(&mut command).end().await.code, Some(0));
    assert!(fs::read_to_string(named).unwrap().contains("cn-d"));
    let mut command = bare(&lab, &["configure", "get", "region_id"]);
    command.env("ALIBABA_CLOUD_PROFILE", "new");
    Bridge::start(&mut command).end().await.well(b"cn-c\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_words_of_the_aliyun_cli_are_understood() {
    let lab = lab().await;
    for name in ["one", "two"] {
        let args = ["set", "--profile", name, "--region", "cn-hangzhou", "--language", "zh"];
        done(&lab, &args).await;
    }
    assert_eq!(profile(&lab, "two")["language"], "zh");
    done(&lab, &["set", "--profile", "two", "--output-format", "cols"]).await;
    assert_eq!(profile(&lab, "two")["output_format"], "cols");
    assert_eq!(run(&lab, &["set", "--profile", "two", "--language", "xx"]).await.code, Some(2));

    done(&lab, &["switch", "--profile", "two"]).await;
    assert!(content(&lab).contains("\"current\": \"two\""));
    let before = content(&lab);
    for args in [&["delete"][..], &["switch"], &["delete", "one", "--profile", "two"]] {
        let ended = run(&lab, args).await;
        assert_eq!(ended.code, Some(2), "{args:?}");
    }
    // A variable that somebody has set for something else names nothing to be deleted.
    let mut command = bare(&lab, &["configure", "delete"]);
    let ended = Bridge::start(command.env("ECS_BRIDGE_PROFILE", "one")).end().await;
    assert_eq!(ended.code, Some(2));
    assert_eq!(content(&lab), before);
    done(&lab, &["delete", "--profile", "one"]).await;
    assert!(!content(&lab).contains("\"name\": \"one\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_that_cannot_be_used_are_told_in_the_list() {
    let lab = lab().await;
    let key = r#""mode":"AK","access_key_id":"LTAI5tExample0001","access_key_secret":"hush""#;
    let cases = [
        ("good", format!(r#"{key},"region_id":"cn-a""#), "ok"),
        (
            "no-secret",
            r#""mode":"AK","access_key_id":"LTAI5tExample0001""#.into(),
            "lacks access_key_secret",
        ),
        (
            "rsa",
            r#""mode":"RsaKeyPair","region_id":"cn-a""#.into(),
            "mode RsaKeyPair is not supported",
        ),
        ("no-region", key.to_owned(), "lacks region_id"),
        ("slip", format!(r#"{key},"region_id":"Hangzhou""#), "did you mean cn-hangzhou?"),
        (
            "plain",
            format!(r#"{key},"region_id":"cn-a","endpoint":"http://example.com""#),
            "endpoint is invalid",
        ),
        (
            "moon",
            format!(r#"{key},"region_id":"cn-a","endpoint_type":"moon""#),
            "it has to be vpc or internet",
        ),
    ];
    let profiles: Vec<_> =
        cases.iter().map(|(name, fields, _)| format!(r#"{{"name":"{name}",{fields}}}"#)).collect();
    write(&lab, &format!(r#"{{"current":"good","profiles":[{}]}}"#, profiles.join(",")));
    let table = said(&lab, &["list"]).await;
    for ((name, _, problem), row) in cases.iter().zip(table.lines().skip(1)) {
        assert!(
            row.starts_with(name) && row.ends_with(problem)
                || row.contains(&format!("  {problem}")),
            "{name}: {table}"
        );
    }
    let list: Value = serde_json::from_str(&said(&lab, &["list", "--json"]).await).unwrap();
    assert_eq!(
        (&list[0]["problem"], &list[3]["problem"]),
        (&Value::Null, &json!("lacks region_id"))
    );

    // A region that is given elsewhere stands in for a missing one.
    let mut command = bare(&lab, &["configure", "list"]);
    command.env("ALIBABA_CLOUD_REGION_ID", "cn-a");
    let ended = Bridge::start(&mut command).end().await;
    let table = String::from_utf8(ended.stdout).unwrap();
    let row = table.lines().find(|row| row.starts_with("no-region")).unwrap();
    assert!(row.ends_with("  ok"), "{table}");

    let ended = done(&lab, &["set", "--profile", "no-region", "--language", "zh"]).await;
    assert!(
        ended.stderr.contains("it cannot be used as it is: lacks region_id"),
        "{}",
        ended.stderr
    );
}
