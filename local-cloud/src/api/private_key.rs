//! A private key never leaves its machine: one that comes here anyway, in whichever parameter, is reported.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::Params;

/// What private keys begin with: PEM of all sorts, PuTTY's files, and OpenSSH's own format without its armour (as it is, and in
/// Base64).
const MARKS: [&str; 4] =
    ["PRIVATE KEY-----", "PuTTY-User-Key-File-", "openssh-key-v1\0", "b3BlbnNzaC1rZXktdjEA"];

/// The parameters that a private key is in, with nothing of the key.
pub(super) fn violations(params: &Params) -> Vec<String> {
    let found = params.iter().filter(|(_, value)| holds_one(value));
    found.map(|(name, _)| format!("a private key in the parameter {name}")).collect()
}

fn holds_one(value: &str) -> bool {
    let marked = |text: &str| MARKS.iter().any(|mark| text.contains(mark));
    let decoded = || STANDARD.decode(value).ok();
    marked(value) || decoded().is_some_and(|bytes| marked(&String::from_utf8_lossy(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_is_seen_in_any_dress() {
        let pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n";
        let json = serde_json::json!({"username": "root", "sshPublicKey": pem}).to_string();
        let script = STANDARD.encode(format!("cat > k <<E\n{pem}E"));
        for value in
            [pem, &json, &script, "PuTTY-User-Key-File-3: ssh-ed25519", "b3BlbnNzaC1rZXktdjEAAAAA"]
        {
            assert!(holds_one(value), "{value}");
        }
        for value in ["", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me", "i-a", "ZWNobw=="] {
            assert!(!holds_one(value), "{value}");
        }
        let params = Params::from([("Parameters".to_owned(), json), ("A".to_owned(), "b".into())]);
        assert_eq!(violations(&params), ["a private key in the parameter Parameters"]);
    }
}
