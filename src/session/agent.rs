//! Which generation an instance's agent is of: queried once, and cached for a day.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::app::Cloud;
use crate::explain::Explain as _;
use crate::gateway::connection::AgentLookUp;
use crate::platform::cache::{Cache, DAY};
use session_manager_proto::generation::{AgentVersion, Generation};

/// After so long a version that could not be found out is queried again.
const ASK_AGAIN: Duration = Duration::from_secs(300);

/// How a silent redial is prevented for good, for messages and for `doctor`.
pub(crate) const UPDATE: &str = "update the agent (ECS console > Cloud Assistant > ECS Instances > \
    Upgrade), or allow it to update itself";

/// The versions of agents that this process has queried.
#[derive(Debug)]
pub(crate) struct AgentVersions {
    cache: Cache,
    /// By instance; held during a query, so that many sessions share it.
    known: Mutex<HashMap<String, Known>>,
    /// The instance whose idle sessions were reported.
    reported: RefCell<Option<String>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    version: Option<AgentVersion>,
    asked: Instant,
}

impl AgentVersions {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { cache, known: Mutex::default(), reported: RefCell::default() }
    }

    /// A look-up of the generation of an instance's agent. It sends nothing until it is polled.
    pub(crate) fn look_up<'a>(
        &'a self,
        cloud: &'a Cloud,
        instance: &'a str,
    ) -> Shared<AgentLookUp<'a>> {
        let generation = async { self.version(cloud, instance).await.map(Generation::of) };
        generation.boxed_local().shared()
    }

    /// `None` if it cannot be found out: without the permission, or with a version of another form.
    async fn version(&self, cloud: &Cloud, instance: &str) -> Option<AgentVersion> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.get(instance)
            && (known.version.is_some() || known.asked.elapsed() < ASK_AGAIN)
        {
            return known.version;
        }
        let version = self.find_out(cloud, instance).await;
        known.insert(instance.to_owned(), Known { version, asked: Instant::now() });
        version
    }

    async fn find_out(&self, cloud: &Cloud, instance: &str) -> Option<AgentVersion> {
        let topic = cloud.topic("agent", &[instance]);
        let remembered = self.cache.get::<String>(&topic, DAY, SystemTime::now());
        if let Some(version) = remembered.and_then(|(text, _)| AgentVersion::parse(&text)) {
            debug!("the agent of {instance} is known to be of version {version}");
            return Some(version);
        }
        let status = match cloud.client.agent_status(instance).await {
            Ok(status) => status?,
            Err(error) => {
                let why = error.why().unwrap_or_default();
                debug!("the version of the agent of {instance} is not known: {error}: {why}");
                return None;
            }
        };
        let text = status.version?;
        let version = AgentVersion::parse(&text);
        match version {
            Some(_) => self.cache.put(&topic, &text, SystemTime::now()),
            None => debug!("the agent of {instance} is of a version that cannot be read"),
        }
        version
    }

    /// Reports, once a day for an instance, why its idle sessions are not kept open.
    pub(crate) fn warn_of_idle_end(&self, cloud: &Cloud, instance: &str) {
        let topic = cloud.topic("agent-idle", &[instance]);
        let (label, now) = (cloud.client.label(instance), SystemTime::now());
        let last = self.reported.borrow_mut().replace(instance.to_owned());
        if last.as_deref() == Some(instance) || self.cache.get::<()>(&topic, DAY, now).is_some() {
            return debug!("an idle session with {label} has ended");
        }
        self.cache.put(&topic, &(), now);
        warn!(
            "an idle session ended after 180 s. {label}: {SILENT_REDIAL}, so that idle sessions are \
             not kept open; {UPDATE}. With --keepalive they stay open all the same (shown once a day)"
        );
    }
}

/// What is wrong with agents before generation D.
pub(crate) const SILENT_REDIAL: &str = "its Cloud Assistant agent connects silently again to a target \
    that has closed (from version 4.1065 on it does not)";
