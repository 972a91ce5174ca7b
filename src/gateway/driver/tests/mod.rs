//! The splice over sockets that fail as the test asks, in a time that passes as it asks.

mod ending;
mod liveness;
mod resuming;

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
use crate::gateway::connection::Generations;
use crate::gateway::redactor::Redactor;
use crate::gateway::upgrade::GatewayIo;
use session_manager_proto::frame::{Frame, FrameType, Sequence, Version};
use session_manager_proto::session::End;
use session_manager_proto::session::{Config, Failure, Keepalive};

/// More than all the queues on the way to the local side take.
const MUCH: usize = 300_000;

/// No test of this file takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A local side that holds little.
impl LocalWrite for DuplexStream {
    async fn closed(&mut self) {
        std::future::pending().await
    }
}

fn nobody(_: crate::session::event::SessionEvent<'_>) {}

async fn splice<'a>(
    (socket, gateway): (Socket, GatewayConnection<'a>),
    session: Session,
    local: &mut LocalSide<DuplexStream, DuplexStream>,
    stop: impl Future<Output = ()>,
    on_event: OnEvent<'a>,
) -> Outcome {
    Driver::new(socket, gateway, session, on_event).run(local, stop).await
}

/// The remote side of a socket, as a test plays it.
type Gateway = WebSocketStream<DuplexStream>;

async fn pair() -> (Socket, Gateway) {
    let (near, far) = duplex(64 * 1024);
    let near = GatewayIo::new(Box::new(near));
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

/// An agent whose version cannot be queried.
fn unknown() -> Generations<'static> {
    futures_util::stream::empty().boxed_local()
}

/// The connection of a socket without another one behind it.
fn plain() -> GatewayConnection<'static> {
    GatewayConnection {
        reconnect: &never,
        redactor: Redactor::default(),
        agent: Some(unknown()),
        agent_is_queried: false,
        slot_requested: &|| std::future::pending().boxed_local(),
        window: None,
    }
}

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}
