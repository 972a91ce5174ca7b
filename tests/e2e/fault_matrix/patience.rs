//! Who does not read for a minute.

use std::time::Duration;

use local_cloud::{Action, Fault, Point};

use super::Cell::Whole;
use super::{Load, Row, Scene};

/// For so long nobody reads.
pub(super) const STALL: Duration = Duration::from_secs(60);
/// More than all the buffers on the way hold.
const PLENTY: usize = 20_000_000;

fn far(fault: &'static str, action: Action, at: Point, load: Load) -> Row {
    let change = move |scene: Scene| {
        let stall = Fault::new(at, action.clone());
        let resume = Fault::new(Point::AfterOpened(STALL), Action::Resume);
        scene.instance(|instance| instance.fault(stall).fault(resume))
    };
    Row::new(fault, change, [Whole; 3]).load(load).within(100)
}

fn far_for(fault: &'static str, action: Action) -> Row {
    let change = move |scene: Scene| {
        let stall = Fault::new(Point::InputBytes(50_000), action.clone()).times(1);
        scene.instance(|instance| instance.pongs(false).fault(stall))
    };
    Row::new(fault, change, [Whole; 3]).within(20)
}

fn near(fault: &'static str, load: Load) -> Row {
    Row::new(fault, |scene| scene, [Whole; 3]).load(load).within(100)
}

pub(super) fn rows() -> Vec<Row> {
    let (down, up) = (Point::OutputBytes(50_000), Point::InputBytes(50_000));
    vec![
        Row::new(
            "the gateway answers no pings",
            |scene| scene.instance(|instance| instance.pongs(false)),
            [Whole; 3],
        ),
        far_for(
            "the gateway reads nothing for 4 s, and answers no pings",
            Action::StallClientFor(Duration::from_secs(4)),
        ),
        near(
            "the client reads nothing for a minute of 20 MB",
            Load::Down { len: PLENTY, wait: STALL },
        ),
        near(
            "the target reads nothing for a minute of 20 MB",
            Load::Up { len: PLENTY, wait: STALL },
        ),
        far(
            "the agent reads nothing from the target for a minute",
            Action::StallTarget,
            down,
            Load::Down { len: PLENTY, wait: Duration::ZERO },
        ),
        far(
            "the gateway reads nothing for a minute",
            Action::StallClient,
            up,
            Load::Up { len: PLENTY, wait: Duration::ZERO },
        ),
    ]
}
