//! The splice over sockets that fail as the test asks, in a time that passes as it asks.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{DuplexStream, ReadBuf, duplex};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::*;
use crate::gateway::redactor::Redactor;
use session_manager_proto::frame::{Frame, FrameType, Sequence, Version};
use session_manager_proto::session::End;
use session_manager_proto::session::{Config, Failure, Keepalive};

/// More than all the queues on the way to the local side take.
const MUCH: usize = 300_000;
/// No test of this file takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// A local side that holds little.
impl LocalWrite for DuplexStream {
    async fn closed(&mut self) {
        std::future::pending().await
    }
}

fn nobody(_: SessionEvent<'_>) {}

async fn splice<'a>(
    connection: GatewayConnection<'a>,
    session: Session,
    local: &mut LocalSide<DuplexStream, DuplexStream>,
    stop: impl Future<Output = ()>,
    on_event: OnEvent<'a>,
) -> Outcome {
    Driver::new(connection, session, on_event).run(local, stop).await
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
    }
    sent.extend(message(FrameType::STATUS, 0, b"\x05Exit"));
    let noticed = Arc::new(Notify::new());
    let io = Gone { sent: io::Cursor::new(sent), noticed: Arc::clone(&noticed) };
    let io: Box<dyn crate::net::Io> = Box::new(io);
    let socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;

    let mut config = Config::new(1);
    config.keepalive = Keepalive::Always(Duration::from_millis(10)); // this is how it is noticed
    let (mut far, local) = duplex(1024);
    let (_stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    let connection = plain(socket);
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

/// The far side of a socket, as a test plays it.
type Gateway = WebSocketStream<DuplexStream>;

async fn pair() -> (Socket, Gateway) {
    let (near, far) = duplex(64 * 1024);
    let near: Box<dyn crate::net::Io> = Box::new(near);
    let gateway = WebSocketStream::from_raw_socket(far, Role::Server, None);
    tokio::join!(WebSocketStream::from_raw_socket(near, Role::Client, None), gateway)
}

fn frame(version: Version, kind: FrameType, sequence: Sequence, payload: &[u8]) -> Message {
    let frame = Frame {
        kind,
        version,
        channel_id: Bytes::from_static(b"d-1"),
        instance_id: Bytes::new(),
        created_ms: 1,
        sequence,
        payload: Bytes::copy_from_slice(payload),
    };
    Message::Binary(frame.encode().unwrap())
}

async fn open(gateway: &mut Gateway, version: Version) {
    let sequence = match version {
        Version::V1_01 => Sequence::Single(0),
        _ => Sequence::Pair { input: 0, output: 0 },
    };
    gateway.send(frame(version, FrameType::STATUS, sequence, &[3])).await.unwrap();
}

/// The next frame of the session, and how many pings and pongs came before it.
async fn next(gateway: &mut Gateway) -> (Option<Frame>, usize, usize) {
    let (mut pings, mut pongs) = (0, 0);
    while let Some(Ok(message)) = gateway.next().await {
        match message {
            Message::Binary(message) => {
                return (Some(Frame::decode(message).unwrap()), pings, pongs);
            }
            Message::Ping(_) => pings += 1,
            Message::Pong(_) => pongs += 1,
            _ => {}
        }
    }
    (None, pings, pongs)
}

fn never(_: Bytes) -> Reconnect<'static> {
    unreachable!("it is of version 1.01")
}

fn not_yet(_: Bytes) -> Reconnect<'static> {
    Box::pin(std::future::pending())
}

/// One look-up may hold what others wait for, so it is polled although the stream has no use for it.
#[tokio::test(start_paused = true)]
async fn a_look_up_that_has_begun_comes_to_its_end() {
    let (socket, mut gateway) = pair().await;
    let (_out, local) = duplex(1024);
    let (_stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    let lock = Arc::new(tokio::sync::Mutex::new(()));
    let held = Arc::clone(&lock).lock_owned().await;
    let agent = async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(held);
        Some(Generation::D)
    };
    let connection = plain(socket);
    let connection =
        GatewayConnection { agent: agent.boxed_local(), agent_is_asked: true, ..connection };
    let stop = tokio::time::sleep(Duration::from_secs(5));
    let session = Session::new(clock(), Config::new(1));
    let splice = splice(connection, session, &mut local, stop, &nobody);
    let others = async {
        let ssh = b"SSH-2.0-x\r\n";
        let output = frame(Version::V1_01, FrameType::OUTPUT, Sequence::Single(0), ssh);
        gateway.send(output).await.unwrap();
        let begin = clock();
        let _lock = lock.lock().await;
        (clock() - begin).as_secs()
    };
    assert_eq!(tokio::join!(splice, others).1, 1);
}

