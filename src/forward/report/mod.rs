//! What `forward` reports: lines for people on stderr, or objects for programs on stdout.

mod event;
mod live;
mod vendor;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, IsTerminal};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

pub(crate) use self::event::{Bytes, Event, Number, Reason};
use self::vendor::VendorLines;
use super::lines::Lines;
use crate::explain::{Explain, Report, printable};
use crate::platform::logging;
use crate::platform::open_files::OpenFiles;
use crate::session::origin::OF_URL;
use crate::session::warning::Warning;

/// How often connections are counted that failed for want of open files.
const COUNTED_EVERY: Duration = Duration::from_secs(10);

/// An event with its time.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

enum Style {
    People {
        live: Option<Live>,
    },
    Quiet,
    /// Events on stdout; stderr has what is not one.
    Json {
        lines: Lines,
        quiet: bool,
    },
}

/// Reports events. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Reporter(Rc<Shared>);

struct Shared {
    style: Style,
    /// Beside it, what scripts for ali-instance-cli read.
    vendor: Option<VendorLines>,
    open: RefCell<BTreeMap<Number, Rc<Cell<Bytes>>>>,
    /// The bytes of the connections that are over.
    done: Cell<Bytes>,
    refused: Refused,
}

/// Connections that failed for want of open files: the first is reported, the others are counted.
#[derive(Default)]
struct Refused {
    count: Cell<u64>,
    /// How many of them were reported, and when.
    reported: Cell<u64>,
    reported_at: Cell<Option<Instant>>,
    /// The last that was only counted.
    last: Cell<Option<Number>>,
}

impl Reporter {
    /// A `program` that runs beside it has the terminal for itself: no line there is written over.
    pub(crate) fn new(json: bool, quiet: bool, program: bool, vendor: bool) -> Self {
        let style = match (json, quiet) {
            (true, quiet) => Style::Json { lines: Lines::to_stdout(), quiet },
            (_, true) => Style::Quiet,
            _ => {
                let is_live = !program && io::stderr().is_terminal();
                Style::People { live: is_live.then(Live::new) }
            }
        };
        Self(Rc::new(Shared {
            style,
            vendor: vendor.then(VendorLines::to_stdout),
            open: RefCell::default(),
            done: Cell::default(),
            refused: Refused::default(),
        }))
    }

    /// The counters of a connection, which its task keeps up to date.
    pub(crate) fn counters(&self, connection: Number) -> Rc<Cell<Bytes>> {
        let counters = Rc::new(Cell::default());
        self.0.open.borrow_mut().insert(connection, Rc::clone(&counters));
        counters
    }

    /// A session was started.
    pub(crate) fn started(&self, session: &str) {
        if let Some(vendor) = &self.0.vendor {
            vendor.started(session);
        }
    }

    /// The bytes of a connection so far.
    pub(crate) fn bytes(&self, connection: Number) -> Bytes {
        self.0.open.borrow().get(&connection).map(|counters| counters.get()).unwrap_or_default()
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        if let Event::Closed { connection, .. } = event
            && let Some(counters) = self.0.open.borrow_mut().remove(connection)
        {
            self.0.done.set(sum([self.0.done.get(), counters.get()]));
        }
        if let Some(vendor) = &self.0.vendor {
            vendor.emit(event);
        }
        let for_people = for_people(event);
        if let Some(line) = &for_people {
            logging::record("INFO", line);
        }
        match &self.0.style {
            Style::Json { lines, .. } => {
                let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
                if let Ok(line) = serde_json::to_string(&Line { time, event }) {
                    lines.push(line);
                }
            }
            Style::Quiet => {}
            Style::People { .. } if self.is_only_counted(event) => {}
            Style::People { .. } => {
                if let Some(line) = for_people {
                    self.line(&line);
                }
            }
        }
    }

    /// Reports a failure, of one connection or of the command.
    pub(crate) fn failed(&self, connection: Option<Number>, error: &dyn Explain) {
        let message = printable(&error.to_string());
        let report = Report::new(error);
        // That of the command is logged where the command ends.
        if connection.is_some() {
            logging::failed(&report);
        }
        self.emit(&Event::Error {
            connection,
            message: &message,
            why: report.why.as_deref().map(printable),
            fix: report.fix.as_deref().map(printable),
            request_id: error.request_id(),
        });
        match &self.0.style {
            Style::Json { .. } => {}
            // A failure is printed even with --quiet.
            Style::Quiet | Style::People { .. } => {
                if let (Some(number), Some(_)) = (connection, OpenFiles::of(error))
                    && self.count_refused(number)
                {
                    return;
                }
                let of = connection.map(|number| format!("connection {number}: "));
                self.line(&report.to_string().replacen(
                    "error: ",
                    &format!("error: {}", of.unwrap_or_default()),
                    1,
                ));
            }
        }
    }

    /// Counts a connection that failed for want of open files. Returns whether it was only counted.
    fn count_refused(&self, number: Number) -> bool {
        let Refused { count, reported, reported_at, last } = &self.0.refused;
        count.set(count.get() + 1);
        if reported_at.get().is_none() {
            reported.set(1);
            reported_at.set(Some(Instant::now()));
            return false;
        }
        last.set(Some(number));
        if reported_at.get().is_some_and(|at| at.elapsed() >= COUNTED_EVERY) {
            self.report_refused();
        }
        true
    }

    fn report_refused(&self) {
        let Refused { count, reported, reported_at, .. } = &self.0.refused;
        if count.get() > reported.replace(count.get()) {
            reported_at.set(Some(Instant::now()));
            let count = count.get();
            self.line(&format!(
                "{count} connections failed so far for want of open files (`ulimit -n`)"
            ));
        }
    }

