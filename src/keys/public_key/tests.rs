use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

const ED25519: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDYYZqikD/oncVIyrPoBHRkAKVyjxFrk8Hn/ytJUeP7p alice@laptop";
const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBLY4bJA1wWTjns/nm/9jCQlykEf8inaTfKh9aXwnQ4j1yuSSbfl8+9LmZnfSuK2G66ykSwt/gELfxWXbgYnFRKc= a comment of words";
const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCzfit9su2vGYKFXB6SAlaAl5Htdw+61E9R3PtayPnHEITFW/rW/W7N0rwsa55xXWDEQ1yvy6f2KbiwIn3MuGqh9r0RWD0vGwKzdLuOd+dBxK0IWcQtXxP5VUGrYT4j3CWZJaWwQbK9wo4taMr+j5Ql6ixqgPzNfmHJPXsq0MQQ8SslsCOOTEW034IQcM61r/GNOZsg4S94wZZIneXZRSAU3rOPOC0C0pdQfaTHqpXACFPck+dpUr8Z9AR11yXCUFVSv4c/hIsIXHdOk35tg+0jvbhB0E6Vm1ilhdUwqWfCuhOa75k69APy4SCOgot2DQzax442eAQcoa+itKnxfD/P";
const SHORT: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC4MNtVoKEREJ/ee5LY0E4OA4OCQ+q8xv7Zeg9tuhFu5ysr/JMjo2gfG5Nweol467M/5/phi9goPcWM3FgoGx7Xli7kKHqMG5qz1tws5HFR6QouQNgeh4ktaIDWKZE1ehwM9OVhcHVtx6MfnRBwW/GrdH8hAbBdrdCccWRKooIIpQ== short";

/// A key of a type, as RFC 4253 section 6.6 writes it.
fn key(kind: &str, parts: &[&[u8]]) -> String {
    let mut blob = Vec::new();
    for part in std::iter::once(kind.as_bytes()).chain(parts.iter().copied()) {
        blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        blob.extend(part);
    }
    format!("{kind} {}", STANDARD.encode(blob))
}

fn parsed(text: &str) -> String {
    match PublicKey::parse(text) {
        Ok(key) => key.line().to_owned(),
        Err(error) => {
            assert!(error.remedy().is_some(), "{error}");
            assert_eq!(error.exit_code(), ExitCode::Usage);
            format!("error: {error}")
        }
    }
}

#[test]
fn the_usual_keys_are_taken() {
    for (text, algorithm, fingerprint, comment) in [
        (
            ED25519,
            "ssh-ed25519",
            "SHA256:XKmmjcycct9nGwa6QsFdoebf6hFubA3UG7EHFfYdBdc",
            "alice@laptop",
        ),
        (
            ECDSA,
            "ecdsa-sha2-nistp256",
            "SHA256:91LhPrH5zPQpRT2NQI8AWmd76TYoSDqEq3fxkfirbs0",
            "a comment of words",
        ),
        (RSA, "ssh-rsa", "SHA256:N9MLIRQZyNl9DDBA8M3RW39tFiR3lW5PX4zdVtoEKQ4", ""),
    ] {
        let key = PublicKey::parse(text).unwrap();
        assert_eq!((key.algorithm(), key.comment()), (algorithm, comment));
        assert_eq!(key.fingerprint(), fingerprint);
        assert!(text.starts_with(key.line()) && key.line().split(' ').count() == 2);
        assert!(text.contains(key.base64()) && key.base64().len() > 60);
        let among = format!("# a comment\r\n\r\n  {text}  \r\n\r\n");
        assert_eq!(PublicKey::parse(&among).unwrap(), key);
    }
}

#[test]
fn what_is_no_public_key_is_refused_and_not_shown() {
    let dsa = key("ssh-dss", &[&[127; 128], &[127; 20], &[127; 128], &[127; 128]]);
    let sk = key("sk-ssh-ed25519@openssh.com", &[&[7; 32], b"ssh:"]);
    let cert = key("ssh-ed25519-cert-v01@openssh.com", &[&[7; 32], &[7; 32]]);
    let unknown = key("ssh-future@example.com", &[b"what"]);
    let pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n";
    for (text, wanted) in [
        ("", "error: there is no public key"),
        (" \n# nothing\n", "error: there is no public key"),
        (pem, "error: this is a private key: it was not sent, and not logged"),
        (
            "-----BEGIN RSA PRIVATE KEY-----",
            "error: this is a private key: it was not sent, and not logged",
        ),
        (
            "b3BlbnNzaC1rZXktdjEAAAA",
            "error: this is a private key: it was not sent, and not logged",
        ),
        (
            "PuTTY-User-Key-File-3: x",
            "error: this is a private key: it was not sent, and not logged",
        ),
        (
            &format!("{ED25519}\n{pem}"),
            "error: this is a private key: it was not sent, and not logged",
        ),
        // The bodies of PEM, without the lines around them: PKCS #1, PKCS #8, SEC 1; a public one.
        (
            "MIIEowIBAAKCAQEAlPRBMvFO",
            "error: this is a private key: it was not sent, and not logged",
        ),
        (
            "x MIGHAgEAMBMGByqGSM49AgEG",
            "error: this is a private key: it was not sent, and not logged",
        ),
        (
            "MHcCAQEEIIrYSSNQFaA2Hwf1\nduRS",
            "error: this is a private key: it was not sent, and not logged",
        ),
        ("MIIBIjANBgkqhkiG9w0BAQEFAAOC", "error: this is no public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA", "error: the key is not in OpenSSH's format"),
        ("---- BEGIN SSH2 PUBLIC KEY ----", "error: the key is not in OpenSSH's format"),
        (
            &format!("{ED25519}\n{RSA}\n{ECDSA}"),
            "error: there are 3 keys in it, and one is registered at a time",
        ),
        (SHORT, "error: the RSA key has 1024 bits, and 2048 are the least"),
        (&cert, "error: this is a certificate, not a public key"),
        (&dsa, "error: keys of the type ssh-dss cannot be registered"),
        (&sk, "error: keys of the type sk-ssh-ed25519@openssh.com cannot be registered"),
        (&unknown, "error: keys of the type ssh-future@example.com cannot be registered"),
        ("ssh-ed25519 AAAA", "error: the public key is damaged"),
        (&ED25519.replacen("IDYY", "ID", 1), "error: the public key is damaged"),
        (&format!("no-pty,command=\"x y\" {ED25519}"), "error: the key has options before it"),
        ("hunter2", "error: this is no public key"),
    ] {
        assert_eq!(parsed(text), wanted);
    }
}

