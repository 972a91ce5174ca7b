//! HTTP with the API and with every source of credentials: one client of reqwest.
//!
//! Its connections are kept for a while. A kept connection may be dead although nothing says so: the
//! machine slept, or a NAT on the way forgot it. So a request without an answer drops all of them, and one
//! whose answer stops in the middle.
//!
//! reqwest makes the connections, with the program's TLS, proxies and name look-up. Its error has no
//! cause where a proxy refuses a tunnel, and does not distinguish silence at TCP from silence at TLS. In these
//! cases the gateway's connector ([`crate::net`]) connects once more, for its error alone.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use aliyun_client::cause::Cause;
use aliyun_client::openapi::MAX_ANSWER;
use aliyun_client::text::innermost;
use aliyun_client::transport::{SendError, Sending, Terms, Transport};
use http::header::{CONTENT_LENGTH, HeaderValue, USER_AGENT};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Request, Response, Url};
use tokio::sync::Notify;
use tower_layer::layer_fn;
use tower_service::Service;

use crate::net::{self, Destination, KEEPALIVE, Net, Resolver};
use crate::proxy::{Proxies, Proxy, Route, Scheme, scrub};
use crate::tls;

/// How long a connection is kept that nothing uses.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// The time for a connection that outlives its request.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Sends requests. Cloning shares the connections.
#[derive(Clone)]
pub(crate) struct Http {
    net: Net,
    kept: Arc<Mutex<Kept>>,
}

/// The clients that hold connections.
struct Kept {
    /// The one that knows no certificates: they are not read where TLS is not used.
    plain: Option<Client>,
    tls: Option<Client>,
    /// When a request was last made, by the clock that goes on while the machine sleeps.
    used: SystemTime,
}

impl Http {
    /// Sends nothing yet.
    pub(crate) fn new(net: Net) -> Self {
        let kept = Kept { plain: None, tls: None, used: SystemTime::now() };
        Self { net, kept: Arc::new(Mutex::new(kept)) }
    }

    /// Sends a request, over a kept connection if there is one. If the answer has not begun in the time
    /// of [`Terms::late`], that is notified, and the answer is still waited for. After that, or when this
    /// is dropped before there is an answer, no kept connection is used again. No redirect is followed:
    /// that would carry a signature to another host.
    async fn exchange(
        &self,
        mut request: Request,
        terms: Terms<'_>,
    ) -> Result<Response, SendError> {
        let user_agent = HeaderValue::from_static(net::USER_AGENT);
        request.headers_mut().insert(USER_AGENT, user_agent);
        let url = request.url().clone();
        let host = url.host_str().unwrap_or_default();
        let is_https = url.scheme() == "https";
        let to = Destination {
            what: terms.what,
            host: host.trim_start_matches('[').trim_end_matches(']'),
            port: url.port_or_known_default().unwrap_or_default(),
            is_tls: is_https,
            loopback_only: is_localhost(host),
        };
        let route = self.net.proxies.route(to.what, to.host, to.port, is_https);
        let route = route
            .map_err(|error| SendError::Proxy { cause: Cause::new(error), is_transient: false })?;
        let client = self.client(is_https).map_err(net::Error::from)?;
        let mut unanswered = Unanswered(Some(self));
        match self.answer(client, request, terms, &route, &mut unanswered).await {
            Ok(answer) => {
                // Without TLS an HTTP proxy passes requests on, and answers to some by itself.
                let is_proxys = answer.status() == 407 && matches!(route, Route::Through(_));
                if is_proxys {
                    self.net.open(to, terms.connect_within).await?;
                }
                let answer = match &route {
                    Route::Through(proxy) if !is_https => without_login(answer, proxy).await,
                    _ => Ok(answer),
                };
                let answer = answer.map_err(|error| SendError::Closed(innermost(&error)))?;
                unanswered.0 = None;
                Ok(answer)
            }
            Err(error) if error.is_connect() => {
                let found = net::Error::of(&error);
                let is_unclear = matches!(route, Route::Through(_))
                    || (is_https && matches!(found, net::Error::Timeout));
                if is_unclear && let Err(cause) = self.net.open(to, terms.connect_within).await {
                    return Err(cause.into());
                }
                Err(found.into())
            }
            Err(error) => Err(SendError::Closed(innermost(&error))),
        }
    }

