#![allow(clippy::disallowed_methods, reason = "any instant will do")]

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn sending(position: u64) -> Sending {
    Sending { position, second: 25_600, waits: false }
}

/// Pings whose first was answered after 100 ms.
fn answered(now: Instant) -> Probes {
    let mut probes = Probes::new(now, 0);
    let payload = probes.send(now, 0, None);
    assert!(probes.answer(now + 100 * MS, &payload).is_some());
    assert!(probes.are_answered());
    probes
}

#[test]
fn they_are_sent_behind_what_is_sent_and_not_too_often() {
    let now = Instant::now();
    let mut probes = Probes::new(now, 0);
    assert_eq!(probes.due_at(now, sending(0)), None, "nothing is sent");
    assert_eq!(probes.due_at(now, sending(1)), Some(now), "to know how long the way is");
    probes.send(now, 1, None);
    assert_eq!(probes.due_at(now, sending(1600)), None);
    assert_eq!(probes.due_at(now, sending(1601)), Some(now + MIN_PING_INTERVAL));
    let waits = Sending { waits: true, ..sending(2) };
    assert_eq!(probes.due_at(now, waits), Some(now + MIN_PING_INTERVAL), "somebody waits for it");
    assert_eq!(
        probes.due_at(now, Sending { position: 1, ..waits }),
        Some(now + WAITING_PING_INTERVAL)
    );
    // The time between them is what counts where more is allowed.
    let fast = Sending { second: 10_000_000, ..sending(2049) };
    assert_eq!(probes.due_at(now, fast), Some(now + MIN_PING_INTERVAL));
    assert!(!probes.is_overdue(sending(10_241)) && probes.is_overdue(sending(10_242)));
    assert!(!probes.is_overdue(fast));
}

#[test]
fn an_answer_speaks_for_all_before_it() {
    let now = Instant::now();
    let mut probes = answered(now);
    let payloads: Vec<_> = (1..4).map(|n| probes.send(now + n * SECOND, n.into(), None)).collect();
    let arrival = probes.answer(now + 2 * SECOND + 130 * MS, &payloads[1]).unwrap();
    let asked = now + 2 * SECOND;
    assert_eq!(arrival, Arrival { position: 2, asked, late: 30 * MS });
    assert_eq!(probes.answer(now + 3 * SECOND, &payloads[0]), None, "it is known");
    for other in [&b""[..], b"gateway", &payloads[2][..3], &[0; 4]] {
        assert_eq!(probes.answer(now + 3 * SECOND, other), None, "{other:?}");
    }
    assert_eq!(probes.waiting.len(), 1);
}

#[test]
fn a_far_side_that_never_answers_is_not_asked_for_long() {
    let now = Instant::now();
    let mut probes = Probes::new(now, 0);
    let mut position = 0;
    while probes.due_at(now, sending(position + 2048)).is_some() {
        position += 2048;
        probes.send(now, position, None);
    }
    assert_eq!(position, 8 * 2048);
    assert!(!probes.are_answered() && !probes.on_activity(now + 100 * SECOND));
    // One that is sent for another reason may still be the first to be answered.
    for _ in 0..1000 {
        probes.send(now, position, None);
    }
    assert_eq!(probes.waiting.len(), MAX_UNANSWERED[1]);
    assert!(probes.answer(now, &1_u32.to_be_bytes()).is_some());
    assert!(probes.are_answered());
}

