//! Streams that go on over another socket.

use super::*;

/// Gateways that a session may come back to, in the order in which they are made; each time that one
/// is asked for is told.
fn reconnected(
    sockets: Vec<Option<Socket>>,
    asked: &Arc<Notify>,
) -> &'static dyn Fn(Bytes) -> Reconnect<'static> {
    let asked = Arc::clone(asked);
    let sockets = std::cell::RefCell::new(std::collections::VecDeque::from(sockets));
    // It is as small as the test is short.
    Box::leak(Box::new(move |channel: Bytes| -> Reconnect<'static> {
        assert_eq!(channel, "d-1");
        asked.notify_one();
        let socket = sockets.borrow_mut().pop_front().flatten();
        Box::pin(async move {
            socket.ok_or(NotReconnected { how: "HTTP 503".to_owned(), is_final: false })
        })
    }))
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_1_02_goes_on_over_another_socket() {
    let ((first, mut gateway), (second, mut other)) = (pair().await, pair().await);
    let (mut out, local) = duplex(1024);
    let (mut stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    let asked = Arc::new(Notify::new());
    let reconnect = reconnected(vec![None, Some(second)], &asked);
    let connection = (first, GatewayConnection { reconnect, ..plain() });
    let session = Session::new(clock(), Config::new(1));
    let splice = splice(connection, session, &mut local, std::future::pending(), &nobody);
    let output = |input, number, payload: &[u8]| {
        let sequence = Sequence::Pair { input, output: number };
        frame(Version::V1_02, FrameType::OUTPUT, sequence, payload)
    };
    let play = async {
        open(&mut gateway, Version::V1_02).await;
        gateway.send(output(0, 1, b"one ")).await.unwrap();
        stdin.write_all(b"first").await.unwrap();
        let input = next(&mut gateway).await.0.unwrap();
        assert_eq!(input.sequence, Sequence::Pair { input: 1, output: 1 });
        // The socket is cut with an Output under way, and without an acknowledgement.
        drop(gateway);
        // What comes before that is noticed may still be sent, to nobody.
        asked.notified().await;
        stdin.write_all(b"second").await.unwrap();
        let sync = next(&mut other).await.0.unwrap();
        assert_eq!((sync.kind, sync.sequence), (FrameType::SYNC, input.sequence));
        let again = next(&mut other).await.0.unwrap();
        assert_eq!((again.sequence, &again.payload), (input.sequence, &input.payload));
        let new = next(&mut other).await.0.unwrap();
        assert_eq!(
            (new.sequence, &new.payload[..]),
            (Sequence::Pair { input: 2, output: 1 }, &b"second"[..])
        );
        other.send(output(2, 2, b"two")).await.unwrap();
        let exit = Sequence::Pair { input: 2, output: 2 };
        other.send(frame(Version::V1_02, FrameType::STATUS, exit, b"\x05Exit")).await.unwrap();
        let mut read = Vec::new();
        out.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"one two");
    };
    let (outcome, ()) = tokio::join!(splice, play);
    assert!(matches!(outcome.end, End::Remote(_)), "{outcome:?}");
    assert_eq!((outcome.sent, outcome.delivered), (11, 7));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_taken_up_again_is_given_up_after_a_minute() {
    for stopped in [false, true] {
        let (socket, mut gateway) = pair().await;
        let (_out, local) = duplex(1024);
        let (_stdin, reader) = duplex(1024);
        let mut local = LocalSide::new(reader, local);
        let reconnect = reconnected(Vec::new(), &Arc::default());
        let begin = clock();
        let session = Session::new(begin, Config::new(1));
        open(&mut gateway, Version::V1_02).await;
        drop(gateway);
        let stop = async {
            match stopped {
                true => tokio::time::sleep(Duration::from_secs(5)).await,
                false => std::future::pending().await,
            }
        };
        let connection = (socket, GatewayConnection { reconnect, ..plain() });
        let outcome = splice(connection, session, &mut local, stop, &nobody).await;
        let took = (clock() - begin).as_secs();
        if stopped {
            assert_eq!((outcome.end, took), (End::Local, 5));
        } else {
            assert_eq!(took, 60);
            let End::Failed(Failure::NotResumed { last, .. }) = outcome.end else { panic!() };
            assert_eq!(last, "HTTP 503");
        }
    }
}

/// A close frame that the library refuses is a socket that is closed.
#[tokio::test(start_paused = true)]
async fn a_close_frame_that_is_not_valid_is_a_socket_that_broke() {
    // A reason that is not UTF-8, and a code that is not allowed on the wire.
    for close in [&[0x88, 4, 0x03, 0xf4, 0xc4, 0xe3][..], &[0x88, 2, 0x03, 0xee]] {
        for version in [Version::V1_02, Version::V1_01] {
            let (socket, mut gateway) = pair().await;
            let (_out, local) = duplex(1024);
            let (_stdin, reader) = duplex(1024);
            let mut local = LocalSide::new(reader, local);
            open(&mut gateway, version).await;
            gateway.get_mut().write_all(close).await.unwrap();
            let asked = Arc::new(Notify::new());
            let connection = (
                socket,
                GatewayConnection { reconnect: reconnected(Vec::new(), &asked), ..plain() },
            );
            let session = Session::new(clock(), Config::new(1));
            let splice = splice(connection, session, &mut local, asked.notified(), &nobody);
            let outcome = splice.await;
            if version == Version::V1_02 {
                assert_eq!(outcome.end, End::Local, "it was asked for another connection");
            } else {
                let End::Failed(Failure::Disconnected(Disconnect::Broken(how))) = outcome.end
                else {
                    panic!("{outcome:?}")
                };
                assert!(how.contains("a close frame"), "{how}");
            }
        }
    }
}
