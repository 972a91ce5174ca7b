//! From a host and a port to a connection, directly or through a proxy: the gateway's connector.
//!
//! Requests of HTTP go through reqwest (`crate::http`). The gateway has a connector of its own, for
//! it is connected to while the API is called, which saves two to three round trips of a session's start;
//! its send buffer is bounded; and a proxy's refusal keeps its cause.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aliyun_client::cause::Cause;
use aliyun_client::text::chain;
pub(crate) use aliyun_client::text::innermost;
use aliyun_client::transport::SendError;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tower_service::Service;
use tracing::debug;

use crate::platform::open_files::OpenFiles;
use crate::proxy::{Fault, FaultKind, Proxies, Proxy, Route, Scheme, authority, tunnel};
use crate::tls::{self, Tls};

/// How this program names itself to the API and to the gateway.
pub(crate) const USER_AGENT: &str = concat!("ecs-bridge/", env!("CARGO_PKG_VERSION"));

/// How long what was sent may stay without an answer of the other side's kernel, or its program without
/// reading. It is longer than a session waits for a silent gateway.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const VANISHED_WITHIN: Duration = Duration::from_secs(75);

/// TCP keepalive: the idle time before the first probe, the time between probes, and their number.
pub(crate) const KEEPALIVE: (Duration, Duration, u32) =
    (Duration::from_secs(30), Duration::from_secs(10), 3);

/// How much the system holds of what is sent: enough for 200 KB/s over a way of 300 ms, and little enough
/// that a gateway which has stopped reading is noticed. Linux doubles it, for its own use.
const SEND_BUFFER: usize = 64 * 1024;

/// What bytes go over: TCP, with or without TLS.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug> Io for T {}

/// Why there is no connection. The caller knows the host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Its name has no address, or the name server did not say: what the resolver says.
    #[error("it does not resolve: {0}")]
    Resolve(String),
    /// The host, or a firewall, refuses connections: what the system says.
    #[error("{0}")]
    Refused(String),
    /// No connection for another reason, or one that broke.
    #[error("{0}")]
    Connect(String),
    /// No TCP connection in time.
    #[error("no connection in time")]
    Timeout,
    /// A TCP connection, and no TLS over it in time.
    #[error("no TLS in time")]
    SilentTls,
    /// The host is neither a name nor an address.
    #[error("it is not a name or an address")]
    Host,
    /// A proxy did not connect to it.
    #[error(transparent)]
    Proxy(#[from] Fault),
    /// TLS failed.
    #[error("{0}")]
    Tls(tls::Fault),
    /// TLS cannot be set up: nothing was sent.
    #[error(transparent)]
    TlsSetup(#[from] tls::Error),
}

impl Error {
    /// Finds what a library's error comes from, in its chain of causes.
    pub(crate) fn of(error: &(dyn StdError + 'static)) -> Self {
        for link in chain(error) {
            if let Some(NotResolved(detail)) = link.downcast_ref() {
                return Self::Resolve(detail.clone());
            }
            if let Some(Self::Timeout) = link.downcast_ref() {
                return Self::Timeout;
            }
        }
        if let Some(fault) = tls::Fault::find(error) {
            return Self::Tls(fault);
        }
        let io = chain(error).find_map(|link| link.downcast_ref::<io::Error>());
        match io.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => Self::Refused(innermost(error)),
            _ => Self::Connect(innermost(error)),
        }
    }
}

impl From<Error> for SendError {
    fn from(error: Error) -> Self {
        match error {
            Error::Resolve(detail) => Self::Resolve(detail),
            Error::Refused(detail) => Self::Refused(detail),
            Error::Timeout => Self::Timeout,
            Error::SilentTls => Self::SilentTls,
            Error::Proxy(fault) => {
                let is_transient = fault.is_worth_a_retry();
                Self::Proxy { cause: Cause::new(fault), is_transient }
            }
            Error::Tls(fault) => Self::Tls(Cause::new(fault)),
            Error::Connect(_) | Error::Host | Error::TlsSetup(_) => Self::Other(error.to_string()),
        }
    }
}

/// How connections are made.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    /// Which certificates to trust.
    pub tls: Tls,
    /// Which proxy leads where.
    pub proxies: Proxies,
}

