//! The binary: says how it can be reached, and ends when it is told to.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

#[test]
fn it_says_where_it_is_and_ends_on_sigterm() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_local-cloud"))
        .args(["--instance", "i-x", "--target", "22=127.0.0.1:2222", "--agent", "a", "--no-pongs"])
        .args(["--limit", "1638400", "--access-key", "id:secret:token"])
        .args(["--command-time", "1s", "--key-lifetime", "2m", "--shell", "programs"])
        .args(["--role", "acs:ram::1:role/r", "--metadata-role", "r"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    for _ in 0..10 {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        lines.push(line.trim_end().to_owned());
    }
    assert!(lines[0].starts_with("# i-x at http://127.0.0.1:"), "{lines:?}");
    let endpoint = lines[0].rsplit(' ').next().unwrap();
    assert_eq!(lines[1], format!("export ALIBABA_CLOUD_ENDPOINT='{endpoint}'"));
    assert_eq!(lines[5], "export ALIBABA_CLOUD_SECURITY_TOKEN='token'");
    assert_eq!(
        lines[6],
        format!("export LOCAL_CLOUD_AUTHORIZED_KEYS_URL='{endpoint}/authorized-keys?instance=i-x'")
    );
    assert_eq!(lines[7], format!("export ECS_BRIDGE_STS_ENDPOINT='{endpoint}'"));
    assert_eq!(lines[8], format!("export ECS_BRIDGE_METADATA_URL='{endpoint}'"));
    assert_eq!(lines[9], format!("export LOCAL_CLOUD_CREDENTIALS_URI='{endpoint}/credentials'"));
    std::net::TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).unwrap();

    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn a_port_that_is_taken_is_told_in_words() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = Command::new(env!("CARGO_BIN_EXE_local-cloud"))
        .args(["--listen", &address])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(stderr.starts_with(&format!("local-cloud: error: cannot listen on {address}: ")));
    assert!(stderr.contains("\n  fix: stop the program that listens there"), "{stderr}");
    assert!(!stderr.contains("Os {"), "{stderr}");
}

#[test]
fn the_help_has_the_faults() {
    let ended = Command::new(env!("CARGO_BIN_EXE_local-cloud")).arg("--help").output().unwrap();
    let help = String::from_utf8(ended.stdout).unwrap();
    for option in ["Faults:", "--stopped", "--agent-away", "--deny <ACTION>", "--twin"] {
        assert!(help.contains(option), "{option}: {help}");
    }
}
