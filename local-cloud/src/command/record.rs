//! What happened to commands and keys, for tests to look at.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, SystemTime},
};

use super::{CommandKind, Ending, Mask, Order};

/// So many invocations, keys and queries are kept; older ones are forgotten.
const KEPT: usize = 16_384;
/// So many polls of one invocation are kept.
const KEPT_POLLS: usize = 1_024;

/// A command on one instance, from RunCommand or InvokeCommand to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvocationRecord {
    /// The InvokeId. A call that names more than one instance has a record for each.
    pub id: String,
    /// Which command it is.
    pub command_id: String,
    /// Which sort of command.
    pub kind: CommandKind,
    /// Where it was to be carried out.
    pub instance: String,
    /// The instance's region.
    pub region: String,
    /// The content of RunCommand, decoded.
    pub content: Option<String>,
    /// The parameter `username`.
    pub username: Option<String>,
    /// The parameter `sshPublicKey`.
    pub public_key: Option<String>,
    /// The call's Timeout.
    pub timeout: Duration,
    /// The call's ClientToken.
    pub client_token: Option<String>,
    /// Whose call it was.
    pub access_key_id: String,
    /// How often the call came, with the same ClientToken.
    pub calls: u32,
    /// When it came first.
    pub started: SystemTime,
    /// Its true status: Pending, Running, and then that of the ending.
    pub status: String,
    /// How it ended.
    pub ending: Option<Ending>,
    /// When it ended.
    pub ended: Option<SystemTime>,
    /// Each DescribeInvocationResults that asked for it.
    pub polls: Vec<Poll>,
    pub(crate) running_since: Option<SystemTime>,
    pub(crate) empty_left: u32,
    pub(crate) mask: Option<Mask>,
}

/// An answer of DescribeInvocationResults, as far as it is about one invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Poll {
    /// When.
    pub at: SystemTime,
    /// The status that it gave; none if it did not know of the invocation yet.
    pub status: Option<String>,
}

/// A temporary key that was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyRecord {
    /// For which instance.
    pub instance: String,
    /// For which user of it.
    pub user: String,
    /// The line as it came.
    pub key: String,
    /// From when.
    pub registered: SystemTime,
    /// Until when.
    pub until: SystemTime,
}

impl KeyRecord {
    /// Whether it still opens the door.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        SystemTime::now() < self.until
    }
}

/// An instance's sshd that asked for the keys of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyQueryRecord {
    /// The instance that it is on, by its own account.
    pub instance: String,
    /// The user.
    pub user: String,
    /// The HTTP status of the answer: 200, 404 without the plug-in, 400 if the query makes no sense.
    pub status: u16,
    /// How many keys it was given.
    pub keys: usize,
    /// When.
    pub at: SystemTime,
}

impl InvocationRecord {
    pub(crate) fn new(id: String, command_id: String, instance: String, order: &Order) -> Self {
        let (content, user, key) = match order {
            Order::Install => (Some(super::INSTALL_COMMAND.to_owned()), None, None),
            Order::SendKey { user, key } => (None, Some(user.clone()), Some(key.clone())),
            Order::Script { content } => {
                (Some(String::from_utf8_lossy(content).into_owned()), None, None)
            }
        };
        Self {
            id,
            command_id,
            kind: order.kind(),
            instance,
            region: String::new(),
            content,
            username: user,
            public_key: key,
            timeout: Duration::ZERO,
            client_token: None,
            access_key_id: String::new(),
            calls: 1,
            started: SystemTime::now(),
            status: "Pending".to_owned(),
            ending: None,
            ended: None,
            polls: Vec::new(),
            running_since: None,
            empty_left: 0,
            mask: None,
        }
    }

    /// Whether it ended in Success.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.ending.as_ref().is_some_and(Ending::is_success)
    }

    /// The times between one poll and the next.
    #[must_use]
    pub fn poll_intervals(&self) -> Vec<Duration> {
        let pairs = self.polls.iter().zip(self.polls.iter().skip(1));
        pairs.map(|(one, next)| next.at.duration_since(one.at).unwrap_or_default()).collect()
    }

    /// Answers one ask: nothing if the invocation is not known yet, or else its status, and whether that is the truth.
    pub(crate) fn poll(&mut self) -> Option<(String, bool)> {
        let shown = if self.empty_left > 0 {
            self.empty_left -= 1;
            None
        } else if let Some(mask) = &mut self.mask {
            let status = mask.status.clone();
            if !mask.use_up() {
                self.mask = None;
            }
            Some((status, false))
        } else {
            Some((self.status.clone(), true))
        };
        if self.polls.len() < KEPT_POLLS {
            let status = shown.as_ref().map(|(status, _)| status.clone());
            self.polls.push(Poll { at: SystemTime::now(), status });
        }
        shown
    }

    pub(crate) fn run(&mut self) {
        self.running_since = Some(SystemTime::now());
        self.status = "Running".to_owned();
    }

    pub(crate) fn end(&mut self, ending: Ending) {
        self.status.clone_from(&ending.status);
        self.ending = Some(ending);
        self.ended = Some(SystemTime::now());
    }
}

