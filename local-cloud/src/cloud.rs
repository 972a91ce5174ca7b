//! The cloud itself, as a test holds it.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinHandle, time::timeout};

use crate::{
    account::AccessKey,
    api::encode,
    builder::Builder,
    command::{InvocationRecord, KEYS_PATH, KeyPlugin, KeyQueryRecord, KeyRecord},
    faults::{Faults, Wobble},
    instance::Instance,
    record::{CallRecord, State, TimedOut, UpgradeRecord},
    server,
    session::SessionRecord,
    sources::{Logins, Metadata, Role, SourceRecord},
    tls::Tls,
    world::{Settings, Shared, World},
};

/// A cloud that runs in this process. Dropping it ends it, and all connections to it at once.
pub struct LocalCloud {
    shared: Arc<Shared>,
    addr: SocketAddr,
    endpoint: String,
    ca_pem: Option<String>,
    environment: Vec<(&'static str, String)>,
    task: JoinHandle<()>,
}

impl fmt::Debug for LocalCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCloud").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}

impl Drop for LocalCloud {
    fn drop(&mut self) {
        self.task.abort();
        // The task goes when its runtime gets to it; what scripts have started goes now.
        self.shared.processes.close();
    }
}

impl LocalCloud {
    /// A cloud with one access key (`testid`, `testsecret`), one region (`cn-hangzhou`) and no instances, unless
    /// told otherwise.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) async fn start(
        listen: SocketAddr,
        tls: Tls,
        name: String,
        more_names: &[String],
        world: World,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let (acceptor, ca_pem) = match tls.identity(&name, more_names)? {
            Some(identity) => (Some(identity.acceptor), Some(identity.ca_pem)),
            None => (None, None),
        };
        let secure = acceptor.is_some();
        let websocket_base = if secure {
            format!("wss://{name}:{}", addr.port())
        } else {
            format!("ws://{}", reachable(addr))
        };
        let endpoint = if secure {
            format!("https://{name}:{}", addr.port())
        } else {
            format!("http://{}", reachable(addr))
        };
        let environment = environment(&world, &endpoint);
        let (shared, tasks) = Shared::new(world, websocket_base, addr.ip().is_loopback());
        let shared = Arc::new(shared);
        let task = tokio::spawn(server::serve(Arc::clone(&shared), listener, acceptor, tasks));
        Ok(Self { shared, addr, endpoint, ca_pem, environment, task })
    }

    /// Where the API is: `http://127.0.0.1:PORT`, or `https://localhost:PORT`, or with another
    /// [name](crate::Builder::name).
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The CA to trust; with [`Tls::UntrustedCa`] one that did not sign the certificate. None without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Where an instance's sshd asks for temporary keys, but for the user: `&user=%u` goes behind it, as in
    /// `AuthorizedKeysCommand /usr/bin/curl -sf URL&user=%u`, which is how the plug-in on an instance does it. The answer has a key a
    /// line; it is 404 as long as the plug-in is not installed. With TLS, curl has to be told of [`LocalCloud::ca_pem`].
    #[must_use]
    pub fn authorized_keys_url(&self, instance: &str) -> String {
        format!("{}{KEYS_PATH}?instance={}", self.endpoint(), encode(instance))
    }

    /// Where temporary keys are handed out to whoever asks.
    #[must_use]
    pub fn credentials_uri(&self) -> String {
        format!("{}/credentials", self.endpoint())
    }

    /// Where the metadata service is, in place of `http://100.100.100.200`.
    #[must_use]
    pub fn metadata_url(&self) -> String {
        self.endpoint()
    }

