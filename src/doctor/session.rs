//! Opens a test session, reads the first bytes of the port, and ends the session.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::banner::{BannerCapture, SilentReader};
use super::context::DoctorContext;
use super::outcome::Outcome;
use crate::cli;
use crate::credentials::shell_word;
use crate::explain::{ExitCode, Report};
use crate::gateway::local::LocalSide;
use crate::session::error::SessionError;
use crate::session::plan::Plan;
use crate::session::target::Target;
use crate::session::{SessionOutcome, SessionRequest, run};
use crate::target::SSH_PORT;
use crate::target::finder::Found;
use aliyun_client::text;
use session_manager_proto::session::End;

/// How long a session may take to open.
const OPEN_WITHIN: Duration = Duration::from_secs(18);
/// How long an SSH server may take to send its banner, once its port is taken to be connected.
const BANNER_TIMEOUT: Duration = Duration::from_secs(4);
/// How long to wait for the first byte of another server, which may wait for the client.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the first line may take to be complete.
const LINE_TIMEOUT: Duration = Duration::from_millis(500);
/// The time that is left for ending the session before the deadline of all checks.
const END_RESERVE: Duration = Duration::from_secs(3);

impl DoctorContext<'_> {
    /// A session opens.
    pub(crate) async fn session(&self) -> Outcome {
        let Some(found) = self.found.get() else { return self.not_known("the instance") };
        let plan = match self.plan(found) {
            Ok(plan) => plan.for_listening(),
            Err(error) => return Outcome::failed(&*error),
        };
        let capture = BannerCapture::default();
        let mut local = LocalSide::new(SilentReader, capture.clone());
        let began = Instant::now();
        let stop = self.captured(&capture, (self.deadline - END_RESERVE).min(began + OPEN_WITHIN));
        self.in_session.set(true);
        let (plan, starter, up_by) = (&plan, None, &Cell::new(None));
        let request = SessionRequest { found, plan, starter, up_by };
        let outcome = run(&request, &mut local, stop, &|event| capture.on_event(event)).await;
        self.in_session.set(false);
        self.session_ended.notify_one();
        let opened = || {
            let took = began.elapsed().as_millis();
            Outcome::passed(format!("it opens, and was ended after {took} ms"))
        };
        let is_closed = |session_error: &SessionError| session_error.has_no_target();
        match outcome {
            Err(session_error) if is_closed(&session_error) => {
                self.port.replace(Some(Outcome::failed(&session_error)));
                opened()
            }
            Err(session_error) => Outcome::failed(&session_error),
            Ok(SessionOutcome::Ended(outcome)) if matches!(outcome.end, End::Remote(_)) => {
                self.port.replace(Some(self.port_outcome(&capture.bytes(), true)));
                opened()
            }
            Ok(_) if capture.is_ready() => {
                self.port.replace(Some(self.port_outcome(&capture.bytes(), false)));
                opened()
            }
            Ok(_) => {
                let waited = began.elapsed().as_secs();
                let what = format!("the session did not open within {waited} s");
                let report = Report::plain(what, ExitCode::Session);
                Outcome::Failed(report.fix("try again; with -vv the log says how far it came"))
            }
        }
    }

    /// The port accepts connections, and port 22 is an SSH server.
    pub(crate) async fn port(&self) -> Outcome {
        self.port.take().unwrap_or_else(|| self.not_known("what it says"))
    }

    fn plan(&self, found: &Found) -> crate::app::Result<Plan> {
        let target = Target {
            instance: found.id.clone(),
            name: found.name.clone(),
            remote_host: self.args.remote_host.clone(),
            port: Some(self.args.port),
        };
        let options = cli::Session {
            opening: cli::Opening { connection_type: self.args.connection_type, wait: 0 },
            keepalive: None,
            idle_timeout: 0,
            ready_delay: cli::READY_DELAY,
            linger: 1,
        };
        Plan::new(target, &options)
    }

    /// Waits until the first line has come, or is not expected any more.
    async fn captured(&self, capture: &BannerCapture, open_by: Instant) {
        let is_ssh = self.args.port == SSH_PORT;
        let line = async {
            capture.wait_until(|bytes| !bytes.is_empty()).await;
            tokio::select! {
                () = capture.wait_until(|bytes| banner(bytes).is_some_and(|line| line.ends_whole)) => {}
                () = sleep(LINE_TIMEOUT) => {}
            }
        };
        let silent = async {
            capture.ready().await;
            sleep(if is_ssh { BANNER_TIMEOUT } else { FIRST_BYTE_TIMEOUT }).await;
        };
        tokio::select! {
            () = line => {}
            () = silent => {}
            () = sleep_until(open_by) => {}
            () = self.stop.notified() => {}
        }
    }

    /// The outcome of the check of the port, from its first bytes.
    fn port_outcome(&self, bytes: &[u8], has_closed: bool) -> Outcome {
        let port = self.args.port;
        if let Some(Banner { line, .. }) = banner(bytes) {
            return Outcome::passed(format!("it says {line}"));
        }
        let first = first_line(bytes);
        let fix = format!(
            "see what listens there (on the instance: `ss -ltnp`), or name the port of its SSH \
             server: `ecs-bridge doctor {} PORT`",
            self.args.target.as_deref().map_or_else(|| "TARGET".to_owned(), shell_word)
        );
        let bad = |what: &str, why: String| {
            let report = Report::plain(what, ExitCode::Target).why(why);
            Outcome::Failed(report.fix(fix.clone()))
        };
        match (port == SSH_PORT, first.is_empty(), has_closed) {
            (true, false, _) => {
                let what = "what answers on port 22 is not an SSH server";
                bad(what, format!("it says {first:?}"))
            }
            (_, true, true) => {
                let what =
                    format!("port {port} accepts connections and closes them without sending data");
                let why = "the server may be overloaded, or may reject the instance's address";
                bad(&what, why.to_owned())
            }
            (true, true, false) => {
                let what = "port 22 accepts connections and sends nothing";
                bad(
                    what,
                    "an SSH server sends first: this one hangs, or is not an SSH server".to_owned(),
                )
            }
            (false, false, _) => {
                Outcome::passed(format!("it accepts connections, and sends {first:?}"))
            }
            (false, true, false) => {
                Outcome::passed("it accepts connections, and sends nothing until the client does")
            }
        }
    }
}

