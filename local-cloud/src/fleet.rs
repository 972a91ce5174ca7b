//! Fleets: what instances are called, where they are found, how they are started, and how many there are.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use crate::{
    agent::build_of,
    builder::Builder,
    instance::{Instance, InstanceStatus},
    world::World,
};

/// The newest build of an agent that does not support sessions yet.
const LAST_WITHOUT_SESSIONS: [u32; 2] = [3, 256];

/// How an instance is found, beside its id and its name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Facts {
    /// The name that its system has.
    pub host_name: String,
    /// Its addresses inside the VPC.
    pub private_addresses: Vec<Ipv4Addr>,
    /// The public addresses that it was made with.
    pub public_addresses: Vec<Ipv4Addr>,
    /// The public address that was bound to it.
    pub elastic_address: Option<Ipv4Addr>,
    /// Tags, key and value.
    pub tags: Vec<(String, String)>,
    /// How long it takes to come up.
    pub boot: Boot,
}

/// How long an instance takes to come up, once StartInstance was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Boot {
    /// Until it is Running.
    pub running: Duration,
    /// From then until its agent is online.
    pub agent: Duration,
}

/// A step of an instance on its way up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BootStep {
    at: Instant,
    instance: String,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Running,
    AgentOnline,
}

impl Instance {
    /// The name that its system has (none).
    #[must_use]
    pub fn host_name(mut self, name: impl Into<String>) -> Self {
        self.facts.host_name = name.into();
        self
    }

    /// An address inside the VPC (none).
    #[must_use]
    pub fn private_address(mut self, address: Ipv4Addr) -> Self {
        self.facts.private_addresses.push(address);
        self
    }

    /// A public address that it was made with (none).
    #[must_use]
    pub fn public_address(mut self, address: Ipv4Addr) -> Self {
        self.facts.public_addresses.push(address);
        self
    }

    /// A public address that was bound to it (none).
    #[must_use]
    pub fn elastic_address(mut self, address: Ipv4Addr) -> Self {
        self.facts.elastic_address = Some(address);
        self
    }

    /// A tag (none).
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.facts.tags.push((key.into(), value.into()));
        self
    }

    /// How long it takes to be Running after StartInstance, and then until its agent is online (no time at all).
    #[must_use]
    pub fn boot(mut self, running: Duration, agent: Duration) -> Self {
        self.facts.boot = Boot { running, agent };
        self
    }

    /// What its agent says its version is (that of [`Instance::agent`]); empty is an agent that was never there.
    #[must_use]
    pub fn agent_version(mut self, version: impl Into<String>) -> Self {
        self.agent_version = Some(version.into());
        self
    }

    /// `mi-…`: a machine of somewhere else, which the service knows of through its agent only.
    pub(crate) fn is_managed(&self) -> bool {
        self.id.starts_with("mi-")
    }

    /// Whether the agent's version is one that supports sessions.
    pub(crate) fn supports_sessions(&self) -> bool {
        build_of(&self.version()).is_some_and(|build| build > LAST_WITHOUT_SESSIONS)
    }
}

impl Builder {
    /// Adds so many running instances: `i-bp1fleet00001` named `web-00001`, with the host name `host00001`, the private
    /// address 10.0.0.1 and so on, and the tags `role=web` and `number=1`.
    pub fn fleet(mut self, count: u32) -> Self {
        for number in 1..=count {
            self = self.instance(
                Instance::new(format!("i-bp1fleet{number:05}"))
                    .name(format!("web-{number:05}"))
                    .host_name(format!("host{number:05}"))
                    .private_address(Ipv4Addr::from_bits(0x0a00_0000 + number))
                    .tag("role", "web")
                    .tag("number", number.to_string()),
            );
        }
        self
    }
}

impl World {
    /// An instance begins to start.
    pub(crate) fn boot(&mut self, id: &str, now: Instant) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        instance.status = InstanceStatus::Starting;
        instance.agent_online = false;
        let Boot { running, agent } = instance.facts.boot;
        let step = |after, step| BootStep { at: now + after, instance: id.to_owned(), step };
        self.booting.push(step(running, Step::Running));
        self.booting.push(step(running + agent, Step::AgentOnline));
    }

    /// Does what has become due meanwhile.
    pub(crate) fn settle(&mut self, now: Instant) {
        let (due, later) = std::mem::take(&mut self.booting)
            .into_iter()
            .partition::<Vec<BootStep>, _>(|step| step.at <= now);
        self.booting = later;
        for BootStep { instance, step, .. } in due {
            match (self.instances.get_mut(&instance), step) {
                (Some(instance), Step::Running) => instance.status = InstanceStatus::Running,
                (Some(instance), Step::AgentOnline) => instance.agent_online = true,
                (None, _) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Os;

    #[test]
    fn an_instance_comes_up_in_its_time() {
        let mut world = World { regions: vec!["cn-hangzhou".into()], ..World::default() };
        let (boot, agent) = (Duration::from_secs(5), Duration::from_secs(3));
        world.add_instance(Instance::new("i-a").status(InstanceStatus::Stopped).boot(boot, agent));
        let now = Instant::now();
        world.boot("i-a", now);
        for (after, status, online) in [
            (0, InstanceStatus::Starting, false),
            (5, InstanceStatus::Running, false),
            (7, InstanceStatus::Running, false),
            (8, InstanceStatus::Running, true),
        ] {
            world.settle(now + Duration::from_secs(after));
            let instance = &world.instances["i-a"];
            assert_eq!((instance.status, instance.agent_online), (status, online), "{after}");
        }
        assert!(world.booting.is_empty());
    }

    #[test]
    fn older_agents_do_not_support_sessions() {
        for (os, version, supported) in [
            (Os::Linux, "2.2.3.256", false),
            (Os::Linux, "2.2.3.257", true),
            (Os::Linux, "2.2.3.1000", true),
            (Os::Linux, "2.4.3.256", false),
            (Os::Windows, "2.1.3.256", false),
            (Os::Windows, "2.1.3.900", true),
            (Os::Linux, "", false),
        ] {
            let instance = Instance::new("i-a").os(os).agent_version(version);
            assert_eq!(instance.supports_sessions(), supported, "{os:?} {version}");
        }
    }
}
