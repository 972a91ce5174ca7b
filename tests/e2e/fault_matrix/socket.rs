//! The WebSocket and the connection under it.

use std::time::Duration;

use local_cloud::{Action, Point, Restart};

use super::Cell::{Ends, Fails, Whole};
use super::speech::ended_in_upload;
use super::{Cell, During, Load, Row};
use crate::lab::Lab;
use crate::world::PATIENCE;

const MB20: usize = 20_000_000;
const CUT: Cell = Fails(8, "the connection to the gateway was lost");

/// Neither 1.01 nor a way back.
const fn cut_for(cell: Cell) -> [Cell; 3] {
    [cell, cell, Whole]
}

fn closed(fault: &'static str, code: u16, words: &'static str) -> Row {
    let cells = [Fails(8, words), Fails(8, words), Whole];
    Row::stream(fault, Point::OutputBytes(50_000), Action::Close(code), cells)
}

fn ended(fault: &'static str, code: u16, cell: Cell) -> Row {
    Row::stream(fault, Point::OutputBytes(50_000), Action::Close(code), [cell; 3])
}

fn restart(fault: &'static str, during: During, words: &'static str) -> Row {
    let cells = [Fails(8, words), Fails(8, words), Whole];
    Row::new(fault, move |scene| scene.during(during), cells).load(Load::Echo(2_000_000))
}

/// The gateway restarts when bytes flow.
async fn restarts(lab: &Lab, restart: Restart) {
    lab.session(|session| session.output_bytes > 20_000).await;
    lab.cloud.faults().restart(restart.down(Duration::from_millis(300)));
}

/// The gateway goes when bytes flow, for longer than anyone waits.
async fn goes(lab: &Lab) {
    lab.session(|session| session.output_bytes > 20_000).await;
    lab.cloud.faults().restart(Restart::new().announced(false).down(2 * PATIENCE));
}

pub(super) fn rows() -> Vec<Row> {
    let input = |bytes| Point::InputBytes(bytes);
    let output = |bytes| Point::OutputBytes(bytes);
    // Only a gateway that has answered a ping is known to be gone by its silence.
    let answered = Point::Pings(2);
    vec![
        Row::stream("cut before Opened", Point::BeforeOpened, Action::Cut, cut_for(CUT)),
        Row::stream("cut right after Opened", Point::Opened, Action::Cut, cut_for(CUT)),
        Row::stream(
            "cut in the SSH handshake, to the client",
            output(700),
            Action::Cut,
            cut_for(CUT),
        )
        .load(Load::Ssh),
        Row::stream(
            "cut in the SSH handshake, to the server",
            input(700),
            Action::Cut,
            cut_for(CUT),
        )
        .load(Load::Ssh),
        Row::stream(
            "cut during a download of 20 MB",
            output(12_000_000),
            Action::Cut,
            cut_for(CUT),
        )
        .load(Load::Echo(MB20)),
        Row::stream("cut during an upload of 20 MB", input(12_000_000), Action::Cut, cut_for(CUT))
            .load(Load::Echo(MB20)),
        Row::stream("reset", output(50_000), Action::Reset, cut_for(CUT)),
        ended("closed with 1000 during a download", 1000, Ends).load(super::DOWN),
        ended_in_upload("closed with 1000 during an upload", Action::Close(1000)),
        closed("closed with 1001", 1001, "closed with code 1001"),
        // The system may call it a reset, if bytes were on their way.
        closed("closed with 1006: cut", 1006, "the connection to the gateway was lost"),
        ended("closed with 1008", 1008, Fails(8, "closed with code 1008")),
        ended("closed with 1011", 1011, Fails(8, "closed with code 1011")),
        closed("closed with 1012", 1012, "closed with code 1012"),
        closed("closed with 1013", 1013, "closed with code 1013"),
        Row::stream(
            "half-open: packets are lost in both directions",
            answered,
            Action::Vanish,
            cut_for(Fails(8, "no data and no ping response for 60 s")),
        )
        .load(Load::Echo(2_000_000))
        .within(65),
        Row::stream(
            "half-open: only packets from the gateway are lost",
            answered,
            Action::Silence,
            cut_for(Fails(8, "no data and no ping response for 60 s")),
        )
        .load(Load::Echo(2_000_000))
        .within(65),
        restart(
            "the gateway restarts, and announces it",
            |lab| Box::pin(restarts(lab, Restart::new())),
            "the gateway restarts",
        ),
        restart(
            "the gateway restarts without announcing it",
            |lab| Box::pin(restarts(lab, Restart::new().announced(false))),
            "closed with code 1012",
        ),
        Row::new(
            "the gateway stops, and does not come back",
            |scene| scene.during(|lab| Box::pin(goes(lab))),
            [
                Fails(8, "closed with code 1012"),
                Fails(8, "closed with code 1012"),
                Fails(8, "could not be made again"),
            ],
        )
        .load(Load::Echo(2_000_000))
        .within(65),
        Row::stream(
            "the upgrade is refused (403)",
            Point::Upgrade,
            Action::Refuse(403),
            [Fails(7, "HTTP 403"); 3],
        ),
        Row::stream(
            "the upgrade is refused (429)",
            Point::Upgrade,
            Action::Refuse(429),
            [Fails(6, "HTTP 429"); 3],
        ),
        Row::stream(
            "the upgrade is refused (503)",
            Point::Upgrade,
            Action::Refuse(503),
            [Fails(7, "HTTP 503"); 3],
        ),
        Row::stream(
            "the upgrade is not answered",
            Point::Upgrade,
            Action::Silence,
            [Fails(7, "did not answer within 10 s"); 3],
        )
        .within(12),
    ]
}
