//! What a user is told of the reasons with which a remote side ends a session (docs/protocol.md, 3).

mod shell;

pub(super) use self::shell::is_of_shell;
use super::target::Target;
use crate::explain::UPDATE_AGENT;
use session_manager_proto::session::Failure;
use session_manager_proto::status::{Reason, ReasonKind};

pub(crate) const AGENT: &str = "check that the instance runs and that its Cloud Assistant agent is online \
    (ECS console > Cloud Assistant > ECS Instances); on the instance: `systemctl restart \
    aliyun.service`";

pub(crate) const START: &str = "start the instance (ECS console, or `aliyun ecs StartInstance`), and connect \
    again once it has booted";

const SHELL: &str = "report it with `-vv` output: ecs-bridge asked for a port";

const KEEPALIVE: &str = "connect again with --keepalive 50: unless it is given, agents up to 3.631 get none in a \
                         stream that is not SSH";

/// The same after the end of the input, where `--keepalive` changes nothing.
pub(super) const KEEP_INPUT_OPEN: &str = "keep the input open until the answer is complete, as in `(cat FILE; sleep \
    600) | ecs-bridge proxy … --keepalive 50`: after its end, agents up to 3.631 and those whose version is not \
    known get no keepalive; or update the agent, and allow ecs:DescribeCloudAssistantStatus";

pub(crate) fn again() -> Option<String> {
    Some("connect again; with -vv the log says more".to_owned())
}

/// Whether the instance, its agent or the target is what a session cannot be had with.
pub(crate) fn is_of_target(reason: ReasonKind) -> bool {
    use ReasonKind as Kind;
    matches!(
        reason,
        Kind::NoTarget
            | Kind::DeliveryTimeout
            | Kind::InstanceNotExists
            | Kind::InstanceNotRunning
            | Kind::AgentNeedUpgrade
            | Kind::AgentNotOnline
    )
}

/// Why the remote side says that it ended or refused the session.
pub(super) fn reason(failure: &Failure) -> Option<ReasonKind> {
    match failure {
        Failure::Ended(reason) => Some(reason.kind()),
        Failure::Aborted(text) if !text.is_empty() => Some(Reason::parse(text.as_bytes()).kind()),
        _ => None,
    }
}

/// The service's code for it, if it is one: the rest of its text stands in `why`.
pub(super) fn code(failure: &Failure) -> Option<String> {
    let reason = match failure {
        Failure::Ended(reason) => reason.clone(),
        Failure::Aborted(text) => Reason::parse(text.as_bytes()),
        _ => return None,
    };
    (reason.kind() != ReasonKind::Other).then(|| reason.word().to_owned())
}

/// What an agent's system says of a target that does not answer, or to which no way leads: Go, Linux and
/// Windows.
const UNREACHED: [&str; 7] = [
    "i/o timeout",
    "timed out",
    "no route to host",
    "network is unreachable",
    "did not properly respond",
    "unreachable host",
    "unreachable network",
];

/// The agent could not connect to the target.
fn explain_no_target(failure: &Failure, target: &Target) -> (Option<String>, Option<String>) {
    let port = target.port.unwrap_or_default();
    let detail = failure.to_string();
    let is_unknown = detail.contains("no such host");
    let is_unreached = UNREACHED.iter().any(|text| detail.contains(text));
    let (cause, remedy) = match &target.remote_host {
        None if is_unreached => (
            format!("{target} cannot be reached"),
            "check that no firewall on the instance drops connections to the port (`nft list ruleset`, \
             or Windows Firewall), and that the service still accepts connections"
                .to_owned(),
        ),
        None => (
            format!("nothing listens on {target}"),
            "check that the service runs and listens there (on the instance: `ss -ltn`), and \
             that the port is right"
                .to_owned(),
        ),
        Some(host) if is_unknown => (
            format!("the instance {} cannot resolve the host name {host}", target.instance_name()),
            format!("check the name (on the instance: `getent hosts {host}`), or give an address"),
        ),
        Some(host) if is_unreached => (
            format!("{host}:{port} cannot be reached from {}", target.instance_name()),
            "check that host and port are right, that the host runs, that there is a route to it, and that \
             its firewall and security group let the instance connect"
                .to_owned(),
        ),
        Some(host) => (
            format!("nothing listens on {host}:{port}, seen from {}", target.instance_name()),
            "check that the service runs and listens there, that the instance may reach it \
             (security groups), and that host and port are right"
                .to_owned(),
        ),
    };
    (Some(cause), Some(remedy))
}