    /// The environment variables that lead a client here, with the first access key.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, String)> {
        self.environment.clone()
    }

    /// Starts a session with a port of an instance, as somebody else would, and gives its URL. Nothing if
    /// the API would refuse it.
    #[must_use]
    pub fn start_session(&self, instance: &str, port: u16) -> Option<String> {
        crate::api::start_session(&self.shared, instance, Some(port))
    }

    /// The same for a shell.
    #[must_use]
    pub fn start_shell(&self, instance: &str) -> Option<String> {
        crate::api::start_session(&self.shared, instance, None)
    }

    /// Ends it, and waits until it has ended.
    pub async fn shutdown(mut self) {
        self.task.abort();
        // An error is what was asked for.
        let _ = (&mut self.task).await;
    }

    /// Adds an instance, or replaces the one with its id.
    pub fn add_instance(&self, instance: Instance) {
        self.shared.world().add_instance(instance);
    }

    /// Takes an instance away. Whether it was there.
    pub fn remove_instance(&self, id: &str) -> bool {
        self.shared.world().instances.remove(id).is_some()
    }

    /// Adds an access key, or replaces the one with its id.
    pub fn add_access_key(&self, key: AccessKey) {
        self.shared.world().keys.insert(key.id.clone(), key);
    }

    /// Changes an instance, for the connections that come from now on. Whether there is one with that id.
    pub fn update_instance(&self, id: &str, change: impl FnOnce(&mut Instance)) -> bool {
        self.shared.world().instances.get_mut(id).map(change).is_some()
    }

    /// Changes an access key. Whether there is one with that id.
    pub fn update_access_key(&self, id: &str, change: impl FnOnce(&mut AccessKey)) -> bool {
        self.shared.world().keys.get_mut(id).map(change).is_some()
    }

    /// Adds a RAM role, or replaces the one with its ARN. Sessions that it has given out stay as they are.
    pub fn add_role(&self, role: Role) {
        self.shared.world().roles.insert(role.arn.clone(), role);
    }

    /// Changes the metadata service.
    pub fn update_metadata(&self, change: impl FnOnce(&mut Metadata)) {
        change(&mut self.shared.world().metadata);
    }

    /// Changes who has signed in to CloudSSO and OAuth.
    pub fn update_logins(&self, change: impl FnOnce(&mut Logins)) {
        change(&mut self.shared.world().logins);
    }

    /// Ends all temporary keys that are there now, before their time; how many there were.
    pub fn expire_temporary_keys(&self) -> usize {
        let mut world = self.shared.world();
        let now = world.settings.now();
        let temporary = world.keys.values_mut().filter(|key| key.expires.is_some());
        temporary.map(|key| key.expires = Some(now)).count()
    }

    /// Changes what holds for the whole cloud.
    pub fn update_settings(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.shared.world().settings);
    }

    /// Another limit on what clients of an instance send, in bits per second. Clients that are connected are told, and those
    /// that connect from now on.
    pub fn set_limit(&self, instance: &str, limit: u64) -> bool {
        self.shared.set_limit(instance, limit)
    }

    /// Whether the gateway answers WebSocket pings of an instance's sessions, from now on: of those that are connected, and of
    /// those that connect. Whether there is an instance with that id.
    pub fn pongs(&self, instance: &str, answered: bool) -> bool {
        self.shared.pongs(instance, answered)
    }

    /// Changes the limit of an instance again and again, taking one after the other of these and beginning anew, until
    /// what this gives is dropped. To be called on a runtime.
    pub fn wobble_limit(&self, instance: &str, limits: &[u64], every: Duration) -> Wobble {
        Wobble::start(Arc::clone(&self.shared), instance.to_owned(), limits.to_vec(), every)
    }

    /// Takes the plug-in for temporary keys off an instance, behind the back of whoever has installed it. Whether it was
    /// there.
    pub fn uninstall_key_plugin(&self, instance: &str) -> bool {
        let mut world = self.shared.world();
        let Some(found) = world.instances.get_mut(instance) else { return false };
        let there = found.commands.key_plugin == KeyPlugin::Installed;
        if there {
            found.commands.key_plugin = KeyPlugin::Missing;
        }
        there
    }

    /// Whether an instance has the plug-in for temporary keys.
    #[must_use]
    pub fn has_key_plugin(&self, instance: &str) -> bool {
        let world = self.shared.world();
        let found = world.instances.get(instance);
        found.is_some_and(|found| found.commands.key_plugin == KeyPlugin::Installed)
    }

    /// Ends the registration of all temporary keys of an instance before their time; how many there were.
    pub fn forget_keys(&self, instance: &str) -> usize {
        self.shared.note(|state| state.commands.forget_keys(instance)).unwrap_or_default()
    }

    /// Ends a session from the cloud's side. Whether there was one to end.
    pub fn end_session(&self, session: &str) -> bool {
        self.shared.end_session(session, "EndedByCloud")
    }

    /// Where faults are put in.
    #[must_use]
    pub fn faults(&self) -> Faults<'_> {
        Faults::new(&self.shared)
    }

    /// The calls of the API so far, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<CallRecord> {
        self.look(|state| state.calls().cloned().collect())
    }

    /// The questions to the metadata service and to the credentials URI so far, oldest first.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceRecord> {
        self.look(|state| state.sources().cloned().collect())
    }

    /// The WebSocket upgrades so far, oldest first.
    #[must_use]
    pub fn upgrades(&self) -> Vec<UpgradeRecord> {
        self.look(|state| state.upgrades().cloned().collect())
    }

    /// The sessions so far, oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionRecord> {
        self.look(|state| state.sessions().cloned().collect())
    }

    /// A session by its id.
    #[must_use]
    pub fn session(&self, id: &str) -> Option<SessionRecord> {
        self.look(|state| state.session(id).cloned())
    }

    /// The commands so far, one record for each instance that a call named, oldest first.
    #[must_use]
    pub fn invocations(&self) -> Vec<InvocationRecord> {
        self.look(|state| state.invocations().cloned().collect())
    }

    /// The temporary keys that were registered so far, oldest first; those that hold no longer as well.
    #[must_use]
    pub fn keys(&self) -> Vec<KeyRecord> {
        self.look(|state| state.keys().cloned().collect())
    }

    /// The questions for temporary keys so far, oldest first.
    #[must_use]
    pub fn key_queries(&self) -> Vec<KeyQueryRecord> {
        self.look(|state| state.key_queries().cloned().collect())
    }

    /// What clients did that they never may, in calls and in sessions.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.look(|state| {
            let calls = state.calls().flat_map(|call| &call.violations);
            calls.chain(state.sessions().flat_map(|s| &s.violations)).cloned().collect()
        })
    }

    /// Looks at what was seen so far, without copying it. The closure must not call the cloud.
    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.shared.look(look)
    }

    /// Waits until something has been seen. The closure is called after each change, and must not call the cloud.
    ///
    /// # Errors
    /// When it was not seen in time; the error says what was.
    pub async fn wait_for(
        &self,
        mut seen: impl FnMut(&State) -> bool,
        within: Duration,
    ) -> Result<(), TimedOut> {
        let mut state = self.shared.watch();
        let waiting = state.wait_for(|state| seen(state));
        // The sender lives as long as self, so the wait itself cannot fail.
        let waited = timeout(within, waiting).await.map(|_| ());
        waited.map_err(|_| self.look(|state| state.timed_out(within)))
    }

    /// Waits for a session that something is true of, and gives the first.
    ///
    /// # Errors
    /// When there was none in time; the error says which sessions there were.
    pub async fn wait_for_session(
        &self,
        mut fits: impl FnMut(&SessionRecord) -> bool,
        within: Duration,
    ) -> Result<SessionRecord, TimedOut> {
        let mut found = None;
        let look = |state: &State| {
            found = state.sessions().find(|session| fits(session)).cloned();
            found.is_some()
        };
        self.wait_for(look, within).await?;
        found.ok_or_else(|| self.look(|state| state.timed_out(within)))
    }

    /// Waits for a command that something is true of, and gives the first.
    ///
    /// # Errors
    /// When there was none in time; the error says which commands there were.
    pub async fn wait_for_invocation(
        &self,
        mut fits: impl FnMut(&InvocationRecord) -> bool,
        within: Duration,
    ) -> Result<InvocationRecord, TimedOut> {
        let mut found = None;
        let look = |state: &State| {
            found = state.invocations().find(|invocation| fits(invocation)).cloned();
            found.is_some()
        };
        self.wait_for(look, within).await?;
        found.ok_or_else(|| self.look(|state| state.timed_out(within)))
    }
}

/// An address to connect to: one that listens on all interfaces is reached through loopback.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = if addr.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { addr.ip() };
    SocketAddr::new(ip, addr.port())
}

fn environment(world: &World, endpoint: &str) -> Vec<(&'static str, String)> {
    let mut environment = vec![("ALIBABA_CLOUD_ENDPOINT", endpoint.to_owned())];
    if let Some(region) = world.regions.first() {
        environment.push(("ALIBABA_CLOUD_REGION_ID", region.clone()));
    }
    if let Some(key) = world.first_key.as_ref().and_then(|id| world.keys.get(id)) {
        environment.push(("ALIBABA_CLOUD_ACCESS_KEY_ID", key.id.clone()));
        environment.push(("ALIBABA_CLOUD_ACCESS_KEY_SECRET", key.secret.clone()));
        if let Some(token) = &key.token {
            environment.push(("ALIBABA_CLOUD_SECURITY_TOKEN", token.clone()));
        }
    }
    environment
}