/// Where a connection is to lead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination<'a> {
    /// Its name in messages: "the API".
    pub(crate) what: &'static str,
    /// A name or an address, an IPv6 address without brackets.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// Whether what is sent there is encrypted.
    pub(crate) is_tls: bool,
    /// Whether only this machine's own addresses will do.
    pub(crate) loopback_only: bool,
}

impl Net {
    /// Connects to a host, directly or through the proxy that holds for it. Without a proxy this is TCP
    /// alone; with one it is all that has to be said to it.
    pub(crate) async fn reach(
        &self,
        to: Destination<'_>,
        within: Duration,
    ) -> Result<Box<dyn Io>, Error> {
        let resolver = Resolver::new(within, to.loopback_only);
        let route = self.proxies.route(to.what, to.host, to.port, to.is_tls);
        match route.map_err(|error| Error::Connect(error.to_string()))? {
            Route::Direct => match timeout(within, tcp(to.host, to.port, resolver)).await {
                Ok(connected) => Ok(Box::new(connected?)),
                Err(_) => Err(Error::Timeout),
            },
            Route::Through(proxy) => self.reach_through(&proxy, to, resolver, within).await,
        }
    }

    /// Connects to a host, and speaks TLS with it if so wanted, all within the time.
    pub(crate) async fn open(
        &self,
        to: Destination<'_>,
        within: Duration,
    ) -> Result<Box<dyn Io>, Error> {
        let deadline = Instant::now() + within;
        let io = self.reach(to, within).await?;
        if !to.is_tls {
            return Ok(io);
        }
        let encrypted = timeout_at(deadline, encrypt(io, to.host, &self.tls)).await;
        Ok(Box::new(encrypted.map_err(|_| Error::SilentTls)??))
    }

    async fn reach_through(
        &self,
        proxy: &Arc<Proxy>,
        to: Destination<'_>,
        resolver: Resolver,
        within: Duration,
    ) -> Result<Box<dyn Io>, Error> {
        let deadline = Instant::now() + within;
        let fault = |kind| Error::Proxy(Fault::new(proxy, to.host, to.port, kind));
        let of_proxy = Resolver { loopback_only: false, ..resolver };
        let tcp = match timeout_at(deadline, tcp(&proxy.host, proxy.port, of_proxy)).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(Error::Resolve(detail))) => return Err(fault(FaultKind::Resolve(detail))),
            Ok(Err(other)) => return Err(fault(FaultKind::Connect(other.to_string()))),
            Err(_) => return Err(fault(FaultKind::Timeout(within))),
        };
        let way: Result<Result<Box<dyn Io>, Error>, _> = timeout_at(deadline, async {
            let (host, port) = (to.host, to.port);
            let io: Box<dyn Io> = match proxy.scheme {
                Scheme::Http | Scheme::Socks5h => {
                    Box::new(tunnel(proxy, tcp, host, port).await.map_err(fault)?)
                }
                Scheme::Https => {
                    let io = match encrypt(tcp, &proxy.host, &self.tls).await {
                        Err(Error::Tls(kind)) => return Err(fault(FaultKind::Tls(kind))),
                        Err(Error::TlsSetup(error)) => return Err(Error::TlsSetup(error)),
                        Err(_) => return Err(fault(FaultKind::Closed)),
                        Ok(io) => io,
                    };
                    Box::new(tunnel(proxy, io, host, port).await.map_err(fault)?)
                }
                Scheme::Socks5 => {
                    let address = resolver.address_for_socks(host).await;
                    let address = address.map_err(|kind| fault(FaultKind::TargetName(kind)))?;
                    let address = address.to_string();
                    Box::new(tunnel(proxy, tcp, &address, port).await.map_err(fault)?)
                }
            };
            Ok(io)
        })
        .await;
        way.unwrap_or_else(|_| Err(fault(FaultKind::Silent(within))))
    }
}

