//! Which generation an instance's agent is of: queried, and cached for a day. A cached version counts at
//! once. It is queried again if it is older than ten minutes: an agent is updated, and a replaced
//! system disk has another one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::future::{LocalBoxFuture, Shared, ready};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tracing::{debug, warn};

use crate::app::Cloud;
use crate::explain::Explain as _;
use crate::gateway::connection::Generations;
use crate::platform::cache::{Cache, DAY, Topic};
use session_manager_proto::generation::{AgentVersion, Generation};

/// How long a version is not queried again.
const FRESH: Duration = Duration::from_secs(600);
/// After so long a version that could not be found out is queried again.
const ASK_AGAIN: Duration = Duration::from_secs(300);
/// The same after a failure that may pass. A query that has begun before that is not waited for: it may
/// be one that nobody has polled meanwhile.
const ASK_AGAIN_SOON: Duration = Duration::from_secs(10);

/// How a silent redial is prevented for good, for messages and for `doctor`.
pub(crate) const UPDATE: &str = "update the agent (ECS console > Cloud Assistant > ECS Instances > \
    Upgrade), or allow it to update itself";

/// The versions of agents: those in the cache, and what this process knows beside it.
#[derive(Debug)]
pub(crate) struct AgentVersions {
    cache: Cache,
    /// Whether warnings are not shown (`--quiet`).
    is_quiet: bool,
    /// By the topic of the version in the cache.
    agents: RefCell<HashMap<Topic, Agent>>,
    /// The instance whose idle sessions were reported.
    reported: RefCell<Option<Topic>>,
}

/// What is known of an instance's agent beside the cache.
#[derive(Debug, Default)]
struct Agent {
    /// Its version, and when it was queried, where the cache does not keep it.
    uncached: Option<(AgentVersion, SystemTime)>,
    query: Query,
}

/// The last query of a version.
#[derive(Debug, Default)]
enum Query {
    /// It has returned one, or there was none.
    #[default]
    Done,
    /// It began at that time. All who look the version up wait for the same one.
    Running(Shared<LocalBoxFuture<'static, Answer>>, SystemTime),
    /// It has returned none. The next one is made so long after that time.
    Failed(SystemTime, Duration),
}

/// The result of a query.
#[derive(Clone, Debug)]
enum Answer {
    /// The version, and its text.
    Version(AgentVersion, String),
    /// There is none, or it is of another form.
    Unreadable,
    Failed {
        may_pass: bool,
    },
}

impl Answer {
    fn of(version: Option<String>) -> Self {
        let version = version.and_then(|text| Some((AgentVersion::parse(&text)?, text)));
        version.map_or(Self::Unreadable, |(version, text)| Self::Version(version, text))
    }

    fn version(&self) -> Option<AgentVersion> {
        match self {
            Self::Version(version, _) => Some(*version),
            Self::Unreadable | Self::Failed { .. } => None,
        }
    }
}

/// A look-up of the generation of an instance's agent. It sends nothing until it is polled.
#[derive(Clone, Copy)]
pub(crate) struct AgentLookUp<'a> {
    versions: &'a AgentVersions,
    cloud: &'a Cloud,
    instance: &'a str,
}

impl<'a> AgentLookUp<'a> {
    /// The version that is known, if it was queried a short while ago, or else that of a query. Cancel-safe.
    pub(crate) async fn query(self) -> Option<AgentVersion> {
        self.versions.query(&topic(self.cloud, self.instance), || self.ask()).await
    }

    /// The generation that is known, if one is, and then, if there is one, that of [`Self::query`].
    pub(crate) fn generations(self) -> Generations<'a> {
        let known = async move { self.versions.known(&topic(self.cloud, self.instance)) };
        let known = known.map(|known| known.map(|(version, _)| version));
        let versions = stream::once(known).chain(stream::once(self.query()));
        versions.filter_map(|version| ready(version.map(Generation::of))).boxed_local()
    }

    fn ask(self) -> LocalBoxFuture<'static, Answer> {
        let (client, instance) = (self.cloud.client.clone(), self.instance.to_owned());
        async move {
            match client.agent_status(&instance).await {
                Ok(status) => {
                    let answer = Answer::of(status.and_then(|status| status.version));
                    if answer.version().is_none() {
                        debug!("the agent of {instance} is of a version that cannot be read");
                    }
                    answer
                }
                Err(error) => {
                    let why = error.why().unwrap_or_default();
                    debug!(
                        "the version of the agent of {instance} cannot be queried: {error}: {why}"
                    );
                    Answer::Failed { may_pass: error.kind().may_pass() }
                }
            }
        }
        .boxed_local()
    }
}

impl AgentVersions {
    pub(crate) fn new(cache: Cache, is_quiet: bool) -> Self {
        Self { cache, is_quiet, agents: RefCell::default(), reported: RefCell::default() }
    }

