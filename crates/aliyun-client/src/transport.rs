//! What sends requests: the program's own client, or [`reqwest::Client`].

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::{Request, Response};
use tokio::sync::Notify;

use crate::cause::Cause;
use crate::text::{chain, innermost};

/// Why there is no connection, or no answer. The caller knows the host.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError {
    /// Its name has no address, or the name server did not say: what the resolver says.
    #[error("it does not resolve: {0}")]
    Resolve(String),
    /// The host, or a firewall, refuses connections: what the system says.
    #[error("{0}")]
    Refused(String),
    /// No connection in time.
    #[error("no connection in time")]
    Timeout,
    /// A TCP connection, and no TLS over it in time.
    #[error("no TLS in time")]
    SilentTls,
    /// A proxy did not connect to it.
    #[error("{cause}")]
    Proxy {
        /// Why not.
        cause: Cause,
        /// Whether another try may succeed.
        is_transient: bool,
    },
    /// TLS failed.
    #[error("{0}")]
    Tls(Cause),
    /// No connection for another reason.
    #[error("{0}")]
    Other(String),
    /// The connection ended before the head of the answer was complete, or it carries no HTTP.
    #[error("{0}")]
    Closed(String),
}

/// How a request is sent.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The name of the server in messages: "the API".
    pub what: &'static str,
    /// The time for a connection, name look-up and TLS handshake included.
    pub connect_within: Duration,
    /// The time for the answer to begin once there is a connection, and what is notified when it has
    /// passed; the answer is still waited for.
    pub late: Option<(Duration, &'a Notify)>,
}

/// A request that is being sent.
pub type Sending<'a> = BoxFuture<'a, Result<Response, SendError>>;

/// Sends requests.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends a request; dropping the future ends it. No redirect may be followed: that would carry a
    /// signature to another host.
    fn send<'a>(&'a self, request: Request, terms: Terms<'a>) -> Sending<'a>;

    /// Gets ready for requests to such a URL.
    ///
    /// # Errors
    /// When none can be sent, as where TLS cannot be set up.
    fn prepare(&self, is_https: bool) -> Result<(), Cause> {
        let _ = is_https;
        Ok(())
    }

    /// Closes the connections that are kept for other requests: the one of an answer has stopped in the
    /// middle, and they may be dead, too.
    fn drop_kept(&self) {}

    /// The transport for link-local services, such as an instance's metadata service: without a proxy.
    fn directly(&self) -> Arc<dyn Transport>;
}

impl Transport for reqwest::Client {
    /// The client's own time-outs for connections apply.
    fn send<'a>(&'a self, request: Request, terms: Terms<'a>) -> Sending<'a> {
        Box::pin(async move {
            let mut answer = std::pin::pin!(self.execute(request));
            let answer = match terms.late {
                None => answer.await,
                Some((within, late)) => tokio::select! {
                    biased;
                    answer = &mut answer => answer,
                    () = tokio::time::sleep(within) => {
                        late.notify_one();
                        answer.await
                    }
                },
            };
            answer.map_err(|error| of(&error))
        })
    }

    fn directly(&self) -> Arc<dyn Transport> {
        Arc::new(self.clone())
    }
}

/// The body of an answer; `None` if it is larger than so many bytes. `late` has a time, and what is called
/// each time that nothing has come for so long; the rest is still waited for.
pub(crate) async fn read(
    mut answer: Response,
    most: usize,
    late: Option<(Duration, &(dyn Fn() + Sync))>,
) -> reqwest::Result<Option<Vec<u8>>> {
    if answer.content_length() > Some(most as u64) {
        return Ok(None);
    }
    let mut body = Vec::new();
    loop {
        let mut chunk = std::pin::pin!(answer.chunk());
        let chunk = match late {
            None => chunk.await?,
            Some((within, late)) => tokio::select! {
                biased;
                chunk = &mut chunk => chunk?,
                () = tokio::time::sleep(within) => {
                    late();
                    chunk.await?
                }
            },
        };
        let Some(chunk) = chunk else { return Ok(Some(body)) };
        if body.len() + chunk.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
}

/// Sorts an error of reqwest by what its chain of causes holds.
fn of(error: &reqwest::Error) -> SendError {
    if !error.is_connect() {
        return SendError::Closed(innermost(error));
    }
    let io = chain(error).find_map(|link| link.downcast_ref::<io::Error>());
    match io.map(io::Error::kind) {
        _ if error.is_dns() => SendError::Resolve(innermost(error)),
        _ if error.is_timeout() => SendError::Timeout,
        Some(io::ErrorKind::ConnectionRefused) => SendError::Refused(innermost(error)),
        _ => SendError::Other(innermost(error)),
    }
}

/// A client for endpoints on this machine: it follows no redirect, uses no proxy, and trusts no
/// certificate, so that `https://` fails.
///
/// # Errors
/// When reqwest cannot be set up.
pub fn plain_client() -> reqwest::Result<reqwest::Client> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has what the versions of TLS need")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    builder.tls_backend_preconfigured(tls).build()
}
