//! What may be registered: a user's name and a public key, each as strictly as an sshd would take them.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Longest name of a user.
const MAX_USER: usize = 32;
/// The types of keys.
const KEY_TYPES: [&str; 5] =
    ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];

/// Whether it is the name of a user on a Unix system.
pub(super) fn is_user_name(name: &str) -> bool {
    let plain = name.strip_suffix('$').unwrap_or(name);
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    plain.len() <= MAX_USER
        && plain.starts_with(first)
        && plain.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// Checks that it is one line as in `authorized_keys`, without options: type, key, and perhaps a comment.
pub(super) fn check(line: &str) -> Result<(), &'static str> {
    if line.chars().any(char::is_control) {
        return Err("is not one line of text");
    }
    let mut words = line.split(' ');
    let (kind, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !KEY_TYPES.contains(&kind) {
        return Err("does not begin with a known type of key");
    }
    let blob = STANDARD.decode(blob).map_err(|_| "has no key in Base64 behind its type")?;
    let inner = blob.get(..4).and_then(|length| {
        let length = u32::from_be_bytes(length.try_into().ok()?);
        blob.get(4..)?.split_at_checked(usize::try_from(length).ok()?)
    });
    match inner {
        Some((inner, rest)) if inner == kind.as_bytes() && !rest.is_empty() => Ok(()),
        _ => Err("has a key of another type than it says"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_users() {
        for good in ["root", "_apt", "ecs-user", "a.b_C-9", "machine$", &"u".repeat(32)] {
            assert!(is_user_name(good), "{good}");
        }
        for bad in ["", "$", "9a", "-a", "a b", "a$b", "a/b", "ü", "a\n", &"u".repeat(33)] {
            assert!(!is_user_name(bad), "{bad}");
        }
    }

    #[test]
    fn public_keys() {
        let blob = |kind: &str| {
            let length = u32::try_from(kind.len()).unwrap().to_be_bytes();
            STANDARD.encode([&length[..], kind.as_bytes(), b"\0\0\0\x01k"].concat())
        };
        for kind in KEY_TYPES {
            let line = format!("{kind} {}", blob(kind));
            assert_eq!(check(&line), Ok(()), "{line}");
            assert_eq!(check(&format!("{line} who@where on monday")), Ok(()));
            assert!(check(&format!("{line}\n")).is_err());
            assert!(check(&format!("no-pty {line}")).is_err());
            assert!(check(&line.replace(' ', "\t")).is_err());
            assert!(check(kind).is_err());
            assert!(check(&format!("{kind} !")).is_err());
            assert!(check(&format!("{kind} {}", blob("ssh-dss"))).is_err());
        }
        assert!(check(&format!("ssh-dss {}", blob("ssh-dss"))).is_err());
        assert!(check("").is_err());
        assert!(check("ssh-rsa AAAA").is_err());
    }
}
