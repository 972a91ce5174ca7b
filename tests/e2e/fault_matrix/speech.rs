//! What gateway and agent say: statuses, acknowledgements, limits.

use std::time::Duration;

use local_cloud::{Action, Corruption, Fault, FrameFault, Instance, Pace, Point, Which};

use super::Cell::{Ends, Fails, NotPlayed, Warned, Whole};
use super::{Cell, Load, Row, Scene};
use crate::lab::Lab;
use crate::world::INSTANCE;

fn status(fault: &'static str, at: Point, state: u8, text: &str, cells: [Cell; 3]) -> Row {
    Row::stream(fault, at, Action::status(state, text), cells)
}

fn ended(fault: &'static str, reason: &'static str) -> Row {
    status(fault, Point::OutputBytes(50_000), 5, reason, [Fails(8, reason); 3])
}

/// The remote side ends the session, cleanly, while most of an upload has still to be sent.
pub(super) fn ended_in_upload(fault: &'static str, action: Action) -> Row {
    let change = move |scene: Scene| {
        let fault = Fault::new(Point::InputBytes(50_000), action.clone()).times(1);
        // 250 kB/s, so that neither the socket nor the gateway can have it all.
        scene.instance(|instance| instance.pace(Pace::announced(2_000_000)).fault(fault))
    };
    Row::new(fault, change, [Fails(8, "of stdin were not sent"); 3])
        .forward([Warned("were not sent to port 7"); 3])
        .load(Load::Up { len: 2_000_000, wait: Duration::ZERO })
}

/// Only a resumable agent can do it.
fn by_resumable(fault: &'static str, action: Action, cell: Cell) -> Row {
    Row::stream(fault, Point::OutputBytes(50_000), action, [NotPlayed, NotPlayed, cell])
}

fn limit(fault: &'static str, bits: u64, len: usize) -> Row {
    let change = move |scene: Scene| {
        let tell = |instance: Instance| {
            let mut payload = vec![7];
            payload.extend(u32::try_from(bits).unwrap().to_be_bytes());
            let tell = Action::Frame { kind: 5, payload };
            instance.fault(Fault::new(Point::Opened, tell)).pace(Pace::off())
        };
        scene.instance(tell)
    };
    Row::new(fault, change, [Whole; 3]).load(Load::Echo(len))
}

async fn wobbles(lab: &Lab) {
    let limits = [64_000_000, 200_000, 4_000_000_000, 8_000, 1];
    let every = Duration::from_millis(10);
    let _wobble = lab.cloud.wobble_limit(INSTANCE, &limits, every);
    std::future::pending().await
}

pub(super) fn rows() -> Vec<Row> {
    let behind = Point::OutputBytes(50_000);
    vec![
        status("Opened before Opening", Point::Connected, 3, "", [Whole; 3]),
        status("Opened twice", Point::Opened, 3, "", [Whole; 3]),
        status("Opening after Output", behind, 1, "", [Whole; 3]),
        status("an unknown state", behind, 77, "?", [Whole; 3]),
        status(
            "Closed (Exit) before Opened",
            Point::BeforeOpened,
            5,
            "Exit",
            [Fails(8, "Exit"); 3],
        ),
        status("Aborted", Point::BeforeOpened, 2, "no room", [Fails(8, "no room"); 3]),
        status("Exited (Exit) during a download", behind, 6, "Exit", [Ends; 3]).load(super::DOWN),
        ended_in_upload("Exited (Exit) during an upload", Action::status(6, "Exit")),
        ended("FlowExceedLimit", "FlowExceedLimit"),
        status(
            "AgentTimeout",
            Point::BeforeOpened,
            5,
            "AgentTimeout",
            [Fails(8, "AgentTimeout"); 3],
        ),
        ended("SessionTimeout", "SessionTimeout"),
        ended("Closed (Notified) during a download", "Notified"),
        ended("an unknown reason", "NoSuchReason"),
        by_resumable(
            "an acknowledgement of Input that was never sent",
            Action::AckAhead(1_000),
            Fails(8, "it acknowledges Input"),
        ),
        by_resumable(
            "retransmission requested of acknowledged Inputs",
            Action::AskFor(1),
            Fails(8, "bytes were lost"),
        ),
        by_resumable(
            "retransmission requested of Inputs that were never sent",
            Action::AskFor(1_000_000),
            Fails(8, "bytes were lost"),
        ),
        Row::new(
            "the agent no longer has the lost Output",
            |scene| {
                scene.instance(|instance| {
                    // That something is missing shows when it has been forgotten already.
                    let lose = FrameFault::to_client(Which::Every(1), Corruption::Lose).times(30);
                    let forget = Fault::new(Point::OutputBytes(5_000), Action::ForgetOutputs);
                    instance.frame_fault(lose).fault(forget.times(1))
                })
            },
            [NotPlayed, NotPlayed, Fails(8, "ProcessDataError")],
        ),
        limit("a limit of 0, which is ignored", 0, 10_000),
        limit("a limit of 1 bit/s", 1, 2).within(30),
        limit("a limit of 8,000 bit/s", 8_000, 4_000),
        limit("a limit of 4 Gbit/s", 4_000_000_000, 1_000_000),
        Row::new(
            "a limit that changes every 10 ms",
            |scene| scene.during(|lab| Box::pin(wobbles(lab))),
            [Whole; 3],
        )
        .within(30),
    ]
}
