//! Registering a public key with an instance for a minute, as `send-key` and `proxy` need it.

use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::time::Instant;
use tracing::{debug, info};

use super::command::{Failed, INSTALL, Step, TIMEOUT, done, run_while_agent_online};
use super::public_key::PublicKey;
use crate::app::{Cloud, Result, usage};
use crate::cloud::InvocationError;
use crate::platform::cache::{Cache, DAY, Topic};

/// The service's command that registers a key.
const SEND_KEY: &str = "cmd-ACS-ECS-SendSshPublicKey-linux.sh";
/// How long a key is valid once it is registered.
pub(crate) const VALID: Duration = Duration::from_secs(60);
/// How long after that it is not registered again: there has to be time left to use it.
const FRESH: Duration = Duration::from_secs(45);

/// How old a registration may be once the installation is done: else the key is registered again.
const STALE: Duration = VALID.saturating_sub(FRESH);

/// Whose key is to be registered where.
pub(crate) struct Registration<'a> {
    pub(crate) cloud: &'a Cloud,
    pub(crate) cache: &'a Cache,
    pub(crate) instance: &'a str,
    pub(crate) user: &'a str,
    pub(crate) key: &'a PublicKey,
}

/// A key that is registered.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    /// When the registration was requested: it is valid for a minute from then on, or a little more.
    pub(crate) since: SystemTime,
    /// Whether the plug-in was installed, rather than known to be there.
    pub(crate) installed: bool,
    /// Of the call that registered the key.
    pub(crate) request_id: Option<String>,
}

impl Registered {
    /// Until when the key is valid, at least.
    pub(crate) fn until(&self) -> SystemTime {
        self.since + VALID
    }
}

impl Registration<'_> {
    /// Whether the key was registered such a short while ago that it need not be again.
    pub(crate) fn is_fresh(&self) -> bool {
        let fresh = self.cache.get::<()>(&self.of_key(), FRESH, SystemTime::now()).is_some();
        if fresh {
            info!("the key {} is still registered for {}", self.key.fingerprint(), self.user);
        }
        fresh
    }

    /// Whether the plug-in is known to be installed.
    pub(crate) fn has_plugin(&self) -> bool {
        self.cache.get::<()>(&self.of_plugin(), DAY, SystemTime::now()).is_some()
    }

    /// Installs the plug-in, unless that is known to have been done, and registers the key, at the
    /// same time: 60 seconds at most. `reinstall` forgets what is known. `installed` is called once
    /// the plug-in is there, which may be before the key is registered.
    ///
    /// # Errors
    /// When either fails: [`Failed`].
    pub(crate) async fn register(
        &self,
        reinstall: bool,
        installed: impl Fn(),
    ) -> std::result::Result<Registered, Failed> {
        let client = &self.cloud.client;
        let (began, mut since) = (Instant::now(), SystemTime::now());
        let plugin = self.of_plugin();
        if reinstall {
            self.cache.forget(&plugin);
        }
        let is_known = self.has_plugin();
        let (instance, key) = (self.instance, self.key);

        let install = async {
            if is_known {
                debug!("the key plug-in is known to be installed on {instance}");
                installed();
                return Ok(());
            }
            self.install(began).await?;
            self.cache.put(&plugin, &(), SystemTime::now());
            installed();
            Ok(())
        };
        let send = || async {
            let parameters = json!({ "username": self.user, "sshPublicKey": key.line() });
            let invoke = client.invoke_command(instance, SEND_KEY, &parameters);
            Ok(done(client, instance, Step::SendKey, began, invoke).await?.1)
        };
        let both = async {
            let ((), request_id) = tokio::try_join!(install, send())?;
            if began.elapsed() < STALE {
                return Ok(request_id);
            }
            debug!("the key was registered a while ago: it is registered again");
            since = SystemTime::now();
            send().await
        };
        let request_id =
            match run_while_agent_online(client, instance, Step::SendKey, is_known, both).await {
                Ok(done) => done,
                Err(error) => {
                    // What was known may be what is wrong.
                    self.cache.forget(&plugin);
                    return Err(error);
                }
            };
        self.cache.put(&self.of_key(), &(), since);
        let label = client.label(instance);
        info!("the key {} is registered for {} on {label}", key.fingerprint(), self.user);
        Ok(Registered { since, installed: !is_known, request_id })
    }

    /// Installs the plug-in. One that has failed in the instance is tried once more: where systemd
    /// listens for sshd the first installation fails although it has done its work.
    async fn install(&self, began: Instant) -> std::result::Result<(), (Step, InvocationError)> {
        let (client, instance) = (&self.cloud.client, self.instance);
        let run = || {
            let run = client.run_command(instance, INSTALL, TIMEOUT);
            done(client, instance, Step::Install, began, run)
        };
        let first = match run().await {
            Err(first) if first.1.is_of_command() => first,
            done => return done.map(drop),
        };
        debug!("the installation is tried once more: {}", first.1);
        match run().await {
            // There was no time left for it.
            Err((_, InvocationError::Late { .. })) => Err(first),
            done => done.map(drop),
        }
    }

    fn of_plugin(&self) -> Topic {
        self.cloud.topic("plugin", &[self.instance])
    }

    fn of_key(&self) -> Topic {
        self.cloud.topic("key", &[self.instance, self.user, self.key.fingerprint()])
    }
}

/// Whether a word can be the name of a user on Linux: `username` of the service's command.
///
/// # Errors
/// When it cannot.
pub(crate) fn check_user(name: &str) -> Result<()> {
    let body = name.strip_suffix('$').unwrap_or(name);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=32).contains(&name.len())
        && !body.is_empty()
        && !body.starts_with(['-', '.'])
        && body.bytes().all(is_name)
    {
        return Ok(());
    }
    usage(
        format!("{name:?} is not the name of a user"),
        "give a user of the instance: up to 32 letters, digits, '.', '_' and '-'",
    )
}