    pub(crate) fn look_up<'a>(&'a self, cloud: &'a Cloud, instance: &'a str) -> AgentLookUp<'a> {
        AgentLookUp { versions: self, cloud, instance }
    }

    /// Takes a version that somebody else has queried.
    pub(crate) fn learn(&self, cloud: &Cloud, instance: &str, version: Option<String>) {
        self.take(&topic(cloud, instance), &Answer::of(version), SystemTime::now());
    }

    /// The version that was queried last, less than a day ago, and when. The cache is read each time: other
    /// processes write to it, and it may be cleared.
    fn known(&self, topic: &Topic) -> Option<(AgentVersion, SystemTime)> {
        let now = SystemTime::now();
        let cached = self.cache.get::<String>(topic, DAY, now);
        let cached = cached.and_then(|(text, at)| Some((AgentVersion::parse(&text)?, at)));
        let uncached = self.agents.borrow().get(topic).and_then(|agent| agent.uncached);
        let uncached = uncached.filter(|(_, at)| is_within(DAY, *at, now));
        cached.into_iter().chain(uncached).max_by_key(|(_, at)| *at)
    }

    async fn query(
        &self,
        topic: &Topic,
        ask: impl FnOnce() -> LocalBoxFuture<'static, Answer>,
    ) -> Option<AgentVersion> {
        let now = SystemTime::now();
        if let Some((version, at)) = self.known(topic)
            && is_within(FRESH, at, now)
        {
            return Some(version);
        }
        let (query, begun) = self.running(topic, now, ask)?;
        let answer = query.await;
        // The first of those who waited for it.
        let is_news = matches!(
            self.agents.borrow().get(topic).map(|agent| &agent.query),
            Some(Query::Running(_, at)) if *at == begun
        );
        if is_news {
            self.take(topic, &answer, SystemTime::now());
        }
        answer.version()
    }

    /// The query that is under way, or one that begins, unless the last one has failed a short while ago.
    fn running(
        &self,
        topic: &Topic,
        now: SystemTime,
        ask: impl FnOnce() -> LocalBoxFuture<'static, Answer>,
    ) -> Option<(Shared<LocalBoxFuture<'static, Answer>>, SystemTime)> {
        let mut agents = self.agents.borrow_mut();
        let agent = agents.entry(topic.clone()).or_default();
        match &agent.query {
            Query::Failed(at, pause) if is_within(*pause, *at, now) => None,
            Query::Running(query, at) if is_within(ASK_AGAIN_SOON, *at, now) => {
                Some((query.clone(), *at))
            }
            Query::Done | Query::Running(..) | Query::Failed(..) => {
                let query = ask().shared();
                agent.query = Query::Running(query.clone(), now);
                Some((query, now))
            }
        }
    }

    /// Takes an answer in place of what is known. A failure changes nothing of it.
    fn take(&self, topic: &Topic, answer: &Answer, now: SystemTime) {
        let mut agents = self.agents.borrow_mut();
        let agent = agents.entry(topic.clone()).or_default();
        agent.query = match answer {
            Answer::Version(version, text) => {
                let is_cached = self.cache.put(topic, text, now);
                agent.uncached = (!is_cached).then_some((*version, now));
                Query::Done
            }
            Answer::Unreadable => {
                self.cache.forget(topic);
                agent.uncached = None;
                Query::Failed(now, ASK_AGAIN)
            }
            Answer::Failed { may_pass: true } => Query::Failed(now, ASK_AGAIN_SOON),
            Answer::Failed { may_pass: false } => Query::Failed(now, ASK_AGAIN),
        };
    }

    /// Reports, once a day for an instance, why its idle sessions are not kept open.
    pub(crate) fn warn_of_idle_end(&self, cloud: &Cloud, instance: &str) {
        let label = cloud.client.label(instance);
        if !self.is_to_be_reported(&cloud.topic("agent-idle", &[instance])) {
            return debug!("an idle session with {label} has ended");
        }
        warn!(
            "an idle session ended after 180 s. {label}: {SILENT_REDIAL}, so that idle sessions are \
             not kept open; {UPDATE}. With --keepalive they stay open all the same (shown once a day)"
        );
    }

    /// Whether idle sessions were not reported within a day. They are from now on, if warnings are shown.
    fn is_to_be_reported(&self, topic: &Topic) -> bool {
        let now = SystemTime::now();
        let last = self.reported.borrow_mut().replace(topic.clone());
        if last.as_ref() == Some(topic) || self.cache.get::<()>(topic, DAY, now).is_some() {
            return false;
        }
        if !self.is_quiet {
            self.cache.put(topic, &(), now);
        }
        true
    }
}

fn topic(cloud: &Cloud, instance: &str) -> Topic {
    cloud.topic("agent", &[instance])
}

/// Whether less than so long has passed since a time, by the clock that goes on while the machine sleeps. A
/// clock that was set back tells nothing.
fn is_within(time: Duration, since: SystemTime, now: SystemTime) -> bool {
    now.duration_since(since).is_ok_and(|passed| passed < time)
}

/// What is wrong with agents before generation D.
pub(crate) const SILENT_REDIAL: &str = "its Cloud Assistant agent connects silently again to a target \
    that has closed (from version 4.1065 on it does not)";

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
