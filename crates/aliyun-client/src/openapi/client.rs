//! Calls with a deadline: sent, and sent again where that may help and does no harm.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::config::{Answer, Call, Config, Named};
use super::error::{CallContext, Error, Failure, Kind, Problem};
use super::network::{NetworkError, seconds};
use super::transport::{self, Attempt, Head};
use crate::credentials::keys::Credentials;
use crate::credentials::provide::ProvideCredentials;
use crate::endpoint::{Endpoint, Region};

/// The longest pause between two tries that this program chooses by itself.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Calls the API. Cloning shares the connections. Dropping a call's future ends the call.
#[derive(Clone, Debug)]
pub struct Client {
    config: Arc<Config>,
}

impl Client {
    /// Prepares a client; nothing is sent.
    ///
    /// # Errors
    /// Where the endpoint is `https://` and TLS cannot be set up, the error of the transport says why.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.http.prepare(config.endpoint.uses_tls()).map_err(|problem| {
            let context = context(&config, "the API", None, None);
            Error::new(Problem::Tls(problem), context, None, 0)
        })?;
        Ok(Self { config: Arc::new(config) })
    }

    /// How this client calls.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What messages call an instance: `web-1 (i-…)`, or its id.
    pub fn label(&self, id: &str) -> String {
        self.config.label(id)
    }

    /// The same client with other credentials; the connections are shared.
    #[must_use]
    pub fn with_credentials(&self, credentials: Arc<dyn ProvideCredentials>) -> Self {
        let config = Config { credentials, ..(*self.config).clone() };
        Self { config: Arc::new(config) }
    }

    /// The same client for another region, at its endpoint.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn in_region(&self, region: Region, endpoint: Endpoint) -> Result<Self, Error> {
        Self::new(Config { region, endpoint, ..(*self.config).clone() })
    }

    /// The same client, whose messages call an instance by its name as well.
    #[must_use]
    pub fn naming(&self, named: Named) -> Self {
        let config = Config { named: Some(named), ..(*self.config).clone() };
        Self { config: Arc::new(config) }
    }

    /// Makes a call with the credentials that hold now; if the service finds that they do not, once
    /// more with new ones.
    pub(crate) async fn call(&self, call: &Call) -> Result<Answer, Error> {
        self.call_unless(call, std::future::pending()).await
    }

    /// The same, but no other try is made once it is `unwanted`, unless an earlier one may have taken
    /// effect although its answer did not come: then another try finds that out.
    pub(crate) async fn call_unless(
        &self,
        call: &Call,
        unwanted: impl Future<Output = ()>,
    ) -> Result<Answer, Error> {
        let mut unwanted = std::pin::pin!(unwanted);
        if !call.is_signed {
            return self.call_as(call, None, &mut unwanted).await;
        }
        let provider = &self.config.credentials;
        let provided = match call.is_last {
            true => provider.provide_last(),
            false => provider.provide(),
        };
        let credentials = tokio::select! {
            biased;
            credentials = provided => credentials.map_err(Problem::Credentials),
            // Nothing was sent.
            () = &mut unwanted => Err(Problem::Stopped),
        };
        let credentials = credentials.map_err(|problem| self.error(call, (problem, None), 0))?;
        let refused = match self.call_as(call, Some(&credentials), &mut unwanted).await {
            Err(error) if error.kind() == Kind::TokenExpired => error,
            answered => return answered,
        };
        tracing::debug!(action = call.action, "the service finds the credentials to be over");
        let renewed = tokio::select! {
            biased;
            renewed = provider.renew(&credentials) => renewed,
            () = &mut unwanted => Ok(None),
        };
        match renewed {
            Ok(Some(renewed)) => self.call_as(call, Some(&renewed), &mut unwanted).await,
            Ok(None) => Err(refused),
            Err(problem) => {
                let note = format!("and they cannot be renewed: {problem}");
                Err(refused.with_note(note))
            }
        }
    }

    /// Gets the credentials that calls will be signed with.
    ///
    /// # Errors
    /// When there are none, in the words of a call of `action`.
    pub async fn obtain_credentials(&self, action: &'static str) -> Result<(), Error> {
        let obtained = self.config.credentials.provide().await.map_err(Problem::Credentials);
        let context = || context(&self.config, action, None, None);
        obtained.map(drop).map_err(|problem| Error::new(problem, context(), None, 0))
    }

    /// Makes a call, in several tries if need be, within the time for it. A try whose answer does not
    /// begin in time, or stops for as long, has another one beside it, over a new connection; the first
    /// answer counts.
    async fn call_as(
        &self,
        call: &Call,
        credentials: Option<&Credentials>,
        unwanted: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<Answer, Error> {
        let deadline = Instant::now() + self.config.call_timeout;
        let fail = |failure, tries| self.failed(call, credentials, failure, tries);
        let mut running = FuturesUnordered::new();
        let mut late = Arc::new(Notify::new());
        // Of each try; of one that has ended nothing is left.
        let mut heads: Vec<Head> = Vec::new();
        let mut tries = 0;
        let mut next_try = Some(Instant::now());
        let mut maybe_applied = false;
        // Why the previous try failed, and the error of the call once no try is under way.
        let mut last: Option<Failure> = None;
        let mut given_up: Option<Error> = None;
        loop {
            if next_try.is_some_and(|at| at <= Instant::now()) {
                (next_try, tries, late) = (None, tries + 1, Arc::new(Notify::new()));
                let nonce = random_hex().map_err(|problem| fail((problem, None), tries - 1))?;
                let (number, late, head) = (tries, late.clone(), Head::default());
                heads.push(head.clone());
                let attempt = Attempt { number, nonce, credentials, late, head };
                running.push(async move {
                    (attempt.number, transport::once(&self.config, call, attempt).await)
                });
            }
            tokio::select! {
                biased;
                Some((number, answered)) = running.next() => {
                    let failure = match answered {
                        Ok(answer) => return Ok(answer),
                        Err(failure) => failure,
                    };
                    heads[number as usize - 1] = Head::default();
                    let action = call.action;
                    tracing::debug!(action, number, "failed: {}", failure.0);
                    let Some(asked_pause) = retry(&failure.0, call.idempotent) else {
                        return Err(fail(failure, tries));
                    };
                    maybe_applied |= may_have_been_applied(&failure.0);
                    if number == tries {
                        next_try = None;
                        match self.pause(tries, asked_pause, deadline) {
                            Ok(pause) => {
                                next_try = Some(Instant::now() + pause);
                                last = Some(failure);
                            }
                            Err(note) => {
                                given_up = Some(fail(failure, tries).with_note(note));
                            }
                        }
                    }
                    if running.is_empty()
                        && let Some(error) = given_up.take()
                    {
                        return Err(error);
                    }
                }
                () = &mut *unwanted, if next_try.is_some() && !maybe_applied => {
                    let stopped = || (Problem::Stopped, None);
                    return Err(fail(last.unwrap_or_else(stopped), tries));
                }
                () = late.notified() => {
                    let after = seconds(self.config.answer_timeout);
                    tracing::debug!(action = call.action, tries, "nothing came for {after}");
                    if call.idempotent
                        && let Ok(pause) = self.pause(tries, Duration::ZERO, deadline)
                    {
                        maybe_applied = true;
                        next_try = Some(Instant::now() + pause);
                    }
                }
                () = sleep_until(next_try.unwrap_or(deadline)), if next_try.is_some() => {}
                () = sleep_until(deadline) => {
                    return Err(match given_up {
                        Some(error) => error,
                        None => {
                            let begun = heads.iter().rev().find_map(|head| head.get().cloned());
                            self.cut_off(call, credentials, last, begun, tries)
                        }
                    });
                }
            }
        }
    }

    /// The pause before the next try, or a note on why there is none.
    fn pause(
        &self,
        tries: u32,
        asked: Duration,
        deadline: Instant,
    ) -> Result<Duration, Option<String>> {
        if tries >= self.config.max_tries {
            return Err(None);
        }
        // A failure of the random number generator is reported by the next try.
        let chosen = backoff(self.config.backoff, tries).unwrap_or(self.config.backoff);
        let pause = chosen.max(asked);
        if pause < deadline.saturating_duration_since(Instant::now()) {
            return Ok(pause);
        }
        let within = seconds(self.config.call_timeout);
        Err(Some(match asked > chosen {
            true => format!(
                "the service asks to wait {}, which is more than is left of the {within} for a call",
                seconds(asked)
            ),
            false => format!("the {within} for a call are over"),
        }))
    }

    /// The error of a call whose time ended in the middle of a try. `begun` is the `RequestId` of an
    /// answer that has begun, if one has.
    fn cut_off(
        &self,
        call: &Call,
        credentials: Option<&Credentials>,
        last: Option<Failure>,
        begun: Option<Option<String>>,
        tries: u32,
    ) -> Error {
        let after = self.config.call_timeout;
        tracing::debug!(action = call.action, tries, "no answer within {}", seconds(after));
        // An earlier error is more useful than the time-out.
        if let Some(failure) = last {
            let note = format!("the {} for a call ended during the last try", seconds(after));
            return self.failed(call, credentials, failure, tries).with_note(note);
        }
        let endpoint = self.config.endpoint.to_string();
        let (problem, request_id) = match begun {
            Some(request_id) => (NetworkError::Unfinished { endpoint, after }, request_id),
            None => (NetworkError::AnswerTimeout { endpoint, after }, None),
        };
        self.failed(call, credentials, (Problem::Network(problem), request_id), tries)
    }

    /// An error of a call without credentials.
    pub(crate) fn error(&self, call: &Call, failure: Failure, tries: u32) -> Error {
        self.failed(call, None, failure, tries)
    }

    fn failed(
        &self,
        call: &Call,
        credentials: Option<&Credentials>,
        failure: Failure,
        tries: u32,
    ) -> Error {
        let subject = call.subject.clone();
        let context = context(&self.config, call.action, subject, credentials);
        Error::new(failure.0, context, failure.1, tries)
    }
}