#[test]
fn a_far_side_that_says_other_things_for_long_is_given_up() {
    let now = Instant::now();
    let mut probes = answered(now);
    assert!(!probes.on_activity(now), "nothing was asked");
    let payload = probes.send(now, 5000, None);
    for second in 1..30 {
        assert!(!probes.on_activity(now + second * SECOND));
    }
    assert!(probes.are_answered());
    assert!(probes.on_activity(now + ANSWER_TIMEOUT));
    assert!(!probes.are_answered());
    assert_eq!(probes.due_at(now, sending(9000)), None);
    assert_eq!(probes.answer(now + ANSWER_TIMEOUT, &payload), None, "too late");
    // Only the next keepalive tells whether it answers again.
    let now = now + 60 * SECOND;
    for position in 0..100 {
        probes.send(now, position, None);
        assert!(!probes.on_activity(now) && probes.waiting.len() <= MAX_UNANSWERED[0]);
    }
    let payload = probes.send(now, 9000, None);
    assert_eq!(probes.answer(now, &payload).map(|arrival| arrival.position), Some(9000));
    assert!(probes.are_answered() && probes.waiting.is_empty());
}

#[test]
fn after_an_outage_an_answer_may_come_behind_other_things() {
    let now = Instant::now();
    let mut probes = answered(now);
    for round in 1..10 {
        let now = now + round * 100 * SECOND;
        let payload = probes.send(now, 5000, None);
        for late in [50, 51, 60] {
            assert!(!probes.on_activity(now + late * SECOND));
        }
        assert!(probes.answer(now + 61 * SECOND, &payload).is_some());
    }
    // And one that says little is given up as well.
    probes.send(now + 1000 * SECOND, 9000, None);
    let heard: Vec<_> =
        (1..7).map(|n| probes.on_activity(now + 1000 * SECOND + n * 20 * SECOND)).collect();
    assert_eq!(heard, [false, false, false, false, false, true]);
}

#[test]
fn when_an_answer_came_that_was_not_read_cannot_be_told() {
    let now = Instant::now();
    let mut probes = answered(now);
    let payload = probes.send(now, 5, None);
    probes.mark_unread();
    let arrival = probes.answer(now + 5 * SECOND, &payload).unwrap();
    assert_eq!((arrival.position, arrival.late), (5, Duration::ZERO));
    assert_eq!(probes.min_rtt(), 100 * MS);
}

#[test]
fn an_acknowledgement_is_as_good() {
    let now = Instant::now();
    let mut probes = Probes::new(now, 0);
    probes.send(now, 1, Some(1));
    assert_eq!(probes.acknowledged(now, 1), None, "how long the way is is not known");
    let mut probes = answered(now);
    for (position, input) in [(10, Some(u32::MAX)), (20, None), (30, Some(1))] {
        probes.send(now, position, input);
    }
    let late = 200 * MS;
    let arrived = |position| Some(Arrival { position, asked: now, late: late - 100 * MS });
    assert_eq!(probes.acknowledged(now + late, u32::MAX - 1), None);
    assert_eq!(probes.acknowledged(now + late, 0), arrived(10));
    assert_eq!(probes.acknowledged(now + late, 0), None, "it is known");
    assert_eq!(probes.acknowledged(now + late, 1), arrived(30));
}

#[test]
fn a_way_is_as_long_as_it_was_lately() {
    let now = Instant::now();
    let mut min_rtt = MinRtt::default();
    let mut at = now;
    let mut record = |min_rtt: &mut MinRtt, took: u32, times| {
        for _ in 0..times {
            at += SECOND;
            min_rtt.record(at, took * MS);
        }
    };
    record(&mut min_rtt, 20, 9);
    record(&mut min_rtt, 3000, 1);
    assert_eq!(min_rtt.get(), Some(20 * MS));
    record(&mut min_rtt, 200, 10);
    assert_eq!(min_rtt.get(), Some(20 * MS));
    record(&mut min_rtt, 200, 1);
    assert_eq!(min_rtt.get(), Some(200 * MS), "it is another way");
    record(&mut min_rtt, 30, 1);
    assert_eq!(min_rtt.get(), Some(30 * MS));
}

#[test]
fn the_first_answer_may_be_late_as_well() {
    let now = Instant::now();
    let mut probes = Probes::new(now, 0);
    let payload = probes.send(now, 5, None);
    assert_eq!(probes.answer(now + 3 * SECOND, &payload).unwrap().late, 3 * SECOND);
    assert_eq!(probes.min_rtt(), MAX_RTT);
}
