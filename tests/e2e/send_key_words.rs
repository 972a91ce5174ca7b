//! Keys as words of the command line: private ones are kept to themselves, public ones are taken as
//! OpenSSH takes them, and what is written behind them is shown without harm.

use std::path::Path;

use local_cloud::CommandKind;
use serde_json::Value;
use tokio::process::Command;

use crate::lab::{Bridge, Lab};
use crate::send_key::{lab, public_key, send};
use crate::send_key_memory::{count, tell_host_key};
use crate::world::{INSTANCE, make_key, succeed};

async fn keygen(dir: &Path, args: &[&str]) {
    succeed(Command::new("ssh-keygen").arg("-q").args(args).current_dir(dir)).await;
}

/// The lines of a key without those around them that say what it is, but for a last one that is
/// short: it holds the end of the comment, and may as well be the name of a file.
fn body(dir: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join(name)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("-----") && line.len() >= 40);
    lines.map(str::to_owned).collect()
}

/// Refused, and nothing of the secret is on stderr, on stdout or in the log.
async fn is_kept(lab: &Lab, secret: &[String], args: &[&str]) {
    let log = lab.dir.path().join("log");
    let mut command = lab.bridge(["-vvv", "--log-file", log.to_str().unwrap()]);
    let ended = Bridge::start(command.args(args)).end().await;
    assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
    let logged = std::fs::read_to_string(&log).unwrap_or_default();
    for line in secret {
        // Not even a part of a line.
        for part in [&line[..20], &line[line.len() - 20..]] {
            assert!(!ended.stderr.contains(part), "{part:?} of {args:?}: {}", ended.stderr);
            assert!(!logged.contains(part), "{part:?} of {args:?}: {logged}");
        }
    }
    assert!(ended.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_key_in_any_place_is_not_shown() {
    let lab = lab(|instance| instance).await;
    let dir = lab.dir.path();
    for (name, args) in [
        ("pem", &["-m", "PEM", "-t", "rsa", "-b", "2048", "-N", ""][..]),
        ("pkcs8", &["-m", "PKCS8", "-t", "rsa", "-b", "2048", "-N", ""]),
        ("ec", &["-m", "PEM", "-t", "ecdsa", "-b", "384", "-N", ""]),
        ("openssh", &["-t", "ed25519", "-N", "", "-C", "test"]),
    ] {
        keygen(dir, &[args, &["-f", name]].concat()).await;
        let whole = std::fs::read_to_string(dir.join(name)).unwrap();
        let lines = body(dir, name);
        for text in [whole, lines.join("\n"), lines.concat(), lines.join(" ")] {
            for args in [
                &["send-key", "-i", INSTANCE, "--public-key", &text][..],
                &["send-key", "-i", INSTANCE, &text],
                &["send-key", &text],
                &["proxy", "--send-key", &text, "--user", "root", INSTANCE],
                &["proxy", INSTANCE, "--send-key", &text],
                &["proxy", INSTANCE, &text],
                &["proxy", &text],
                &["known-hosts", &text],
                &["known-hosts", INSTANCE, "--key", "x", &text],
                &[&text],
            ] {
                is_kept(&lab, &lines, args).await;
            }
        }
    }
    for line in body(dir, "openssh").iter().chain(&body(dir, "ec")) {
        let secret = std::slice::from_ref(line);
        is_kept(&lab, secret, &["send-key", "-i", INSTANCE, "--public-key", line]).await;
        is_kept(&lab, secret, &["proxy", "--send-key", line, INSTANCE]).await;
    }
    assert!(lab.cloud.calls().is_empty());
}

/// The words of another program are nobody's business.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_program_is_given_is_its_own() {
    let lab = lab(|instance| instance).await;
    let mut command = lab.bridge(["forward", "-i", INSTANCE, "-L", "0:localhost:22", "--no-probe"]);
    command.args(["--exec", "--", "sh", "-c", "echo '-----BEGIN OPENSSH PRIVATE KEY-----'"]);
    let ended = Bridge::start(&mut command).end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.said(b"-----BEGIN OPENSSH PRIVATE KEY-----\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blanks_are_as_openssh_takes_them_and_comments_do_no_harm() {
    let lab = lab(|instance| instance).await;
    let line = public_key(&lab);
    let (kind, key) = line.split_once(' ').unwrap();
    let odd = "a\u{1b}]0;title\u{7}b";
    for between in ["\t", "  "] {
        let text = format!("{kind}{between}{key}{between}{odd}");
        std::fs::write(lab.dir.path().join("odd.pub"), format!("{text}\n")).unwrap();
        for given in ["odd.pub", &text] {
            let ended = send(&lab, &["--public-key", given]).await;
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{text:?}");
            let said = String::from_utf8(ended.stdout).unwrap();
            assert!(said.contains("(ssh-ed25519, a ]0;title b) is registered"), "{said:?}");
            assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
        }
    }
    let ended = send(&lab, &["--public-key", "odd.pub", "--json"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stdout.contains(&0x1b) && !ended.stdout.contains(&7));
    let result: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(result["comment"], odd);
    let keys = lab.cloud.keys();
    assert!(keys.len() == 5 && keys.iter().all(|registered| registered.key == line), "{keys:?}");
}

/// ssh has a certificate to show, or nothing yet, or words of a newer version's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_that_is_no_plain_key_counts_as_none() {
    let lab = lab(|instance| instance).await;
    let dir = lab.dir.path();
    make_key(dir, "ca").await;
    make_key(dir, "host").await;
    keygen(dir, &["-s", "ca", "-I", "id", "-h", "-n", INSTANCE, "host.pub"]).await;
    let base64 = |name: &str| {
        let text = std::fs::read_to_string(dir.join(name)).unwrap();
        text.split(' ').nth(1).unwrap().to_owned()
    };
    tell_host_key(&lab, INSTANCE);
    let known = async |key: &str| {
        let mut command = lab.bridge(["known-hosts", INSTANCE, "--key", key]);
        let ended = Bridge::start(&mut command).end().await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{key}");
        assert!(ended.stdout.starts_with(format!("{INSTANCE} ssh-ed25519 AAAA").as_bytes()));
        count(&lab, CommandKind::Script)
    };
    let (cert, plain) = (base64("host-cert.pub"), base64("host.pub"));
    for key in ["NONE", &cert, "", "-", "*", "AAAA", "bm90IGEga2V5", &plain[..plain.len() - 1]] {
        assert_eq!(known(key).await, 1, "{key}");
    }
    // A key that is one, and not among those remembered.
    assert_eq!(known(&plain).await, 2);
}
