//! The fault matrix: what a user gets from `proxy` and from `forward`, with each kind of agent, when
//! this or that goes wrong. docs/fault-matrix.md has it as a table, and a test here
//! compares the two.

mod calls;
mod disk;
mod frames;
mod patience;
mod play;
mod socket;
mod speech;

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use local_cloud::{Action, Agent, ApiFault, Builder, Fault, FrameFault, Instance, Point};

use crate::lab::Lab;

/// Which agent, in the order of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    A,
    B,
    C,
    D,
    Resumable,
}

const AGENTS: [Speaks; 5] = [Speaks::A, Speaks::B, Speaks::C, Speaks::D, Speaks::Resumable];

impl Speaks {
    fn agent(self) -> Agent {
        match self {
            Self::A => Agent::a(),
            Self::B => Agent::b(),
            Self::C => Agent::c(),
            Self::D => Agent::d(),
            Self::Resumable => Agent::resumable(),
        }
    }
}

/// Which command, in the order of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Proxy,
    Forward,
}

/// What a user gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    /// All bytes, in both directions, and no word of the fault.
    Whole,
    /// An ordinary end, of what had come until then.
    Ends,
    /// All bytes, in both directions, and a warning that contains this.
    Told(&'static str),
    /// What had come until then, and a report that contains this. `proxy` ends with the code;
    /// `forward` resets that connection, and the next one is well.
    Fails(i32, &'static str),
    /// All that came, and a warning, which contains this, that some may be missing.
    Warned(&'static str),
    /// Less or more than was sent, and no word: nothing in this version of the stream shows it.
    Unseen,
    /// Nothing: it cannot happen there.
    NotPlayed,
}

impl Cell {
    fn text(self, by: By) -> String {
        match (self, by) {
            (Self::Whole, _) => "complete".to_owned(),
            (Self::Told(_), _) => "complete, with a warning".to_owned(),
            (Self::Ends, _) => "ends".to_owned(),
            (Self::Fails(code, _), By::Proxy) => format!("exit {code}"),
            (Self::Fails(..), By::Forward) => "reset".to_owned(),
            (Self::Warned(_), _) => "warning".to_owned(),
            (Self::Unseen, _) => "undetected".to_owned(),
            (Self::NotPlayed, _) => "–".to_owned(),
        }
    }
}

/// What is carried while it goes wrong.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// So many bytes to a target that sends them back.
    Echo(usize),
    /// So many bytes from a target, of which nobody takes any for a while.
    Down { len: usize, wait: Duration },
    /// So many bytes to a target, which takes none for a while.
    Up { len: usize, wait: Duration },
    /// A real `ssh` runs a command.
    Ssh,
}

impl Load {
    /// Whether it is megabytes, and keeps a processor busy.
    fn is_heavy(self) -> bool {
        match self {
            Self::Echo(len) | Self::Down { len, .. } | Self::Up { len, .. } => len >= 1_000_000,
            Self::Ssh => false,
        }
    }
}

/// Bytes in one direction: none that are on their way to the target.
const DOWN: Load = Load::Down { len: 100_000, wait: Duration::ZERO };

/// Where it goes wrong.
struct Scene {
    builder: Builder,
    instance: Instance,
    env: Vec<(&'static str, String)>,
    /// Done once the cloud runs.
    prepare: Vec<Prepare>,
    /// Goes on beside the load, as long as that lasts.
    during: Option<During>,
    /// Whether something is to be remembered, and no file can be written.
    is_full: bool,
}

type Prepare = Box<dyn Fn(&Lab) + Send>;
type During = fn(&Lab) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

impl Scene {
    fn instance(mut self, change: impl FnOnce(Instance) -> Instance) -> Self {
        self.instance = change(self.instance);
        self
    }

    fn prepare(mut self, prepare: impl Fn(&Lab) + Send + 'static) -> Self {
        self.prepare.push(Box::new(prepare));
        self
    }

    fn during(mut self, during: During) -> Self {
        self.during = Some(during);
        self
    }
}

type Change = Arc<dyn Fn(Scene) -> Scene + Send + Sync>;

/// One fault, and what each column gets.
struct Row {
    fault: &'static str,
    change: Change,
    load: Load,
    proxy: [Cell; 5],
    forward: [Cell; 5],
    /// All of it is over after so many seconds, but for what a busy machine adds.
    within: u64,
    /// Whether the fault is there to stay, so that the next connection cannot be well.
    stays: bool,
    /// Whether a session stays, since the API has started it and could not say so.
    unknown: bool,
}

/// The cells of all generations: of those that do not tell that the target has closed (A to C), of D, and
/// of an agent that speaks 1.02.
fn of_each([silent, tells, resumable]: [Cell; 3]) -> [Cell; 5] {
    [silent, silent, silent, tells, resumable]
}

impl Row {
    fn new(
        fault: &'static str,
        change: impl Fn(Scene) -> Scene + Send + Sync + 'static,
        cells: [Cell; 3],
    ) -> Self {
        let change = Arc::new(change);
        let load = Load::Echo(100_000);
        Self {
            fault,
            change,
            load,
            proxy: of_each(cells),
            forward: of_each(cells),
            within: 10,
            stays: false,
            unknown: false,
        }
    }

    /// A fault of a stream, which is injected into one connection.
    fn stream(fault: &'static str, at: Point, action: Action, cells: [Cell; 3]) -> Self {
        let change = move |scene: Scene| {
            let fault = Fault::new(at, action.clone()).times(1);
            scene.instance(|instance| instance.fault(fault))
        };
        Self::new(fault, change, cells)
    }

    /// A fault of single frames.
    fn frame(fault: &'static str, frame: FrameFault, cells: [Cell; 3]) -> Self {
        let change = move |scene: Scene| {
            let frame = frame.clone();
            scene.instance(|instance| instance.frame_fault(frame))
        };
        Self::new(fault, change, cells)
    }

    /// A fault of the API, which applies to each command and each agent alike.
    fn api(fault: &'static str, api: ApiFault, cell: Cell) -> Self {
        let change = move |scene: Scene| {
            let api = api.clone();
            scene.prepare(move |lab| lab.cloud.faults().api(api.clone()))
        };
        Self::new(fault, change, [cell; 3])
    }

    fn load(mut self, load: Load) -> Self {
        self.load = load;
        self
    }

    fn within(mut self, seconds: u64) -> Self {
        self.within = seconds;
        self
    }

    fn stays(mut self) -> Self {
        self.stays = true;
        self
    }

    fn unknown(mut self) -> Self {
        self.unknown = true;
        self
    }

    /// Another outcome for `forward` than for `proxy`.
    fn forward(mut self, cells: [Cell; 3]) -> Self {
        self.forward = of_each(cells);
        self
    }

    fn cells(&self, by: By) -> [Cell; 5] {
        match by {
            By::Proxy => self.proxy,
            By::Forward => self.forward,
        }
    }
}

/// The chapters of the matrix.
fn chapters() -> [(&'static str, Vec<Row>); 6] {
    [
        ("the socket", socket::rows()),
        ("frames", frames::rows()),
        ("status frames", speech::rows()),
        ("stalls", patience::rows()),
        ("the API", calls::rows()),
        ("the disk", disk::rows()),
    ]
}

/// The table of docs/fault-matrix.md.
fn table() -> String {
    let mut table = "| fault | `proxy`, A | B | C | D | 1.02 | `forward`, A | B | C | D | 1.02 \
                     | message |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for (chapter, rows) in chapters() {
        writeln!(table, "| *{chapter}* | | | | | | | | | | | |").unwrap();
        for row in rows {
            write!(table, "| {}", row.fault).unwrap();
            let mut said = Vec::new();
            for by in [By::Proxy, By::Forward] {
                for cell in row.cells(by) {
                    write!(table, " | {}", cell.text(by)).unwrap();
                    if let Cell::Fails(_, words) | Cell::Told(words) | Cell::Warned(words) = cell
                        && !said.contains(&words)
                    {
                        said.push(words);
                    }
                }
            }
            writeln!(table, " | {} |", said.join("; ")).unwrap();
        }
    }
    table
}

#[test]
fn the_docs_have_this_table() {
    crate::generated::check("docs/fault-matrix.md", &table());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket() {
    play::all(socket::rows()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames() {
    play::all(frames::rows()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said() {
    play::all(speech::rows()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patience() {
    play::all(patience::rows()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk() {
    play::all(disk::rows()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api() {
    play::all(calls::rows()).await;
}
