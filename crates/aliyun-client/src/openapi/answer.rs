//! The API's answers: read leniently, and never shown where they could hold a secret.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::scrub;
use crate::text::{printable, text_of};

/// The most characters of the server's text that a message shows.
const MAX_SHOWN: usize = 300;

/// An answer that is not what the API is known to send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not JSON at all: most often a page from something between here and the API.
    #[error("the answer is not the API's: HTTP {status}, {excerpt}")]
    NotJson {
        /// The HTTP status.
        status: u16,
        /// Its first words, or that there are none.
        excerpt: String,
    },
    /// Something that the API does not send, or an HTTP error without a `Code` to decide by: the whole
    /// sentence. What it holds is not shown where that may be a token.
    #[error("{0}")]
    Invalid(String),
    /// A field that nothing can be done without.
    #[error("the answer has no {field}")]
    Missing {
        /// The field's name.
        field: &'static str,
    },
}

/// What the API says when it refuses a call.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Its code.
    pub code: String,
    /// Its message, without secrets.
    pub message: String,
    /// The action that the account lacks, if the answer says.
    pub denied_action: Option<String>,
    /// The answer's `Date` header.
    pub service_time: Option<SystemTime>,
    /// This machine's clock when the answer came.
    pub local_time: SystemTime,
    /// How long the service asks to wait.
    pub retry_after: Option<Duration>,
}

/// The time here and there when an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// What this machine's clock said.
    pub local: SystemTime,
    /// What the answer's `Date` header said, if it had one.
    pub service: Option<SystemTime>,
}

/// One HTTP answer, as it came.
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) date: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    /// From the header, for answers whose body has none; cleaned.
    pub(crate) request_id: Option<String>,
    /// How the body is encoded, if it is.
    pub(crate) encoding: Option<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) received: SystemTime,
}

impl Raw {
    /// An answer whose body is still to come.
    pub(crate) fn head(status: StatusCode, headers: &HeaderMap, received: SystemTime) -> Self {
        let header = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?.trim();
            (!value.is_empty()).then(|| value.to_owned())
        };
        Self {
            status: status.as_u16(),
            date: header("date"),
            retry_after: header("x-acs-retry-after")
                .and_then(|millis| millis.parse().ok())
                .map(Duration::from_millis),
            request_id: header("x-acs-request-id"),
            encoding: header("content-encoding")
                .filter(|encoding| !encoding.eq_ignore_ascii_case("identity")),
            body: Vec::new(),
            received,
        }
    }
}

/// Why an answer is none.
#[derive(Clone, Debug)]
pub(crate) enum Bad {
    Refused(Refusal),
    Answer(AnswerError),
}

/// Reads an answer: its fields and its `RequestId`, or why it is none.
pub(crate) fn read(raw: &Raw, scrub: &Scrub) -> (Result<Value, Bad>, Option<String>) {
    // Some servers write a byte order mark before it, which JSON does not have.
    let body = raw.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&raw.body);
    let value: Value = match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => value,
        other => {
            let status = raw.status;
            let looks_like_json =
                body.trim_ascii_start().first().is_some_and(|b| matches!(b, b'{' | b'['));
            let problem = match (other, &raw.encoding) {
                // It is not shown: it may hold a token.
                (Err(e), None) if looks_like_json => AnswerError::Invalid(format!(
                    "the answer is damaged JSON: HTTP {status}, line {}, column {}",
                    e.line(),
                    e.column()
                )),
                (Err(_), Some(encoding)) => AnswerError::Invalid(format!(
                    "the answer is encoded ({}), which was not asked for: HTTP {status}",
                    scrub.text(encoding)
                )),
                _ if holds_secrets(body) => AnswerError::Invalid(format!(
                    "the answer is not in the API's form: HTTP {status}"
                )),
                _ => AnswerError::NotJson { status, excerpt: excerpt(body, scrub) },
            };
            return (Err(Bad::Answer(problem)), scrub.id(raw.request_id.as_deref()));
        }
    };
    let request_id = text(&value, "RequestId");
    let request_id = scrub.id(request_id.as_deref().or(raw.request_id.as_deref()));
    let message = text(&value, "Message").map(|message| scrub.message(&message));
    let means_success =
        |code: &str| ["success", "ok", "200"].contains(&&*code.to_ascii_lowercase());
    let code = text(&value, "Code").filter(|code| !means_success(code));
    let result = match code {
        Some(code) => Err(Bad::Refused(Refusal {
            code: scrub.text(&code),
            message: message.unwrap_or_default(),
            denied_action: denied_action(&value),
            service_time: raw.date.as_deref().and_then(|date| httpdate::parse_http_date(date).ok()),
            local_time: raw.received,
            retry_after: raw.retry_after,
        })),
        None if raw.status >= 300 => {
            let message = message.map(|message| format!(", '{message}'")).unwrap_or_default();
            let status = raw.status;
            Err(Bad::Answer(AnswerError::Invalid(format!(
                "the API failed without saying why: HTTP {status}{message}"
            ))))
        }
        None => Ok(value),
    };
    (result, request_id)
}

