//! A client of 1.02 that does what the protocol says and no more: numbers, acknowledges, asks, sends again, reconnects.

use std::{collections::VecDeque, future::poll_fn, net::SocketAddr, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use local_cloud::{Instance, LocalCloud, SessionRecord};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error as WsError, Message, client::IntoClientRequest as _},
};

use super::{CLOSE, INPUT, OUTPUT, SOON, STATUS, Started, cloud_with, echo, frame, soon, start};

pub const RESIZE: u32 = 2;
pub const SYNC: u32 = 6;
/// So many Inputs may be on their way.
const WINDOW: usize = 256;
/// After so long without a frame the last one may have been lost.
const QUIET: Duration = Duration::from_millis(500);

/// A frame of 1.02.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame102 {
    pub kind: u32,
    pub channel: String,
    pub instance: String,
    pub input: u32,
    pub output: u32,
    pub payload: Vec<u8>,
}

impl Frame102 {
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u32_le(self.kind);
        out.put_slice(b"1.02");
        for id in [&self.channel, &self.instance] {
            out.put_u8(u8::try_from(id.len()).unwrap());
            out.put_slice(id.as_bytes());
        }
        out.put_u64_le(1_700_000_000_000);
        out.put_u32_le(self.input);
        out.put_u32_le(self.output);
        out.put_u16_le(u16::try_from(self.payload.len()).unwrap());
        out.put_u16_le(0);
        out.put_slice(&self.payload);
        out.freeze()
    }

    pub fn decode(wire: &[u8]) -> Option<Self> {
        let kind = u32::from_le_bytes(wire.get(..4)?.try_into().ok()?);
        let id = |at: usize| -> Option<(String, usize)> {
            let end = at + 1 + usize::from(*wire.get(at)?);
            Some((String::from_utf8(wire.get(at + 1..end)?.to_vec()).ok()?, end))
        };
        let (channel, at) = id(8)?;
        let (instance, at) = id(at)?;
        let created = u64::from_le_bytes(wire.get(at..at + 8)?.try_into().ok()?);
        let number = |at: usize| wire.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let (input, output) = (number(at + 8)?, number(at + 12)?);
        let length = u16::from_le_bytes(wire.get(at + 16..at + 18)?.try_into().ok()?);
        let payload = wire.get(at + 20..)?.to_vec();
        let sound = &wire[4..8] == b"1.02"
            && created > 0
            && wire[at + 18..at + 20] == [0, 0]
            && payload.len() == usize::from(length);
        sound.then_some(Self { kind, channel, instance, input, output, payload })
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Frame(Frame102),
    /// The WebSocket's close, with its code.
    Closed(u16),
    Broken,
    Other(Message),
    Malformed(Bytes),
}

/// A cloud with this instance, whose port 22 echoes, and a client that is told Opened.
pub async fn echoing(instance: Instance) -> (LocalCloud, Resuming) {
    let cloud = cloud_with(instance.target(22, echo().await)).await;
    let mut client = Resuming::open(&cloud, "i-a", 22).await;
    client.opened().await;
    (cloud, client)
}

/// The first session that something is true of.
pub async fn session(
    cloud: &LocalCloud,
    fits: impl FnMut(&SessionRecord) -> bool,
) -> SessionRecord {
    cloud.wait_for_session(fits, SOON).await.unwrap()
}

/// The first session.
pub fn only(cloud: &LocalCloud) -> SessionRecord {
    cloud.sessions().remove(0)
}

/// The client, and where it stands.
pub struct Resuming {
    addr: SocketAddr,
    pub started: Started,
    pub ws: WebSocketStream<TcpStream>,
    pub channel: String,
    /// The last Input or Resize.
    pub sent: u32,
    /// Those that have not been acknowledged.
    pub kept: VecDeque<Frame102>,
    /// The last contiguous Output.
    pub have: u32,
    pub statuses: Vec<Vec<u8>>,
    /// Sockets that were lost.
    pub lost: u32,
    /// Frames that are to be sent.
    outgoing: VecDeque<Bytes>,
}

