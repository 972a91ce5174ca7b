//! Why a call of the API failed, and what to do next.

use std::time::{Duration, SystemTime};

use super::advice::{SET_CLOCK, UPDATE_AGENT, apart, switch_on};
use super::cause::explained;
use super::failure::{ExitCode, Explain};
use super::source;
use crate::cloud::{
    AnswerError, CallContext, Error, Kind, NetworkError, Problem, Refusal, regions,
};
use crate::credentials::mask;
use crate::policy::{self, COMMAND_ACTIONS, Policy, Purpose};

impl Explain for Error {
    fn why(&self) -> Option<String> {
        let mut parts = Vec::new();
        parts.extend(match self.problem() {
            Problem::Refused(refusal) => {
                Some(refused(self.kind(), refusal, self.context()).0).filter(|why| !why.is_empty())
            }
            Problem::Answer(problem) => Some(answer(problem, self.context()).0),
            Problem::Network(problem) => problem.why(),
            Problem::Credentials(problem) | Problem::Tls(problem) => {
                explained(problem).and_then(Explain::why)
            }
            Problem::Stopped | Problem::Input(_) | Problem::Setup(_) => None,
        });
        if let Problem::Refused(Refusal { message, .. }) = self.problem()
            && !message.is_empty()
        {
            parts.push(format!("the service says: {message}"));
        }
        if self.tries() > 1 {
            parts.push(format!("tried {} times", self.tries()));
        }
        parts.extend(self.note().map(str::to_owned));
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    fn remedy(&self) -> Option<String> {
        match self.problem() {
            Problem::Refused(refusal) => Some(refused(self.kind(), refusal, self.context()).1),
            Problem::Answer(problem) => Some(answer(problem, self.context()).1),
            Problem::Network(problem) => network(problem, self.context()),
            Problem::Credentials(problem) | Problem::Tls(problem) => {
                explained(problem).and_then(Explain::remedy)
            }
            Problem::Stopped => Some("try again".into()),
            Problem::Input(_) => Some("correct it; see --help".into()),
            Problem::Setup(_) => Some("report this, with the output of -vv".into()),
        }
    }

    fn request_id(&self) -> Option<&str> {
        match self.problem() {
            Problem::Credentials(problem) => explained(problem).and_then(Explain::request_id),
            _ => Error::request_id(self),
        }
    }

    fn exit_code(&self) -> ExitCode {
        match self.problem() {
            Problem::Credentials(problem) | Problem::Tls(problem) => {
                explained(problem).map_or(ExitCode::Config, Explain::exit_code)
            }
            Problem::Stopped => ExitCode::Failed,
            _ => exit_code(self.kind()),
        }
    }

    fn is_unknown_instance(&self) -> bool {
        self.kind() == Kind::InstanceNotFound
    }
}

/// The exit code of a kind of failure.
pub(super) fn exit_code(kind: Kind) -> ExitCode {
    match kind {
        kind if kind.is_credentials() => ExitCode::Credentials,
        Kind::ClockWrong
        | Kind::TimestampFormat
        | Kind::RoleNotFound
        | Kind::OidcTokenRefused
        | Kind::RoleSettingInvalid => ExitCode::Credentials,
        Kind::PermissionMissing | Kind::RiskControl => ExitCode::Permission,
        Kind::Throttled
        | Kind::ServiceUnavailable
        | Kind::DispatchFailed
        | Kind::NonceUsed
        | Kind::StillProcessing
        | Kind::Network
        | Kind::Answer => ExitCode::Network,
        Kind::Tls | Kind::NoCredentials => ExitCode::Config,
        Kind::Input => ExitCode::Usage,
        Kind::OtherCode | Kind::Setup => ExitCode::Failed,
        // All others are about the instance, its region or what is asked of it.
        _ => ExitCode::Target,
    }
}

/// The service refused the call.
fn refused(kind: Kind, refusal: &Refusal, call: &CallContext) -> Words {
    match kind {
        kind if kind.is_credentials() => credentials(kind, call),
        Kind::ClockWrong | Kind::TimestampFormat => clock(refusal),
        Kind::PermissionMissing | Kind::RiskControl => permission(kind, refusal, call),
        Kind::RoleNotFound | Kind::OidcTokenRefused | Kind::RoleSettingInvalid => {
            role(kind, refusal, call)
        }
        kind if kind.is_transient() => transient(kind),
        kind => session(kind, refusal, call),
    }
}

/// What came was not the API's answer.
fn answer(problem: &AnswerError, call: &CallContext) -> Words {
    let endpoint = &call.endpoint;
    match problem {
        AnswerError::NotJson { .. } => words(
            format!(
                "something else answers in place of {endpoint}, or on the way to it: a proxy, \
                     a captive portal, a wrong endpoint"
            ),
            "check the endpoint, and open it in a browser to see what answers",
        ),
        AnswerError::Invalid(_) => words(
            format!("the API sends a short JSON object; {endpoint} sent this"),
            "try again; if it stays so, check the endpoint and what stands on the way to it",
        ),
        AnswerError::Missing { .. } => words(
            "the API has changed, or the endpoint is of another service",
            "check the endpoint, and look for a newer ecs-bridge",
        ),
    }
}

/// What to do where nothing came.
fn network(problem: &NetworkError, call: &CallContext) -> Option<String> {
    match problem {
        // Where the endpoint is not the region's own, the region is not the cause.
        NetworkError::Dns { host, .. } if host.contains(&call.region) => {
            problem.remedy().map(|fix| format!("{}{fix}", region_hint(&call.region)))
        }
        _ => problem.remedy(),
    }
}

/// The public region that may be meant, before what else to do.
fn region_hint(region: &str) -> String {
    regions::meant_by(region).map_or_else(String::new, |id| format!("did you mean {id}? "))
}

/// Clocks that differ by no more than this agree; the service accepts up to 15 minutes.
const AGREE: Duration = Duration::from_secs(60);

/// Why it failed, and what to do next.
type Words = (String, String);

fn words(why: impl Into<String>, fix: impl Into<String>) -> Words {
    (why.into(), fix.into())
}

fn credentials(kind: Kind, call: &CallContext) -> Words {
    let id = call.access_key_id.as_deref().unwrap_or_default();
    let lacks_token = id.starts_with("STS.") && !call.has_token;
    let more = match kind {
        Kind::AccessKeyUnknown if lacks_token => {
            "a key that begins with STS. is temporary and needs its security token, which is not \
             there"
        }
        Kind::AccessKeyUnknown => "it was deleted, or belongs to another site or cloud",
        Kind::AccessKeyInactive => "its owner has switched it off",
        Kind::SecretWrong => "the secret does not belong to the access key id",
        Kind::SignatureIncomplete => {
            "something on the way may have taken headers away, or the endpoint requires another \
             signature"
        }
        Kind::TokenExpired => "temporary credentials end",
        Kind::TokenMismatch => "the two come from different answers",
        Kind::TokenMissing => "the access key is temporary and needs its token",
        _ => "it was cut or changed when it was copied",
    };
    let why = format!("{more}; the credentials ({}) came from {}", mask(id), call.source);
    let mut fix = source::renewal(&call.source);
    match kind {
        Kind::TokenMissing => fix = source::add_token(&call.source),
        Kind::AccessKeyUnknown if lacks_token => fix = source::add_token(&call.source),
        Kind::AccessKeyInactive => {
            fix = format!("enable the key in the RAM console, or {fix}");
        }
        Kind::SignatureIncomplete => {
            fix = format!("try --signature-version v1, or {fix}");
        }
        _ => {}
    }
    (why, fix)
}

fn clock(refusal: &Refusal) -> Words {
    let local = refusal.local_time;
    let shown = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string();
    let why = match refusal.service_time {
        Some(service) => {
            let (apart, word) = apart(local, service);
            let both = format!(
                "this machine's clock says {}, the service's {}",
                shown(local),
                shown(service)
            );
            if apart <= AGREE {
                return words(
                    format!("{both}: they agree, so the request was held up on its way"),
                    "try again; if it stays so, look for a proxy that holds requests back",
                );
            }
            format!("{both}: this machine is {} {word}", humantime::format_duration(apart))
        }
        None => format!(
            "this machine's clock says {}, which the service finds wrong; its answer has no time",
            shown(local)
        ),
    };
    (why, SET_CLOCK.to_owned())
}

fn permission(kind: Kind, refusal: &Refusal, call: &CallContext) -> Words {
    let who = match &call.access_key_id {
        Some(id) => format!("the access key {} from {}", mask(id), call.source),
        None => call.source.to_string(),
    };
    if kind == Kind::RiskControl {
        return words(
            format!("the service has restricted the account behind {who}"),
            "see the messages in the Alibaba Cloud console, or ask its support",
        );
    }
    let action = match &refusal.denied_action {
        Some(action) => action.clone(),
        None if is_sts(call) => "sts:AssumeRole".to_owned(),
        None if call.action.starts_with("InvokeServiceInstance") => {
            format!("computenestsupplier:{}", call.action)
        }
        None => format!("ecs:{}", call.action),
    };
    let purpose = Purpose::of_action(&action);
    let actions = purpose.map_or_else(|| vec![&*action], |purpose| policy::actions(&[purpose]));
    let trust = match (is_sts(call), call.subject.as_deref()) {
        (true, Some(role)) => format!("let the trust policy of {role} name the caller, and "),
        _ => String::new(),
    };
    let printed = match purpose {
        None => String::new(),
        Some(Purpose::List) => " (`ecs-bridge policy list` prints it, `ecs-bridge policy connect` \
                                 one for connections)"
            .to_owned(),
        Some(purpose) => format!(" (`ecs-bridge policy {}` prints it)", purpose.word()),
    };
    (
        format!("the user or role behind {who} may not do {action}"),
        format!(
            "in the RAM console, {trust}attach a policy such as this one to it{printed}{}:\n{}",
            condition(&action),
            Policy::of(&actions).compact()
        ),
    )
}

/// What the condition of a policy that is attached already has to allow.
fn condition(action: &str) -> &'static str {
    match action {
        "ecs:StartTerminalSession" => {
            "; if one has the condition ecs:SessionStartAs (user of the session), let it allow \
             sessions without a user name, as those of ecs-bridge"
        }
        action if COMMAND_ACTIONS.contains(&action) => {
            "; if one has the condition ecs:CommandRunAs (user that the command runs as), let it \
             allow root"
        }
        _ => "",
    }
}

