//! A credentials URI: a server, most often on this machine, that hands out temporary keys.

use std::time::Duration;

use http::Method;
use tracing::info;

use super::cached::CachedCredentials;
use super::error::Error;
use super::fetch::{Address, Request, fetch};
use super::json::{self, RawCredentials};
use super::problem::UriProblem;
use super::source::Source;
use crate::endpoint::is_loopback;
use crate::transport::Transport;

/// The time for one answer.
const WITHIN: Duration = Duration::from_secs(10);

/// So many redirects are followed, on the same server.
const MAX_REDIRECTS: usize = 3;

/// Asks a URI.
pub(super) async fn ask(
    address: &Address,
    source: &Source,
    http: &dyn Transport,
) -> Result<CachedCredentials, Error> {
    if !address.uses_tls() && !is_loopback(address.host()) {
        info!("{address}, the credentials URI of {source}, is not encrypted");
    }
    // To a proxy the address would be its own.
    let direct = is_loopback(address.host()).then(|| http.directly());
    let http = direct.as_deref().unwrap_or(http);
    let failed = |problem| Error::Uri {
        origin: source.clone(),
        at: address.to_string(),
        problem: Box::new(problem),
    };
    let parts = parts(address, http).await.map_err(failed)?;
    parts.cached(source)
}

async fn parts(address: &Address, http: &dyn Transport) -> Result<RawCredentials, UriProblem> {
    let elsewhere = |place: &str| {
        UriProblem::Invalid(format!(
            "it redirects to {place}, which is not followed: the keys would come from another server"
        ))
    };
    let mut at = address.clone();
    for _ in 0..=MAX_REDIRECTS {
        let (what, method) = ("the credentials URI", Method::GET);
        let ask = Request { what, method, address: &at, header: None, body: None, within: WITHIN };
        let got = fetch(http, ask).await?;
        match (got.status, got.location) {
            (200, _) => return json::answered(&got.body).map_err(UriProblem::Invalid),
            (301 | 302 | 303 | 307 | 308, Some(location)) => {
                let next = at.follow(&location).map_err(|_| elsewhere("another place"))?;
                if !next.is_beside(address) {
                    return Err(elsewhere(&next.to_string()));
                }
                at = next;
            }
            (status, _) => {
                return Err(UriProblem::Invalid(format!("it answers with HTTP {status}")));
            }
        }
    }
    Err(UriProblem::Invalid("it redirects again and again".to_owned()))
}
