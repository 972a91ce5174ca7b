//! What is never shown, however much is logged.

use local_cloud::{
    AccessKey, Action, Agent, ApiFault, CallRecord, Fault, Instance, LocalCloud, Point, Tls,
};
use tokio::io::AsyncWriteExt;

use crate::lab::{Bridge, Ended, Lab};
use crate::world::{INSTANCE, daily_log, make_key};

const SECRET: &str = "secret/of+the=key";
const TOKEN: &str = "token/of+the=role";
/// What an address of a session has in it.
const ADDRESSES: [&str; 4] = ["token=", "sessionid=", "sessionId=", "session?"];

async fn lab(instance: Instance) -> Lab {
    let key = AccessKey::new("STS.example", SECRET).token(TOKEN);
    let cloud = LocalCloud::builder().access_key(key).tls(Tls::Trusted);
    let lab = Lab::with(cloud, instance.agent(Agent::d().quick())).await;
    std::fs::write(lab.dir.path().join("ca.pem"), lab.cloud.ca_pem().unwrap()).unwrap();
    lab
}

/// Runs it with everything that can be logged, to stderr or to a file, and gives all that was said.
async fn said(lab: &Lab, args: &[&str]) -> Vec<String> {
    let mut texts = Vec::new();
    for to_file in [false, true] {
        let log = lab.dir.path().join("log");
        let mut command = lab.bridge(["-vvv", "--ca-file", "ca.pem", "proxy", INSTANCE]);
        command.args(args);
        // What other programs write the keys of their connections into.
        let keys = lab.dir.path().join("keys");
        command.env("SSLKEYLOGFILE", &keys);
        if to_file {
            command.arg("--log-file").arg(&log);
        }
        let mut bridge = Bridge::start(&mut command);
        // As ssh does; a bridge that has already failed does not read it.
        let _ = bridge.stdin.as_mut().unwrap().write_all(b"SSH-2.0-typed-in\r\n").await;
        #[cfg(target_os = "linux")]
        texts.push(std::fs::read_to_string(format!("/proc/{}/cmdline", bridge.pid())).unwrap());
        let target = async {
            loop {
                lab.accept_if_dialled().await.write_all(b"SSH-2.0-sent-back\r\n").await.unwrap();
            }
        };
        let ended: Ended = tokio::select! {
            ended = bridge.end() => ended,
            () = target => unreachable!("it accepts for ever"),
        };
        if to_file {
            texts.push(std::fs::read_to_string(log).unwrap());
        }
        texts.push(ended.stderr);
        let daily = daily_log(lab.dir.path());
        assert!(daily.contains(" end: exit code "), "{daily}");
        texts.push(daily);
        assert!(!keys.exists(), "the keys of TLS are written down");
    }
    texts
}

fn check(lab: &Lab, texts: &[String]) {
    check_calls(lab, texts);
    let all = texts.concat();
    assert!(all.contains("StartTerminalSession"), "nothing was logged:\n{all}");
}

fn check_calls(lab: &Lab, texts: &[String]) {
    let mut secrets: Vec<String> = vec![SECRET.into(), TOKEN.into()];
    let calls = lab.cloud.calls();
    secrets.extend(calls.iter().map(signature));
    secrets.extend(lab.cloud.upgrades().into_iter().filter_map(|upgrade| upgrade.token_header));
    secrets.retain(|secret| !secret.is_empty());
    assert!(secrets.len() > 2, "nothing to look for");
    let encoded = |text: &String| text.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    let all: Vec<_> = secrets.iter().flat_map(|secret| [secret.clone(), encoded(secret)]).collect();
    for text in texts {
        for secret in all.iter().map(String::as_str).chain(ADDRESSES) {
            assert!(!text.contains(secret), "'{secret}' is in:\n{text}");
        }
        assert!(
            !text.contains("typed-in") && !text.contains("sent-back"),
            "payload is in:\n{text}"
        );
    }
}

