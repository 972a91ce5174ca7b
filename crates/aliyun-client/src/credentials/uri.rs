//! A credentials URI: a server, most often on this machine, that hands out temporary keys.

use std::time::Duration;

use http::Method;
use tracing::info;

use super::cached::CachedCredentials;
use super::error::Error;
use super::fetch::{self, Address, Request, fetch};
use super::json::{self, InvalidResponse, RawCredentials};
use super::source::Source;
use crate::endpoint::is_loopback;
use crate::transport::Transport;

/// The time for one answer.
const WITHIN: Duration = Duration::from_secs(10);

/// So many redirects are followed, on the same server.
const MAX_REDIRECTS: usize = 3;

/// Why a credentials URI gives none.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No answer came.
    #[error(transparent)]
    NoAnswer(#[from] fetch::Problem),
    /// The HTTP status is not 200.
    #[error("it answers with HTTP {0}")]
    Status(u16),
    /// It sends us elsewhere.
    #[error("it redirects to {0}, which is not followed: the keys would come from another server")]
    Elsewhere(String),
    /// It sends us in a circle.
    #[error("it redirects again and again")]
    Circle,
    /// The answer is not what it should be.
    #[error(transparent)]
    InvalidResponse(#[from] InvalidResponse),
}

/// Asks a URI.
pub(super) async fn ask(
    address: &Address,
    source: &Source,
    http: &dyn Transport,
) -> Result<CachedCredentials, Error> {
    if !address.uses_tls() && !is_loopback(&address.host) {
        info!("{address}, the credentials URI of {source}, is not encrypted");
    }
    let failed = |problem| Error::Uri {
        source_of_it: source.clone(),
        at: address.to_string(),
        problem: Box::new(problem),
    };
    let parts = parts(address, http).await.map_err(failed)?;
    parts.cached(source)
}

async fn parts(address: &Address, http: &dyn Transport) -> Result<RawCredentials, Problem> {
    Ok(json::answered(&body(address, http).await?)?)
}

async fn body(address: &Address, http: &dyn Transport) -> Result<Vec<u8>, Problem> {
    let mut at = address.clone();
    for _ in 0..=MAX_REDIRECTS {
        let what = "the credentials URI";
        let ask = Request {
            what,
            method: Method::GET,
            address: &at,
            header: None,
            body: None,
            within: WITHIN,
        };
        let got = fetch(http, ask).await?;
        match (got.status, got.location) {
            (200, _) => return Ok(got.body),
            (301 | 302 | 303 | 307 | 308, Some(location)) => {
                let next = at.follow(&location);
                let next = next.map_err(|_| Problem::Elsewhere("another place".to_owned()))?;
                if !next.is_beside(address) {
                    return Err(Problem::Elsewhere(next.to_string()));
                }
                at = next;
            }
            (status, _) => return Err(Problem::Status(status)),
        }
    }
    Err(Problem::Circle)
}