#[test]
fn words_of_a_command_line_are_keys_or_paths() {
    for text in
        [ED25519, "ssh-rsa x", "a\nb", "-----BEGIN X PRIVATE KEY-----", "restrict ssh-rsa AAAA"]
    {
        assert!(is_text(text), "{text}");
    }
    for path in [
        "id.pub",
        "/home/a b/ssh-key.pub",
        "ssh-keys/id.pub",
        "my ssh-keys/id.pub",
        "~/.ssh/id_rsa",
        "ssh-key",
    ] {
        assert!(!is_text(path), "{path}");
    }
}

#[test]
fn the_usual_files_are_looked_for_in_order() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    let usual = || load(None, Some(home.path()));
    assert!(matches!(usual(), Err(KeyError::NoneThere { .. })));
    std::fs::create_dir(home.path().join(".ssh")).unwrap();
    assert!(matches!(usual(), Err(KeyError::NoneThere { .. })));
    write(".ssh/id_rsa.pub", RSA);
    assert_eq!(usual().unwrap().key.algorithm(), "ssh-rsa");
    write(".ssh/id_ecdsa.pub", ECDSA);
    assert_eq!(usual().unwrap().key.algorithm(), "ecdsa-sha2-nistp256");
    write(".ssh/id_ed25519.pub", ED25519);
    let found = usual().unwrap();
    assert_eq!(found.key.algorithm(), "ssh-ed25519");
    assert_eq!(load(Some("~/.ssh/id_ed25519.pub"), Some(home.path())).unwrap(), found);
    // One that is there and no good is not passed over for another.
    write(".ssh/id_ed25519.pub", "");
    let error = usual().unwrap_err();
    assert!(error.to_string().ends_with("id_ed25519.pub: there is no public key"), "{error}");
    assert!(matches!(load(None, None), Err(KeyError::NoHome)));
}

#[test]
fn private_keys_in_files_are_told_apart_with_the_way_to_their_public_half() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("id");
    std::fs::write(&path, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n").unwrap();
    let load_from = |path: &Path| load(path.to_str(), None).unwrap_err();
    let load = || load_from(&path);
    assert!(load().to_string().contains("id is a private key"), "{}", load());
    assert!(load().remedy().unwrap().contains("ssh-keygen -y -f"), "{:?}", load().remedy());
    // That of PuTTY has a program of its own.
    let putty = dir.path().join("id.PPK");
    std::fs::write(&putty, "PuTTY-User-Key-File-3: ssh-ed25519\n").unwrap();
    let fix = load_from(&putty).remedy().unwrap();
    assert!(fix.contains("puttygen '") && !fix.contains("ssh-keygen"), "{fix}");
    std::fs::write(dir.path().join("id.pub"), ED25519).unwrap();
    assert!(load().remedy().unwrap().ends_with("id.pub"), "{:?}", load().remedy());
    for text in [load().to_string(), format!("{:?}", load()), load().remedy().unwrap()] {
        assert!(!text.contains("c2VjcmV0"));
    }
}

#[test]
fn a_file_that_powershell_has_written_is_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("id.pub");
    let units = ED25519.encode_utf16();
    let little: Vec<u8> =
        [0xff, 0xfe].into_iter().chain(units.flat_map(u16::to_le_bytes)).collect();
    std::fs::write(&path, little).unwrap();
    let error = load(path.to_str(), None).unwrap_err();
    assert!(
        error.to_string().ends_with("id.pub: the file is UTF-16, which no key file is"),
        "{error}"
    );
    assert!(error.remedy().unwrap().starts_with("save it as UTF-8"), "{:?}", error.remedy());
}

#[test]
fn files_that_are_no_key_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("long");
    std::fs::write(&long, "x".repeat(70_000)).unwrap();
    let binary = dir.path().join("binary");
    std::fs::write(&binary, [0x30, 0x82, 0xff, 0xfe]).unwrap();
    let said = |path: &Path| load(path.to_str(), None).unwrap_err().to_string();
    assert!(said(&long).ends_with("this is longer than any public key"));
    assert!(said(&binary).ends_with("this is no public key"));
    assert!(said(dir.path()).contains("cannot read the key file"));
    assert!(said(&dir.path().join("none")).contains("cannot read the key file"));
}

#[test]
fn host_keys_are_taken_from_the_lines_that_are_some() {
    let text = format!(
        "Warning: something\n{ED25519}\nssh-rsa AAAA\n{RSA} root@web-1\n* {ECDSA}\n{ED25519}\n{}\n",
        key("ssh-future@example.com", &[b"what"])
    );
    let keys = PublicKey::host_keys(&text);
    let kinds: Vec<_> = keys.iter().map(PublicKey::algorithm).collect();
    assert_eq!(kinds, ["ssh-ed25519", "ssh-rsa"]);
    assert!(PublicKey::host_keys("").is_empty());
}