/// A field, whatever the case of its name.
pub(crate) fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    crate::text::field(value.as_object()?, name)
}

/// A field as text: numbers and booleans too; `None` if missing, empty or something else.
pub(crate) fn text(value: &Value, name: &str) -> Option<String> {
    match field(value, name)? {
        Value::Bool(yes) => Some(yes.to_string()),
        value => text_of(value),
    }
}

/// A field that messages show, as [`text`] has it but fit for them.
pub(crate) fn word(value: &Value, name: &str) -> Option<String> {
    text(value, name).map(|text| readable(&text)).filter(|word| !word.is_empty())
}

/// The server's text on one line, without control characters, and cut to a readable length.
fn readable(text: &str) -> String {
    let text = printable(text);
    let words: Vec<_> = text.split_whitespace().collect();
    let text = words.join(" ");
    match text.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// A list that stands in an object, `Things.Thing[]`, or a bare one; empty if there is none.
pub(crate) fn all<'a>(value: &'a Value, outer: &str, inner: &str) -> &'a [Value] {
    let found = field(value, outer);
    let list = found.filter(|list| list.is_array()).or_else(|| field(found?, inner));
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What may not be shown of an answer.
pub(crate) struct Scrub(scrub::Scrub);

impl Scrub {
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self(scrub::Scrub::new(secrets))
    }

    /// The server's text without secrets, safe for a message.
    pub(crate) fn text(&self, text: &str) -> String {
        readable(&self.0.clean(text))
    }

    /// A `RequestId`: something else than the API may answer with anything.
    fn id(&self, id: Option<&str>) -> Option<String> {
        id.map(|id| self.text(id))
    }

    /// A `Message`, without the string that the service signed: it repeats the whole request.
    fn message(&self, message: &str) -> String {
        let lower = message.to_ascii_lowercase();
        let quoted = ["server string", "stringtosign", "string to sign", "canonicalrequest"];
        let end = quoted.iter().filter_map(|mark| lower.find(mark)).min();
        self.text(&message[..end.unwrap_or(message.len())])
    }
}

/// Whether an answer has what opens a session in it, in a form that is not the API's: a list, a
/// script's callback, a log. Its values are not known to be hidden.
fn holds_secrets(body: &[u8]) -> bool {
    let body = String::from_utf8_lossy(body).to_ascii_lowercase();
    ["websocketurl", "securitytoken", "wss://", "token="].iter().any(|mark| body.contains(mark))
}