/// The part of the [`crate::State`] that is about commands and keys.
#[derive(Debug, Default)]
pub(crate) struct Log {
    invocations: BTreeMap<u64, InvocationRecord>,
    next: u64,
    pub(crate) keys: VecDeque<KeyRecord>,
    pub(crate) key_queries: VecDeque<KeyQueryRecord>,
}

impl Log {
    pub(crate) fn add(&mut self, invocation: InvocationRecord) -> u64 {
        let serial = self.next;
        self.next += 1;
        self.invocations.insert(serial, invocation);
        if self.invocations.len() > KEPT {
            self.invocations.pop_first();
        }
        serial
    }

    pub(crate) fn get_mut(&mut self, serial: u64) -> Option<&mut InvocationRecord> {
        self.invocations.get_mut(&serial)
    }

    pub(crate) fn invocations(&self) -> impl Iterator<Item = &InvocationRecord> {
        self.invocations.values()
    }

    pub(crate) fn invocations_mut(&mut self) -> impl Iterator<Item = &mut InvocationRecord> {
        self.invocations.values_mut()
    }

    /// Registers a key for so long.
    pub(crate) fn register(&mut self, instance: &str, user: &str, key: &str, lifetime: Duration) {
        let registered = SystemTime::now();
        let record = KeyRecord {
            instance: instance.to_owned(),
            user: user.to_owned(),
            key: key.to_owned(),
            registered,
            until: registered + lifetime,
        };
        push(&mut self.keys, record);
    }

    /// The keys of a user that are registered now, each of them once.
    pub(crate) fn valid_keys(&self, instance: &str, user: &str) -> Vec<&str> {
        let fits =
            |key: &&KeyRecord| key.instance == instance && key.user == user && key.is_valid();
        let mut keys: Vec<&str> = Vec::new();
        for record in self.keys.iter().filter(fits) {
            if !keys.contains(&record.key.as_str()) {
                keys.push(&record.key);
            }
        }
        keys
    }

    /// Ends the registration of all keys of an instance; how many there were.
    pub(crate) fn forget_keys(&mut self, instance: &str) -> usize {
        let valid = self.keys.iter_mut().filter(|key| key.instance == instance && key.is_valid());
        valid.map(|key| key.until = SystemTime::now()).count()
    }

    pub(crate) fn add_query(&mut self, query: KeyQueryRecord) {
        push(&mut self.key_queries, query);
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() >= KEPT {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation() -> InvocationRecord {
        InvocationRecord::new("t-1".into(), "c-1".into(), "i-a".into(), &Order::Install)
    }

    #[test]
    fn an_invocation_is_unknown_then_masked_then_true() {
        let mut record = invocation();
        record.empty_left = 1;
        record.mask = Some(Mask { status: "Dreaming".into(), asks: Some(2) });
        record.end(Ending::success());
        assert_eq!(record.poll(), None);
        assert_eq!(record.poll(), Some(("Dreaming".into(), false)));
        assert_eq!(record.poll(), Some(("Dreaming".into(), false)));
        assert_eq!(record.poll(), Some(("Success".into(), true)));
        assert_eq!(record.polls.len(), 4);
        assert_eq!(record.poll_intervals().len(), 3);
        assert!(record.succeeded());
    }

    #[test]
    fn keys_are_given_to_their_user_once_and_while_they_last() {
        let mut log = Log::default();
        let minute = Duration::from_secs(60);
        for (instance, user, key, lifetime) in [
            ("i-a", "root", "k1", minute),
            ("i-a", "root", "k1", minute),
            ("i-a", "root", "k2", Duration::ZERO),
            ("i-a", "admin", "k3", minute),
            ("i-b", "root", "k4", minute),
            ("i-a", "root", "k5", minute),
        ] {
            log.register(instance, user, key, lifetime);
        }
        assert_eq!(log.valid_keys("i-a", "root"), ["k1", "k5"]);
        assert_eq!(log.forget_keys("i-a"), 4);
        assert!(log.valid_keys("i-a", "root").is_empty());
        assert_eq!(log.valid_keys("i-b", "root"), ["k4"]);
    }

    #[test]
    fn records_are_bounded() {
        let mut log = Log::default();
        let first = log.add(invocation());
        (0..KEPT).for_each(|_| _ = log.add(invocation()));
        assert_eq!(log.invocations().count(), KEPT);
        assert!(log.get_mut(first).is_none());
        let mut record = invocation();
        (0..KEPT_POLLS + 1).for_each(|_| _ = record.poll());
        assert_eq!(record.polls.len(), KEPT_POLLS);
    }
}
