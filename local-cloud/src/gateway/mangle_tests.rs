use super::*;
use crate::gateway::frame::{Counters, Frame, FrameError};

fn mangler(faults: &[FrameFault]) -> Mangler {
    Mangler::new(Way::ToClient, faults)
}

fn fault(which: Which, mangle: Mangle) -> FrameFault {
    FrameFault::to_client(which, mangle)
}

fn message(number: u8) -> Bytes {
    Bytes::copy_from_slice(&[number])
}

/// What becomes of so many Outputs.
fn passed(mangler: &mut Mangler, numbers: std::ops::RangeInclusive<u8>) -> Vec<u8> {
    let now = Instant::now();
    numbers.flat_map(|n| mangler.pass(1, message(n), now).0).map(|p| p.message[0]).collect()
}

#[test]
fn which_ones_are_struck() {
    let lose = |which| passed(&mut mangler(&[fault(which, Mangle::Lose)]), 1..=9);
    assert_eq!(lose(Which::Nth(3)), [1, 2, 4, 5, 6, 7, 8, 9]);
    assert_eq!(lose(Which::Every(4)), [1, 2, 3, 5, 6, 7, 9]);
    assert_eq!(lose(Which::Every(0)), [0; 0], "each of them");
    assert_eq!(lose(Which::Share { per_mille: 0, seed: 1 }).len(), 9);
    assert_eq!(lose(Which::Share { per_mille: 1_000, seed: 1 }).len(), 0);
    let half = |seed| lose(Which::Share { per_mille: 500, seed });
    assert_eq!(half(1), half(1));
    assert_ne!(half(1), half(2));
    let twice = fault(Which::Every(2), Mangle::Lose).times(2);
    assert_eq!(passed(&mut mangler(&[twice]), 1..=9), [1, 3, 5, 6, 7, 8, 9]);
}

#[test]
fn a_share_is_about_that_share() {
    let fault = fault(Which::Share { per_mille: 100, seed: 42 }, Mangle::Lose);
    let mut mangler = mangler(&[fault]);
    let left: usize = (0..100).map(|_| passed(&mut mangler, 1..=100).len()).sum();
    assert!((8_850..=9_150).contains(&left), "{left}");
}

#[test]
fn twice_late_and_one_behind_the_other() {
    let duplicate = fault(Which::Nth(2), Mangle::Duplicate);
    assert_eq!(passed(&mut mangler(&[duplicate]), 1..=3), [1, 2, 2, 3]);
    let swap = fault(Which::Nth(2), Mangle::Swap);
    assert_eq!(passed(&mut mangler(&[swap]), 1..=4), [1, 3, 2, 4]);
    let swaps = fault(Which::Every(1), Mangle::Swap);
    assert_eq!(passed(&mut mangler(&[swaps]), 1..=4), [1, 2, 3], "one waits all the time");
    let late = Duration::from_millis(7);
    let mut mangler = mangler(&[fault(Which::Nth(1), Mangle::Delay(late))]);
    let (passed, struck) = mangler.pass(1, message(1), Instant::now());
    assert_eq!((passed, struck), (vec![Passed { message: message(1), delay: late }], true));
}

#[test]
fn who_waits_for_the_next_waits_so_long() {
    let mut mangler = mangler(&[fault(Which::Nth(1), Mangle::Swap)]);
    let now = Instant::now();
    assert_eq!((mangler.deadline(), mangler.overdue(now)), (None, None));
    assert_eq!(mangler.pass(1, message(1), now), (vec![], true));
    // Those of other types do not count.
    assert_eq!(mangler.pass(5, message(9), now).0.len(), 1);
    assert_eq!(mangler.deadline(), Some(now + SWAP_WAIT));
    assert_eq!(mangler.overdue(now), None);
    assert_eq!(mangler.overdue(now + SWAP_WAIT), Some(message(1)));
    assert_eq!(mangler.deadline(), None);
}

#[test]
fn only_of_its_type_and_its_direction() {
    let lose = FrameFault::to_agent(Which::Every(1), Mangle::Lose);
    assert!(mangler(std::slice::from_ref(&lose)).is_idle());
    let mut mangler = mangler(&[fault(Which::Every(1), Mangle::Lose).of_type(5)]);
    assert!(!mangler.is_idle());
    assert_eq!(mangler.pass(1, message(1), Instant::now()).0.len(), 1);
    assert_eq!(mangler.pass(5, message(1), Instant::now()), (vec![], true));
    // What waits is lost with its socket.
    mangler.add(fault(Which::Every(1), Mangle::Swap));
    mangler.pass(1, message(1), Instant::now());
    mangler.attached();
    assert_eq!(mangler.deadline(), None);
}

#[test]
fn damaged_frames_are_no_frames() {
    for counters in [Counters::V101 { sequence: 1 }, Counters::V102 { input: 1, output: 2 }] {
        let (channel, instance) = ("d-1".to_owned(), "i-1".to_owned());
        let payload = Bytes::from_static(b"payload");
        let frame = Frame { kind: 1, channel, instance, created_ms: 1, counters, payload };
        let damaged = |mangle| {
            let mut mangler = mangler(&[fault(Which::Nth(1), mangle)]);
            let (mut passed, _) = mangler.pass(1, frame.encode(), Instant::now());
            Frame::decode(&passed.remove(0).message)
        };
        let length = Err(FrameError::Length { said: 10, found: 7 });
        assert_eq!(damaged(Mangle::WrongLength(3)), length);
        assert_eq!(damaged(Mangle::Truncate(6)), Err(FrameError::Short("version")));
        assert!(matches!(damaged(Mangle::Flip(4)), Err(FrameError::Version(_))));
        let last = frame.encode().len() - 1;
        assert_ne!(damaged(Mangle::Flip(last)).unwrap().payload, frame.payload);
        assert_eq!(damaged(Mangle::Flip(last + 1)), damaged(Mangle::Flip(0)), "from the start");
    }
    // Too short for a length field.
    let mut short = mangler(&[fault(Which::Nth(1), Mangle::WrongLength(1))]);
    assert_eq!(short.pass(1, message(1), Instant::now()).0[0].message, message(1));
    let mut empty = mangler(&[fault(Which::Nth(1), Mangle::Flip(3))]);
    assert_eq!(empty.pass(1, Bytes::new(), Instant::now()).0[0].message, Bytes::new());
}
