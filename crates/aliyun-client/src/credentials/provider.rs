//! Credentials for calls: fetched when they are first needed, kept, and renewed before they end.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::cached::CachedCredentials;
use super::credential_source::CredentialSource;
use super::error::Error;
use super::host::FetchContext;
use super::keys::{Credentials, mask};
use super::obtain::obtain;
use super::provide::{ProvideCredentials, Providing};
use super::source::Source;
use crate::cause::Cause;

/// After a renewal that brought nothing new, how long the old ones are used before the next one.
const PAUSE: Duration = Duration::from_secs(10);

/// Gives the credentials that hold now. Cloning shares them.
///
/// While the old ones hold nobody waits for new ones, and if there are none to be had, the old ones
/// are used to their end. One renewal at a time is under way, whoever waits for it.
#[derive(Clone)]
pub struct Provider(Arc<Inner>);

struct Inner {
    credential_source: CredentialSource,
    context: FetchContext,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cached: Option<CachedCredentials>,
    renewal: Option<Renewal>,
    /// When a renewal may be tried again while the old ones hold.
    not_before: Option<Instant>,
}

/// Why there is a renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RenewReason {
    /// Somebody waits, and has nothing else.
    Now,
    /// The service has found these to be over, whatever they say of their end.
    Refused(Credentials),
    /// The old ones will not hold much longer.
    InTime,
}

type Outcome = Result<Credentials, Arc<Error>>;
type Renewal = Shared<BoxFuture<'static, Outcome>>;

impl Provider {
    /// Gets credentials from a source.
    pub fn new(credential_source: CredentialSource, context: FetchContext) -> Self {
        let state = State { cached: credential_source.cached().cloned(), ..State::default() };
        Self(Arc::new(Inner { credential_source, context, state: Mutex::new(state) }))
    }

    /// Where its credentials come from.
    pub fn source(&self) -> &Source {
        self.0.credential_source.source()
    }

    /// The source that it fetches them from.
    pub fn credential_source(&self) -> &CredentialSource {
        &self.0.credential_source
    }

    /// Whether there are credentials that hold for a time that is known, and still do.
    pub fn holds(&self) -> bool {
        let state = self.0.state();
        let cached = state.cached.as_ref().filter(|cached| cached.until.is_some());
        cached.is_some_and(|cached| cached.is_good(SystemTime::now()))
    }

    /// Whether there were any so far.
    pub fn had_any(&self) -> bool {
        self.0.state().cached.is_some()
    }

    /// The credentials that hold now.
    ///
    /// # Errors
    /// When there are none, or no longer, and none can be had. Waits for as long as their source may
    /// take: 60 s for a program.
    pub async fn get(&self) -> Outcome {
        self.get_for(true).await
    }

    /// The same; those that hold are renewed in time only if there are `later` calls.
    async fn get_for(&self, later: bool) -> Outcome {
        let renewal = {
            let mut state = self.0.state();
            let now = SystemTime::now();
            match &state.cached {
                Some(cached) if cached.is_good(now) => {
                    let credentials = cached.credentials.clone();
                    if later && cached.is_due(now) && state.may_renew() {
                        // It goes on by itself.
                        drop(self.begin(&mut state, RenewReason::InTime));
                    }
                    return Ok(credentials);
                }
                _ => self.begin(&mut state, RenewReason::Now),
            }
        };
        renewal.await
    }

    /// Other credentials than these, which the service has found to be over; `None` if there are no
    /// others.
    ///
    /// # Errors
    /// When none can be had.
    pub async fn renew(&self, used: &Credentials) -> Result<Option<Credentials>, Arc<Error>> {
        if self.0.credential_source.cached().is_some() {
            return Ok(None);
        }
        let renewal = {
            let mut state = self.0.state();
            match &state.cached {
                // Somebody else was told before.
                Some(cached) if cached.credentials != *used => {
                    return Ok(Some(cached.credentials.clone()));
                }
                _ => self.begin(&mut state, RenewReason::Refused(used.clone())),
            }
        };
        let fresh = renewal.await?;
        Ok((fresh != *used).then_some(fresh))
    }

    /// Begins a renewal, or joins the one under way. It goes on if those who wait for it go away.
    fn begin(&self, state: &mut State, reason: RenewReason) -> Renewal {
        if let Some(renewal) = state.renewal.as_ref().filter(|renewal| renewal.peek().is_none()) {
            return renewal.clone();
        }
        let inner = Arc::clone(&self.0);
        let task = tokio::spawn(async move { inner.renewed(reason).await });
        // It does not panic, and ends early only when everything does.
        let renewal = task.map(|ended| ended.unwrap_or_else(|_| Err(Arc::new(Error::Stopped))));
        let renewal = renewal.boxed().shared();
        state.renewal = Some(renewal.clone());
        renewal
    }
}

impl Inner {
    /// The state. Never held across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renewed(&self, reason: RenewReason) -> Outcome {
        let credential_source = &self.credential_source;
        let refused = match &reason {
            RenewReason::Refused(credentials) => Some(credentials),
            RenewReason::Now | RenewReason::InTime => None,
        };
        let before = self.state().cached.as_ref().map(|old| old.credentials.source().clone());
        let result = obtain(credential_source, &self.context, refused, before.as_ref()).await;
        let now = SystemTime::now();
        let mut state = self.state();
        state.renewal = None;
        state.not_before = None;
        let old = state.cached.as_ref();
        match result {
            Ok(cached) => {
                let until = cached.until.map(humantime::format_rfc3339_seconds);
                let until = until.map_or_else(|| "an unknown time".to_owned(), |u| u.to_string());
                let credentials = cached.credentials.clone();
                let id = mask(credentials.access_key_id());
                let source = credential_source.source_of(&credentials);
                info!("credentials ({id}) of {source} are there; they hold until {until}");
                if old.is_some_and(|old| old.credentials == credentials) {
                    debug!("they are the same as before");
                    state.not_before = Some(Instant::now() + PAUSE);
                }
                state.cached = Some(cached);
                Ok(credentials)
            }
            Err(error) => {
                let old = old.filter(|old| reason == RenewReason::InTime && old.is_good(now));
                if let Some(until) = old.and_then(|old| old.until) {
                    warn!(
                        "the credentials of {credential_source} cannot be renewed ({error}); the old ones \
                         are used until {}",
                        humantime::format_rfc3339_seconds(until)
                    );
                }
                state.not_before = Some(Instant::now() + PAUSE);
                Err(Arc::new(error))
            }
        }
    }
}

impl State {
    fn may_renew(&self) -> bool {
        self.not_before.is_none_or(|at| at <= Instant::now())
    }
}

impl ProvideCredentials for Provider {
    fn source(&self) -> &Source {
        Self::source(self)
    }

    fn provide(&self) -> Providing<'_, Credentials> {
        Box::pin(async { self.get().await.map_err(Cause::shared) })
    }

    fn provide_last(&self) -> Providing<'_, Credentials> {
        Box::pin(async { self.get_for(false).await.map_err(Cause::shared) })
    }

    fn renew<'a>(&'a self, refused: &'a Credentials) -> Providing<'a, Option<Credentials>> {
        Box::pin(async { Self::renew(self, refused).await.map_err(Cause::shared) })
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Provider").field(&self.0.credential_source).finish()
    }
}

#[cfg(test)]
#[path = "provider_tests.rs"]
mod tests;
