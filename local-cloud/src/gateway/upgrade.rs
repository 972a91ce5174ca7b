//! From an HTTP request to a WebSocket: who may connect, and who is turned away.

use std::{sync::Arc, time::SystemTime};

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

use super::{Io, stream};
use crate::{
    api::{Body, Params, Reading, full, parse},
    fault::{Action, Fault, take_stream},
    instance::Instance,
    record::{Serial, SessionState, UpgradeRecord},
    world::{Control, Shared, World},
};

/// So many orders may wait for a connection to hear them.
const CONTROLS: usize = 16;

/// A connection that was let in: what it needs once hyper has let go of the socket.
pub(crate) struct Admission {
    upgrade: OnUpgrade,
    pub(crate) session: Admitted,
    pub(crate) presence: Presence,
}

/// The session it belongs to.
pub(crate) struct Admitted {
    pub(crate) serial: Serial,
    pub(crate) instance: Instance,
    pub(crate) port: Option<u16>,
    pub(crate) target_server: Option<String>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) controls: mpsc::Receiver<Control>,
}

/// Counts as a live connection of its session for as long as it lives.
pub(crate) struct Presence {
    shared: Arc<Shared>,
    serial: Serial,
}

impl Presence {
    fn new(shared: &Arc<Shared>, serial: Serial, token_header: Option<String>) -> Self {
        shared.note_session(serial, |session| {
            session.connections += 1;
            session.live += 1;
            session.state = SessionState::Connected;
            session.token_header = token_header;
        });
        Self { shared: Arc::clone(shared), serial }
    }

    /// The last connection ends the session with it, if it ends for a reason that does.
    pub(crate) fn ended(&self, reason: &str, terminates: bool) {
        self.shared.note_session(self.serial, |session| {
            if terminates && session.live <= 1 {
                session.terminate(reason);
            } else {
                session.end_reason.get_or_insert_with(|| reason.to_owned());
            }
        });
    }
}

impl Drop for Presence {
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
    /// Waits for the socket, and plays the gateway on it until the connection ends.
    pub(crate) async fn run(self, shared: Arc<Shared>) {
        let Ok(upgraded) = self.upgrade.await else { return };
        let Ok((io, early)) = into_io(upgraded) else { return };
        stream::run(shared, self.session, &self.presence, io, early).await;
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
            Action::Silence => {
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
        Ok(session) => {
            record.status = 101;
            shared.note(|state| state.add_upgrade(record));
            let presence = Presence::new(shared, session.serial, token_header);
            let upgrade = hyper::upgrade::on(request);
            (switching(&key), Some(Admission { upgrade, session, presence }))
        }
        Err(refusal) => (refuse(shared, record, refusal), None),
    }
}

/// The faults that strike at the upgrade. A session nobody knows has none.
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

/// Whether the session may be connected to; takes the faults it will meet.
fn admit(
    shared: &Shared,
    params: &Params,
    token_header: Option<&str>,
) -> Result<Admitted, Refusal> {
    let forbidden = |why: &str| Refusal(403, why.to_owned());
    let id = params
        .get("sessionId")
        .ok_or_else(|| Refusal(400, "the query has no `sessionId`, spelt exactly so".to_owned()))?;
    let mut world = shared.world();
    let World { tickets, instances, settings, .. } = &mut *world;
    let ticket = tickets.get_mut(id).ok_or_else(|| forbidden("no such session, or ended"))?;
    if params.get("token") != Some(&ticket.token) {
        return Err(forbidden("another token than the URL's"));
    }
    if settings.check_token_header
        && token_header.is_none_or(|token| !token.is_empty() && token != ticket.token)
    {
        return Err(forbidden("x-acs-session-token is neither empty nor the SecurityToken"));
    }
    if SystemTime::now() >= ticket.expires {
        return Err(forbidden("the URL has expired"));
    }
    let live: u32 = shared.look(|state| {
        let here = state.sessions().filter(|session| session.instance == ticket.instance);
        here.map(|session| session.live).sum()
    });
    if usize::try_from(live).unwrap_or(usize::MAX) >= settings.instance_quota {
        return Err(Refusal(429, format!("{live} sessions are connected to the instance")));
    }
    let instance = instances
        .get_mut(&ticket.instance)
        .ok_or_else(|| Refusal(404, "the instance is gone".to_owned()))?;
    let faults = take_stream(&mut instance.faults, false);
    let (sender, controls) = mpsc::channel(CONTROLS);
    ticket.live.retain(|connection| !connection.is_closed());
    ticket.live.push(sender);
    Ok(Admitted {
        serial: ticket.serial,
        instance: instance.clone(),
        port: ticket.port,
        target_server: ticket.target_server.clone(),
        faults,
        controls,
    })
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
