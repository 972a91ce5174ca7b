//! How sessions end.

use super::*;
use crate::gateway::local::GOODBYE;

/// A transport with all that a gateway sent before it went: it can be read, and not be written to.
#[derive(Debug)]
struct Gone {
    sent: io::Cursor<Vec<u8>>,
    noticed: Arc<Notify>,
}

impl AsyncRead for Gone {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sent).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Gone {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.noticed.notify_one();
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A message of a server as it is on the wire: a frame of the stream in one of the WebSocket, unmasked.
fn message(kind: FrameType, sequence: i64, payload: &[u8]) -> Vec<u8> {
    let message = frame(Version::V1_01, kind, Sequence::Single(sequence), payload).into_data();
    let length = u16::try_from(message.len()).unwrap();
    [&[0x82, 126][..], &length.to_be_bytes(), &message].concat()
}

#[tokio::test]
async fn what_has_come_is_delivered_although_the_gateway_takes_nothing_any_more() {
    let bytes = noise(MUCH);
    let mut sent = message(FrameType::STATUS, 0, &[3]);
    for (number, payload) in bytes.chunks(2048).enumerate() {
        sent.extend(message(FrameType::OUTPUT, i64::try_from(number).unwrap(), payload));
        sent.extend([0x89, 0]); // a ping, which cannot be answered
    }
    sent.extend(message(FrameType::STATUS, 0, b"\x05Exit"));
    let noticed = Arc::new(Notify::new());
    let io = Gone { sent: io::Cursor::new(sent), noticed: Arc::clone(&noticed) };
    let io: Box<dyn crate::net::Io> = Box::new(io);
    let socket = WebSocketStream::from_raw_socket(GatewayIo::new(io), Role::Client, None).await;

    let mut config = Config::new(1);
    config.keepalive = Keepalive::Always(Duration::from_millis(10)); // this is how it is noticed
    let (mut far, local) = duplex(1024);
    let (_stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    let connection = (socket, plain());
    let splice = splice(
        connection,
        Session::new(Instant::now(), config),
        &mut local,
        std::future::pending(),
        &nobody,
    );
    let read = async {
        noticed.notified().await;
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        read
    };
    let (outcome, read) =
        timeout(PATIENCE, futures_util::future::join(splice, read)).await.expect("it ends");
    assert!(matches!(outcome.end, End::Remote(_)), "{outcome:?}");
    assert!(read == bytes, "{} bytes came", read.len());
}

#[tokio::test(start_paused = true)]
async fn what_the_gateway_repeats_of_a_session_s_secrets_is_not_shown() {
    let closes: [fn() -> Message; 2] = [
        || {
            let reason = "no more of token-0001".into();
            Message::Close(Some(CloseFrame { code: CloseCode::Policy, reason }))
        },
        || {
            let text = b"\x05FlowExceedLimit: no more of token-0001";
            frame(Version::V1_01, FrameType::STATUS, Sequence::Single(0), text)
        },
    ];
    for close in closes {
        let (socket, mut gateway) = pair().await;
        let (_out, local) = duplex(1024);
        let (_stdin, reader) = duplex(1024);
        let mut local = LocalSide::new(reader, local);
        open(&mut gateway, Version::V1_01).await;
        gateway.send(close()).await.unwrap();
        let redactor = Redactor::of("wss://h/session?sessionid=s-1", "token-0001");
        let connection = (socket, GatewayConnection { redactor, ..plain() });
        let session = Session::new(clock(), Config::new(1));
        let outcome =
            splice(connection, session, &mut local, std::future::pending(), &nobody).await;
        let End::Failed(failure) = outcome.end else { panic!("{outcome:?}") };
        assert!(failure.to_string().ends_with("no more of …"), "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_s_close_is_answered_whether_the_stream_goes_on_or_not() {
    for (version, code) in [(Version::V1_01, 1000), (Version::V1_01, 1001), (Version::V1_02, 1012)]
    {
        let (socket, mut gateway) = pair().await;
        let (_out, local) = duplex(1024);
        let (_stdin, reader) = duplex(1024);
        let mut local = LocalSide::new(reader, local);
        open(&mut gateway, version).await;
        let close = CloseFrame { code: CloseCode::from(code), reason: "".into() };
        gateway.send(Message::Close(Some(close.clone()))).await.unwrap();
        let connection = (socket, GatewayConnection { reconnect: &not_yet, ..plain() });
        let session = Session::new(clock(), Config::new(1));
        let stop = tokio::time::sleep(Duration::from_secs(5));
        splice(connection, session, &mut local, stop, &nobody).await;
        let answer = gateway.next().await.unwrap().unwrap();
        assert_eq!(answer, Message::Close(Some(close)), "{version}, {code}");
    }
}

/// What is sent before the local end of file, to a gateway that answers no pings and reads it at once, too
/// late to tell what became of it, or never.
#[tokio::test(start_paused = true)]
async fn an_upload_is_done_when_the_gateway_has_taken_it() {
    for read_after in [Some(0), Some(40), None] {
        let (socket, mut gateway) = pair().await;
        let (_out, local) = duplex(1024);
        let (mut stdin, reader) = duplex(64 * 1024);
        let mut local = LocalSide::new(reader, local);
        stdin.write_all(&[7; 20_000]).await.unwrap();
        drop(stdin);
        let begin = clock();
        let (connection, session) = ((socket, plain()), Session::new(begin, Config::new(1)));
        let splice = splice(connection, session, &mut local, std::future::pending(), &nobody);
        let play = async {
            let sequence = Sequence::Single(0);
            gateway.send(frame(Version::V1_01, FrameType::STATUS, sequence, &[3])).await.unwrap();
            tokio::time::sleep(Duration::from_secs(read_after.unwrap_or(0))).await;
            let mut read = 0;
            while read_after.is_some()
                && let Some(Ok(message)) = gateway.next().await
            {
                if let Message::Binary(message) = message {
                    read += Frame::decode(message).unwrap().payload.len();
                }
            }
            (read, gateway)
        };
        let (outcome, (read, _gateway)) = tokio::join!(splice, play);
        if read_after == Some(0) {
            assert_eq!((outcome.end, read), (End::Local, 20_001), "all of it, and a Close");
        } else {
            assert_eq!(outcome.end, End::Failed(Failure::NotArrived { bytes: 20_000 }));
            assert!((clock() - begin).as_secs() < 100);
        }
        assert!(!outcome.complete && !outcome.output_after_eof);
    }
}

#[tokio::test(start_paused = true)]
async fn an_early_end_does_not_wait_for_a_reader_that_takes_nothing() {
    let (socket, mut gateway) = pair().await;
    let (_far, writer) = duplex(16);
    let (_stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, writer);
    open(&mut gateway, Version::V1_01).await;
    let output = frame(Version::V1_01, FrameType::OUTPUT, Sequence::Single(0), &[7; 1_000]);
    gateway.send(output).await.unwrap();
    let (connection, session) = ((socket, plain()), Session::new(clock(), Config::new(1)));
    let stop = tokio::time::sleep(Duration::from_secs(5));
    let begin = clock();
    let outcome = splice(connection, session, &mut local, stop, &nobody).await;
    assert!(!outcome.complete && outcome.delivered == 16, "{outcome:?}");
    // What is sent goes out first, and the gateway is given time for its answer to the close.
    let took = clock() - begin - Duration::from_secs(5);
    assert!(took <= FLUSH_WITHIN + WRITE_WITHIN + Duration::from_millis(400 + 100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_may_pause_for_as_long_as_it_likes_after_the_end() {
    let (socket, mut gateway) = pair().await;
    let (mut far, local) = duplex(1024);
    let (_stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    let written = noise(20_000);
    open(&mut gateway, Version::V1_01).await;
    for (number, payload) in (0..).zip(written.chunks(2048)) {
        let sequence = Sequence::Single(number);
        gateway.send(frame(Version::V1_01, FrameType::OUTPUT, sequence, payload)).await.unwrap();
    }
    let exit = frame(Version::V1_01, FrameType::STATUS, Sequence::Single(0), b"\x05Exit");
    gateway.send(exit).await.unwrap();
    let (connection, session) = ((socket, plain()), Session::new(clock(), Config::new(1)));
    let splice = splice(connection, session, &mut local, std::future::pending(), &nobody);
    let read = async {
        tokio::time::sleep(Duration::from_secs(300)).await;
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        read
    };
    let (outcome, read) = tokio::join!(splice, read);
    assert!(outcome.complete && outcome.local_error.is_none(), "{outcome:?}");
    assert!(read == written, "{} bytes came", read.len());
}

/// Pings that pile up behind an upload are no sign that the gateway takes it.
#[tokio::test(start_paused = true)]
async fn a_gateway_that_stops_reading_at_the_end_is_given_up_although_pings_are_queued() {
    let (near, far) = duplex(4096);
    let near = GatewayIo::new(Box::new(near));
    let (socket, mut gateway) = tokio::join!(
        WebSocketStream::from_raw_socket(near, Role::Client, None),
        WebSocketStream::from_raw_socket(far, Role::Server, None)
    );
    let (_out, local) = duplex(1024);
    let (mut stdin, reader) = duplex(64 * 1024);
    let mut local = LocalSide::new(reader, local);
    stdin.write_all(&[7; 8 * 1024]).await.unwrap();
    drop(stdin);
    let begin = clock();
    open(&mut gateway, Version::V1_01).await;
    let (connection, session) = ((socket, plain()), Session::new(begin, Config::new(1)));
    let stop = tokio::time::sleep(Duration::from_secs(300));
    let outcome = splice(connection, session, &mut local, stop, &nobody).await;
    let took = clock() - begin;
    assert!(matches!(outcome.end, End::Failed(Failure::NotArrived { .. })), "{outcome:?}");
    assert!(took <= Duration::from_secs(70), "{took:?}");
}

/// A question and its answer, what else is sent before the end of file, and how many bytes count as not
/// answered: a goodbye asks for nothing.
#[tokio::test(start_paused = true)]
async fn what_was_answered_before_the_local_end_of_file_is_complete() {
    for (more, complete, unanswered) in [(0, true, 0), (GOODBYE, false, 0), (1_000, false, 1_000)] {
        let (socket, mut gateway) = pair().await;
        let (_out, local) = duplex(1024);
        let (mut stdin, reader) = duplex(64 * 1024);
        let mut local = LocalSide::new(reader, local);
        let (connection, session) = ((socket, plain()), Session::new(clock(), Config::new(1)));
        let splice = splice(connection, session, &mut local, std::future::pending(), &nobody);
        let play = async {
            open(&mut gateway, Version::V1_01).await;
            stdin.write_all(b"a question").await.unwrap();
            next(&mut gateway).await;
            let answer =
                frame(Version::V1_01, FrameType::OUTPUT, Sequence::Single(0), b"an answer");
            gateway.send(answer).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            stdin.write_all(&vec![7; more]).await.unwrap();
            drop(stdin);
            while let Some(Ok(_)) = gateway.next().await {}
        };
        let (outcome, ()) = tokio::join!(splice, play);
        assert_eq!(
            (&outcome.end, outcome.complete),
            (&End::Local, complete),
            "{more}: {outcome:?}"
        );
        assert_eq!(outcome.unanswered, unanswered, "{more}: {outcome:?}");
    }
}

/// A transport whose writes fail, as with a gateway that takes nothing until TCP gives up. Its reads show
/// an end of file from then on.
#[derive(Debug)]
struct Stuck {
    sent: io::Cursor<Vec<u8>>,
    error: io::ErrorKind,
    has_failed: bool,
    reading: Option<std::task::Waker>,
}

impl AsyncRead for Stuck {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let is_all = self.sent.position() == self.sent.get_ref().len() as u64;
        if is_all && !self.has_failed {
            self.reading = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.sent).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Stuck {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.has_failed = true;
        self.reading.take().into_iter().for_each(std::task::Waker::wake);
        Poll::Ready(Err(self.error.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The words of the system, unless they only show that the connection was cut; and what is missing.
#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_lost_in_an_upload_leaves_how_and_what_is_missing() {
    for (error, how) in [
        (io::ErrorKind::TimedOut, "timed out"),
        (io::ErrorKind::BrokenPipe, "it was cut without a close frame"),
    ] {
        let sent = io::Cursor::new(message(FrameType::STATUS, 0, &[3]));
        let io: Box<dyn crate::net::Io> =
            Box::new(Stuck { sent, error, has_failed: false, reading: None });
        let socket = WebSocketStream::from_raw_socket(GatewayIo::new(io), Role::Client, None).await;
        let (_out, local) = duplex(1024);
        let (mut stdin, reader) = duplex(64 * 1024);
        let mut local = LocalSide::new(reader, local);
        stdin.write_all(&[7; 5_000]).await.unwrap();
        let (connection, session) = ((socket, plain()), Session::new(clock(), Config::new(1)));
        let stop = tokio::time::sleep(Duration::from_secs(300));
        let outcome = splice(connection, session, &mut local, stop, &nobody).await;
        let lost = Failure::Disconnected(Disconnect::Broken(how.to_owned()));
        assert_eq!(outcome.end, End::Failed(lost));
        assert_eq!((outcome.not_arrived, outcome.input_ended), (5_000, false));
    }
}