/// The first words of a page, without its tags.
fn excerpt(body: &[u8], scrub: &Scrub) -> String {
    // A page's head may be long; what is shown is short. It is cut once no secret can be cut with it.
    let body = scrub.0.clean(&String::from_utf8_lossy(body));
    let body: String = body.chars().take(16 << 10).collect();
    let lower = body.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|open| {
        let start = open + lower[open..].find('>')? + 1;
        let end = start + lower[start..].find("</title")?;
        Some(body[start..end].to_owned()).filter(|title| !title.trim().is_empty())
    });
    let words = title.unwrap_or_else(|| {
        let mut inside = false;
        let plain = body.chars().map(|c| match c {
            '<' => (inside = true, ' ').1,
            '>' => (inside = false, ' ').1,
            _ if inside => ' ',
            c => c,
        });
        plain.collect()
    });
    let words = scrub.text(&words);
    if words.is_empty() { "without a word".to_owned() } else { format!("'{words}'") }
}

/// `AccessDeniedDetail.AuthAction`, which is an object, or one written into a string.
fn denied_action(value: &Value) -> Option<String> {
    let detail = field(value, "AccessDeniedDetail")?;
    let action = match detail.as_str() {
        Some(inner) => text(&serde_json::from_str(inner).ok()?, "AuthAction"),
        None => text(detail, "AuthAction"),
    }?;
    // It becomes part of a policy that people paste.
    let sound = action.len() <= 100
        && action.contains(':')
        && action.bytes().all(|b| b.is_ascii_alphanumeric() || b == b':');
    sound.then_some(action)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(status: u16, body: &str) -> Raw {
        Raw {
            status,
            date: Some("Sun, 06 Nov 1994 08:49:37 GMT".into()),
            retry_after: None,
            request_id: Some("R-header".into()),
            encoding: None,
            body: body.into(),
            received: SystemTime::UNIX_EPOCH,
        }
    }

    fn scrub() -> Scrub {
        Scrub::new(["hush+/="])
    }

    fn problem(status: u16, body: &str) -> String {
        match read(&raw(status, body), &scrub()).0.unwrap_err() {
            Bad::Answer(problem) => problem.to_string(),
            Bad::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    fn refusal(body: &str) -> (Refusal, Option<String>) {
        match read(&raw(200, body), &scrub()) {
            (Err(Bad::Refused(refusal)), id) => (refusal, id),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_code_decides_whatever_the_status_and_the_case() {
        let (refused, id) =
            refusal(r#"{"code":"Throttling","message":" slow\u001b[1m ","requestId":"R"}"#);
        assert_eq!((refused.code.as_str(), refused.message.as_str()), ("Throttling", "slow [1m"));
        assert_eq!(id.as_deref(), Some("R"));
        let date = humantime::format_rfc3339_seconds(refused.service_time.unwrap()).to_string();
        assert_eq!(date, "1994-11-06T08:49:37Z");
        let (value, id) = read(&raw(200, r#"{"Code":"Success","SessionId":7}"#), &scrub());
        assert_eq!(text(&value.unwrap(), "sessionid").as_deref(), Some("7"));
        assert_eq!(id.as_deref(), Some("R-header"));
    }

    #[test]
    fn what_is_not_the_api_s_is_shown_by_its_first_words() {
        let page = "<!DOCTYPE html><html><head><title>502 Bad\n Gateway</title></head>…";
        assert_eq!(problem(502, page), "the answer is not the API's: HTTP 502, '502 Bad Gateway'");
        assert!(problem(200, "<p>Please <b>log in</b></p>").ends_with("'Please log in'"));
        assert!(problem(204, " ").ends_with("without a word"));
        assert!(problem(403, "key hush%2B%2F%3D \u{1b}[2J").ends_with("'key … [2J'"));
        assert!(problem(200, "\"text\"").contains("not the API's"));
        assert!(problem(200, &"x ".repeat(9000)).len() < 500);
        assert_eq!(
            problem(500, r#"{"Message":"m"}"#),
            "the API failed without saying why: HTTP 500, 'm'"
        );
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_it() {
        let (value, _) = read(&raw(200, "\u{feff}{\"SessionId\":\"s-1\"}"), &scrub());
        assert_eq!(text(&value.unwrap(), "SessionId").as_deref(), Some("s-1"));
        assert!(problem(200, "\u{feff}{\"WebSocketUrl\":\"wss://hid").contains("damaged JSON"));
    }

    #[test]
    fn what_opens_a_session_is_not_shown_in_whatever_form_it_comes() {
        for body in [
            r#"[{"WebSocketUrl":"wss://h/session?token=hid"}]"#,
            r#""{\"SecurityToken\":\"hid\"}""#,
            r#"callback({"websocketUrl":"wss://h/session?token=hid"})"#,
            "SessionId=s-1&Token=hid",
            "see ws://h/session?sessionId=s-1&token=hid",
        ] {
            let shown = problem(200, body);
            assert!(shown.contains("form") && !shown.contains("hid"), "{body}: {shown}");
        }
    }

    #[test]
    fn an_encoding_is_named() {
        let raw = Raw { encoding: Some("gzip".into()), ..raw(200, "\u{1f}\u{8b}…") };
        let (answer, _) = read(&raw, &scrub());
        let Err(Bad::Answer(problem)) = answer else { panic!("{answer:?}") };
        assert!(problem.to_string().contains("encoded (gzip)"), "{problem}");
    }

    #[test]
    fn damaged_json_is_placed_and_not_shown() {
        let text = problem(200, "{\"WebSocketUrl\":\"wss://hush");
        assert!(text.contains("damaged JSON") && !text.contains("hush"), "{text}");
    }

    #[test]
    fn a_message_does_not_repeat_the_request() {
        for message in [
            "Not matched. server string to sign is:GET&%2F&hush",
            "Not matched. Server StringToSign is hush",
            "Not matched. The CanonicalRequest is hush",
            "Not matched. hush%252B%252F%253D",
        ] {
            let shown = scrub().message(message);
            assert!(shown.starts_with("Not matched.") && !shown.contains("hush"), "{shown}");
        }
    }

    #[test]
    fn a_request_id_is_no_way_around_that() {
        for (body, header) in [
            (r#"{"Code":"Throttling","RequestId":"R hush+/="}"#, "R-header"),
            ("<p>no</p>", "R hush%2B%2F%3D"),
        ] {
            let raw = Raw { request_id: Some(header.into()), ..raw(502, body) };
            assert_eq!(read(&raw, &scrub()).1.as_deref(), Some("R …"));
        }
        let body = format!(r#"{{"Code":"Throttling","RequestId":"{}"}}"#, "R".repeat(9000));
        assert_eq!(refusal(&body).1.unwrap().chars().count(), MAX_SHOWN + 1);
    }

    #[test]
    fn the_missing_action_is_found_in_both_forms() {
        let object = r#"{"Code":"Forbidden.RAM","AccessDeniedDetail":{"AuthAction":"ecs:X"}}"#;
        assert_eq!(refusal(object).0.denied_action.as_deref(), Some("ecs:X"));
        let string = r#"{"Code":"NoPermission","AccessDeniedDetail":"{\"AuthAction\":\"ecs:Y\"}"}"#;
        assert_eq!(refusal(string).0.denied_action.as_deref(), Some("ecs:Y"));
        let odd = r#"{"Code":"NoPermission","AccessDeniedDetail":{"AuthAction":"a:\"],"}}"#;
        assert_eq!(refusal(odd).0.denied_action, None);
    }

    #[test]
    fn dates_that_are_none_are_none() {
        for text in ["", "Sun, 06 Nov 1994", "x, 06 Foo 1994 08:49:37 GMT", "a b Nov d e GMT"] {
            let raw = Raw { date: Some(text.into()), ..raw(400, r#"{"Code":"Throttling"}"#) };
            let Err(Bad::Refused(refusal)) = read(&raw, &scrub()).0 else { panic!("{text}") };
            assert_eq!(refusal.service_time, None);
        }
    }
}
