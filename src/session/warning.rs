//! Warnings about one session, in the same words for every command.

use std::borrow::Cow;
use std::fmt;

use super::event::Notice;
use super::failure::KEEP_OPEN;
use super::target::Target;
use crate::explain::{ExitCode, Explain};
use crate::gateway::driver::LocalError;
use session_manager_proto::status::Reason;

/// Something that the user should be told of a session that goes on, or has not failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    /// What happened.
    pub(crate) message: String,
    /// What to do.
    pub(crate) fix: Cow<'static, str>,
}

impl Warning {
    /// What a session has noticed.
    pub(crate) fn of_notice(notice: Notice, target: &Target) -> Self {
        match notice {
            Notice::OutputGap => Self {
                message: format!(
                    "bytes of {target} may be missing: the agent's sequence of Outputs has a gap"
                ),
                fix: "check what was received, and connect again; if it comes again, look at the \
                      network between here and the gateway, and at the version of the agent"
                    .into(),
            },
            Notice::IdleSoon(left) => Self {
                // It may be told a moment late.
                message: format!(
                    "{target} is idle: the session ends in {:.0} s",
                    left.as_secs_f64()
                ),
                fix: "press a key to keep it; --idle-timeout sets the time, 0 is never".into(),
            },
            Notice::NoAnswer(after) => Self {
                message: format!(
                    "nothing has come from {target} for {} s since something was sent to it",
                    after.as_secs()
                ),
                fix:
                    "the target may have closed the connection, which agents before 4.1065 do not \
                      report, or the agent may be gone: --idle-timeout ends a session without \
                      traffic; in ssh, ConnectTimeout ends a wait for the login, and \
                      ServerAliveInterval notices a server that does not answer later"
                        .into(),
            },
        }
    }

    /// The remote side has ended the session before so many `bytes` of the local side were sent.
    pub(crate) fn of_cut(target: &Target, bytes: u64) -> Self {
        Self {
            message: format!(
                "{bytes} bytes or more were not sent to {target}: the remote side ended the session"
            ),
            fix: KEEP_OPEN.into(),
        }
    }

    /// `forward` has ended a session before all `bytes` of a client that had closed were known to have arrived.
    pub(crate) fn of_stop(target: &Target, bytes: u64) -> Self {
        Self {
            message: format!(
                "{bytes} bytes that were sent to {target} are not known to have arrived: the forward \
                 was stopped"
            ),
            fix: "send them again; raise --grace where they need longer, or let the program wait for \
                  an answer before it closes its connection"
                .into(),
        }
    }

    /// A local connection could not be read, or did not take what the target had sent.
    pub(crate) fn of_local(target: &Target, error: &LocalError) -> Self {
        let fix = match error {
            LocalError::Read(_) => "look at the program that made the connection",
            LocalError::Write(_) => {
                "look at the program that made the connection: it has to read until the end"
            }
        };
        Self { message: format!("a connection to {target} failed here: {error}"), fix: fix.into() }
    }

    /// A session that `forward` has kept since its probe has failed, if the target cannot be used any more
    /// by what is known now.
    pub(crate) fn of_kept(address: &str, error: &dyn Explain) -> Option<Self> {
        let fix = error.remedy().filter(|_| error.exit_code() == ExitCode::Target)?;
        Some(Self { message: format!("{address}: {error}"), fix: fix.into() })
    }

    /// The API or the console has ended the session.
    pub(crate) fn of_notified(reason: &Reason) -> Self {
        Self {
            message: format!(
                "the session was ended from elsewhere: the console, the API, or an administrator \
                 ({reason})"
            ),
            fix: "connect again; ask whoever may end sessions if it comes again".into(),
        }
    }

    /// The end of file came from the local side, and nothing from the target after it. `yielded` says
    /// that the session was ended before `--linger` for another one that needed its place.
    pub(crate) fn of_silence(target: &Target, yielded: bool) -> Self {
        if yielded {
            return Self {
                message: format!(
                    "{target} had not answered what was sent when a waiting connection needed this \
                     one's session"
                ),
                fix: "open fewer connections at once, or raise --max-connections where the service's \
                      quota (20 sessions for an instance) leaves room".into(),
            };
        }
        Self {
            message: format!("{target} did not answer what was sent within --linger"),
            fix: "raise --linger where the target needs longer; one that waits for an end of file \
                  never answers: it cannot be passed on"
                .into(),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  fix: {}", self.message, self.fix)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_notice_names_its_target_and_what_to_do() {
        let target =
            Target { instance: "i-1".into(), name: None, remote_host: None, port: Some(5432) };
        let no_answer = Warning::of_notice(Notice::NoAnswer(Duration::from_secs(60)), &target);
        assert_eq!(
            no_answer.message,
            "nothing has come from port 5432 of i-1 for 60 s since something was sent to it"
        );
        for option in ["--idle-timeout", "ServerAliveInterval"] {
            assert!(no_answer.fix.contains(option));
        }
        let gap = Warning::of_notice(Notice::OutputGap, &target);
        assert!(gap.message.contains("port 5432 of i-1"), "{gap}");
        let stop = Warning::of_stop(&target, 7).to_string();
        assert!(
            stop.contains("7 bytes that were sent to port 5432 of i-1") && stop.contains("--grace")
        );
        let silence = |yielded| Warning::of_silence(&target, yielded).to_string();
        assert!(silence(false).contains("within --linger\n  fix: raise --linger"));
        assert!(silence(true).contains("a waiting connection needed this one's session"));
        assert!(!silence(true).contains("--linger"));
    }
}