/// What stands behind the last dot of a code, in small letters.
fn detail(refusal: &Refusal) -> String {
    refusal.code.rsplit('.').next().unwrap_or_default().to_ascii_lowercase()
}

/// Whether it is a call of STS, which is about a role.
fn is_sts(call: &CallContext) -> bool {
    call.action.starts_with("AssumeRole")
}

fn role(kind: Kind, refusal: &Refusal, call: &CallContext) -> Words {
    let role = call.subject.as_deref().unwrap_or("the role");
    let source = &call.source;
    let asked = match call.access_key_id {
        // The role may be another profile's than the keys.
        Some(_) => format!("{} asks for {role} with the keys of {source}", call.action),
        None => format!("{source} asks for {role}"),
    };
    let detail = detail(refusal);
    match kind {
        Kind::RoleNotFound => words(
            asked,
            "correct its ARN (the RAM console shows it), and see that the keys are of the same \
             cloud",
        ),
        Kind::OidcTokenRefused => {
            let why = match detail == "expired" {
                true => "it has expired, and whoever issues it has written no new one",
                false => "it is of another issuer or for another audience, or damaged",
            };
            words(
                format!("{why}; it was exchanged for {role}, as {source} asks"),
                "renew the token's file, and compare its issuer and audience with the identity \
                 provider in the RAM console",
            )
        }
        _ => {
            let field = match &*detail {
                "rolearn" => "ram_role_arn (acs:ram::ACCOUNT:role/NAME)",
                "rolesessionname" => {
                    "ram_session_name (2 to 64 letters, digits, '.', '@', '-' and '_')"
                }
                "durationseconds" => {
                    "expired_seconds (900 up to the role's own limit, 3600 unless it was raised)"
                }
                "externalid" => "external_id",
                "oidcproviderarn" => "oidc_provider_arn",
                _ => "the token's file",
            };
            (asked, format!("correct {field}"))
        }
    }
}

