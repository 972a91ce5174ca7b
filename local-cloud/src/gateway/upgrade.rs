//! From an HTTP request to a WebSocket: who may connect, and who is turned away.

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use bytes::Bytes;
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Incoming,
    header::HeaderValue,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Io, Socket, stream};
use crate::{
    agent::Generation,
    api::{Body, Params, Reading, full, parse},
    fault::{Action, Fault, take_stream},
    instance::Instance,
    record::{Serial, UpgradeRecord},
    resumption::Resumption,
    session::{SessionRecord, SessionState},
    shell::ShellRequest,
    world::{Control, LiveStream, Shared, Ticket, World, random_hex},
};

/// So many orders may wait for a stream to hear them.
const CONTROLS: usize = 16;
/// So many sockets may wait for the stream that they are for.
const SOCKETS: usize = 4;

/// A connection that was let in: what it needs once hyper has let go of the socket.
pub(crate) struct Admission {
    upgrade: OnUpgrade,
    entry: Entry,
    attachment: Attachment,
}

/// Where it leads.
enum Entry {
    /// To a stream of its own.
    New(Box<Admitted>, Commands),
    /// To one that is there already.
    Again(mpsc::Sender<Socket>),
}

/// The session that a stream belongs to.
pub(crate) struct Admitted {
    pub(crate) serial: Serial,
    pub(crate) instance: Instance,
    pub(crate) port: Option<u16>,
    pub(crate) target_server: Option<String>,
    pub(crate) shell: ShellRequest,
    pub(crate) faults: Vec<Fault>,
    /// The stream's id.
    pub(crate) channel: String,
    /// None where the agent does not resume.
    pub(crate) resumption: Option<Resumption>,
}

/// What comes to a stream from outside.
pub(crate) struct Commands {
    pub(crate) controls: mpsc::Receiver<Control>,
    pub(crate) arrivals: mpsc::Receiver<Socket>,
}

/// Counts as a live connection of its session for as long as it lives.
pub(crate) struct Attachment {
    shared: Arc<Shared>,
    serial: Serial,
}

impl Attachment {
    fn new(
        shared: &Arc<Shared>,
        serial: Serial,
        channel: String,
        again: bool,
        token_header: Option<String>,
    ) -> Self {
        shared.note_session(serial, |session| {
            session.attached();
            session.resumptions += u32::from(again);
            session.channel = Some(channel);
            session.state = SessionState::Connected;
            session.token_header = token_header;
        });
        Self { shared: Arc::clone(shared), serial }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.shared.note_session(self.serial, |session| {
            session.live = session.live.saturating_sub(1);
            if session.live == 0 && session.state == SessionState::Connected {
                session.state = SessionState::Disconnected;
            }
        });
    }
}

impl Admission {
    /// Waits for the socket, and plays the gateway on it until the connection ends; or hands it to the stream it is for.
    pub(crate) async fn run(self, shared: Arc<Shared>) {
        let Ok(upgraded) = self.upgrade.await else { return };
        let Ok((io, early)) = into_io(upgraded) else { return };
        let socket = Socket { io, early, attachment: self.attachment };
        match self.entry {
            Entry::New(session, commands) => stream::run(shared, *session, commands, socket).await,
            // A stream that has ended in the meantime drops it.
            Entry::Again(stream) => _ = stream.send(socket).await,
        }
    }
}

