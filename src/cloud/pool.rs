//! The kept connections to the API. A kept connection may be dead although nothing says so: the machine
//! slept, or a NAT on the way forgot it. So a try that gets no answer drops all of them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Notify;

use super::wire::Connector;

/// How long a connection is kept that nothing uses.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

type Connections = legacy::Client<Connector, Full<Bytes>>;

/// Speaks HTTP with the API, over connections that are kept for a while. Cloning shares them.
#[derive(Clone)]
pub(super) struct Http {
    connector: Connector,
    kept: Arc<Mutex<Kept>>,
}

struct Kept {
    connections: Connections,
    /// When a request was last made, by the clock that goes on while the machine sleeps.
    used: SystemTime,
}

impl Http {
    pub(super) fn new(connector: Connector) -> Self {
        let kept = Kept { connections: connections(&connector), used: SystemTime::now() };
        Self { connector, kept: Arc::new(Mutex::new(kept)) }
    }

    /// Sends a request, over a kept connection if there is one. If the answer has not begun `within` this
    /// time, counted from when there is a connection, that is told to `late`, and goes on to be waited
    /// for. Without an answer in time, or when this is dropped before there is one, no kept connection is
    /// used again.
    pub(super) async fn request(
        &self,
        mut request: Request<Full<Bytes>>,
        within: Duration,
        late: &Notify,
    ) -> Result<Response<Incoming>, legacy::Error> {
        let mut unanswered = Unanswered(Some(self));
        let mut connected = capture_connection(&mut request);
        let mut answer = std::pin::pin!(self.connections().request(request));
        let is_late = async {
            let is_connected = connected.wait_for_connection_metadata().await.is_some();
            if !is_connected {
                // There is no connection, and the request fails by itself.
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(within).await;
        };
        let answer = tokio::select! {
            biased;
            answer = &mut answer => answer?,
            () = is_late => {
                self.forget();
                // What the next try leaves behind may be kept.
                unanswered.0 = None;
                late.notify_one();
                answer.await?
            }
        };
        unanswered.0 = None;
        Ok(answer)
    }

    fn connections(&self) -> Connections {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        // The pool's own clock stands still while the machine sleeps.
        if now.duration_since(kept.used).is_ok_and(|unused| unused >= IDLE_TIMEOUT) {
            kept.connections = connections(&self.connector);
        }
        kept.used = now;
        kept.connections.clone()
    }

    /// Drops the connections that are kept. Those that are in use are not kept after that.
    fn forget(&self) {
        let connections = connections(&self.connector);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).connections = connections;
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
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

fn connections(connector: &Connector) -> Connections {
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build(connector.clone())
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
