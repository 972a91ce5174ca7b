//! Temporary keys: made on the spot, and good for the API until they end.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use crate::{
    account::AccessKey,
    world::{REMEMBERED, World, random_hex},
};

/// How long temporary keys hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    pub(crate) told: Duration,
    pub(crate) real: Option<Duration>,
}

impl Lifetime {
    /// So long.
    #[must_use]
    pub fn new(lifetime: Duration) -> Self {
        Self { told: lifetime, real: None }
    }

    /// They are told to hold as long as they did, and end after so long all the same.
    #[must_use]
    pub fn but_really(mut self, lifetime: Duration) -> Self {
        self.real = Some(lifetime);
        self
    }
}

impl Default for Lifetime {
    /// An hour.
    fn default() -> Self {
        Self::new(Duration::from_secs(3600))
    }
}

/// Temporary keys, as they are handed out.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: String,
    /// When they end, as it is told.
    pub(crate) expiration: String,
}

/// The temporary keys that there are, oldest forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Issuer(VecDeque<String>);

impl World {
    /// Makes temporary keys that the API knows from now on.
    pub(crate) fn issue(&mut self, lifetime: Lifetime, denied: &[String]) -> Issued {
        let now = self.settings.now();
        let issued = Issued {
            id: format!("STS.N{}", random_hex(8)),
            secret: random_hex(16),
            token: format!("{}+/=", random_hex(64)),
            expiration: written(now + lifetime.told),
        };
        let key = AccessKey::new(&issued.id, &issued.secret).token(&issued.token);
        let key = key.expires(now + lifetime.real.unwrap_or(lifetime.told));
        let key = denied.iter().fold(key, |key, action| key.deny(action));
        self.keys.insert(issued.id.clone(), key);
        self.issuer.0.push_back(issued.id.clone());
        if self.issuer.0.len() > REMEMBERED
            && let Some(oldest) = self.issuer.0.pop_front()
        {
            self.keys.remove(&oldest);
        }
        issued
    }
}

fn written(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