/// The cause and the fix of each reason of docs/protocol.md, 3.
pub(super) fn explain(
    reason: ReasonKind,
    failure: &Failure,
    target: &Target,
) -> (Option<String>, Option<String>) {
    use ReasonKind as Kind;
    if target.port.is_none()
        && let Some((cause, remedy)) = shell::explain(reason)
    {
        return (Some(cause.to_owned()), Some(remedy.to_owned()));
    }
    let (cause, remedy) = match reason {
        Kind::NoTarget => return explain_no_target(failure, target),
        Kind::Other => return (None, again()),
        Kind::Exit => {
            ("the session was ended before it was open: by the API, or by the gateway", AGENT)
        }
        Kind::TargetClosed => (
            "the target closed the connection before the session was open",
            "check that the service runs and accepts connections from the instance itself, \
             then connect again",
        ),
        Kind::Notified => (
            "the session was ended from elsewhere: the console, the API, or an administrator",
            "connect again if that was not intended",
        ),
        Kind::IdleTimeout => (
            "the service ends a session after 3 minutes without a frame from ecs-bridge",
            KEEPALIVE,
        ),
        Kind::Timeout => (
            "a time limit of the service was reached: 3 minutes without a frame from \
             ecs-bridge, or 3 hours in all",
            KEEPALIVE,
        ),
        Kind::SessionTimeout => ("the service ends every session after 3 hours", "connect again"),
        Kind::AgentTimeout => ("the Cloud Assistant agent did not answer in time", AGENT),
        Kind::DeliveryTimeout => (
            "the order to join the session did not reach the Cloud Assistant agent: it is \
             offline",
            AGENT,
        ),
        Kind::AgentNotOnline => ("the Cloud Assistant agent of the instance is not online", AGENT),
        Kind::AgentNotJoined => ("the Cloud Assistant agent could not join the session", AGENT),
        Kind::AgentSocketClosed => {
            ("the Cloud Assistant agent's connection to the gateway was closed", AGENT)
        }
        Kind::InstanceNotExists => (
            "there is no such instance in the region",
            "check the instance's id and the region: `ecs-bridge list` shows the instances",
        ),
        Kind::InstanceNotRunning => ("the instance is not running", START),
        Kind::AgentNeedUpgrade => {
            ("the instance's Cloud Assistant agent is too old for sessions", UPDATE_AGENT)
        }
        Kind::MessageFormatInvalid => (
            "the instance's Cloud Assistant agent and the gateway use incompatible message formats: \
             the agent is probably too old",
            UPDATE_AGENT,
        ),
        Kind::ClientClosed => (
            "the gateway reports that the client closed the connection: another client may have \
             used the session, or something in between cut the connection",
            "connect again",
        ),
        Kind::GatewayUnreachable => (
            "the Cloud Assistant agent cannot resolve or reach the gateway's domain",
            "let the instance reach 100.100.0.0/16 on TCP port 443, and its name server on \
             UDP port 53 (security group, firewall and /etc/resolv.conf of the instance)",
        ),
        Kind::DuplicateSession => ("another client uses the same session", "connect again"),
        Kind::FlowExceedLimit => (
            "the gateway counted more bytes than its rate limit allows",
            "connect again, and report it with `-vv` output: ecs-bridge keeps to the limit \
             that the gateway announced",
        ),
        Kind::AgentConnectionLost => (
            "the connection between the instance's agent and the gateway was lost",
            "connect again",
        ),
        Kind::DataNotProcessed => (
            "the instance's agent or the gateway could not process the stream's data",
            "connect again, and report it with the RequestId if it comes back",
        ),
        Kind::TargetBroke => (
            "the agent's connection to the target broke",
            "check on the instance that the service still runs, then connect again",
        ),
        Kind::UnknownError => (
            "the agent or the gateway reported an unknown error",
            "connect again; if it comes back, restart the agent on the instance \
             (`systemctl restart aliyun.service`) and report it with the RequestId",
        ),
        Kind::ShellUser => (
            "the service took this for a shell session, and the shell's user cannot be used",
            SHELL,
        ),
        Kind::ShellHome => (
            "the service took this for a shell session, and the home directory of the shell's \
             user cannot be used",
            SHELL,
        ),
        Kind::ShellCommand => (
            "the service took this for a shell session, and the shell or its command cannot \
             be run",
            SHELL,
        ),
        Kind::ShellTerminal => (
            "the service took this for a shell session, and the agent cannot open a terminal",
            SHELL,
        ),
        Kind::KeyExchange => (
            "the service took this for a shell session, and the agent expected an encryption key: \
             ecs-bridge does not support encrypted sessions",
            SHELL,
        ),
    };
    (Some(cause.to_owned()), Some(remedy.to_owned()))
}

#[cfg(test)]
mod tests;
