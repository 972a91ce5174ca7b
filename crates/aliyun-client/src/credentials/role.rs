//! A RAM role that other credentials are exchanged for: STS AssumeRole.

use std::sync::Arc;

use super::cached::CachedCredentials;
use super::error::Error;
use super::host::FetchContext;
use super::json::RawCredentials;
use super::keys::Credentials;
use super::provide::ProvideCredentials;
use super::source::Source;
use crate::endpoint::{Endpoint, Region};
use crate::openapi::{Client, Config};
use crate::sts::AssumeRole;

/// How long a session of a role is asked to be, where the profile does not say.
pub const USUAL_SECONDS: u64 = 3600;

/// A role, and where STS is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) request: AssumeRole,
    pub(super) sts: Endpoint,
}

/// Exchanges credentials for those of a role.
pub(super) async fn assume(
    role: &Role,
    base: Credentials,
    source: &Source,
    context: &FetchContext,
) -> Result<CachedCredentials, Error> {
    let failed = |error| Error::Sts { origin: source.clone(), error: Box::new(error) };
    let client = Client::new(config(&role.sts, Arc::new(base), context)).map_err(failed)?;
    let session = client.assume_role(&role.request).await.map_err(failed)?;
    RawCredentials::from(session).cached(source)
}

/// How STS is called.
pub(super) fn config(
    sts: &Endpoint,
    credentials: Arc<dyn ProvideCredentials>,
    context: &FetchContext,
) -> Config {
    // STS takes no RegionId.
    let region = Region::central();
    let mut config = Config::new(sts.clone(), region, credentials, context.http.clone());
    config.signature = context.signature;
    config
}
