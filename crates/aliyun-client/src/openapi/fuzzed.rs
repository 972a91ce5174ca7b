//! Answers of the API, fed by a fuzzer.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::credentials::Source;
use crate::ecs::commands::{self, Invocation, InvocationResult, InvocationStatus};
use crate::ecs::invocations::InvocationError;
use crate::ecs::sessions::{self, TerminalSession};
use crate::explain::{Explain, Report};
use crate::openapi::answer::{self, Bad, Raw, Scrub};
use crate::openapi::error::{CallContext, Error};
use crate::openapi::sign::encode;
use crate::openapi::transport::Problem;

/// What the call was signed with and an answer may repeat, but not a message.
const SECRETS: [&str; 3] = ["hush-secret+/=", "hush-token+/=", "hush-signature+/="];

/// The longest message that is still read by somebody, in characters.
const READABLE: usize = 2_500;

/// What an answer was found to hold.
pub(crate) enum Found {
    /// A session.
    Session(TerminalSession),
    /// A command's result.
    Result(InvocationResult),
    /// What an instance and its agent are said to be: words for a message.
    Words(Vec<String>),
    /// Nothing, and it was said why.
    Nothing,
}

/// An answer as it crosses the wire, but for the line in front, `ACTION STATUS`: headers, an empty
/// line, the body.
pub(crate) fn answer(input: &[u8]) -> Found {
    let mut lines = input.splitn(2, |byte| *byte == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let (action, status) = first.split_once(' ').unwrap_or((&first, "200"));
    let action =
        ["DescribeInvocationResults", "DescribeInstanceStatus", "DescribeCloudAssistantStatus"]
            .into_iter()
            .find(|known| *known == action)
            .unwrap_or("StartTerminalSession");
    let status = StatusCode::from_bytes(status.as_bytes()).unwrap_or_default();
    let (headers, body) = headers(lines.next().unwrap_or_default());
    let received = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let raw = Raw { body: body.to_vec(), ..Raw::head(status, &headers, received) };
    let (result, request_id) = answer::read(&raw, &Scrub::new(SECRETS));

    let fail = |problem| {
        let error = Error::new(problem, context(action), request_id.clone(), 1);
        assert_reported(&error);
        assert_secret(&error);
        Found::Nothing
    };
    let value = match result {
        Ok(value) => value,
        Err(Bad::Refused(refusal)) => return fail(Problem::Refused(refusal)),
        Err(Bad::Answer(problem)) => return fail(Problem::Answer(problem)),
    };
    match action {
        "DescribeInvocationResults" => {
            let (instance_id, invoke_id) = ("i-1".to_owned(), "t-1".to_owned());
            let wanted = Invocation { instance_id, invoke_id, request_id };
            command::result(&value, &wanted).map_or(Found::Nothing, |result| {
                assert_result(&result, &wanted);
                Found::Result(result)
            })
        }
        "DescribeInstanceStatus" => Found::Words(match ecs::instance_status(&value) {
            Some(ecs::InstanceStatus { state: ecs::InstanceState::Other(word) }) => vec![word],
            _ => Vec::new(),
        }),
        "DescribeCloudAssistantStatus" => {
            let agent = ecs::agent_status(&value).unwrap_or_default();
            let _ = agent.is_windows();
            let words = [agent.version, agent.os_type, agent.last_heartbeat];
            Found::Words(words.into_iter().flatten().collect())
        }
        _ => match ecs::terminal_session(&(value, request_id.clone())) {
            Ok(session) => Found::Session(session),
            Err(field) => fail(Problem::Answer(answer::AnswerError::Missing { field })),
        },
    }
}

fn headers(text: &[u8]) -> (HeaderMap, &[u8]) {
    let (mut headers, mut rest) = (HeaderMap::new(), text);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.is_empty() {
            return (headers, rest);
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon..].trim_ascii_start());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.insert(name, value);
        }
    }
    (headers, rest)
}

fn context(action: &'static str) -> CallContext {
    CallContext {
        action,
        subject: Some("i-1".to_owned()),
        endpoint: "https://ecs.cn-test.aliyuncs.com".to_owned(),
        region: "cn-test".to_owned(),
        access_key_id: Some("LTAI0123456789".to_owned()),
        has_token: true,
        source: Source::Profile {
            name: "p".to_owned(),
            file: PathBuf::from("/home/.aliyun/config.json"),
            mode: "StsToken".to_owned(),
        },
    }
}

/// A message for a user: it can be read, and says what to do.
pub(crate) fn assert_reported(error: &dyn Explain) {
    let report = Report::new(error).to_string();
    assert!(!report.contains(|c: char| c.is_control() && c != '\n'), "{report:?}");
    assert!(report.chars().count() < READABLE, "{} bytes are too much to read", report.len());
    assert!(report.contains("\n  fix: "), "nothing to do: {report}");
}

/// A message that somebody else's text is part of, which may repeat what it was asked with.
fn assert_secret(error: &Error) {
    let (report, debug) = (Report::new(error).to_string(), format!("{error:?}"));
    for secret in SECRETS {
        let (once, twice) = (encode(secret), encode(&encode(secret)));
        for form in [secret, &once, &twice] {
            assert!(!report.contains(form) && !debug.contains(form), "a secret is shown: {report}");
        }
    }
}

/// What is told of a command that has failed, or does not end.
fn assert_result(result: &InvocationResult, wanted: &Invocation) {
    let (what, request_id) = ("it failed".to_owned(), wanted.request_id.clone());
    let error = match &result.status {
        InvocationStatus::Success => return,
        InvocationStatus::Failed(_) => {
            InvocationError::Ended { what, result: Box::new(result.clone()), request_id }
        }
        status => {
            let (seen, within) = (Some(status.clone()), Duration::from_secs(60));
            InvocationError::Late { what, seen, within, request_id }
        }
    };
    assert_reported(&error);
}