    async fn answer(
        &self,
        client: Client,
        request: Request,
        terms: Terms<'_>,
        route: &Route,
        unanswered: &mut Unanswered<'_>,
    ) -> reqwest::Result<Response> {
        let dial = Arc::new(Dial {
            within: terms.connect_within,
            is_ipv4_first: matches!(route, Route::Through(p) if p.scheme == Scheme::Socks5),
            is_connecting: AtomicBool::new(false),
            connected: Notify::new(),
        });
        let mut answer = std::pin::pin!(DIAL.scope(dial.clone(), client.execute(request)));
        let Some((within, late)) = terms.late else { return answer.await };
        // The answer is polled first, so it is known by now whether it waits for a connection.
        let is_late = async {
            if dial.is_connecting.load(Ordering::Relaxed) {
                dial.connected.notified().await;
            }
            tokio::time::sleep(within).await;
        };
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            () = is_late => {
                self.forget();
                // What the next try leaves behind may be kept.
                unanswered.0 = None;
                late.notify_one();
                answer.await
            }
        }
    }

    fn client(&self, is_https: bool) -> Result<Client, tls::Error> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        // The clock of reqwest's pool stands still while the machine sleeps.
        if now.duration_since(kept.used).is_ok_and(|unused| unused >= IDLE_TIMEOUT) {
            kept.forget();
        }
        kept.used = now;
        let needs_tls = is_https || self.net.proxies.needs_tls();
        let slot = if needs_tls { &mut kept.tls } else { &mut kept.plain };
        if let Some(client) = slot {
            return Ok(client.clone());
        }
        Ok(slot.insert(self.build(needs_tls)?).clone())
    }

    fn build(&self, needs_tls: bool) -> Result<Client, tls::Error> {
        let tls = match needs_tls {
            true => (*self.net.tls.client_config()?).clone(),
            false => tls::trusting_nobody()?,
        };
        let proxies = self.net.proxies.clone();
        let through = move |url: &Url| match proxies.route_of(url) {
            // A setting that cannot be used has ended the request before.
            Ok(Route::Direct) | Err(_) => None,
            Ok(Route::Through(proxy)) => Some(proxy.url_with_login().clone()),
        };
        let (after, interval, retries) = KEEPALIVE;
        let builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .proxy(reqwest::Proxy::custom(through))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .dns_resolver(Names)
            .connector_layer(layer_fn(Watched))
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .tcp_keepalive(after)
            .tcp_keepalive_interval(interval)
            .tcp_keepalive_retries(retries);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let builder = builder.tcp_user_timeout(net::VANISHED_WITHIN);
        builder
            .build()
            .map_err(|error| tls::Error::Setup(rustls::Error::General(innermost(&error))))
    }

    /// As after a long sleep of the machine.
    #[cfg(test)]
    pub(crate) fn sleep(&self) {
        self.kept.lock().unwrap().used -= IDLE_TIMEOUT;
    }

    /// Drops the connections that are kept. Those that are in use are not kept after that.
    fn forget(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).forget();
    }
}

impl Transport for Http {
    fn send<'a>(&'a self, request: Request, terms: Terms<'a>) -> Sending<'a> {
        Box::pin(self.exchange(request, terms))
    }

    fn prepare(&self, is_https: bool) -> Result<(), Cause> {
        let needs_tls = is_https || self.net.proxies.needs_tls();
        if needs_tls { self.net.tls.client_config().map(drop).map_err(Cause::new) } else { Ok(()) }
    }

    fn drop_kept(&self) {
        self.forget();
    }

    fn directly(&self) -> Arc<dyn Transport> {
        Arc::new(Self::new(Net { tls: self.net.tls.clone(), proxies: Proxies::none() }))
    }
}

impl Kept {
    fn forget(&mut self) {
        (self.plain, self.tls) = (None, None);
    }
}

/// Without the clients: they know logins of proxies.
impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

/// An answer without the proxy's login: a proxy that was sent it beside the request may repeat it.
async fn without_login(mut answer: Response, proxy: &Proxy) -> reqwest::Result<Response> {
    if proxy.login.is_none() {
        return Ok(answer);
    }
    let mut body = Vec::new();
    // Whoever reads more of it takes it for too long.
    while body.len() <= MAX_ANSWER {
        match answer.chunk().await? {
            Some(chunk) => body.extend_from_slice(&chunk),
            None => break,
        }
    }
    let login = proxy.login.as_ref();
    let clean = |bytes: &[u8]| scrub(&String::from_utf8_lossy(bytes), login).into_bytes();
    let mut cleaned = http::Response::new(clean(&body));
    *cleaned.status_mut() = answer.status();
    for (name, value) in answer.headers() {
        if let Ok(value) = HeaderValue::from_bytes(&clean(value.as_bytes()))
            && name != CONTENT_LENGTH
        {
            cleaned.headers_mut().append(name, value);
        }
    }
    Ok(cleaned.into())
}

/// A request that has no answer yet.
struct Unanswered<'a>(Option<&'a Http>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(http) = self.0 {
            http.forget();
        }
    }
}

tokio::task_local! {
    /// What the connector needs of the request that it connects for.
    static DIAL: Arc<Dial>;
}

struct Dial {
    within: Duration,
    /// Whether a name's IPv4 address comes first: a SOCKS proxy may have no IPv6.
    is_ipv4_first: bool,
    is_connecting: AtomicBool,
    connected: Notify,
}

/// Notifies when a connection stands or has failed.
struct Connecting(Option<Arc<Dial>>);

impl Drop for Connecting {
    fn drop(&mut self) {
        if let Some(dial) = &self.0 {
            dial.connected.notify_one();
        }
    }
}

/// Ends connecting in time, and lets the request know when it has a connection.
#[derive(Clone)]
struct Watched<S>(S);

impl<S, R> Service<R> for Watched<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, to: R) -> Self::Future {
        let dial = DIAL.try_with(Arc::clone).ok();
        if let Some(dial) = &dial {
            dial.is_connecting.store(true, Ordering::Relaxed);
        }
        let within = dial.as_ref().map_or(CONNECT_WITHIN, |dial| dial.within);
        let (connecting, connect) = (Connecting(dial), self.0.call(to));
        Box::pin(async move {
            let _connecting = connecting;
            let connected = tokio::time::timeout(within, connect).await;
            connected.unwrap_or_else(|_| Err(net::Error::Timeout.into()))
        })
    }
}

/// Looks names up as the gateway's connector does.
struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let dial = DIAL.try_with(|dial| (dial.within, dial.is_ipv4_first));
        let (within, is_ipv4_first) = dial.unwrap_or((CONNECT_WITHIN, false));
        Box::pin(async move {
            let resolver = Resolver::new(within, is_localhost(name.as_str()));
            let mut found = resolver.addresses(name.as_str()).await?;
            if is_ipv4_first {
                found.sort_by_key(std::net::SocketAddr::is_ipv6);
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether a name may only mean this machine: what is not encrypted is sent there.
fn is_localhost(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