/// The identification line of an SSH server.
struct Banner {
    line: String,
    ends_whole: bool,
}

/// Finds the identification line, which other lines may precede.
fn banner(bytes: &[u8]) -> Option<Banner> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let line =
        lines.find(|line| line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-"))?;
    Some(Banner { line: first_line(line), ends_whole: line.ends_with(b"\n") })
}

/// The first line of received bytes, without control characters and at most 80 characters.
fn first_line(bytes: &[u8]) -> String {
    text::first_line(&String::from_utf8_lossy(bytes), 80).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banners_are_found_behind_other_lines() {
        let line = |bytes: &[u8]| banner(bytes).map(|banner| (banner.line, banner.ends_whole));
        let found = |line: &str, whole| Some((line.to_owned(), whole));
        assert_eq!(line(b"SSH-2.0-OpenSSH_9.6\r\n"), found("SSH-2.0-OpenSSH_9.6", true));
        assert_eq!(line(b"hello\r\nSSH-2.0-x"), found("SSH-2.0-x", false));
        assert_eq!(line(b"220 SSH-2.0- is spoken elsewhere\r\n"), None);
        assert_eq!(line(b""), None);
    }

    #[test]
    fn first_lines_are_fit_to_be_shown() {
        assert_eq!(first_line(b"\r\n220\x1b[31m ftp\r\nmore"), "220 [31m ftp");
        assert_eq!(first_line(&[b'x'; 500]).len(), 80);
    }
}
