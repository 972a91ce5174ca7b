//! What a user is told of the reasons with which a shell ends that could not be had (docs/protocol.md, 9).

use session_manager_proto::status::ReasonKind;

/// Whether the user, the command or the system of the instance is what a shell cannot be had with.
pub(crate) fn is_of_shell(reason: ReasonKind) -> bool {
    use ReasonKind as Kind;
    matches!(reason, Kind::ShellUser | Kind::ShellHome | Kind::ShellCommand | Kind::ShellTerminal)
}

/// The cause and the fix of those that only shells have.
pub(super) fn explain(reason: ReasonKind) -> Option<(&'static str, &'static str)> {
    use ReasonKind as Kind;
    Some(match reason {
        Kind::ShellUser => (
            "the user of the shell does not exist or cannot be used",
            "give --user-name a user that exists on the instance (`getent passwd` there), or leave it \
             out for ecs-assist-user; on Windows a user needs --password-name, the name of a parameter \
             that exists",
        ),
        Kind::ShellHome => (
            "the home directory of the shell's user does not exist or cannot be entered",
            "create it on the instance, or give --user-name another user",
        ),
        Kind::ShellCommand => (
            "the shell or the command cannot be run",
            "check that the program of --command exists on the instance, that the user may run it, and \
             that its quotes are closed; for pipes, globs and variables use --command \"sh -c '…'\"",
        ),
        Kind::ShellTerminal => (
            "the agent cannot open a terminal for the shell",
            "check that the instance has terminals left (on the instance: `sysctl kernel.pty`), then \
             restart its agent: `systemctl restart aliyun.service`",
        ),
        Kind::KeyExchange => (
            "the agent expected an encryption key for the session: ecs-bridge does not support encrypted \
             sessions",
            "switch the encryption of sessions off for the account, or report it with `-vv` output",
        ),
        Kind::IdleTimeout => (
            "the agent ends a session after 3 minutes without a frame from ecs-bridge",
            "connect again, without --keepalive 0",
        ),
        _ => return None,
    })
}
