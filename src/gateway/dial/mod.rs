//! From a WebSocket URL to a WebSocket: TCP or a proxy, TLS, upgrade (docs/protocol.md, 1).

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, MaybeDone, maybe_done};
use http::{HeaderValue, StatusCode, Uri};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tracing::debug;

use super::redactor::Redactor;
use super::upgrade::{self, NoUpgrade, Socket};
use crate::cloud::sign::encode;
use crate::explain::printable;
use crate::net::{self, Destination, Io, Net, encrypt, innermost};
use crate::proxy::{self, is_loopback};
use crate::tls;

/// How long the TCP connection may take, name look-up and a proxy included.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long TLS and the upgrade may take together.
const UPGRADE_WITHIN: Duration = Duration::from_secs(10);
/// How old a connection that was made ahead may be: what lies between forgets idle ones.
const FRESH: Duration = Duration::from_secs(2);
/// How much of a refusal is shown, in characters.
const SHOWN: usize = 200;
/// The longest message that is taken; frames of a port session carry about 2 KiB.
const MAX_MESSAGE: usize = 1024 * 1024;

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The URL that the API gave cannot be used. It is not shown, since it carries a token.
    #[error("the API gave a WebSocket address that cannot be used: {0}")]
    Url(&'static str),
    /// The gateway's name has no address.
    #[error("the gateway's name {host} cannot be resolved")]
    Resolve {
        /// The host of the URL.
        host: String,
        /// What the system says.
        cause: String,
    },
    /// No TCP connection.
    #[error("cannot connect to the gateway {host}")]
    Connect {
        /// The host of the URL.
        host: String,
        /// What the system says.
        cause: String,
    },
    /// A proxy did not connect to the gateway.
    #[error("the gateway cannot be reached: {0}")]
    Proxy(#[from] proxy::Fault),
    /// TLS failed.
    #[error("no secure connection to the gateway {host}: {fault}")]
    Tls {
        /// The host of the URL.
        host: String,
        /// What is wrong.
        fault: tls::Fault,
    },
    /// TLS cannot be set up: nothing was sent.
    #[error(transparent)]
    TlsSetup(#[from] tls::Error),
    /// No TCP connection in time.
    #[error("no connection to the gateway {host} within {} s", .within.as_secs())]
    Timeout {
        /// The host of the URL.
        host: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// A TCP connection, and then no answer in time.
    #[error("the gateway {host} did not answer within {} s", .within.as_secs())]
    Silent {
        /// The host of the URL.
        host: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// The upgrade was answered with an HTTP status.
    #[error("the gateway {host} refused the session with HTTP {status}")]
    Refused {
        /// The host of the URL.
        host: String,
        /// The status of the answer.
        status: StatusCode,
        /// The first words of its body.
        text: String,
    },
    /// What came is no WebSocket.
    #[error("the gateway {host} does not speak WebSocket")]
    Upgrade {
        /// The host of the URL.
        host: String,
        /// What is wrong with its answer.
        cause: String,
    },
}

/// Where a gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GatewayAddr {
    host: String,
    port: u16,
    secure: bool,
}

impl GatewayAddr {
    fn of(url: &Uri) -> Result<Self, DialError> {
        let host = url.host().ok_or(DialError::Url("it names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let scheme = url.scheme_str().map(str::to_ascii_lowercase);
        let secure = match scheme.as_deref() {
            Some("wss") => true,
            Some("ws") if is_loopback(&host) => false,
            Some("ws") => return Err(DialError::Url("it asks for a connection without TLS")),
            _ => return Err(DialError::Url("it is neither wss:// nor ws://")),
        };
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { host, port, secure })
    }

    /// Why there is no connection to it.
    fn failed(&self, error: net::Error) -> DialError {
        let host = self.host.clone();
        match error {
            net::Error::Resolve(cause) => DialError::Resolve { host, cause },
            net::Error::Refused(cause) | net::Error::Connect(cause) => {
                DialError::Connect { host, cause }
            }
            net::Error::Timeout => DialError::Timeout { host, within: CONNECT_WITHIN },
            net::Error::SilentTls => DialError::Silent { host, within: UPGRADE_WITHIN },
            net::Error::Host => DialError::Url("its host is not a name or an address"),
            net::Error::Proxy(fault) => DialError::Proxy(fault),
            net::Error::Tls(fault) => DialError::Tls { host, fault },
            net::Error::TlsSetup(error) => DialError::TlsSetup(error),
        }
    }
}

/// A connection to a gateway that waits for its upgrade.
#[derive(Debug)]
pub(crate) struct GatewayTransport {
    addr: GatewayAddr,
    io: Box<dyn Io>,
    /// When it was made, by the clock that stands still while the machine sleeps, and by the one that
    /// does not.
    made: (Instant, SystemTime),
    /// What TLS has left of the time for it and the upgrade.
    upgrade_within: Duration,
}

impl GatewayTransport {
    fn age(&self) -> Duration {
        self.made.0.elapsed().max(self.made.1.elapsed().unwrap_or_default())
    }
}

/// A connection that is made to where the last gateway was, while the API is asked for a URL.
pub(crate) struct Preconnect<'a> {
    addr: GatewayAddr,
    transport: MaybeDone<LocalBoxFuture<'a, Result<GatewayTransport, DialError>>>,
}

impl<'a> Preconnect<'a> {
    /// Nothing is done before it is polled.
    #[must_use]
    pub(crate) fn new(addr: GatewayAddr, net: &'a Net) -> Self {
        let transport = maybe_done(connect(addr.clone(), net).boxed_local());
        Self { addr, transport }
    }

    /// Waits until the connection is there, or cannot be made, and gives which of them it is.
    pub(crate) async fn made(&mut self) -> bool {
        (&mut self.transport).await;
        matches!(self.transport, MaybeDone::Done(Ok(_)))
    }

    /// The connection, once it is made: what is half made is nearer than a new beginning.
    async fn connection(mut self) -> Option<GatewayTransport> {
        self.made().await;
        Pin::new(&mut self.transport).take_output()?.ok()
    }
}

/// Connects to a gateway whose URL is still to come, so that the way is there when it does.
///
/// # Errors
/// As [`dial`] has them, less those of the upgrade.
pub(crate) async fn connect(addr: GatewayAddr, net: &Net) -> Result<GatewayTransport, DialError> {
    let to = Destination {
        what: "the gateway",
        host: &addr.host,
        port: addr.port,
        is_tls: addr.secure,
        loopback_only: !addr.secure,
    };
    let failed = |error| addr.failed(error);
    let mut io = net.reach(to, CONNECT_WITHIN).await.map_err(failed)?;
    let deadline = Instant::now() + UPGRADE_WITHIN;
    if addr.secure {
        let encrypted = timeout_at(deadline, encrypt(io, &addr.host, &net.tls)).await;
        let encrypted = encrypted.unwrap_or(Err(net::Error::SilentTls));
        io = Box::new(encrypted.map_err(failed)?);
    }
    let upgrade_within = deadline.saturating_duration_since(Instant::now());
    Ok(GatewayTransport { addr, io, made: (Instant::now(), SystemTime::now()), upgrade_within })
}

/// Opens the WebSocket of a session. `url` and `token` are those of StartTerminalSession.
///
/// A connection that is made ahead is waited for and used if it leads to the same place and is not older
/// than 2 s. One that leads elsewhere is closed, half made or not.
/// If it turns out to be closed before a byte of the answer has come, another one is made, once.
///
/// # Errors
/// See [`DialError`]; every step has its time-out. Dropping the future closes what was opened.
pub(crate) async fn dial(
    url: &SecretString,
    token: &SecretString,
    net: &Net,
    ahead: Option<Preconnect<'_>>,
) -> Result<(Socket, GatewayAddr), DialError> {
    let redactor = Redactor::of(url.expose_secret(), token.expose_secret());
    let (url, addr) = address(url.expose_secret())?;
    let ahead = match ahead.filter(|ahead| ahead.addr == addr) {
        Some(ahead) => ahead.connection().await,
        None => None,
    };
    if let Some(transport) = ahead {
        let age = transport.age();
        if age > FRESH {
            debug!("the connection that was made ahead is {age:.1?} old: making another one");
        } else {
            match upgrade(&url, token, transport, &redactor).await {
                Ok(socket) => return Ok((socket, addr)),
                Err(NotUpgraded::Closed(error)) => {
                    debug!(
                        "the connection that was made ahead is closed ({error}): making another one"
                    );
                }
                Err(NotUpgraded::Failed(error)) => return Err(error),
            }
        }
    }
    let transport = connect(addr.clone(), net).await?;
    match upgrade(&url, token, transport, &redactor).await {
        Ok(socket) => Ok((socket, addr)),
        Err(NotUpgraded::Closed(error) | NotUpgraded::Failed(error)) => Err(error),
    }
}

/// Opens another WebSocket of a session whose first one is gone (docs/protocol.md, 8): the same URL with
/// the channel id that was learnt.
///
/// # Errors
/// See [`DialError`]; it is bounded in time as [`dial`] is.
pub(crate) async fn reconnect(
    url: &SecretString,
    token: &SecretString,
    channel_id: &[u8],
    net: &Net,
) -> Result<Socket, DialError> {
    let plain = url.expose_secret();
    let joint = if plain.contains('?') { '&' } else { '?' };
    let url = format!("{plain}{joint}channelId={}", encode(&String::from_utf8_lossy(channel_id)));
    Ok(dial(&url.into(), token, net, None).await?.0)
}

/// What a WebSocket URL of the API asks for, and where.
pub(crate) fn address(url: &str) -> Result<(Uri, GatewayAddr), DialError> {
    let url: Uri = rename_session_id(url).parse().map_err(|_| DialError::Url("it is not a URL"))?;
    let addr = GatewayAddr::of(&url)?;
    Ok((url, addr))
}

/// The SessionId that a WebSocket URL has, in either spelling. It is no secret.
pub(crate) fn session_id(url: &str) -> Option<&str> {
    let query = url.split_once('?')?.1.split('#').next()?;
    let mut parameters = query.split('&').filter_map(|parameter| parameter.split_once('='));
    let id = parameters.find(|(name, _)| name.eq_ignore_ascii_case("sessionId"))?.1;
    Some(id).filter(|id| !id.is_empty())
}

/// The gateway wants `sessionId`, and the API may spell it `sessionid` (docs/protocol.md, 1). What is
/// not a path gets one, since a request has to have it.
fn rename_session_id(url: &str) -> String {
    let Some((before, query)) = url.split_once('?') else { return url.to_owned() };
    let mut renamed = false;
    let parameters = query.split('&').map(|parameter| match parameter.strip_prefix("sessionid=") {
        Some(id) if !std::mem::replace(&mut renamed, true) => format!("sessionId={id}"),
        _ => parameter.to_owned(),
    });
    let query = parameters.collect::<Vec<_>>().join("&");
    let has_path = before.split_once("://").is_none_or(|(_, rest)| rest.contains('/'));
    format!("{before}{}?{query}", if has_path { "" } else { "/" })
}

/// Why a connection did not become a WebSocket.
enum NotUpgraded {
    /// It was closed before a byte of the answer had come.
    Closed(DialError),
    /// Something else.
    Failed(DialError),
}

/// Makes a WebSocket of a connection, in the time that is left for it.
async fn upgrade(
    url: &Uri,
    token: &SecretString,
    transport: GatewayTransport,
    redactor: &Redactor,
) -> Result<Socket, NotUpgraded> {
    use NotUpgraded::{Closed, Failed};

    let host = transport.addr.host;
    let mut request = url
        .into_client_request()
        .map_err(|_| Failed(DialError::Url("it does not make an HTTP request")))?;
    let headers = request.headers_mut();
    let mut token = HeaderValue::from_str(token.expose_secret())
        .map_err(|_| Failed(DialError::Url("its token does not fit into a header")))?;
    token.set_sensitive(true);
    headers.insert("x-acs-session-token", token);
    headers.insert("user-agent", HeaderValue::from_static(net::USER_AGENT));
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(16 * 1024)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let upgraded =
        timeout(transport.upgrade_within, upgrade::upgrade(request, transport.io, config)).await;
    let NoUpgrade { error, is_answered } = match upgraded {
        Ok(Ok(socket)) => return Ok(socket),
        Ok(Err(no)) => no,
        Err(_) => return Err(Failed(DialError::Silent { host, within: UPGRADE_WITHIN })),
    };
    // A gateway that cuts the connection here is not one that speaks something else.
    let cause = match error {
        WsError::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            // A page that repeats the request would show what opens the session. A part of it would,
            // too, so this comes before it is cut.
            let text = redactor.in_text(&String::from_utf8_lossy(body));
            let text = text.chars().take(SHOWN).collect::<String>();
            let text = printable(&text.replace(['\r', '\n'], " "));
            return Err(Failed(DialError::Refused { host, status: response.status(), text }));
        }
        WsError::Protocol(ProtocolError::HandshakeIncomplete) => {
            "it closed the connection instead of answering".to_owned()
        }
        WsError::Io(error) => innermost(&error),
        error => return Err(Failed(DialError::Upgrade { host, cause: error.to_string() })),
    };
    let error = DialError::Connect { host, cause };
    Err(if is_answered { Failed(error) } else { Closed(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_id_is_renamed_once_and_nothing_else_is_touched() {
        for (url, expected) in [
            ("wss://h/session?sessionid=s-1&token=a", "wss://h/session?sessionId=s-1&token=a"),
            ("wss://h/s?token=sessionid=x&sessionid=1", "wss://h/s?token=sessionid=x&sessionId=1"),
            ("wss://h/s?sessionid=1&sessionid=2", "wss://h/s?sessionId=1&sessionid=2"),
            ("wss://h/s?sessionId=1&token=%2B%2f+~", "wss://h/s?sessionId=1&token=%2B%2f+~"),
            ("wss://sessionid/s", "wss://sessionid/s"),
            ("wss://h?sessionid=1", "wss://h/?sessionId=1"),
            ("wss://h", "wss://h"),
        ] {
            assert_eq!(rename_session_id(url), expected);
        }
    }

    #[test]
    fn the_session_id_of_a_url_is_found_in_its_query() {
        for (url, id) in [
            ("wss://h/session?sessionid=s-1&token=a", Some("s-1")),
            ("wss://h?token=sessionid=x&sessionId=s-1#sessionId=x", Some("s-1")),
            ("wss://h/s?token=a", None),
            ("wss://h/s?sessionId=&token=a", None),
            ("wss://h/s?sessionId&token=a", None),
            ("wss://h/sessionId=s-1", None),
        ] {
            assert_eq!(session_id(url), id, "{url}");
        }
    }

    #[test]
    fn a_scheme_may_be_written_in_any_case() {
        let addr = address("WSS://h/session?sessionId=1").unwrap().1;
        assert_eq!((addr.port, addr.secure), (443, true));
        assert!(!address("Ws://127.0.0.1:8080/session").unwrap().1.secure);
        assert!(address("WS://example.com/session").is_err());
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_used_is_refused_and_not_shown() {
        let net = Net { tls: tls::Tls::new(None).unwrap(), proxies: proxy::Proxies::none() };
        for url in [
            "ws://example.com/session?sessionId=1&token=secret",
            "https://example.com/session?token=secret",
            "wss:///session?token=secret",
            "secret",
            "",
        ] {
            let error = dial(&url.into(), &"secret".into(), &net, None).await.unwrap_err();
            assert!(matches!(error, DialError::Url(_)), "{url}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{url}");
        }
    }

    #[test]
    fn only_this_machine_is_reached_without_tls() {
        for host in ["localhost", "127.0.0.1", "127.8.8.8", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "128.0.0.1", "10.0.0.1", "::2", "0.0.0.0"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod scripted;
