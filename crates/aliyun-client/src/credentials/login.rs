//! Profiles of people who have signed in with a browser: modes CloudSSO and OAuth.
//!
//! The profile holds temporary keys, and what new ones are got with until the login itself ends. New
//! values are written to the profile file, where the vendor's CLI finds them too. An OAuth refresh
//! token works once: its successor is written before anything else is asked, no other process renews the
//! profile meanwhile, and the program does not end until then.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use tracing::{debug, info, warn};

use super::cached::CachedCredentials;
use super::error::Error;
use super::fetch::{Address, Body, Request, Response, fetch};
use super::host::{FetchContext, Host, Renewed, SaveError};
use super::json::{self, RawCredentials};
use super::keys::Credentials;
use super::problem::LoginProblem;
use super::profile::{Profile, ProfileFile};
use super::source::Source;
use crate::transport::Transport;

/// The time for one answer.
const WITHIN: Duration = Duration::from_secs(10);
/// How long another process may take to renew the same profile.
const PATIENCE: Duration = Duration::from_secs(30);
/// A token that ends sooner is not used any more.
const MARGIN: Duration = Duration::from_secs(10);

/// What a login is called at its service.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Service {
    CloudSso { account: String, access_config: String },
    OAuth { client_id: &'static str },
}

/// A profile whose keys can be renewed.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) service: Service,
    tokens: &'static Tokens,
    /// Where the service is.
    pub(super) base: Address,
    /// Where the profile is.
    pub(super) file: PathBuf,
    pub(super) profile: String,
    /// Values that could not be written.
    unsaved: Arc<Mutex<Option<Unsaved>>>,
}

/// Values that could not be written, and the profile that they were got with.
struct Unsaved {
    of: Option<String>,
    fields: Map<String, Value>,
}

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        self.service == other.service
            && self.base == other.base
            && (&self.file, &self.profile) == (&other.file, &other.profile)
    }
}

impl Eq for Login {}

/// The fields of a login in the profile.
pub(super) struct Tokens {
    pub(super) access: &'static str,
    pub(super) access_end: &'static str,
    /// Of the token that gets new access tokens.
    pub(super) refresh: Option<(&'static str, &'static str)>,
}

pub(super) static CLOUD_SSO: Tokens =
    Tokens { access: "access_token", access_end: "cloud_sso_access_token_expire", refresh: None };
pub(super) static OAUTH: Tokens = Tokens {
    access: "oauth_access_token",
    access_end: "oauth_access_token_expire",
    refresh: Some(("oauth_refresh_token", "oauth_refresh_token_expire")),
};

impl Tokens {
    /// The access token, while it is valid.
    fn access(&self, fields: &Map<String, Value>, now: SystemTime) -> Option<SecretString> {
        let end = json::time(&json::text(fields, self.access_end)?)?;
        let is_valid = now + MARGIN < end;
        json::text(fields, self.access).filter(|_| is_valid).map(SecretString::from)
    }

    /// The refresh token, unless its end is known to have passed.
    fn refresh(&self, fields: &Map<String, Value>, now: SystemTime) -> Option<SecretString> {
        let (field, end) = self.refresh?;
        let end = json::text(fields, end).and_then(|end| json::time(&end));
        let is_valid = end.is_none_or(|end| now < end);
        json::text(fields, field).filter(|_| is_valid).map(SecretString::from)
    }

    /// Whether a profile can still get new keys.
    pub(super) fn are_valid(&self, profile: &Profile, now: SystemTime) -> bool {
        let fields = profile.fields();
        self.access(fields, now).is_some() || self.refresh(fields, now).is_some()
    }
}

impl Login {
    pub(super) fn new(
        service: Service,
        tokens: &'static Tokens,
        base: Address,
        file: PathBuf,
        profile: String,
    ) -> Self {
        Self { service, tokens, base, file, profile, unsaved: Arc::default() }
    }

