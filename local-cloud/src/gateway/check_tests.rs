use super::*;

const FACTS: Facts<'_> =
    Facts { resumable: true, channel: "d-1", sent: 0, received: 0, version_known: false };

fn frame(kind: u32, counters: Counters, payload: &'static [u8]) -> Frame {
    let channel = match counters {
        Counters::V101 { .. } => String::new(),
        Counters::V102 { .. } => "d-1".to_owned(),
    };
    let (instance, payload) = (String::new(), payload.into());
    Frame { kind, channel, instance, created_ms: 1, counters, payload }
}

fn new(kind: u32, input: u32, output: u32) -> Frame {
    frame(kind, Counters::V102 { input, output }, b"")
}

fn old(kind: u32, sequence: i64) -> Frame {
    frame(kind, Counters::V101 { sequence }, b"")
}

#[test]
fn nothing_is_wrong_with_a_client_that_resumes() {
    let mut check = Check::default();
    let mut fine = |frame: Frame, sent| {
        let wrong = check.frame(&frame, Facts { sent, ..FACTS });
        assert_eq!(wrong, [""; 0], "{frame:?}");
        if frame.kind == kind::CLOSE {
            check.attached(true);
        }
    };
    let close =
        |input, output| Frame { payload: (&b"1"[..]).into(), ..new(kind::CLOSE, input, output) };
    fine(new(kind::INPUT, 1, 0), 0);
    fine(new(kind::INPUT, 2, 4), 4);
    fine(Frame { payload: (&b"abcd"[..]).into(), ..new(kind::RESIZE, 3, 4) }, 4);
    fine(new(kind::SYNC, 3, 4), 5);
    fine(new(kind::INPUT, 2, 4), 5);
    fine(new(kind::INPUT, 3, 5), 5);
    fine(new(kind::INPUT, 4, 5), 5);
    fine(close(4, 5), 5);
    // On another socket: some that were lost with the old one, and the first that was not.
    fine(new(kind::SYNC, 9, 5), 5);
    fine(new(kind::INPUT, 10, 5), 5);
    fine(new(kind::INPUT, 5, 5), 5);
    fine(close(10, 5), 5);
    // It may give up as well.
    fine(close(10, 5), 5);
}

#[test]
fn what_is_wrong() {
    let wrong = |before: &[Frame], frame: &Frame| {
        let mut check = Check::default();
        for frame in before {
            assert_eq!(check.frame(frame, Facts { sent: 3, ..FACTS }), [""; 0]);
        }
        check.frame(frame, Facts { sent: 3, ..FACTS }).join("; ")
    };
    let one = [new(kind::INPUT, 1, 2)];
    for (before, frame, what) in [
        (&[][..], new(kind::INPUT, 0, 0), "Input or Resize 0 after 0"),
        (&[], new(kind::INPUT, 2, 0), "Input or Resize 2 after 0"),
        (&one, new(kind::INPUT, 3, 2), "Input or Resize 3 after 1"),
        (&one, new(kind::INPUT, 2, 4), "acknowledges Output 4, the last sent is 3"),
        (&one, new(kind::INPUT, 2, 1), "acknowledges Output 1 after 2"),
        (&one, new(kind::SYNC, 0, 2), "a Sync with 0, the last Input is 1"),
        (&one, new(kind::OUTPUT, 2, 2), "a client's frame of type 1"),
        (&one, new(kind::RESIZE, 2, 2), "a Resize of 0 bytes"),
        (&one, new(kind::CLOSE, 2, 2), "a Close carries `1`"),
        (&one, old(kind::INPUT, 0), "1.01 to an agent of 1.02"),
    ] {
        assert_eq!(wrong(before, &frame), what);
    }
    let other = Frame { channel: "d-2".into(), instance: "i".into(), ..new(kind::INPUT, 1, 0) };
    assert_eq!(wrong(&[], &other), "ids \"d-2\" and \"i\", the channel is \"d-1\"");
    let long = Frame { payload: (&b"x"[..]).into(), ..new(kind::SYNC, 0, 0) };
    assert_eq!(wrong(&[], &long), "a Sync of 1 bytes");
}

#[test]
fn a_sync_comes_first_on_another_socket() {
    let mut check = Check::default();
    check.attached(true);
    let wrong = check.frame(&new(kind::INPUT, 1, 0), FACTS);
    assert_eq!(wrong, ["a frame of type 0 before the Sync"]);
    assert_eq!(check.frame(&new(kind::INPUT, 2, 0), FACTS), [""; 0], "that is said once");
}

#[test]
fn until_the_version_can_be_known_1_01_is_spoken_and_then_no_more() {
    let mut check = Check::default();
    assert_eq!(check.frame(&old(kind::INPUT, 0), FACTS), [""; 0]);
    assert_eq!(check.frame(&old(kind::INPUT, 1), FACTS), [""; 0]);
    let known = Facts { version_known: true, ..FACTS };
    assert_eq!(check.frame(&old(kind::INPUT, 2), known), ["1.01 to an agent of 1.02"]);
    assert!(!version_known(None, Duration::ZERO));
    assert!(version_known(Some(Duration::ZERO), Duration::ZERO));
    assert!(!version_known(Some(Duration::from_millis(999)), Duration::from_secs(1)));
    // The first number is 1, or goes on behind them.
    for (first, fits) in [(1, true), (2, false), (3, false), (4, true), (5, false)] {
        let mut check = Check::default();
        (0..3).for_each(|n| assert_eq!(check.frame(&old(kind::INPUT, n), FACTS), [""; 0]));
        assert_eq!(check.frame(&new(kind::INPUT, first, 0), FACTS).is_empty(), fits, "{first}");
    }
}

#[test]
fn agents_of_1_01_are_spoken_to_in_1_01() {
    let facts = Facts { resumable: false, version_known: true, ..FACTS };
    let mut check = Check::default();
    assert_eq!(check.frame(&old(kind::INPUT, 1), facts), [""; 0]);
    assert_eq!(check.frame(&old(kind::INPUT, 3), facts), ["sequence 3 after Some(1)"]);
    assert_eq!(check.frame(&old(kind::SYNC, 4), facts), ["a client's frame of type 6"]);
    let wrong = check.frame(&new(kind::INPUT, 1, 0), facts);
    assert_eq!(wrong, ["ids are empty in 1.01", "1.02 to an agent of 1.01"]);
}

#[test]
fn what_is_acknowledged_need_not_be_sent_again() {
    let mut check = Check::default();
    let input = |number| frame(kind::INPUT, Counters::V102 { input: number, output: 0 }, b"");
    for number in 1..=5 {
        assert_eq!(check.frame(&input(number), FACTS), [""; 0]);
    }
    let facts = Facts { received: 5, ..FACTS };
    assert_eq!(check.frame(&input(2), FACTS), [""; 0], "sent again");
    assert_eq!(check.frame(&input(6), facts), [""; 0], "3 to 5 have come meanwhile");
    assert_eq!(check.frame(&input(8), facts), ["Input or Resize 8 after 6"]);
}
