#![allow(clippy::disallowed_methods, reason = "any instant will do")]

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// One that has sent so many frames of one byte.
fn sent(now: Instant, frames: u32) -> (Outbound, FlowControl) {
    let (mut outbound, mut flow) = (Outbound::new(now, SessionKind::Port), FlowControl::new(now));
    assert!(outbound.open(now) && !outbound.open(now));
    for frame in 1..=frames {
        outbound.push(now, b"x");
        let payload = outbound.poll_input(now, &mut flow).unwrap();
        assert_eq!(outbound.keep(now, FrameType::INPUT, payload), frame);
    }
    (outbound, flow)
}

fn again(outbound: &mut Outbound, now: Instant, flow: &mut FlowControl) -> Vec<u32> {
    let frames = std::iter::from_fn(|| outbound.poll_retransmit(now, flow));
    frames.map(|(_, sequence, _)| sequence).collect()
}

#[test]
fn the_queue_is_bounded_and_takes_nothing_after_the_end_of_file() {
    let now = Instant::now();
    let mut outbound = Outbound::new(now, SessionKind::Port);
    outbound.push(now, &[7; 1000]);
    assert_eq!((outbound.room(), outbound.queued()), (LOCAL_CAP - 1000, 1000));
    assert_eq!(outbound.drained_from(), None);
    outbound.close(now);
    assert_eq!(outbound.room(), 0);
    outbound.open(now + SECOND);
    assert_eq!(outbound.drained_from(), Some(now + SECOND));
    outbound.close(now + 2 * SECOND);
    assert_eq!(outbound.drained_from(), Some(now + SECOND), "the first end of file counts");
}

#[test]
fn after_a_reconnect_all_is_sent_again_that_the_peer_does_not_acknowledge_in_time() {
    let now = Instant::now();
    let (mut outbound, mut flow) = sent(now, 4);
    outbound.handle_acknowledged(now, 1, false).unwrap();
    outbound.handle_disconnect();
    outbound.handle_reconnected(now);
    assert_eq!(outbound.peer_ack_deadline(), Some(now + PEER_ACK_TIMEOUT));
    assert!(outbound.is_retransmitting() && !outbound.can_send(now, &mut flow));
    assert_eq!(again(&mut outbound, now, &mut flow), [0; 0]);
    outbound.handle_no_peer_ack();
    assert_eq!(again(&mut outbound, now, &mut flow), [2, 3, 4]);
    assert!(outbound.is_sent(&flow));
    outbound.handle_reconnected(now);
    outbound.handle_acknowledged(now, 3, false).unwrap();
    assert_eq!(again(&mut outbound, now, &mut flow), [4]);
    assert_eq!(outbound.handle_sync(4), Ok(4));
    assert_eq!(again(&mut outbound, now, &mut flow), [4]);
    assert_eq!(outbound.handle_sync(2), Err(Failure::LostInput(2)));
    let never = Failure::NeverSent { got: 5, sent: 4 };
    assert_eq!(outbound.handle_acknowledged(now, 5, false), Err(never));
}

#[test]
fn an_acknowledgement_is_requested_after_a_minute_and_at_the_end_at_once() {
    let now = Instant::now();
    let (mut outbound, flow) = sent(now, 2);
    assert_eq!(outbound.request_ack_at(&flow, false), None, "nobody acknowledges in 1.01");
    assert_eq!(outbound.request_ack_at(&flow, true), Some(now + REQUEST_ACK_AFTER));
    assert_eq!(outbound.arrived(&flow, true), Arrived::NotYet);
    assert_eq!(outbound.arrived(&flow, false), Arrived::Unknown);
    outbound.close(now);
    assert_eq!(outbound.request_ack_at(&flow, true), Some(now + REQUEST_ACK_AT_END_AFTER));
    assert_eq!(outbound.arrival_deadline(&flow, true), Some(now + ARRIVAL_TIMEOUT));
    assert!(outbound.request_ack(now));
    assert_eq!(outbound.request_ack_at(&flow, true), Some(now + REQUEST_ACK_AFTER));
    assert_eq!(outbound.arrived(&flow, true), Arrived::Unknown, "it has never acknowledged any");
    outbound.handle_acknowledged(now, 1, false).unwrap();
    assert_eq!(outbound.arrived(&flow, true), Arrived::NotYet);
    outbound.handle_acknowledged(now, 2, false).unwrap();
    assert_eq!(outbound.arrived(&flow, true), Arrived::Yes);
    assert!(!outbound.request_ack(now));
    assert_eq!(outbound.arrival_deadline(&flow, true), None);
}

#[test]
fn a_keepalive_is_due_after_silence_of_this_side_alone() {
    let now = Instant::now();
    let mut outbound = Outbound::new(now, SessionKind::Port);
    assert_eq!(outbound.keepalive_at(SECOND), None, "it is not open");
    outbound.open(now);
    outbound.handle_sent(now + SECOND);
    assert_eq!(outbound.keepalive_at(SECOND), Some(now + 2 * SECOND));
    outbound.set_keepalive_due(true);
    assert_eq!(outbound.keepalive_at(SECOND), None, "it is due already");
    assert!(outbound.take_keepalive() && !outbound.take_keepalive());
    outbound.set_keepalive_due(true);
    outbound.close(now);
    assert!(!outbound.take_keepalive());
}

#[test]
fn input_is_kept_until_the_version_is_known() {
    let now = Instant::now();
    for (has_acks, has_output, is_kept) in
        [(false, false, true), (false, true, false), (true, true, true)]
    {
        let (mut outbound, _) = sent(now, 3);
        outbound.forget_unneeded(has_acks, has_output);
        assert_eq!(outbound.replay().bytes() > 0, is_kept);
    }
}
