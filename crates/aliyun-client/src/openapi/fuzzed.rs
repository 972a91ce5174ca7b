//! Answers of the API, fed by a fuzzer.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::answer::{self, Bad, Raw, Scrub};
use super::error::{CallContext, Error, Problem};
use crate::credentials::source::Source;
use crate::ecs::commands::{self, Invocation, InvocationResult};
use crate::ecs::sessions::{self, InstanceState, TerminalSession};

/// What the call was signed with and an answer may repeat, but not a message.
pub const SECRETS: [&str; 3] = ["hush-secret+/=", "hush-token+/=", "hush-signature+/="];

/// What an answer was found to hold.
pub enum Found {
    /// A session.
    Session(TerminalSession),
    /// A command's result, and what was asked for.
    Result(InvocationResult, Invocation),
    /// What an instance and its agent are said to be: words for a message.
    Words(Vec<String>),
    /// Nothing, and why.
    Failed(Error),
    /// Nothing.
    Nothing,
}

/// An answer as it crosses the wire, but for the line in front, `ACTION STATUS`: headers, an empty
/// line, the body.
pub fn answer(input: &[u8]) -> Found {
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
        Found::Failed(error)
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
            match commands::result(&value, &wanted) {
                Some(result) => Found::Result(result, wanted),
                None => Found::Nothing,
            }
        }
        "DescribeInstanceStatus" => Found::Words(match sessions::instance_state(&value) {
            Some(InstanceState::Other(word)) => vec![word],
            _ => Vec::new(),
        }),
        "DescribeCloudAssistantStatus" => {
            let agent = sessions::agent_status(&value).unwrap_or_default();
            let _ = agent.is_windows();
            let words = [agent.version, agent.os_type, agent.last_heartbeat];
            Found::Words(words.into_iter().flatten().collect())
        }
        _ => match sessions::terminal_session(&(value, request_id.clone())) {
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