async fn connect(addr: SocketAddr, url: &str) -> Result<WebSocketStream<TcpStream>, WsError> {
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("x-acs-session-token", "".parse().unwrap());
    let tcp = TcpStream::connect(addr).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    Ok(soon(client_async(request, tcp)).await?.0)
}

fn url(started: &Started) -> String {
    started.url.replacen("sessionid", "sessionId", 1)
}

impl Resuming {
    pub async fn open(cloud: &LocalCloud, instance: &str, port: u16) -> Self {
        let started = start(cloud, instance, port).await;
        let ws = connect(cloud.addr(), &url(&started)).await.unwrap();
        Self {
            addr: cloud.addr(),
            started,
            ws,
            channel: String::new(),
            sent: 0,
            kept: VecDeque::new(),
            have: 0,
            statuses: Vec::new(),
            lost: 0,
            outgoing: VecDeque::new(),
        }
    }

    /// Another socket for the stream, and nothing said on it yet; or the HTTP status of the refusal.
    pub async fn reattach(&mut self) -> Result<(), u16> {
        self.reattach_to(&format!("{}&channelId={}", url(&self.started), self.channel)).await
    }

    pub async fn reattach_to(&mut self, url: &str) -> Result<(), u16> {
        match connect(self.addr, url).await {
            Ok(ws) => {
                self.ws = ws;
                Ok(())
            }
            Err(WsError::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    /// Another socket, as often as it takes, and the Sync.
    pub async fn resume(&mut self) {
        while let Err(status) = self.reattach().await {
            assert_eq!(status, 503);
            tokio::task::yield_now().await;
        }
        self.sync().await;
    }

    /// A frame with these numbers, whatever they are.
    pub async fn raw(&mut self, kind: u32, input: u32, output: u32, payload: &[u8]) {
        let (channel, payload) = (self.channel.clone(), payload.to_vec());
        let frame =
            Frame102 { kind, channel, instance: String::new(), input, output, payload }.encode();
        self.ws.send(Message::Binary(frame)).await.unwrap();
    }

    /// A frame of 1.01.
    pub async fn plain(&mut self, kind: u32, sequence: i64, payload: &[u8]) {
        self.ws.send(Message::Binary(frame(kind, sequence, payload))).await.unwrap();
    }

    fn numbered(&mut self, kind: u32, payload: &[u8]) -> Frame102 {
        self.sent += 1;
        let frame = Frame102 {
            kind,
            channel: self.channel.clone(),
            instance: String::new(),
            input: self.sent,
            output: self.have,
            payload: payload.to_vec(),
        };
        self.kept.push_back(frame.clone());
        frame
    }

    pub async fn input(&mut self, payload: &[u8]) {
        let frame = self.numbered(INPUT, payload).encode();
        self.ws.send(Message::Binary(frame)).await.unwrap();
    }

    pub async fn sync(&mut self) {
        self.raw(SYNC, self.sent, self.have, b"").await;
    }

    pub async fn close(&mut self) {
        self.raw(CLOSE, self.sent, self.have, b"1").await;
    }

    pub async fn next(&mut self) -> Seen {
        seen(soon(self.ws.next()).await)
    }

    /// The next frame, of which the channel is learnt.
    pub async fn frame(&mut self) -> Frame102 {
        match self.next().await {
            Seen::Frame(frame) => {
                self.channel.clone_from(&frame.channel);
                frame
            }
            other => panic!("no frame but {other:?}"),
        }
    }

    /// The next frame, which is a status.
    pub async fn status(&mut self) -> Vec<u8> {
        let frame = self.frame().await;
        assert_eq!(frame.kind, STATUS, "{frame:?}");
        frame.payload
    }

    /// Initial, Opening, Opened.
    pub async fn opened(&mut self) {
        for state in [0, 1, 3] {
            assert_eq!(self.status().await, [state]);
        }
    }

    /// The next frame, which is this Output.
    pub async fn output(&mut self, number: u32) -> Vec<u8> {
        let frame = self.frame().await;
        assert_eq!((frame.kind, frame.output), (OUTPUT, number), "{frame:?}");
        self.have = number;
        frame.payload
    }

    /// Output until there are so many bytes of it, whatever happens on the way; while this is sent. On 1,000 resumptions, or
    /// after 10 s without a frame, it gives up.
    pub async fn carry(&mut self, data: &[u8], expected: usize) -> Vec<u8> {
        let mut chunks = data.chunks(2_048);
        let mut back = Vec::new();
        let mut quiet = 0;
        while back.len() < expected {
            while self.kept.len() < WINDOW
                && let Some(chunk) = chunks.next()
            {
                let frame = self.numbered(INPUT, chunk).encode();
                self.outgoing.push_back(frame);
            }
            match timeout(QUIET, self.exchange()).await.ok().flatten() {
                Some(Seen::Frame(frame)) => {
                    quiet = 0;
                    self.take(frame, &mut back);
                }
                Some(Seen::Closed(_) | Seen::Broken) => {
                    self.lost += 1;
                    assert!(self.lost < 1_000, "no progress");
                    self.outgoing.clear();
                    self.resume().await;
                    // What the old socket had is asked for by the agent, or it is not missing.
                    let unsent = self.kept.iter().map(Frame102::encode);
                    self.outgoing.extend(unsent);
                }
                Some(Seen::Malformed(_) | Seen::Other(_)) => {}
                None => {
                    quiet += 1;
                    assert!(quiet < 20, "nothing comes after {} bytes", back.len());
                    self.push(SYNC, self.sent);
                }
            }
        }
        back
    }

    fn take(&mut self, frame: Frame102, back: &mut Vec<u8>) {
        assert_eq!(frame.channel, self.channel);
        match frame.kind {
            OUTPUT => {
                while self.kept.front().is_some_and(|kept| kept.input <= frame.input) {
                    self.kept.pop_front();
                }
                if frame.output == self.have + 1 {
                    self.have += 1;
                    back.extend(&frame.payload);
                } else if frame.output > self.have {
                    self.push(SYNC, self.sent);
                }
            }
            SYNC => {
                let wanted = self.kept.iter().filter(|kept| kept.input >= frame.input);
                let again: Vec<Bytes> = wanted
                    .map(|kept| Frame102 { output: self.have, ..kept.clone() }.encode())
                    .collect();
                // What is still to be sent for the first time comes behind, or twice.
                self.outgoing.retain(|frame| frame[0] != 0);
                self.outgoing.extend(again);
            }
            STATUS => self.statuses.push(frame.payload),
            _ => {}
        }
    }

    fn push(&mut self, kind: u32, input: u32) {
        let (channel, instance) = (self.channel.clone(), String::new());
        let frame =
            Frame102 { kind, channel, instance, input, output: self.have, payload: Vec::new() };
        self.outgoing.push_back(frame.encode());
    }

    /// Reads, or writes, whichever can be done. An acknowledgement is put in at the last moment.
    async fn exchange(&mut self) -> Option<Seen> {
        let (ws, outgoing) = (&mut self.ws, &mut self.outgoing);
        let next = poll_fn(|cx| {
            use std::task::Poll;
            if let Poll::Ready(message) = ws.poll_next_unpin(cx) {
                return Poll::Ready(Some(seen(message)));
            }
            while let Some(first) = outgoing.front().cloned() {
                match ws.poll_ready_unpin(cx) {
                    Poll::Ready(Ok(())) => {
                        outgoing.pop_front();
                        let mut frame = Frame102::decode(&first).unwrap();
                        frame.output = self.have;
                        if ws.start_send_unpin(Message::Binary(frame.encode())).is_err() {
                            return Poll::Ready(Some(Seen::Broken));
                        }
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Some(Seen::Broken)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            match ws.poll_flush_unpin(cx) {
                Poll::Ready(Err(_)) => Poll::Ready(Some(Seen::Broken)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            }
        });
        next.await
    }
}

fn seen(message: Option<Result<Message, WsError>>) -> Seen {
    match message {
        Some(Ok(Message::Binary(message))) => match Frame102::decode(&message) {
            Some(frame) => Seen::Frame(frame),
            None => Seen::Malformed(message),
        },
        Some(Ok(Message::Close(frame))) => {
            Seen::Closed(frame.map_or(1005, |frame| frame.code.into()))
        }
        Some(Ok(other)) => Seen::Other(other),
        Some(Err(_)) | None => Seen::Broken,
    }
}
