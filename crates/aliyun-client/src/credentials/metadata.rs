//! The metadata service of an ECS instance: the keys of the RAM role that is attached to it.
//!
//! The service is asked for a token first (its version 2). Only where it does not know of tokens
//! (HTTP 404 or 405) are the keys asked for without one, unless `ALIBABA_CLOUD_IMDSV1_DISABLED` is
//! `true`. Silence is no reason to ask once more: where there is no such service, that is told after
//! one second. No proxy is ever asked, since to a proxy the address would be its own.

use std::time::Duration;

use http::Method;

use super::cached::CachedCredentials;
use super::error::Error;
use super::fetch::{self, Address, Request, Response, fetch};
use super::json::{self, RawCredentials};
use super::problem::MetadataProblem;
use super::source::Source;
use crate::transport::Transport;

/// Where it is on every instance.
pub(super) const BASE: &str = "http://100.100.100.200";

/// The time for each of its answers.
const WITHIN: Duration = Duration::from_secs(1);

const TOKEN: &str = "/latest/api/token";
const ROLES: &str = "/latest/meta-data/ram/security-credentials/";
const TTL_HEADER: (&str, &str) = ("x-aliyun-ecs-metadata-token-ttl-seconds", "21600");
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";

/// Where to ask, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) base: Address,
    /// The role; the one that is attached if it is not named.
    pub(super) role: Option<String>,
    /// The variable that forbids to ask without a token.
    pub(super) needs_token: Option<String>,
}

impl Metadata {
    /// Asks for the keys of the role.
    pub(super) async fn ask(
        &self,
        source: &Source,
        http: &dyn Transport,
    ) -> Result<CachedCredentials, Error> {
        let parts = self.parts(&*http.directly()).await;
        parts.map_err(|problem| self.failed(source, problem))?.cached(source)
    }

    /// Asks for the keys within 1 s in all. Nobody has said that there is such a service, and where
    /// there is none every command waits for it.
    pub(super) async fn ask_briefly(
        &self,
        source: &Source,
        http: &dyn Transport,
    ) -> Result<CachedCredentials, Error> {
        let late = || MetadataProblem::NoAnswer(fetch::Problem::Timeout(WITHIN));
        let asked = tokio::time::timeout(WITHIN, self.ask(source, http)).await;
        asked.unwrap_or_else(|_| Err(self.failed(source, late())))
    }

    fn failed(&self, source: &Source, problem: MetadataProblem) -> Error {
        let (origin, at) = (source.clone(), self.base.to_string());
        Error::Metadata { origin, at, problem: Box::new(problem) }
    }

    async fn parts(&self, http: &dyn Transport) -> Result<RawCredentials, MetadataProblem> {
        let token = self.token(http).await?;
        let role = match &self.role {
            Some(role) => role.clone(),
            None => self.attached(http, token.as_deref()).await?,
        };
        let body = self.get(http, Some(role), token.as_deref()).await?;
        json::answered(&body).map_err(MetadataProblem::Invalid)
    }

    /// A token for the questions that follow; none where the service does not know of tokens.
    async fn token(&self, http: &dyn Transport) -> Result<Option<String>, MetadataProblem> {
        let got = self.ask_for(http, Method::PUT, TOKEN, Some(TTL_HEADER)).await?;
        match got.status {
            200 => {
                let token = String::from_utf8_lossy(&got.body).trim().to_owned();
                match !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()) {
                    true => Ok(Some(token)),
                    false => Err(MetadataProblem::Invalid(
                        "its response is invalid: it is no token".to_owned(),
                    )),
                }
            }
            404 | 405 if self.needs_token.is_none() => {
                tracing::debug!("the metadata service does not know of tokens");
                Ok(None)
            }
            status => Err(MetadataProblem::NoToken { status, needed_by: self.needs_token.clone() }),
        }
    }

    /// The name of the role that is attached to the instance.
    async fn attached(
        &self,
        http: &dyn Transport,
        token: Option<&str>,
    ) -> Result<String, MetadataProblem> {
        let body = self.get(http, None, token).await?;
        let text = String::from_utf8_lossy(&body);
        match text.lines().map(str::trim).find(|line| !line.is_empty()) {
            None => Err(MetadataProblem::NoRole(None)),
            Some(name) if is_role(name) => Ok(name.to_owned()),
            Some(_) => {
                let problem = "what it gives for the name of the role is none";
                Err(MetadataProblem::Invalid(problem.to_owned()))
            }
        }
    }

    /// What it says of a role, or of which one is attached.
    async fn get(
        &self,
        http: &dyn Transport,
        role: Option<String>,
        token: Option<&str>,
    ) -> Result<Vec<u8>, MetadataProblem> {
        let path = format!("{ROLES}{}", role.as_deref().unwrap_or_default());
        let header = token.map(|token| (TOKEN_HEADER, token));
        let got = self.ask_for(http, Method::GET, &path, header).await?;
        match got.status {
            200 => Ok(got.body),
            404 => Err(MetadataProblem::NoRole(role)),
            status => Err(MetadataProblem::Invalid(format!("it answers with HTTP {status}"))),
        }
    }

    async fn ask_for(
        &self,
        http: &dyn Transport,
        method: Method,
        path: &str,
        header: Option<(&'static str, &str)>,
    ) -> Result<Response, MetadataProblem> {
        let address = self.base.join(path);
        let what = "the metadata service";
        let ask = Request { what, method, address: &address, header, body: None, within: WITHIN };
        Ok(fetch(http, ask).await?)
    }
}

/// Whether a word can be the name of a role: it becomes part of a path.
pub(super) fn is_role(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_roles_stay_in_their_folder() {
        for name in ["EcsRole", "a.b-c_d", "r"] {
            assert!(is_role(name), "{name}");
        }
        for name in ["", "..", "a/b", "a?b", "a b", "<html>", &"r".repeat(65)] {
            assert!(!is_role(name), "{name}");
        }
    }
}
