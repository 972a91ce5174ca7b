//! Why the API was not reached, an endpoint is none, or a command in an instance failed.

use super::advice::UPDATE_AGENT;
use super::cause::explained;
use super::failure::{ExitCode, Explain};
use crate::cloud::{
    EndpointError, InvocationError, InvocationResult, InvocationStatus, NetworkError, Region,
    regions,
};
use aliyun_client::text::printable;

/// How much of a command's output an error shows, in characters from the end.
const SHOWN: usize = 400;

impl Explain for NetworkError {
    fn why(&self) -> Option<String> {
        let why = match self {
            Self::Dns { detail, .. } => return Some(format!("the resolver says: {detail}")),
            Self::Refused { .. } => "nothing listens there, or a firewall refuses",
            Self::ConnectTimeout { .. } => {
                "the host does not answer, or a firewall on the way drops what is sent"
            }
            Self::TlsTimeout { .. } => {
                "the connection was made, and nothing there speaks TLS, or not in time"
            }
            Self::AnswerTimeout { .. } => {
                "the connection was made, and then nothing came back in time"
            }
            Self::Unfinished { .. } => "the answer began, and then nothing more came in time",
            Self::Tls { fault: cause, .. } | Self::Proxy { cause, .. } => {
                return explained(cause).and_then(Explain::why);
            }
            Self::Closed { detail, .. } | Self::Cut { detail, .. } => detail,
            Self::Connect { .. } => return None,
        };
        Some(why.to_owned())
    }

    fn remedy(&self) -> Option<String> {
        let fix = match self {
            Self::Dns { .. } => {
                "check the region and the endpoint for a slip, and this machine's DNS; inside a VPC \
                 without internet set the profile's endpoint_type to vpc"
            }
            Self::Refused { .. } => {
                "check the endpoint and its port (--endpoint, ALIBABA_CLOUD_ENDPOINT, the \
                 profile's endpoint)"
            }
            Self::ConnectTimeout { .. } | Self::Connect { .. } => {
                "check that this machine may reach the endpoint (curl -v the address), or name a \
                 proxy that may with --proxy; inside a VPC without internet set the profile's \
                 endpoint_type to vpc"
            }
            Self::TlsTimeout { .. } => {
                "check the endpoint's port, and look for a firewall or proxy between here and there"
            }
            Self::AnswerTimeout { .. }
            | Self::Unfinished { .. }
            | Self::Closed { .. }
            | Self::Cut { .. } => {
                "try again; if it stays so, look for a firewall or proxy between here and there"
            }
            Self::Tls { fault: cause, .. } | Self::Proxy { cause, .. } => {
                return explained(cause).and_then(Explain::remedy);
            }
        };
        Some(fix.to_owned())
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::Network
    }
}

impl Explain for EndpointError {
    fn why(&self) -> Option<String> {
        let why = match self {
            Self::Region(_) => "a region id is made of lower-case letters, digits and hyphens",
            Self::Type(_) => "an endpoint type is 'internet' (or empty) or 'vpc'",
            Self::Malformed { .. } => {
                "an endpoint is a host name, with https:// before it and a port behind it if need be"
            }
            Self::Plaintext(_) => {
                "http:// would expose the session's token to everyone on the way; it is allowed for \
                 this machine's own addresses only"
            }
        };
        Some(why.to_owned())
    }

    fn remedy(&self) -> Option<String> {
        let fix = match self {
            Self::Region(name) => {
                let lower = name.trim().to_ascii_lowercase();
                if let Some(id) = regions::meant_by(name) {
                    return Some(format!("write it as {id}"));
                }
                if lower != *name && Region::parse(&lower).is_ok() {
                    return Some(format!("write it as {lower}"));
                }
                "give one such as cn-hangzhou or ap-southeast-1 with --region, \
                 ALIBABA_CLOUD_REGION_ID or the profile's region_id"
            }
            Self::Type(_) => "correct endpoint_type in the profile",
            Self::Malformed { .. } => {
                "leave the endpoint out (the region's own is used), or give one such as \
                 ecs.cn-beijing.aliyuncs.com"
            }
            Self::Plaintext(_) => "write https://, or leave the scheme out",
        };
        Some(fix.to_owned())
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::Config
    }
}

/// What to do about an agent that does not answer.
const AGENT: &str = "look at the instance's Cloud Assistant agent: installed, running, up to date, and allowed to reach \
                     the service (outbound TCP 443); in the instance: systemctl status aliyun.service";

/// Why and what to do, by `ErrorCode`.
fn words(result: &InvocationResult) -> Option<(&'static str, &'static str)> {
    Some(match result.error_code.as_deref()? {
        "InstanceNotExists" | "InstanceReleased" => (
            "the instance does not exist any more",
            "check the instance's id and the region: `ecs-bridge list` shows the instances",
        ),
        "InstanceNotRunning" => (
            "the instance does not run",
            "start the instance (ECS console, or `aliyun ecs StartInstance`), and try again once it \
             has booted",
        ),
        "ClientNotRunning" => ("the instance's Cloud Assistant agent does not run", AGENT),
        "ClientNotOnline" | "ClientNotResponse" => {
            ("the instance's Cloud Assistant agent is not online", AGENT)
        }
        "ClientNetworkBlocked" => {
            ("the instance's Cloud Assistant agent cannot reach the service", AGENT)
        }
        "ClientNeedUpgrade" => ("the instance's Cloud Assistant agent is too old", UPDATE_AGENT),
        "DeliveryTimeout" => (
            "the service could not hand the command to the instance's Cloud Assistant agent in time",
            AGENT,
        ),
        "ExecutionTimeout" => (
            "the command took too long in the instance, and was ended there",
            "try again; look whether the instance is short of CPU, memory or disk",
        ),
        "ExitCodeNonzero" => (
            "the command ran in the instance and failed",
            "try again; the command's output is also in the ECS console, under Cloud Assistant",
        ),
        "AccountNotExists" => (
            "the instance has no such user",
            "give another user: --user-name with send-key, the user of ssh otherwise",
        ),
        "SecurityGroupRuleDenied" => (
            "a rule of the instance's security groups stands against it",
            "let the instance reach the service in its security group's rules: outbound TCP 443 to \
             100.100.0.0/16, and UDP 53",
        ),
        _ => return None,
    })
}

