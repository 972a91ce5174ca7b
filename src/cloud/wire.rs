//! Connections to the API, as its HTTP client wants them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

use super::Endpoint;
use super::client::Config;
use crate::net::{Destination, Error, Io, Net, encrypt};

/// Connects to the one endpoint that a client is for.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    endpoint: Endpoint,
    net: Net,
    within: Duration,
}

impl Connector {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            endpoint: config.endpoint.clone(),
            net: Net { tls: config.tls.clone(), proxies: config.proxies.clone() },
            within: config.connect_timeout,
        }
    }

    async fn connect(self) -> Result<TokioIo<Box<dyn Io>>, Error> {
        let deadline = Instant::now() + self.within;
        let is_secure = self.endpoint.uses_tls();
        let to = Destination {
            what: "the API",
            host: self.endpoint.host(),
            port: self.endpoint.port(),
            loopback_only: !is_secure,
        };
        let mut io = self.net.reach(to, self.within).await?;
        if is_secure {
            let encrypted = timeout_at(deadline, encrypt(io, to.host, &self.net.tls)).await;
            io = Box::new(encrypted.map_err(|_| Error::SilentTls)??);
        }
        Ok(TokioIo::new(io))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

impl Connection for Box<dyn Io> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