/// An agent that cannot be asked for its version.
fn unknown() -> AgentLookUp<'static> {
    std::future::ready(None).boxed_local()
}

/// A socket without another one behind it.
fn plain(socket: Socket) -> GatewayConnection<'static> {
    GatewayConnection {
        socket,
        redial: &never,
        redactor: Redactor::default(),
        agent: unknown(),
        agent_is_asked: false,
        place_wanted: &|| std::future::pending().boxed_local(),
    }
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
        let (connection, session) = (plain(socket), Session::new(clock(), Config::new(1)));
        let connection = GatewayConnection { redactor, ..connection };
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
        let connection = GatewayConnection { redial: &not_yet, ..plain(socket) };
        let session = Session::new(clock(), Config::new(1));
        let stop = tokio::time::sleep(Duration::from_secs(5));
        splice(connection, session, &mut local, stop, &nobody).await;
        let answer = gateway.next().await.unwrap().unwrap();
        assert_eq!(answer, Message::Close(Some(close)), "{version}, {code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_falls_silent_is_given_up_after_a_minute() {
    let (socket, mut gateway) = pair().await;
    let (_out, local) = duplex(1024);
    let (_stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    let begin = clock();
    let (connection, session) = (plain(socket), Session::new(begin, Config::new(1)));
    let splice = splice(connection, session, &mut local, std::future::pending(), &nobody);
    let play = async {
        open(&mut gateway, Version::V1_01).await;
        // It answers one ping, and the next ones are never read.
        while !gateway.next().await.unwrap().unwrap().is_ping() {}
        gateway.flush().await.unwrap();
        gateway
    };
    let (outcome, _gateway) = tokio::join!(splice, play);
    let End::Failed(Failure::Disconnected(Disconnect::Broken(how))) = outcome.end else { panic!() };
    assert!(how.contains("nothing was heard for 60 s"), "{how}");
    let took = (clock() - begin).as_secs();
    assert!((80..=82).contains(&took), "{took} s: the first ping after 20 s, and 60 s of silence");
}

/// Nothing published shows a gateway that answers pings (PROTOCOL.md, 6).
#[tokio::test(start_paused = true)]
async fn a_gateway_that_never_answers_pings_is_kept_for_as_long_as_it_likes() {
    let (socket, mut gateway) = pair().await;
    let (_out, local) = duplex(1024);
    let (_stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    open(&mut gateway, Version::V1_01).await;
    let (connection, session) = (plain(socket), Session::new(clock(), Config::new(1)));
    let stop = tokio::time::sleep(Duration::from_secs(3590));
    let outcome = splice(connection, session, &mut local, stop, &nobody).await;
    assert_eq!(outcome.end, End::Local);
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
        let (connection, session) = (plain(socket), Session::new(begin, Config::new(1)));
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
async fn a_gateway_that_answers_pings_is_kept_for_as_long_as_it_likes() {
    let (socket, mut gateway) = pair().await;
    let (_out, local) = duplex(1024);
    let (_stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    let begin = clock();
    let (connection, session) = (plain(socket), Session::new(begin, Config::new(1)));
    // Between two keepalives: which of them and the end came first would be left to chance.
    let stop = tokio::time::sleep(Duration::from_secs(3590));
    let splice = splice(connection, session, &mut local, stop, &nobody);
    let play = async {
        open(&mut gateway, Version::V1_01).await;
        let mut seen = (0, 0);
        while let (Some(frame), pings, _) = next(&mut gateway).await {
            seen.0 += usize::from(frame.kind == FrameType::INPUT);
            seen.1 += pings;
        }
        seen
    };
    let (outcome, (keepalives, pings)) = tokio::join!(splice, play);
    assert_eq!(outcome.end, End::Local);
    assert_eq!(keepalives, 71, "every 50 s");
    assert!((175..=180).contains(&pings), "{pings}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_not_read_is_not_taken_for_a_silent_one() {
    let (socket, mut gateway) = pair().await;
    let (mut far, local) = duplex(1024);
    let (_stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    let begin = clock();
    let (connection, session) = (plain(socket), Session::new(begin, Config::new(1)));
    let splice = splice(connection, session, &mut local, std::future::pending(), &nobody);
    let (sent, written) = (mpsc::unbounded_channel(), noise(MUCH));
    let (done, mut finished) = sent;
    let play = async {
        open(&mut gateway, Version::V1_01).await;
        let (mut sink, mut stream) = gateway.split();
        let send = async {
            for (number, payload) in (0..).zip(written.chunks(2048)) {
                let sequence = Sequence::Single(number);
                let message = frame(Version::V1_01, FrameType::OUTPUT, sequence, payload);
                sink.send(message).await.unwrap();
            }
            let exit = frame(Version::V1_01, FrameType::STATUS, Sequence::Single(0), b"\x05Exit");
            sink.send(exit).await.unwrap();
            sink
        };
        let read = async {
            let mut pongs = 0;
            while let Some(Ok(message)) = stream.next().await {
                if message.is_pong() {
                    pongs += 1;
                    let _ = done.send(pongs);
                }
            }
        };
        tokio::join!(send, read)
    };
    let read = async {
        // Nobody reads for 100 s: five signs of life later.
        while finished.recv().await.unwrap() < 5 {}
        assert!(clock() - begin >= Duration::from_secs(100));
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        read
    };
    let (outcome, _, read) = tokio::join!(splice, play, read);
    assert!(matches!(outcome.end, End::Remote(_)), "{outcome:?}");
    assert!(read == written);
}

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Gateways that a session may come back to, in the order in which they are made; each time that one
/// is asked for is told.
fn redialled(
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
    let redial = redialled(vec![None, Some(second)], &asked);
    let connection = GatewayConnection { redial, ..plain(first) };
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
        let redial = redialled(Vec::new(), &Arc::default());
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
        let connection = GatewayConnection { redial, ..plain(socket) };
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

#[tokio::test(start_paused = true)]
async fn a_gateway_that_reads_nothing_for_a_while_is_not_sent_a_burst() {
    let (socket, mut gateway) = pair().await;
    let (_out, local) = duplex(1024);
    let (mut stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    let connection = GatewayConnection { redial: &never, ..plain(socket) };
    let session = Session::new(clock(), Config::new(1));
    let splice = splice(connection, session, &mut local, std::future::pending(), &nobody);
    let written = noise(MUCH);
    let play = async {
        open(&mut gateway, Version::V1_01).await;
        let (mut read, mut log, mut turn) = (Vec::new(), Vec::new(), 0);
        while read.len() < MUCH {
            // What is there without waiting.
            while let Ok((Some(frame), ..)) =
                timeout(Duration::from_millis(1), next(&mut gateway)).await
            {
                read.extend_from_slice(&frame.payload);
                log.push((clock(), frame.payload.len()));
            }
            turn += 1;
            let pause = if turn % 50 == 0 { 5000 } else { 50 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let exit = frame(Version::V1_01, FrameType::STATUS, Sequence::Single(0), b"\x05Exit");
        gateway.send(exit).await.unwrap();
        (read, log)
    };
    let (outcome, _, (read, log)) = tokio::join!(splice, stdin.write_all(&written), play);
    assert!(matches!(outcome.end, End::Remote(_)), "{outcome:?}");
    assert!(read == written);
    for (first, (from, _)) in log.iter().enumerate() {
        let second = log[first..].iter().take_while(|(at, _)| *at - *from < Duration::from_secs(1));
        let bytes: usize = second.map(|(_, bytes)| bytes).sum();
        assert!(bytes <= 25_600, "{bytes} bytes in a second");
    }
}
