//! What a test does to a cloud while it runs.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::sleep};

use crate::{
    command::CommandFault,
    fault::{Action, ApiFault, Fault},
    frame_fault::FrameFault,
    restart::Restart,
    sources::SourceFault,
    world::{Control, Down, Shared},
};

/// Puts faults in while the cloud runs.
#[derive(Debug)]
pub struct Faults<'a> {
    shared: &'a Shared,
}

impl<'a> Faults<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Self { shared }
    }

    /// For calls of the API.
    pub fn api(&self, fault: ApiFault) {
        self.shared.world().api_faults.push(fault);
    }

    /// The connections to the API that are there now are dead from now on, as with [`ApiFault::dead_connections`].
    pub fn dead_connections(&self) {
        self.shared.world().connections_die();
    }

    /// For questions to the metadata service and the credentials URI.
    pub fn source(&self, fault: SourceFault) {
        self.shared.world().source_faults.push(fault);
    }

    /// For the connections to an instance that come from now on. Whether there is one with that id.
    pub fn stream(&self, instance: &str, fault: Fault) -> bool {
        let mut world = self.shared.world();
        world.instances.get_mut(instance).map(|found| found.faults.push(fault)).is_some()
    }

    /// For the frames of connections to an instance that come from now on. Whether there is one with that id.
    pub fn frame(&self, instance: &str, fault: FrameFault) -> bool {
        let mut world = self.shared.world();
        world.instances.get_mut(instance).map(|found| found.frame_faults.push(fault)).is_some()
    }

    /// For the commands that an instance gets from now on. Whether there is one with that id.
    pub fn command(&self, instance: &str, fault: CommandFault) -> bool {
        let mut world = self.shared.world();
        let found = world.instances.get_mut(instance);
        found.map(|found| found.commands.faults.push(fault)).is_some()
    }

    /// Strikes the live connections of a session now. Whether there was one, or a stream that waits for one.
    pub fn inject(&self, session: &str, action: Action) -> bool {
        self.shared.tell(session, &Control::Inject(action))
    }

    /// Strikes the connections that a session has in so long. Whether it has one now, or a stream that waits for one.
    pub fn inject_in(&self, session: &str, delay: Duration, action: Action) -> bool {
        self.shared.tell(session, &Control::StrikeIn(delay, action))
    }

    /// For the frames of a session's live connections from now on. Whether there was one.
    pub fn corrupt(&self, session: &str, fault: FrameFault) -> bool {
        self.shared.tell(session, &Control::Corruption(fault))
    }

    /// The gateway restarts, beginning now. How many sessions it has told.
    pub fn restart(&self, restart: Restart) -> usize {
        let Restart { session, announced, close_after, code, down, refusal } = restart;
        let from = std::time::Instant::now() + close_after;
        let concerned: Vec<String> = {
            let mut world = self.shared.world();
            world.down.push(Down { session: session.clone(), from, until: from + down, refusal });
            let all = world.tickets.iter().map(|ticket| ticket.id.clone());
            all.filter(|id| session.as_ref().is_none_or(|wanted| wanted == id)).collect()
        };
        let control = Control::Restart { announced, close_after, code };
        concerned.iter().filter(|id| self.shared.tell(id, &control)).count()
    }

    /// Takes all faults back that were not injected yet. What streams have taken with them stays.
    pub fn clear(&self) {
        let mut world = self.shared.world();
        world.api_faults.clear();
        world.source_faults.clear();
        world.down.clear();
        for instance in world.instances.values_mut() {
            instance.faults.clear();
            instance.frame_faults.clear();
            instance.commands.faults.clear();
        }
    }
}

/// A limit that changes again and again, until this is dropped.
#[derive(Debug)]
#[must_use = "the limit stays as it is once this is dropped"]
pub struct Wobble(JoinHandle<()>);

impl Wobble {
    pub(crate) fn start(
        shared: Arc<Shared>,
        instance: String,
        limits: Vec<u64>,
        every: Duration,
    ) -> Self {
        Self(tokio::spawn(async move {
            for limit in limits.into_iter().cycle() {
                if !shared.set_limit(&instance, limit) {
                    return;
                }
                sleep(every).await;
            }
        }))
    }
}

impl Drop for Wobble {
    fn drop(&mut self) {
        self.0.abort();
    }
}
