//! Fields of JSON that others write: a profile, a role's credentials, a program's output.

use std::time::{Duration, SystemTime};

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::cached::CachedCredentials;
use super::error::Error;
use super::keys::Credentials;
use super::source::Source;
use crate::sts::RoleSession;
use crate::text::{field, text_of, without_mark};

/// The year 10000: what is later cannot be written down, and is a slip.
const TOO_LATE: Duration = Duration::from_secs(253_402_300_800);

/// A field's text, whatever the case of its name; `None` if it is missing, empty, or no text or
/// number.
pub(super) fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    text_of(field(fields, name)?)
}

/// Reads an object; or what is wrong, in words that hold nothing of the content.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let bytes = without_mark(bytes)?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty".into());
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|problem| {
        let (line, column) = (problem.line(), problem.column());
        if problem.is_eof() {
            format!("it is not JSON: it ends too early, at line {line}, column {column}")
        } else {
            format!("it is not JSON, at line {line}, column {column}")
        }
    })?;
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err("it is JSON, but not an object".into()),
    }
}

/// A time: seconds since the epoch, or as RFC 3339 has it; `None` for 0 and for what is neither.
pub(super) fn time(text: &str) -> Option<SystemTime> {
    let seconds: Option<f64> = text.parse().ok();
    match seconds {
        Some(seconds) if seconds > 0.0 => Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|since| *since < TOO_LATE)
            .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since)),
        Some(_) => None,
        None => humantime::parse_rfc3339_weak(text).ok(),
    }
}

/// How an answer calls the parts of a key.
pub(super) struct Names {
    pub(super) id: &'static str,
    pub(super) secret: &'static str,
    pub(super) token: &'static str,
    /// The first of them that is there.
    pub(super) until: &'static [&'static str],
}

/// As the service and its metadata write them.
const SERVICE: Names = Names {
    id: "AccessKeyId",
    secret: "AccessKeySecret",
    token: "SecurityToken",
    until: &["Expiration"],
};

/// Credentials without their source.
pub(super) struct RawCredentials {
    id: String,
    secret: SecretString,
    pub(super) token: Option<SecretString>,
    /// When they end, if that was told.
    pub(super) until: Option<SystemTime>,
}

impl RawCredentials {
    /// Takes them from an object; or the name of what it lacks.
    pub(super) fn of(fields: &Map<String, Value>, names: &Names) -> Result<Self, &'static str> {
        let until = names.until.iter().find_map(|name| text(fields, name));
        Ok(Self {
            id: text(fields, names.id).ok_or(names.id)?,
            secret: text(fields, names.secret).ok_or(names.secret)?.into(),
            token: text(fields, names.token).map(SecretString::from),
            until: until.and_then(|until| time(&until)),
        })
    }

    /// The fields that hold them under these names.
    pub(super) fn fields(&self, names: &Names) -> Vec<(&'static str, Value)> {
        use secrecy::ExposeSecret as _;
        let seconds = |until: SystemTime| until.duration_since(SystemTime::UNIX_EPOCH).ok();
        let until = self.until.and_then(seconds).map_or(0, |since| since.as_secs());
        let token = self.token.as_ref().map_or("", |token| token.expose_secret());
        vec![
            (names.id, self.id.clone().into()),
            (names.secret, self.secret.expose_secret().into()),
            (names.token, token.into()),
            (names.until[0], until.into()),
        ]
    }

    /// What they are worth, taken from a source now.
    pub(super) fn cached(self, source: &Source) -> Result<CachedCredentials, Error> {
        use secrecy::ExposeSecret as _;
        let token = self.token.as_ref().map(|token| token.expose_secret());
        let secret = self.secret.expose_secret();
        let credentials = Credentials::new(&self.id, secret, token, source.clone())?;
        Ok(CachedCredentials::taken(credentials, self.until, SystemTime::now()))
    }
}

/// The temporary keys of an answer as the service and its metadata write it; or what is wrong with it.
pub(super) fn answered(body: &[u8]) -> Result<RawCredentials, String> {
    temporary(&answer(body)?)
}

/// The fields of an answer; or what is wrong with it.
pub(super) fn answer(body: &[u8]) -> Result<Map<String, Value>, String> {
    object(body).map_err(|problem| format!("its response is invalid: {problem}"))
}

/// The temporary keys of an object, as [`answered`] has them.
pub(super) fn temporary(fields: &Map<String, Value>) -> Result<RawCredentials, String> {
    if let Some(code) = text(fields, "Code")
        && !code.eq_ignore_ascii_case("Success")
    {
        let code: String = code.chars().take(100).collect();
        return Err(format!("it says Code '{code}', not 'Success'"));
    }
    let parts = RawCredentials::of(fields, &SERVICE).map_err(missing)?;
    match parts.token {
        Some(_) => Ok(parts),
        None => Err(missing(SERVICE.token)),
    }
}

/// An answer lacks a field.
pub(super) fn missing(field: &str) -> String {
    format!("its answer has no {field}")
}

impl From<RoleSession> for RawCredentials {
    fn from(session: RoleSession) -> Self {
        Self {
            id: session.access_key_id,
            secret: session.access_key_secret,
            token: Some(session.security_token),
            until: session.expiration.and_then(|until| time(&until)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_leniently() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        for text in ["1700000000", "1700000000.0", "2023-11-14T22:13:20Z", "2023-11-14 22:13:20"] {
            assert_eq!(time(text), at(1_700_000_000), "{text}");
        }
        for text in ["", "0", "-5", "soon", "NaN", "inf", "1e300", "253402300800"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn fields_are_found_in_any_case_and_the_exact_one_first() {
        let fields = object(br#"{"accesskeyid": "a", "AccessKeyId": "b", "n": 7, "x": {}}"#);
        let fields = fields.unwrap();
        assert_eq!(text(&fields, "AccessKeyId").as_deref(), Some("b"));
        assert_eq!(text(&fields, "ACCESSKEYID").as_deref(), Some("b"));
        assert_eq!(text(&fields, "N").as_deref(), Some("7"));
        assert_eq!(text(&fields, "x"), None);
    }
}