    /// Whether an event is the end of a connection that was only counted.
    fn is_only_counted(&self, event: &Event<'_>) -> bool {
        let last = self.0.refused.last.get();
        matches!(event, Event::Closed { connection, .. } if last == Some(*connection))
    }

    /// Warns of something about one connection, or about a forward.
    pub(crate) fn warned(&self, connection: Option<Number>, warning: &Warning) {
        let text = self.warn(connection, warning);
        self.note(&text);
    }

    /// Warns that bytes of one connection may be lost, even with --quiet: nobody else notices.
    pub(crate) fn lost(&self, connection: Number, warning: &Warning) {
        let text = self.warn(Some(connection), warning);
        match self.0.style {
            Style::Quiet => self.line(&text),
            Style::People { .. } | Style::Json { .. } => self.note(&text),
        }
    }

    /// Reports a warning, but for the line for people, which is given back.
    fn warn(&self, connection: Option<Number>, warning: &Warning) -> String {
        let Warning { message, fix } = warning;
        let message = printable(message);
        self.emit(&Event::Warning { connection, message: &message, fix });
        let of = connection.map(|number| format!("connection {number}: ")).unwrap_or_default();
        let text = format!("{of}{message}\n  fix: {fix}");
        logging::record("WARN", &text);
        format!("warning: {text}")
    }

    /// Prints a line for people that is not an event, or not only.
    pub(crate) fn note(&self, text: &str) {
        match self.0.style {
            Style::Quiet | Style::Json { quiet: true, .. } => {}
            Style::People { .. } | Style::Json { quiet: false, .. } => self.line(text),
        }
    }

    /// Prints a hint for people at a terminal.
    pub(crate) fn hint(&self, text: &str) {
        if let Style::People { live: Some(_) } = self.0.style {
            self.line(text);
        }
    }

    fn line(&self, text: &str) {
        match &self.0.style {
            Style::People { live: Some(live) } => live.bar.suspend(|| logging::eprint(&text)),
            _ => logging::eprint(&text),
        }
    }

    /// Keeps the live line up to date, if there is one. Never returns.
    pub(crate) async fn keep_live(&self) -> Infallible {
        let Style::People { live: Some(live) } = &self.0.style else {
            return std::future::pending().await;
        };
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        let (mut before, mut at) = (Bytes::default(), Instant::now());
        loop {
            ticks.tick().await;
            let open = self.0.open.borrow();
            let now = sum(open.values().map(|counters| counters.get()).chain([self.0.done.get()]));
            let seconds = at.elapsed().as_secs_f64().max(0.001);
            // What was read and could not be sent is taken back.
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            live.show(open.len(), rate(now.sent, before.sent), rate(now.received, before.received));
            (before, at) = (now, Instant::now());
        }
    }

    /// Takes the live line away, and waits for the last events to be written.
    pub(crate) fn finish(&self) {
        self.report_refused();
        if let Some(vendor) = &self.0.vendor {
            vendor.finish();
        }
        match &self.0.style {
            Style::People { live: Some(live) } => live.bar.finish_and_clear(),
            Style::Json { lines, .. } => lines.finish(),
            Style::People { live: None } | Style::Quiet => {}
        }
    }
}

fn sum(bytes: impl IntoIterator<Item = Bytes>) -> Bytes {
    bytes.into_iter().fold(Bytes::default(), |all, one| Bytes {
        sent: all.sent + one.sent,
        received: all.received + one.received,
    })
}

/// A line for people, or nothing where an error message of its own follows.
fn for_people(event: &Event<'_>) -> Option<String> {
    match event {
        Event::Listening { address, addresses, instance, name, remote_host, remote_port } => {
            let instance = instance.unwrap_or(OF_URL);
            let instance = match name {
                Some(name) => &format!("{} ({instance})", printable(name)),
                None => instance,
            };
            let through = remote_host.map(|host| format!(" → {host}"));
            let through = through.unwrap_or_default();
            let also = addresses.iter().filter(|other| other != address);
            let also: String = also.map(|other| format!("\n  also on {other}")).collect();
            Some(format!("Forwarding {address} → {instance}{through}:{remote_port}{also}"))
        }
        Event::Accepted { .. } | Event::Warning { .. } | Event::Error { .. } => None,
        Event::Opened { connection, waited_ms, .. } => {
            Some(format!("connection {connection}: opened after {}", seconds(*waited_ms)))
        }
        Event::Closed { connection, sent, received, duration_ms, reason } => Some(format!(
            "connection {connection}: closed after {}, {} sent, {} received: {reason}",
            seconds(*duration_ms),
            size(*sent as f64),
            size(*received as f64),
        )),
    }
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}

fn size(bytes: f64) -> String {
    match bytes {
        bytes if bytes < 1e3 => format!("{bytes:.0} B"),
        bytes if bytes < 1e6 => format!("{:.1} kB", bytes / 1e3),
        bytes if bytes < 1e9 => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.1} GB", bytes / 1e9),
    }
}

/// The line on a terminal that is written over again and again.
struct Live {
    bar: ProgressBar,
}

impl Live {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, live::target());
        bar.set_style(
            ProgressStyle::with_template("{msg}").unwrap_or(ProgressStyle::default_bar()),
        );
        Self { bar }
    }

    fn show(&self, open: usize, sent: f64, received: f64) {
        let s = if open == 1 { "" } else { "s" };
        self.bar.set_message(format!(
            "{open} open connection{s}, ↑ {}/s, ↓ {}/s",
            size(sent),
            size(received)
        ));
        self.bar.tick();
    }
}

#[cfg(test)]
mod tests;