fn signature(call: &CallRecord) -> String {
    let header = call.headers.get("authorization").and_then(|text| text.split("Signature=").last());
    header.map_or_else(|| call.params["Signature"].clone(), str::to_owned)
}

#[tokio::test]
async fn a_session_that_goes_well_shows_none() {
    for version in ["v3", "v1"] {
        let lab = lab(Instance::new(INSTANCE)).await;
        let texts = said(&lab, &["--signature-version", version]).await;
        check(&lab, &texts);
        assert_eq!(lab.cloud.sessions().len(), 2);
        lab.all_ended().await;
    }
}

#[tokio::test]
async fn a_failure_shows_none() {
    for version in ["v3", "v1"] {
        let args = ["--signature-version", version];
        for fault in [
            Fault::new(Point::Upgrade, Action::Refuse(403)),
            Fault::new(Point::Opened, Action::Cut),
        ] {
            let lab = lab(Instance::new(INSTANCE).fault(fault)).await;
            check(&lab, &said(&lab, &args).await);
        }
        let lab = lab(Instance::new(INSTANCE)).await;
        // The service's own message repeats what was signed.
        lab.cloud.update_access_key("STS.example", |key| key.secret = "another".into());
        check(&lab, &said(&lab, &args).await);
        lab.cloud.faults().api(ApiFault::on_any().cut());
        check(&lab, &said(&lab, &args).await);
    }
}

/// Neither do the commands that only call the API, whether they go well or not.
#[tokio::test]
async fn keys_and_host_keys_show_none() {
    for version in ["v3", "v1"] {
        let lab = lab(Instance::new(INSTANCE)).await;
        make_key(lab.dir.path(), "id").await;
        let private = std::fs::read_to_string(lab.dir.path().join("id")).unwrap();
        let log = lab.dir.path().join("log");
        let run = async |args: &[&str]| {
            let options = ["-vvv", "--ca-file", "ca.pem", "--signature-version", version];
            let mut texts = Vec::new();
            for to_file in [false, true] {
                let mut command = lab.bridge(options.iter().chain(args));
                if to_file {
                    command.arg("--log-file").arg(&log);
                }
                let ended = Bridge::start(&mut command).end().await;
                texts.extend([ended.stderr, String::from_utf8(ended.stdout).unwrap()]);
            }
            texts.push(std::fs::read_to_string(&log).unwrap());
            texts.push(daily_log(lab.dir.path()));
            texts
        };
        let all = async || {
            let mut texts = Vec::new();
            for args in [
                &["send-key", "-i", INSTANCE, "--public-key", "id.pub"][..],
                &["send-key", "-i", INSTANCE, "--public-key", "id.pub", "--json"],
                &["send-key", "-i", INSTANCE, "--public-key", "id"],
                &["known-hosts", INSTANCE],
            ] {
                texts.extend(run(args).await);
            }
            texts
        };
        let mut texts = all().await;
        lab.cloud.update_access_key("STS.example", |key| key.secret = "another".into());
        texts.extend(all().await);
        check_calls(&lab, &texts);
        for line in private.lines().filter(|line| !line.starts_with("-----")) {
            assert!(!texts.concat().contains(line), "the private key is in a log");
        }
        assert!(texts.concat().contains("InvokeCommand"), "nothing was logged");
    }
}

/// An answer whose address cannot be used is not shown either.
#[tokio::test]
async fn an_address_that_cannot_be_used_is_not_shown() {
    let lab = lab(Instance::new(INSTANCE)).await;
    let answer = r#"{"RequestId": "R", "SessionId": "s", "SecurityToken": "shush",
        "WebSocketUrl": "http://gateway.example/session?sessionid=s&token=shush"}"#;
    lab.cloud.faults().api(ApiFault::on("StartTerminalSession").raw(
        200,
        "application/json",
        answer,
    ));
    let texts = said(&lab, &[]).await;
    check(&lab, &texts);
    assert!(!texts.concat().contains("shush"));
}