    /// The keys of the profile, or new ones if these end soon or are `refused` by the service.
    pub(super) async fn keys(
        &self,
        source: &Source,
        context: &FetchContext,
        refused: Option<&Credentials>,
    ) -> Result<CachedCredentials, Error> {
        let host = &*context.host;
        let kept = |fields: &Map<String, Value>| {
            let kept = self.kept(fields, source)?;
            Ok::<_, Error>(kept.filter(|cached| refused != Some(&cached.credentials)))
        };
        if let Some(cached) = kept(&self.fields(host)?)?
            && !cached.is_due(SystemTime::now())
        {
            return Ok(cached);
        }
        let held = host.lock(&self.file, PATIENCE).await;
        let _held = held.map_err(Error::Unwritten)?;
        // Another process may have renewed them while this one waited.
        let mut fields = self.fields(host)?;
        let kept = kept(&fields)?;
        if let Some(cached) = kept.clone().filter(|cached| !cached.is_due(SystemTime::now())) {
            debug!("another process has renewed the credentials of {source}");
            return Ok(cached);
        }
        match self.renew(&mut fields, source, context).await {
            Ok(parts) => parts.cached(source),
            Err(problem) => {
                let at = self.base.to_string();
                let problem = Box::new(problem);
                let error = Error::Login { origin: source.clone(), at, problem };
                match kept.filter(|cached| cached.is_good(SystemTime::now())) {
                    Some(cached) => {
                        warn!("{error}; the old credentials are used to their end");
                        Ok(cached)
                    }
                    None => Err(error),
                }
            }
        }
    }

    /// The profile's fields as they are now.
    fn fields(&self, host: &dyn Host) -> Result<Map<String, Value>, Error> {
        let file = ProfileFile::read(&self.file, host)?;
        let profile = file.as_ref().and_then(|file| file.get(&self.profile));
        let mut fields = profile.map(|profile| profile.fields().clone()).unwrap_or_default();
        let mut unsaved = self.unsaved();
        match unsaved.as_ref() {
            Some(kept) if kept.of == self.generation(&fields) => {
                fields.extend(kept.fields.clone());
            }
            // Somebody has signed in again.
            _ => *unsaved = None,
        }
        Ok(fields)
    }

    /// What tells one login of the profile from the next.
    fn generation(&self, fields: &Map<String, Value>) -> Option<String> {
        json::text(fields, self.generation_field())
    }

