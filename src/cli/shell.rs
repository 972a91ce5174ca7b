//! `ecs-bridge session`: its arguments.

use clap::{Args, ValueHint};
use secrecy::SecretString;

use super::look_up::LookUp;
use super::session::Opening;
use super::start::Start;
use super::text::TARGET;
use super::values::{secret, whole};
use super::via::Via;
use crate::shell::idle;

pub(super) const SHELL_ABOUT: &str = "Open a shell on an instance, without SSH.\n\n\
        Needs neither an SSH server nor a key on the instance: its Cloud Assistant agent runs the shell. \
        On a terminal, ~. on a new line leaves and ~? lists the escapes, as in ssh. Without one, a script on \
        stdin is typed to the shell and its output is copied to stdout, with prompts and echo; text passes, \
        tabs and binary data do not. The agent ends every session after 3 hours.";

/// `ecs-bridge session`
#[derive(Args, Debug)]
#[command(after_help = SHELL_EXAMPLES)]
pub(crate) struct Shell {
    /// The instance
    #[arg(help = TARGET, value_hint = ValueHint::Hostname, required_unless_present_any = ["instance", "wss_url"])]
    pub target: Option<String>,

    /// The same as TARGET
    #[arg(short, long, value_name = "TARGET", value_hint = ValueHint::Hostname)]
    pub instance: Option<String>,

    /// Run the shell as this user [default: ecs-assist-user]
    ///
    /// The agent makes the default user, with sudo rights. Another one must exist on the instance.
    #[arg(long, visible_alias = "user", value_name = "NAME")]
    pub user_name: Option<String>,

    /// Run one command in place of a shell
    ///
    /// At most 512 characters. The agent splits it into words and runs it without a shell: no pipes, no
    /// globs, no variables (use `sh -c '…'` for those). The service does not report its exit code: the
    /// exit code is 0 unless the session failed.
    #[arg(long, value_name = "COMMAND")]
    pub command: Option<String>,

    /// Windows: the name under which the password of --user-name is stored
    ///
    /// An encrypted parameter of CloudOps Orchestration Service (OOS) in the instance's region.
    #[arg(long, visible_alias = "passwd-name", hide_short_help = true, value_name = "NAME")]
    pub password_name: Option<String>,

    /// Refused: a password on the command line can be read by others
    #[arg(long, alias = "passwd", hide = true, value_name = "PASSWORD", value_parser = secret)]
    pub password: Option<SecretString>,

    /// End after this many seconds without data (60 or more); 0 = never
    ///
    /// Data is input or output. On a terminal a warning is printed 15 seconds before.
    #[arg(
        long,
        value_name = "SECS",
        default_value_t = 180,
        allow_negative_numbers = true,
        value_parser = idle_timeout
    )]
    pub idle_timeout: u64,

    /// The character that begins an escape on a new line, such as ~ or ^]; none = no escapes
    #[arg(
        short,
        long,
        hide_short_help = true,
        value_name = "CHAR",
        default_value = "~",
        allow_hyphen_values = true,
        value_parser = escape_char
    )]
    pub escape_char: EscapeChar,

    /// Send a keepalive after this many seconds without outgoing data; 0 = never [default: 50]
    ///
    /// The agent ends a session after 180 seconds without a frame from ecs-bridge.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "SECS",
        env = "ECS_BRIDGE_KEEPALIVE",
        value_parser = whole::<u64>(0, 86_400)
    )]
    pub keepalive: Option<u64>,

    /// How the instance is found.
    #[command(flatten)]
    pub look_up: LookUp,

    /// Whether it is started.
    #[command(flatten)]
    pub start: Start,

    /// How its session is started.
    #[command(flatten)]
    pub via: Via,

    /// How its session is opened.
    #[command(flatten)]
    pub opening: Opening,
}

/// What begins an escape, if anything does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EscapeChar(pub Option<u8>);

fn idle_timeout(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(seconds) if idle::is_allowed(seconds) => Ok(seconds),
        _ => Err(format!("expected 0 (never) or seconds from {} to {}", idle::LEAST, idle::MOST)),
    }
}

fn escape_char(text: &str) -> Result<EscapeChar, String> {
    match *text.as_bytes() {
        _ if text.eq_ignore_ascii_case("none") => Ok(EscapeChar(None)),
        [c @ b'!'..=b'~'] => Ok(EscapeChar(Some(c))),
        // Ctrl-A is 1, as in ssh.
        [b'^', c @ (b'@'..=b'_' | b'a'..=b'z')] => Ok(EscapeChar(Some(c & 0x1f))),
        _ => Err("expected one ASCII character, ^ and a letter, or none".to_owned()),
    }
}

const SHELL_EXAMPLES: &str = "\
Examples:
  ecs-bridge session web-1
  ecs-bridge session web-1 --command 'systemctl status nginx --no-pager'
  ecs-bridge session web-1 < setup.sh";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_timeout_is_never_or_a_minute_at_least() {
        for (text, seconds) in [("0", Some(0)), ("60", Some(60)), ("180", Some(180))]
            .into_iter()
            .chain(["5", "59", "-1", "", "abc", "1.5", "31536001"].map(|text| (text, None)))
        {
            assert_eq!(idle_timeout(text).ok(), seconds, "{text}");
        }
    }

    #[test]
    fn an_escape_character_is_one_character_or_none() {
        for (text, escape) in [
            ("~", Some(Some(b'~'))),
            ("none", Some(None)),
            ("^]", Some(Some(0x1d))),
            ("^a", Some(Some(1))),
            ("^", Some(Some(b'^'))),
            ("", None),
            ("ab", None),
            ("é", None),
            (" ", None),
        ] {
            assert_eq!(escape_char(text).ok().map(|escape| escape.0), escape, "{text}");
        }
    }
}
