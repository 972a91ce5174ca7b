use super::*;
use crate::gateway::frame::{Counters, Frame, FrameError};

fn corruptor(faults: &[FrameFault]) -> Corruptor {
    Corruptor::new(Way::ToClient, faults)
}

fn fault(which: Which, corrupt: Corruption) -> FrameFault {
    FrameFault::to_client(which, corrupt)
}

fn message(number: u8) -> Bytes {
    Bytes::copy_from_slice(&[number])
}

/// What becomes of so many Outputs.
fn passed(corruptor: &mut Corruptor, numbers: std::ops::RangeInclusive<u8>) -> Vec<u8> {
    let now = Instant::now();
    numbers.flat_map(|n| corruptor.pass(1, message(n), now).0).map(|p| p.message[0]).collect()
}

#[test]
fn which_ones_are_struck() {
    let lose = |which| passed(&mut corruptor(&[fault(which, Corruption::Lose)]), 1..=9);
    assert_eq!(lose(Which::Nth(3)), [1, 2, 4, 5, 6, 7, 8, 9]);
    assert_eq!(lose(Which::Every(4)), [1, 2, 3, 5, 6, 7, 9]);
    assert_eq!(lose(Which::Every(0)), [0; 0], "each of them");
    assert_eq!(lose(Which::Share { per_mille: 0, seed: 1 }).len(), 9);
    assert_eq!(lose(Which::Share { per_mille: 1_000, seed: 1 }).len(), 0);
    let half = |seed| lose(Which::Share { per_mille: 500, seed });
    assert_eq!(half(1), half(1));
    assert_ne!(half(1), half(2));
    let twice = fault(Which::Every(2), Corruption::Lose).times(2);
    assert_eq!(passed(&mut corruptor(&[twice]), 1..=9), [1, 3, 5, 6, 7, 8, 9]);
}

#[test]
fn a_share_is_about_that_share() {
    let fault = fault(Which::Share { per_mille: 100, seed: 42 }, Corruption::Lose);
    let mut corruptor = corruptor(&[fault]);
    let left: usize = (0..100).map(|_| passed(&mut corruptor, 1..=100).len()).sum();
    assert!((8_850..=9_150).contains(&left), "{left}");
}

#[test]
fn twice_late_and_one_behind_the_other() {
    let duplicate = fault(Which::Nth(2), Corruption::Duplicate);
    assert_eq!(passed(&mut corruptor(&[duplicate]), 1..=3), [1, 2, 2, 3]);
    let swap = fault(Which::Nth(2), Corruption::Swap);
    assert_eq!(passed(&mut corruptor(&[swap]), 1..=4), [1, 3, 2, 4]);
    let swaps = fault(Which::Every(1), Corruption::Swap);
    assert_eq!(passed(&mut corruptor(&[swaps]), 1..=4), [1, 2, 3], "one waits all the time");
    let late = Duration::from_millis(7);
    let mut corruptor = corruptor(&[fault(Which::Nth(1), Corruption::Delay(late))]);
    let (passed, hit) = corruptor.pass(1, message(1), Instant::now());
    assert_eq!((passed, hit), (vec![Passed { message: message(1), delay: late }], true));
}

#[test]
fn who_waits_for_the_next_waits_so_long() {
    let mut corruptor = corruptor(&[fault(Which::Nth(1), Corruption::Swap)]);
    let now = Instant::now();
    assert_eq!((corruptor.deadline(), corruptor.overdue(now)), (None, None));
    assert_eq!(corruptor.pass(1, message(1), now), (vec![], true));
    // Those of other types do not count.
    assert_eq!(corruptor.pass(5, message(9), now).0.len(), 1);
    assert_eq!(corruptor.deadline(), Some(now + SWAP_WAIT));
    assert_eq!(corruptor.overdue(now), None);
    assert_eq!(corruptor.overdue(now + SWAP_WAIT), Some(message(1)));
    assert_eq!(corruptor.deadline(), None);
}

#[test]
fn only_of_its_type_and_its_direction() {
    let lose = FrameFault::to_agent(Which::Every(1), Corruption::Lose);
    assert!(corruptor(std::slice::from_ref(&lose)).is_idle());
    let mut corruptor = corruptor(&[fault(Which::Every(1), Corruption::Lose).of_type(5)]);
    assert!(!corruptor.is_idle());
    assert_eq!(corruptor.pass(1, message(1), Instant::now()).0.len(), 1);
    assert_eq!(corruptor.pass(5, message(1), Instant::now()), (vec![], true));
    // What waits is lost with its socket.
    corruptor.add(fault(Which::Every(1), Corruption::Swap));
    corruptor.pass(1, message(1), Instant::now());
    corruptor.attached();
    assert_eq!(corruptor.deadline(), None);
}

#[test]
fn damaged_frames_are_no_frames() {
    for counters in [Counters::V101 { sequence: 1 }, Counters::V102 { input: 1, output: 2 }] {
        let (channel, instance) = ("d-1".to_owned(), "i-1".to_owned());
        let payload = Bytes::from_static(b"payload");
        let frame = Frame { kind: 1, channel, instance, created_ms: 1, counters, payload };
        let damaged = |corrupt| {
            let mut corruptor = corruptor(&[fault(Which::Nth(1), corrupt)]);
            let (mut passed, _) = corruptor.pass(1, frame.encode(), Instant::now());
            Frame::decode(&passed.remove(0).message)
        };
        let length = Err(FrameError::Length { said: 10, found: 7 });
        assert_eq!(damaged(Corruption::WrongLength(3)), length);
        assert_eq!(damaged(Corruption::Truncate(6)), Err(FrameError::Short("version")));
        assert!(matches!(damaged(Corruption::Flip(4)), Err(FrameError::Version(_))));
        let last = frame.encode().len() - 1;
        assert_ne!(damaged(Corruption::Flip(last)).unwrap().payload, frame.payload);
        assert_eq!(
            damaged(Corruption::Flip(last + 1)),
            damaged(Corruption::Flip(0)),
            "from the start"
        );
    }
    // Too short for a length field.
    let mut short = corruptor(&[fault(Which::Nth(1), Corruption::WrongLength(1))]);
    assert_eq!(short.pass(1, message(1), Instant::now()).0[0].message, message(1));
    let mut empty = corruptor(&[fault(Which::Nth(1), Corruption::Flip(3))]);
    assert_eq!(empty.pass(1, Bytes::new(), Instant::now()).0[0].message, Bytes::new());
}