fn into_io(upgraded: Upgraded) -> Result<(Io, Bytes), Upgraded> {
    let parts = upgraded.downcast::<TokioIo<Io>>()?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

struct Refusal(u16, String);

/// Answers a request to upgrade.
pub(crate) async fn upgrade(
    shared: &Arc<Shared>,
    request: &mut Request<Incoming>,
) -> (Response<Body>, Option<Admission>) {
    let header = |name: &str| text(request.headers(), name).map(str::to_owned);
    let token_header = header("x-acs-session-token");
    let params = parse(request.uri().query().unwrap_or_default(), Reading::Form);
    let params = params.unwrap_or_default();
    let mut record = UpgradeRecord {
        session: params.get("sessionId").cloned(),
        channel: params.get("channelId").cloned(),
        status: 0,
        refusal: None,
        token_header: token_header.clone(),
        at: SystemTime::now(),
    };
    for fault in upgrade_faults(shared, &params) {
        match fault.action {
            Action::Delay(delay) => tokio::time::sleep(delay).await,
            Action::Refuse(status) => {
                let refusal = Refusal(status, "as a fault asked".to_owned());
                return (refuse(shared, record, refusal), None);
            }
            Action::Silence | Action::Vanish => {
                shared.note(|state| state.add_upgrade(record));
                return std::future::pending().await;
            }
            _ => {}
        }
    }
    let key = match check_handshake(request.headers()) {
        Ok(key) => key,
        Err(refusal) => return (refuse(shared, record, refusal), None),
    };
    match admit(shared, &params, token_header.as_deref()) {
        Ok(Let { entry, serial, channel }) => {
            record.status = 101;
            shared.note(|state| state.add_upgrade(record));
            let again = matches!(entry, Entry::Again(_));
            let attachment = Attachment::new(shared, serial, channel, again, token_header);
            let upgrade = hyper::upgrade::on(request);
            (switching(&key), Some(Admission { upgrade, entry, attachment }))
        }
        Err(refusal) => (refuse(shared, record, refusal), None),
    }
}

/// The faults that are injected at the upgrade. A session nobody knows has none.
fn upgrade_faults(shared: &Shared, params: &Params) -> Vec<Fault> {
    let mut world = shared.world();
    let World { tickets, instances, .. } = &mut *world;
    params
        .get("sessionId")
        .and_then(|id| tickets.get_mut(id))
        .and_then(|ticket| instances.get_mut(&ticket.instance))
        .map(|instance| take_stream(&mut instance.faults, true))
        .unwrap_or_default()
}

/// The WebSocket handshake; gives the client's key.
fn check_handshake(headers: &HeaderMap) -> Result<String, Refusal> {
    let has = |name: &str, wanted: &str| {
        text(headers, name).is_some_and(|value| {
            value.split(',').any(|part| part.trim().eq_ignore_ascii_case(wanted))
        })
    };
    if !has("upgrade", "websocket") || !has("connection", "upgrade") {
        return Err(Refusal(426, "not an upgrade to WebSocket".to_owned()));
    }
    if !has("sec-websocket-version", "13") {
        return Err(Refusal(400, "not version 13 of WebSocket".to_owned()));
    }
    text(headers, "sec-websocket-key")
        .map(str::to_owned)
        .ok_or_else(|| Refusal(400, "no Sec-WebSocket-Key".to_owned()))
}

/// Who may connect.
struct Let {
    entry: Entry,
    serial: Serial,
    channel: String,
}

fn forbidden(why: &str) -> Refusal {
    Refusal(403, why.to_owned())
}

/// Whether the session may be connected to; a new stream takes the faults it will meet.
fn admit(shared: &Shared, params: &Params, token_header: Option<&str>) -> Result<Let, Refusal> {
    let id = params
        .get("sessionId")
        .ok_or_else(|| Refusal(400, "the query has no `sessionId`, spelt exactly so".to_owned()))?;
    let mut world = shared.world();
    if let Some(status) = world.gateway_is_down(id) {
        return Err(Refusal(status, "the gateway restarts".to_owned()));
    }
    let World { tickets, instances, settings, .. } = &mut *world;
    // Streams that are let in count before their socket is there: two at once may not take one place.
    let is_open = |stream: &LiveStream| !stream.controls.is_closed();
    let begun = tickets.iter().filter(|ticket| ticket.live.iter().any(is_open));
    let begun: HashSet<String> = begun.map(|ticket| ticket.id.clone()).collect();
    let ticket = tickets.get_mut(id).ok_or_else(|| forbidden("no such session, or ended"))?;
    if params.get("token") != Some(&ticket.token) {
        return Err(forbidden("another token than the URL's"));
    }
    if settings.check_token_header
        && token_header.is_none_or(|token| !token.is_empty() && token != ticket.token)
    {
        return Err(forbidden("x-acs-session-token is neither empty nor the SecurityToken"));
    }
    ticket.live.retain(|stream| !stream.controls.is_closed());
    let expired = SystemTime::now() >= ticket.expires;
    // An empty one is none: the client has not learnt it yet.
    if let Some(channel) = params.get("channelId").filter(|channel| !channel.is_empty()) {
        return again(ticket, channel, expired);
    }
    if expired {
        return Err(forbidden("the URL has expired"));
    }
    let live: u32 = shared.look(|state| {
        let here = state.sessions().filter(|session| session.instance == ticket.instance);
        let lag = settings.quota_lag;
        let is_held = |s: &SessionRecord| match s.connections {
            0 => begun.contains(&s.id),
            _ => s.lingers(lag),
        };
        here.map(|s| s.live.max(u32::from(is_held(s)))).sum()
    });
    if usize::try_from(live).unwrap_or(usize::MAX) >= settings.instance_quota {
        return Err(Refusal(429, format!("{live} sessions are connected to the instance")));
    }
    let instance = instances
        .get_mut(&ticket.instance)
        .ok_or_else(|| Refusal(404, "the instance is gone".to_owned()))?;
    Ok(begin(ticket, instance))
}

/// A stream of its own.
fn begin(ticket: &mut Ticket, instance: &mut Instance) -> Let {
    let faults = take_stream(&mut instance.faults, false);
    let (controls, commands) = mpsc::channel(CONTROLS);
    let (sockets, arrivals) = mpsc::channel(SOCKETS);
    let agent = &instance.agent;
    let resumption = (agent.generation == Generation::Resumable).then(|| agent.resumption.clone());
    let channel = format!("d-{}", random_hex(8));
    ticket.live.push(LiveStream {
        controls,
        channel: channel.clone(),
        sockets: resumption.as_ref().map(|_| sockets),
        outlives_url: resumption.as_ref().is_some_and(|resumption| resumption.outlives_url),
    });
    let admitted = Admitted {
        serial: ticket.serial,
        instance: instance.clone(),
        port: ticket.port,
        target_server: ticket.target_server.clone(),
        shell: ticket.shell.clone(),
        faults,
        channel: channel.clone(),
        resumption,
    };
    let entry = Entry::New(Box::new(admitted), Commands { controls: commands, arrivals });
    Let { entry, serial: ticket.serial, channel }
}

/// A stream that is there is to be taken up again.
fn again(ticket: &Ticket, channel: &str, expired: bool) -> Result<Let, Refusal> {
    let stream = ticket
        .live
        .iter()
        .find(|stream| stream.channel == channel)
        .ok_or_else(|| forbidden("no such channel, or over"))?;
    let sockets =
        stream.sockets.clone().ok_or_else(|| forbidden("the agent does not resume a channel"))?;
    if expired && !stream.outlives_url {
        return Err(forbidden("the URL has expired"));
    }
    let entry = Entry::Again(sockets);
    Ok(Let { entry, serial: ticket.serial, channel: channel.to_owned() })
}

fn refuse(shared: &Shared, mut record: UpgradeRecord, refusal: Refusal) -> Response<Body> {
    let Refusal(status, why) = refusal;
    record.status = status;
    record.refusal = Some(why.clone());
    shared.note(|state| state.add_upgrade(record));
    let mut response = Response::new(full(why.into()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

fn switching(key: &str) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", HeaderValue::from_static("Upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert("sec-websocket-accept", accept);
    }
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