    fn generation_field(&self) -> &'static str {
        self.tokens.refresh.map_or(self.tokens.access, |(field, _)| field)
    }

    /// The keys that the profile holds, if they have not ended.
    fn kept(
        &self,
        fields: &Map<String, Value>,
        source: &Source,
    ) -> Result<Option<CachedCredentials>, Error> {
        let Ok(parts) = RawCredentials::of(fields, &PROFILE) else { return Ok(None) };
        if parts.token.is_none() || parts.until.is_none() {
            return Ok(None);
        }
        let CachedCredentials { credentials, until, .. } = parts.cached(source)?;
        // Made some time ago: they may be due at once.
        let cached = CachedCredentials::taken(credentials, until, UNIX_EPOCH);
        Ok(Some(cached).filter(|cached| cached.is_good(SystemTime::now())))
    }

    /// New keys, written to the profile.
    async fn renew(
        &self,
        fields: &mut Map<String, Value>,
        source: &Source,
        context: &FetchContext,
    ) -> Result<RawCredentials, LoginProblem> {
        info!("the credentials of {source} are renewed at {}", self.base);
        let http = &*context.http;
        let now = SystemTime::now();
        let refresh = self.tokens.refresh(fields, now);
        let found = match self.tokens.access(fields, now) {
            Some(token) => match self.exchange(&token, http).await {
                Err(LoginProblem::Ended(_)) if refresh.is_some() => None,
                exchanged => Some(exchanged?),
            },
            None => None,
        };
        let parts = match (found, refresh) {
            (Some(parts), _) => parts,
            (None, Some(refresh)) => {
                let token = self.refreshed(fields, &refresh, context).await?;
                self.exchange(&token, http).await?
            }
            (None, None) => return Err(LoginProblem::Gone),
        };
        let new = parts.fields(&PROFILE);
        self.save(fields, new, &*context.host).await;
        Ok(parts)
    }

    /// Exchanges an access token for keys.
    async fn exchange(
        &self,
        token: &SecretString,
        http: &dyn Transport,
    ) -> Result<RawCredentials, LoginProblem> {
        let bearer = SecretString::from(format!("Bearer {}", token.expose_secret()));
        let (path, body) = match &self.service {
            Service::CloudSso { account, access_config } => (
                "/cloud-credentials",
                json!({"AccountId": account, "AccessConfigurationId": access_config}),
            ),
            Service::OAuth { .. } => ("/v1/exchange", json!({})),
        };
        let body = ("application/json", body.to_string().into());
        let got = self.ask(path, Some(&bearer), body, http).await?;
        let mut fields = json::answer(&got.body).map_err(LoginProblem::Invalid)?;
        if let Service::CloudSso { .. } = &self.service {
            let field = "CloudCredential";
            let Some(Value::Object(nested)) = fields.remove(field) else {
                return Err(LoginProblem::Invalid(json::missing(field)));
            };
            fields = nested;
        }
        json::temporary(&fields).map_err(LoginProblem::Invalid)
    }

    /// Exchanges the refresh token for an access token and its own successor, and writes both.
    async fn refreshed(
        &self,
        fields: &mut Map<String, Value>,
        refresh: &SecretString,
        context: &FetchContext,
    ) -> Result<SecretString, LoginProblem> {
        let Service::OAuth { client_id } = &self.service else {
            return Err(LoginProblem::Gone);
        };
        let encoded = percent_encoding::utf8_percent_encode(
            refresh.expose_secret(),
            percent_encoding::NON_ALPHANUMERIC,
        );
        let form =
            format!("grant_type=refresh_token&refresh_token={encoded}&client_id={client_id}");
        let body = ("application/x-www-form-urlencoded", form.into());
        let _running = context.host.keep_running();
        let got = self.ask("/v1/token", None, body, &*context.http).await?;
        let answer = json::answer(&got.body).map_err(LoginProblem::Invalid)?;
        let access = json::text(&answer, "access_token")
            .ok_or_else(|| LoginProblem::Invalid(json::missing("access_token")))?;
        let mut new = vec![("oauth_access_token", Value::from(access.clone()))];
        if let Some(next) = json::text(&answer, "refresh_token") {
            new.push(("oauth_refresh_token", next.into()));
        }
        let seconds = json::text(&answer, "expires_in").and_then(|text| text.parse().ok());
        let end = SystemTime::now() + Duration::from_secs(seconds.unwrap_or(0_u32).into());
        let end = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        new.push(("oauth_access_token_expire", end.into()));
        self.save(fields, new, &*context.host).await;
        Ok(access.into())
    }

    async fn ask(
        &self,
        path: &str,
        bearer: Option<&SecretString>,
        body: Body,
        http: &dyn Transport,
    ) -> Result<Response, LoginProblem> {
        let address = self.base.join(path);
        let header = bearer.map(|bearer| ("authorization", bearer.expose_secret()));
        let what = "the login service";
        let (method, body) = (Method::POST, Some(body));
        let got =
            fetch(http, Request { what, method, address: &address, header, body, within: WITHIN });
        let got = got.await?;
        match got.status {
            200 => Ok(got),
            status @ (400 | 401 | 403) => Err(LoginProblem::Ended(status)),
            status => Err(LoginProblem::Invalid(format!("it answers with HTTP {status}"))),
        }
    }

    /// Writes new values to the profile. Those that cannot be written are kept in memory.
    async fn save(
        &self,
        fields: &mut Map<String, Value>,
        new: Vec<(&'static str, Value)>,
        host: &dyn Host,
    ) {
        let kept = self.unsaved().take();
        let none = || Unsaved { of: self.generation(fields), fields: Map::new() };
        let mut unsaved = kept.unwrap_or_else(none);
        let new = new.into_iter().map(|(name, value)| (name.to_owned(), value));
        unsaved.fields.extend(new);
        fields.extend(unsaved.fields.clone());
        let new: Vec<_> = unsaved.fields.clone().into_iter().collect();
        let written = host.save(Renewed {
            file: &self.file,
            profile: &self.profile,
            unchanged: (self.generation_field(), unsaved.of.as_deref()),
            fields: &new,
        });
        let file = self.file.display();
        match written.await {
            Ok(true) => {
                debug!("the renewed values are written to {file}");
                return;
            }
            Ok(false) => info!("{file} has changed; the renewed values are used and not kept"),
            Err(problem @ SaveError::ReadOnly(_)) => {
                info!("{problem}; the renewed values are used and not kept");
            }
            Err(problem) => warn!("{problem}; the renewed values are used and not kept"),
        }
        *self.unsaved() = Some(unsaved);
    }

    fn unsaved(&self) -> MutexGuard<'_, Option<Unsaved>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As a profile writes them.
const PROFILE: json::Names = json::Names {
    id: "access_key_id",
    secret: "access_key_secret",
    token: "sts_token",
    until: &["sts_expiration"],
};

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("profile", &self.profile).finish_non_exhaustive()
    }
}
