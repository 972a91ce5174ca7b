//! How a cloud is put together before it starts.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use crate::{
    LocalCloud,
    account::AccessKey,
    fault::ApiFault,
    instance::Instance,
    sources::{Lifetime, Logins, Metadata, Role, SourceFault},
    tls::Tls,
    world::{ClockOffset, World},
};

/// What a cloud will be, until [`Builder::start`].
#[derive(Debug)]
#[must_use = "it does nothing until it is started"]
pub struct Builder {
    listen: SocketAddr,
    tls: Tls,
    name: String,
    more_names: Vec<String>,
    world: World,
    keys: Vec<AccessKey>,
    instances: Vec<Instance>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: Tls::Off,
            name: "localhost".to_owned(),
            more_names: Vec::new(),
            world: World::default(),
            keys: Vec::new(),
            instances: Vec::new(),
        }
    }

    /// Where to listen (127.0.0.1, any free port).
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listen = addr;
        self
    }

    /// Adds a region (`cn-hangzhou`). Instances that name none are in the first.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.world.regions.push(region.into());
        self
    }

    /// Adds an access key (`testid` with `testsecret`).
    pub fn access_key(mut self, key: AccessKey) -> Self {
        self.keys.push(key);
        self
    }

    /// Adds an instance.
    pub fn instance(mut self, instance: Instance) -> Self {
        self.instances.push(instance);
        self
    }

    /// Whether and how to serve TLS (not).
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// One more name that the certificate is for, such as `ecs.cn-hangzhou.aliyuncs.com`: for clients that use the
    /// service's own names, which resolve to this address.
    pub fn tls_name(mut self, name: impl Into<String>) -> Self {
        self.more_names.push(name.into());
        self
    }

    /// A service instance of Compute Nest, whose instances are those of this cloud.
    pub fn service_instance(mut self, id: impl Into<String>) -> Self {
        self.world.service_instances.insert(id.into());
        self
    }

    /// The name of API and gateway in addresses and certificates, where TLS is served (`localhost`). It
    /// need not resolve on this machine: a proxy may know it.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The cloud's clock against this machine's (none).
    pub fn clock_offset(mut self, offset: ClockOffset) -> Self {
        self.world.settings.clock_offset = offset;
        self
    }

    /// How WebSocketUrl spells the key of the session's id (`sessionid`). The upgrade always needs `sessionId`.
    pub fn url_key(mut self, key: impl Into<String>) -> Self {
        self.world.settings.url_key = key.into();
        self
    }

    /// For how long a WebSocketUrl works (10 minutes).
    pub fn url_lifetime(mut self, lifetime: Duration) -> Self {
        self.world.settings.url_lifetime = lifetime;
        self
    }

    /// Whether the upgrade needs the header `x-acs-session-token`, empty or with the SecurityToken (yes).
    pub fn check_token_header(mut self, check: bool) -> Self {
        self.world.settings.check_token_header = check;
        self
    }

    /// Sessions a region may have at a time (100).
    pub fn region_quota(mut self, quota: usize) -> Self {
        self.world.settings.region_quota = quota;
        self
    }

    /// Sessions an instance may have connected at a time (20).
    pub fn instance_quota(mut self, quota: usize) -> Self {
        self.world.settings.instance_quota = quota;
        self
    }

    /// For how long a session that has ended still counts against the quotas (not at all).
    pub fn quota_lag(mut self, lag: Duration) -> Self {
        self.world.settings.quota_lag = lag;
        self
    }

    /// Whether Session Manager is switched on (yes).
    pub fn session_manager_enabled(mut self, enabled: bool) -> Self {
        self.world.settings.session_manager_enabled = enabled;
        self
    }

    /// For how long a temporary key is given to an sshd that asks (60 s).
    pub fn key_lifetime(mut self, lifetime: Duration) -> Self {
        self.world.settings.key_lifetime = lifetime;
        self
    }

    /// Adds a RAM role, or replaces the one with its ARN.
    pub fn role(mut self, role: Role) -> Self {
        self.world.roles.insert(role.arn.clone(), role);
        self
    }

    /// The metadata service (on an instance without a role).
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.world.metadata = metadata;
        self
    }

    /// Who has signed in to CloudSSO and OAuth (nobody).
    pub fn logins(mut self, logins: Logins) -> Self {
        self.world.logins = logins;
        self
    }

    /// How long the keys of the credentials URI hold (an hour).
    pub fn uri_lifetime(mut self, lifetime: Lifetime) -> Self {
        self.world.uri_lifetime = lifetime;
        self
    }

    /// Something that goes wrong with the metadata service or the credentials URI.
    pub fn source_fault(mut self, fault: SourceFault) -> Self {
        self.world.source_faults.push(fault);
        self
    }

    /// How many instances DescribeCloudAssistantStatus may be asked about at once (50).
    pub fn agent_status_limit(mut self, limit: usize) -> Self {
        self.world.settings.agent_status_limit = limit;
        self
    }

    /// Whether DescribeInstances answers those who may not ask it with no instances, as the service is known to do, in place
    /// of `Forbidden.RAM` (no).
    pub fn empty_if_denied(mut self, empty: bool) -> Self {
        self.world.settings.empty_if_denied = empty;
        self
    }

    /// Something that goes wrong with the API.
    pub fn api_fault(mut self, fault: ApiFault) -> Self {
        self.world.api_faults.push(fault);
        self
    }

    /// Starts it, on the runtime that this is called in.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the certificates cannot be made; or when an instance has a shell and
    /// the address is not one of loopback.
    pub async fn start(mut self) -> io::Result<LocalCloud> {
        let shell = self.instances.iter().any(|instance| instance.commands.shell.is_some());
        if shell && !self.listen.ip().is_loopback() {
            let message =
                "an instance with a shell is for clients on this machine only: listen on loopback";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if self.world.regions.is_empty() {
            self.world.regions.push("cn-hangzhou".to_owned());
        }
        if self.keys.is_empty() {
            self.keys.push(AccessKey::new("testid", "testsecret"));
        }
        self.world.first_key = self.keys.first().map(|key| key.id.clone());
        self.world.keys = self.keys.into_iter().map(|key| (key.id.clone(), key)).collect();
        for instance in self.instances {
            self.world.add_instance(instance);
        }
        LocalCloud::start(self.listen, self.tls, self.name, &self.more_names, self.world).await
    }
}