fn context(
    config: &Config,
    action: &'static str,
    subject: Option<String>,
    credentials: Option<&Credentials>,
) -> CallContext {
    CallContext {
        action,
        subject: subject.map(|id| config.label(&id)),
        endpoint: config.endpoint.to_string(),
        region: config.region.to_string(),
        access_key_id: credentials.map(|of| of.access_key_id().to_owned()),
        has_token: credentials.is_some_and(|of| of.security_token().is_some()),
        source: config.credentials.source().clone(),
    }
}

/// Whether another try may help; if so, the pause that the service asks for.
fn retry(problem: &Problem, idempotent: bool) -> Option<Duration> {
    match problem {
        Problem::Refused(refusal) => Kind::of_code(&refusal.code)
            .is_transient()
            .then(|| refusal.retry_after.unwrap_or_default()),
        Problem::Network(problem) => problem.is_worth_a_retry(idempotent).then_some(Duration::ZERO),
        Problem::Answer(_)
        | Problem::Credentials(_)
        | Problem::Stopped
        | Problem::Tls(_)
        | Problem::Input(_)
        | Problem::Setup(_) => None,
    }
}

/// Whether a try that failed may have taken effect.
fn may_have_been_applied(problem: &Problem) -> bool {
    match problem {
        Problem::Refused(refusal) => Kind::of_code(&refusal.code) != Kind::Throttled,
        Problem::Network(problem) => !problem.is_worth_a_retry(false),
        Problem::Answer(_) => true,
        Problem::Credentials(_)
        | Problem::Stopped
        | Problem::Tls(_)
        | Problem::Input(_)
        | Problem::Setup(_) => false,
    }
}

/// The pause after the given number of tries, from 1: doubled each time, less up to one half.
fn backoff(base: Duration, tries: u32) -> Result<Duration, Problem> {
    let full = base.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(MAX_BACKOFF);
    let [byte, ..] = random()?;
    Ok(full - full / 512 * u32::from(byte))
}

/// A nonce: 32 random hexadecimal digits.
pub(crate) fn random_hex() -> Result<String, Problem> {
    Ok(format!("{:032x}", u128::from_ne_bytes(random()?)))
}

fn random() -> Result<[u8; 16], Problem> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Problem::Setup(format!("the system gives no random numbers: {e}")))?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