impl Explain for InvocationError {
    fn why(&self) -> Option<String> {
        match self {
            Self::Call(error) => error.why(),
            Self::Ended { result, .. } => {
                let mut parts = Vec::new();
                parts.extend(words(result).map(|(why, _)| why.to_owned()));
                if let Some(info) = &result.error_info {
                    parts.push(format!("the service says: {}", tail(info)));
                }
                if let Some(code) = result.exit_code.filter(|code| *code != 0) {
                    parts.push(format!("the command ended with exit code {code}"));
                }
                if !result.output.trim().is_empty() {
                    parts.push(format!("its output: {}", tail(&result.output)));
                }
                (!parts.is_empty()).then(|| parts.join("; "))
            }
            Self::Late { seen: Some(InvocationStatus::Unknown(_)), .. } => {
                Some("the service may speak of something newer than this program".to_owned())
            }
            Self::Late { .. } => {
                Some("the instance or its Cloud Assistant agent may be busy, or away".to_owned())
            }
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Call(error) => error.remedy(),
            Self::Ended { result, .. } => {
                let usual = "try again; the command's output is also in the ECS console, under \
                             Cloud Assistant";
                Some(words(result).map_or(usual, |(_, fix)| fix).to_owned())
            }
            Self::Late { seen: Some(InvocationStatus::Unknown(_)), .. } => {
                Some("try again, and look for a newer ecs-bridge".to_owned())
            }
            Self::Late { .. } => Some(format!("try again; {AGENT}")),
        }
    }

    fn request_id(&self) -> Option<&str> {
        match self {
            Self::Call(error) => Explain::request_id(error),
            Self::Ended { request_id, .. } | Self::Late { request_id, .. } => request_id.as_deref(),
        }
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Call(error) => error.exit_code(),
            Self::Ended { .. } | Self::Late { .. } => ExitCode::Target,
        }
    }

    fn is_unknown_instance(&self) -> bool {
        matches!(self, Self::Call(error) if error.is_unknown_instance())
    }
}

/// The end of somebody else's text, on one line.
fn tail(text: &str) -> String {
    let text = printable(text);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().rev().nth(SHOWN) {
        Some((at, _)) => format!("…{}", &text[at..]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: &str) -> InvocationError {
        InvocationError::Ended {
            what: "it did not work".to_owned(),
            result: Box::new(InvocationResult {
                status: InvocationStatus::Failed("Failed".to_owned()),
                error_code: Some(code.to_owned()),
                error_info: Some("words".to_owned()),
                exit_code: Some(3),
                output: "no space\nleft\u{1b}".to_owned(),
            }),
            request_id: Some("R-1".to_owned()),
        }
    }

    #[test]
    fn a_command_that_did_not_end_well_is_told_with_all_that_is_known() {
        for (code, word) in [
            ("InstanceNotRunning", "does not run"),
            ("ClientNotRunning", "does not run"),
            ("ClientNotOnline", "not online"),
            ("ClientNotResponse", "not online"),
            ("ClientNetworkBlocked", "cannot reach the service"),
            ("ClientNeedUpgrade", "too old"),
            ("DeliveryTimeout", "in time"),
            ("ExecutionTimeout", "too long"),
            ("AccountNotExists", "no such user"),
            ("SecurityGroupRuleDenied", "security groups"),
            ("ExitCodeNonzero", "ran in the instance and failed"),
            ("InstanceNotExists", "does not exist any more"),
            ("InstanceReleased", "does not exist any more"),
            ("SomethingNew", "the service says"),
        ] {
            let error = ended(code);
            let why = error.why().unwrap();
            assert!(why.contains(word), "{why}");
            let all = "the service says: words; the command ended with exit code 3; its output: \
                       no space left";
            assert!(why.ends_with(all), "{why}");
            let fix = error.remedy().unwrap();
            assert_eq!(fix.contains("ecs-bridge list"), word == "does not exist any more", "{fix}");
            assert_eq!(Explain::request_id(&error), Some("R-1"));
            assert_eq!(error.exit_code(), ExitCode::Target);
        }
    }

    #[test]
    fn a_command_without_an_end_has_a_way_out() {
        for seen in [None, Some(InvocationStatus::Unknown("Dreaming".to_owned()))] {
            let within = std::time::Duration::from_secs(1);
            let what = "it did not work".to_owned();
            let error = InvocationError::Late { what, seen, within, request_id: None };
            assert!(error.why().is_some() && error.remedy().is_some());
        }
    }

    #[test]
    fn long_output_is_shown_from_its_end() {
        let shown = tail(&format!("{} the end", "x".repeat(3000)));
        let is_cut = shown.starts_with("…x") && shown.ends_with("the end") && shown.len() < 500;
        assert!(is_cut, "{shown}");
    }

    #[test]
    fn a_region_that_is_misspelt_is_put_right() {
        for (text, id) in [
            ("CN-Hangzhou", "cn-hangzhou"),
            ("Hangzhou", "cn-hangzhou"),
            ("CN-Private-1", "cn-private-1"),
        ] {
            let error = Region::parse(text).unwrap_err();
            assert_eq!(error.remedy().unwrap(), format!("write it as {id}"));
        }
    }
}
