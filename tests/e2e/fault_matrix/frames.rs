//! Single frames, on their way in either direction.

use local_cloud::{Action, Corruption, FrameFault, Malformed, Point, Which};

use super::Cell::{Fails, Unseen, Warned, Whole};
use super::{Cell, Row};

const BROKEN: Cell = Fails(8, "broke the protocol");
const REFUSED: Cell = Fails(8, "ProcessDataError");

fn down(fault: &'static str, corrupt: Corruption, cells: [Cell; 3]) -> Row {
    Row::frame(fault, FrameFault::to_client(Which::Nth(5), corrupt).times(1), cells)
}

fn up(fault: &'static str, corrupt: Corruption, cells: [Cell; 3]) -> Row {
    Row::frame(fault, FrameFault::to_agent(Which::Nth(5), corrupt).times(1), cells)
}

fn message(fault: &'static str, malformed: Malformed, cell: Cell) -> Row {
    Row::stream(fault, Point::OutputBytes(50_000), Action::Send(malformed), [cell; 3])
}

/// What is said where the sequence alone tells that something is amiss.
const MISSING: &str = "may be missing";

pub(super) fn rows() -> Vec<Row> {
    let odd = [Warned(MISSING), Warned(MISSING), Whole];
    let unseen = [Unseen, Unseen, Whole];
    vec![
        down("an Output twice", Corruption::Duplicate, odd),
        down("two Outputs swapped", Corruption::Swap, odd),
        down("an Output lost", Corruption::Lose, odd),
        down("an Output cut short", Corruption::Truncate(40), [BROKEN; 3]),
        down("an Output whose length is wrong", Corruption::WrongLength(7), [BROKEN; 3]),
        down("an Output whose type is garbled", Corruption::Flip(0), odd),
        down("an Output whose version is garbled", Corruption::Flip(4), [BROKEN; 3]),
        down("an Output whose channel id is garbled", Corruption::Flip(9), [Whole; 3]),
        up("an Input twice", Corruption::Duplicate, unseen),
        up("two Inputs swapped", Corruption::Swap, unseen),
        up("an Input lost", Corruption::Lose, unseen),
        up("an Input cut short", Corruption::Truncate(40), [REFUSED; 3]),
        message("noise in place of a frame", Malformed::Garbled, BROKEN),
        message("half a header", Malformed::Short, BROKEN),
        message("a text message", Malformed::Text, BROKEN),
        message("a message of 10 MB", Malformed::Huge(10_000_000), BROKEN),
        message("created at 0", Malformed::CreatedZero, BROKEN),
        message("an unknown message type", Malformed::UnknownType, Whole),
    ]
}
