//! What signs the calls.

use secrecy::{ExposeSecret as _, SecretString};

use super::error::Error;
use super::source::Source;

/// What signs the calls. `Debug` shows neither secret nor token.
#[derive(Clone, Debug)]
pub struct Credentials {
    access_key_id: String,
    access_key_secret: SecretString,
    security_token: Option<SecretString>,
    source: Source,
}

impl Credentials {
    /// Puts credentials together that were found elsewhere.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a part is empty or has a character that no header can carry.
    pub fn new(
        access_key_id: &str,
        access_key_secret: &str,
        security_token: Option<&str>,
        source: Source,
    ) -> Result<Self, Error> {
        let parts = [
            ("AccessKeyId", Some(access_key_id)),
            ("AccessKeySecret", Some(access_key_secret)),
            ("SecurityToken", security_token),
        ];
        for (part, value) in parts {
            let Some(value) = value else { continue };
            if value.is_empty() || !value.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(Error::Malformed { part, origin: source });
            }
        }
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            access_key_secret: access_key_secret.into(),
            security_token: security_token.map(SecretString::from),
            source,
        })
    }

    /// `AccessKeyId`: an identifier, not a secret.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// `AccessKeySecret`.
    pub fn access_key_secret(&self) -> &SecretString {
        &self.access_key_secret
    }

    /// `SecurityToken`, which temporary credentials have.
    pub fn security_token(&self) -> Option<&SecretString> {
        self.security_token.as_ref()
    }

    /// Where they came from.
    pub fn source(&self) -> &Source {
        &self.source
    }
}

impl PartialEq for Credentials {
    /// Whether they sign alike, wherever they came from.
    fn eq(&self, other: &Self) -> bool {
        let token = |of: &Self| of.security_token.as_ref().map(|t| t.expose_secret().to_owned());
        self.access_key_id == other.access_key_id
            && self.access_key_secret.expose_secret() == other.access_key_secret.expose_secret()
            && token(self) == token(other)
    }
}

impl Eq for Credentials {}

/// An access key id as it may be shown: enough to recognise it.
pub fn mask(id: &str) -> String {
    match (id.get(..4), id.get(id.len().saturating_sub(3)..)) {
        (Some(head), Some(tail)) if id.len() >= 12 => format!("{head}…{tail}"),
        _ => "…".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let source = Source::Environment { variable: "X_ACCESS_KEY_ID".into(), temporary: true };
        let credentials = Credentials::new("id", "hush-1", Some("hush-2"), source).unwrap();
        let shown = format!("{credentials:?}");
        assert!(shown.contains("id") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn parts_that_no_header_can_carry_are_refused() {
        let source = || Source::Environment { variable: "X".into(), temporary: false };
        for (id, secret, token) in
            [("", "s", None), ("i", "a\nb", None), ("中", "s", None), ("i", "s", Some("a b"))]
        {
            assert!(Credentials::new(id, secret, token, source()).is_err());
        }
    }

    #[test]
    fn keys_are_masked() {
        assert_eq!(mask("LTAI0123456789abc"), "LTAI…abc");
        assert_eq!(mask("short"), "…");
        assert_eq!(mask(""), "…");
    }
}