/// Speaks TLS with `host`.
pub(crate) async fn encrypt<T: Io>(
    io: T,
    host: &str,
    tls: &Tls,
) -> Result<impl Io + use<T>, Error> {
    let config = tls.client_config()?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::Host)?;
    let connector = TlsConnector::from(config);
    connector.connect(name, io).await.map_err(|error| Error::of(&error))
}

async fn tcp(host: &str, port: u16, resolver: Resolver) -> Result<TcpStream, Error> {
    let mut connector = HttpConnector::new_with_resolver(resolver);
    // An answer that is slow on IPv6 does not hold IPv4 up: the addresses are tried side by side.
    connector.set_happy_eyeballs_timeout(Some(Duration::from_millis(300)));
    let target = Uri::builder()
        .scheme("http")
        .authority(authority(host, port))
        .path_and_query("/")
        .build()
        .map_err(|_| Error::Host)?;
    let stream = connector.call(target).await.map_err(|error| Error::of(&error))?.into_inner();
    tune(&stream);
    Ok(stream)
}

/// Notices within about a minute that the peer of a silent connection has vanished.
pub(crate) fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let (after, interval, retries) = KEEPALIVE;
    let keepalive =
        TcpKeepalive::new().with_time(after).with_interval(interval).with_retries(retries);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Small frames go out at once, and a peer that has vanished is noticed within about a minute,
/// whether something is being sent (the user time-out, where there is one) or not (keepalive).
fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let tuned = stream.set_nodelay(true).and_then(|()| keep_alive(stream));
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let tuned = tuned.and_then(|()| socket.set_tcp_user_timeout(Some(VANISHED_WITHIN)));
    let tuned = tuned.and_then(|()| socket.set_send_buffer_size(SEND_BUFFER));
    if let Err(error) = tuned {
        debug!("cannot set TCP options: {error}");
    }
}

/// How many files the system's resolver opens at once.
const RESOLVER_FILES: usize = 3;

/// Why a name look-up has failed: the system's resolver takes a limit of open files for an unknown name.
pub(crate) fn lookup_error(error: io::Error) -> io::Error {
    OpenFiles::check_room(RESOLVER_FILES).err().unwrap_or(error)
}

/// Looks names up as the machine does, and leaves an error that can be told apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolver {
    /// Less than the time for a whole connection: else a silent name server would look like a
    /// silent host.
    within: Duration,
    /// Whether only this machine's own addresses will do.
    loopback_only: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotResolved(String);

impl Resolver {
    /// For a connection that has to stand within this time.
    pub(crate) fn new(within: Duration, loopback_only: bool) -> Self {
        Self { within: within.mul_f32(0.9), loopback_only }
    }

    pub(crate) async fn addresses(self, name: &str) -> Result<Vec<SocketAddr>, NotResolved> {
        let lookup = tokio::net::lookup_host((name, 0));
        let found = timeout(self.within, lookup)
            .await
            .map_err(|_| {
                NotResolved(format!("no answer within {:.1} s", self.within.as_secs_f32()))
            })?
            .map_err(|error| NotResolved(lookup_error(error).to_string()))?;
        let allowed = |ip: IpAddr| !self.loopback_only || ip.is_loopback();
        let addresses: Vec<_> = found.filter(|address| allowed(address.ip())).collect();
        if addresses.is_empty() {
            return Err(NotResolved("it has no address that may be used".to_owned()));
        }
        Ok(addresses)
    }

    /// The one address that a proxy gets. It may have no IPv6 although this machine does.
    async fn address_for_socks(self, host: &str) -> Result<IpAddr, String> {
        if let Ok(address) = host.parse() {
            return Ok(address);
        }
        let found = self.addresses(host).await.map_err(|NotResolved(detail)| detail)?;
        let usual = found.iter().find(|address| address.is_ipv4()).or(found.first());
        usual.map(SocketAddr::ip).ok_or_else(|| "it has no address".to_owned())
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NotResolved;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NotResolved>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotResolved>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = *self;
        Box::pin(async move { Ok(resolver.addresses(name.as_str()).await?.into_iter()) })
    }
}