fn transient(kind: Kind) -> Words {
    let (why, fix) = match kind {
        Kind::Throttled => (
            "the account's calls of this kind are limited in number; other programs count too",
            "wait a minute and try again; share one connection between sessions (ControlMaster)",
        ),
        Kind::NonceUsed => (
            "something on the way sends requests twice",
            "try again; if it stays so, look for a proxy between here and the service",
        ),
        Kind::StillProcessing => ("the service is slow", "try again in a moment"),
        Kind::DispatchFailed => (
            "the fault is on the service's side, or the instance's Cloud Assistant agent is away",
            "try again in a moment; if it stays so, check that the instance runs and that its agent \
             is online (ECS console > Cloud Assistant > ECS Instances)",
        ),
        _ => (
            "the fault is on the service's side",
            "try again in a few minutes; see the service's status page if it stays so",
        ),
    };
    words(why, fix)
}

fn session(kind: Kind, refusal: &Refusal, call: &CallContext) -> Words {
    let region = &call.region;
    let subject = call.subject.as_deref().unwrap_or("the instance");
    match kind {
        Kind::SessionManagerDisabled => words(
            format!("it is off until somebody switches it on, once for each region ({region})"),
            switch_on(region.as_str()),
        ),
        Kind::SessionQuota => words(
            format!(
                "a region ({region}) may have 100 active sessions, and an instance 20 connected \
                 ones; a session counts until it is ended or idle for 3 minutes"
            ),
            format!(
                "close connections, or find the sessions with `aliyun ecs \
                 DescribeTerminalSessions --RegionId {region}` and end each with `aliyun ecs \
                 EndTerminalSession --RegionId {region} --SessionId ID`; share one connection \
                 between sessions (ControlMaster)"
            ),
        ),
        Kind::PortForwardingNotSupported => {
            words("its Cloud Assistant agent is too old, or of a kind without it", UPDATE_AGENT)
        }
        Kind::InstanceNotFound => words(
            format!("region {region} has no '{subject}' that this account can see"),
            "check the id, and the region it is in (--region, ALIBABA_CLOUD_REGION_ID, the \
             profile's region_id)",
        ),
        Kind::InstanceNotRunning => words(
            format!("'{subject}' is stopped, or not up yet"),
            "start the instance (ECS console, or `aliyun ecs StartInstance`), and try again once \
             it has booted; `proxy --start`, `forward --start` and `session --start` do it",
        ),
        Kind::TooManyInstances => words(
            "the service takes fewer than the call names",
            "report this, with the output of -vv",
        ),
        Kind::TargetServerInvalid => words(
            "it has to be a host name or address as seen from the instance, at most 128 \
             characters",
            "correct --remote-host",
        ),
        Kind::PortInvalid => words("it has to be a number from 1 to 65535", "correct the port"),
        Kind::CommandLineInvalid => words(
            match detail(refusal) == "conflict" {
                true => "a session has a port or a command, not both",
                false => "it may have 512 characters at most",
            },
            "leave the port out, or shorten the command",
        ),
        Kind::UserNameInvalid => {
            words("it is longer than the service allows", "give a user with a shorter name")
        }
        Kind::PasswordNameInvalid => words(
            "it is longer than the service allows",
            "give the secret that holds the Windows user's password a shorter name",
        ),
        Kind::ConnectionTypeInvalid => words(
            format!("region {region} may not have the requested one"),
            "leave --connection-type out, or try the other one",
        ),
        Kind::SecurityGroupDenied => words(
            format!("a rule of the groups of '{subject}' stands against this connection"),
            "allow the port in the inbound rules of the instance's security group; the agent itself \
             needs outbound TCP 443 to 100.100.0.0/16, and UDP 53",
        ),
        Kind::RegionNotFound => words(
            format!("'{region}' was requested at {}", call.endpoint),
            format!(
                "{}correct the region (--region, ALIBABA_CLOUD_REGION_ID, the profile's region_id); \
                 `aliyun ecs DescribeRegions` lists them",
                region_hint(region)
            ),
        ),
        Kind::RegionNotSupported => words(
            format!("Session Manager is not available in {region}"),
            "use an instance of another region, or another way in",
        ),
        Kind::OperationForbidden => words(
            format!("the state or the kind of '{subject}' does not allow it"),
            "look at the instance in the ECS console: it has to be running, and no other \
             operation under way",
        ),
        _ => words(
            String::new(),
            "look the code up in the API's documentation; support asks for the RequestId",
        ),
    }
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
