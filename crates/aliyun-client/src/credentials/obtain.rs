//! Credentials from the source that a profile or the environment names.

use std::time::SystemTime;

use super::answer;
use super::cached::CachedCredentials;
use super::credential_source::{CredentialSource, Instance, SourceKind, no_uri};
use super::error::Error;
use super::external::Program;
use super::host::FetchContext;
use super::keys::Credentials;
use super::oidc;
use super::problem::LookedAt;
use super::role::{self, Role};
use super::source::Source;
use super::uri;

/// Gets credentials from a source. `refused` are those that the service has found to be over:
/// a login gets new ones in their place, although they say that they still hold. `before` is where those
/// before have come from.
pub(super) async fn obtain(
    from: &CredentialSource,
    context: &FetchContext,
    refused: Option<&Credentials>,
    before: Option<&Source>,
) -> Result<CachedCredentials, Error> {
    let mut source = &from.source;
    let based = match &from.kind {
        SourceKind::Fixed(cached) => fixed(cached, source),
        SourceKind::Uri(address) => uri::ask(address, source, &*context.http).await,
        SourceKind::Metadata(metadata) => metadata.ask(source, &*context.http).await,
        SourceKind::Oidc(oidc) => oidc::exchange(oidc, source, context).await,
        SourceKind::External(program) => external(program, source, context).await,
        SourceKind::Login(login) => login.keys(source, context, refused).await,
        SourceKind::Instance(instance) => instance_role(instance, context, before).await,
    };
    let in_source_chain = |error: Error, source: &Source, left: &[(Role, Source)]| {
        let chain = left.iter().rev().map(|(_, source)| source.clone()).collect();
        error.in_source_chain(chain, source.clone())
    };
    let mut cached = based.map_err(|error| in_source_chain(error, source, &from.roles))?;
    for (at, (role, by)) in from.roles.iter().enumerate() {
        source = by;
        let assumed = role::assume(role, cached.credentials, source, context).await;
        cached = assumed.map_err(|error| in_source_chain(error, source, &from.roles[at + 1..]))?;
    }
    Ok(cached)
}

/// Credentials that stand as they are, unless they have ended.
fn fixed(cached: &CachedCredentials, source: &Source) -> Result<CachedCredentials, Error> {
    let now = SystemTime::now();
    match cached.until {
        Some(at) if !cached.is_good(now) => {
            let (origin, field) = (Box::new(source.clone()), "sts_expiration");
            Err(Error::Expired { origin, field, at, now })
        }
        _ => Ok(cached.clone()),
    }
}

/// Runs a program, and gets the credentials that the profile that it prints leads to.
async fn external(
    program: &Program,
    source: &Source,
    context: &FetchContext,
) -> Result<CachedCredentials, Error> {
    let answer = answer::ask(program, source, context).await?;
    let cached = Box::pin(obtain(&answer.credential_source, context, None, None)).await?;
    let until = [cached.until, answer.until].into_iter().flatten().min();
    Ok(CachedCredentials::taken(cached.credentials, until, answer.at))
}

/// Asks the metadata service, and where it has no credentials, the credentials URI. The one of them that has
/// given some is asked alone from then on: to go on with the other could sign as someone else.
async fn instance_role(
    instance: &Instance,
    context: &FetchContext,
    before: Option<&Source>,
) -> Result<CachedCredentials, Error> {
    let http = &*context.http;
    match (before, &instance.uri) {
        (Some(Source::Instance), _) => return instance.metadata.ask(&Source::Instance, http).await,
        (Some(_), Some((address, source))) => return uri::ask(address, source, http).await,
        _ => {}
    }
    let problem = match instance.metadata.ask_briefly(&Source::Instance, http).await {
        Ok(cached) => return Ok(cached),
        Err(Error::Metadata { at, problem, .. }) => {
            format!("the metadata service at {at}: {problem}")
        }
        Err(other) => return Err(other),
    };
    tracing::debug!("no credentials from {problem}");
    if let Some((address, source)) = &instance.uri {
        return uri::ask(address, source, http).await;
    }
    let rest = [LookedAt::Other(problem), no_uri()];
    let looked_at = instance.looked_at.iter().cloned().chain(rest).collect();
    Err(Error::None { looked_at })
}
