//! Single frames, on their way in either direction.

use local_cloud::{Action, FrameFault, Malformed, Mangle, Point, Which};

use super::Cell::{Fails, Unseen, Warned, Whole};
use super::{Cell, Row};

const BROKEN: Cell = Fails(8, "broke the protocol");
const REFUSED: Cell = Fails(8, "ProcessDataError");

fn down(fault: &'static str, mangle: Mangle, cells: [Cell; 3]) -> Row {
    Row::frame(fault, FrameFault::to_client(Which::Nth(5), mangle).times(1), cells)
}

fn up(fault: &'static str, mangle: Mangle, cells: [Cell; 3]) -> Row {
    Row::frame(fault, FrameFault::to_agent(Which::Nth(5), mangle).times(1), cells)
}

fn message(fault: &'static str, malformed: Malformed, cell: Cell) -> Row {
    Row::stream(fault, Point::OutputBytes(50_000), Action::Send(malformed), [cell; 3])
}

pub(super) fn rows() -> Vec<Row> {
    let odd = [Warned, Warned, Whole];
    let unseen = [Unseen, Unseen, Whole];
    vec![
        down("an Output twice", Mangle::Duplicate, odd),
        down("two Outputs swapped", Mangle::Swap, odd),
        down("an Output lost", Mangle::Lose, odd),
        down("an Output cut short", Mangle::Truncate(40), [BROKEN; 3]),
        down("an Output whose length is wrong", Mangle::WrongLength(7), [BROKEN; 3]),
        down("an Output whose type is garbled", Mangle::Flip(0), odd),
        down("an Output whose version is garbled", Mangle::Flip(4), [BROKEN; 3]),
        down("an Output whose channel id is garbled", Mangle::Flip(9), [Whole; 3]),
        up("an Input twice", Mangle::Duplicate, unseen),
        up("two Inputs swapped", Mangle::Swap, unseen),
        up("an Input lost", Mangle::Lose, unseen),
        up("an Input cut short", Mangle::Truncate(40), [REFUSED; 3]),
        message("noise in place of a frame", Malformed::Garbled, BROKEN),
        message("half a header", Malformed::Short, BROKEN),
        message("a text message", Malformed::Text, BROKEN),
        message("a message of 10 MB", Malformed::Huge(10_000_000), BROKEN),
        message("created at 0", Malformed::CreatedZero, BROKEN),
        message("an unknown message type", Malformed::UnknownType, Whole),
    ]
}
