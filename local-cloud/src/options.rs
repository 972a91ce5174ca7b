//! The binary's options, and the cloud they describe.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use local_cloud::{
    AccessKey, Agent, Builder, Instance, InstanceStatus, LocalCloud, Metadata, Pace, Role, Tls,
};

/// A stand-in for Alibaba Cloud as ecs-bridge uses it, with one instance.
#[derive(Debug, Parser)]
#[command(name = "local-cloud", version)]
pub(crate) struct Options {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    listen: SocketAddr,
    /// The region.
    #[arg(long, default_value = "cn-hangzhou")]
    region: String,
    /// The access key, as ID:SECRET or ID:SECRET:TOKEN.
    #[arg(long, default_value = "testid:testsecret", value_name = "KEY", value_parser = access_key)]
    access_key: AccessKey,
    /// The instance's id.
    #[arg(long, default_value = "i-example", value_name = "ID")]
    pub(crate) instance: String,
    /// What listens on a port, PORT=ADDR for the instance itself, HOST:PORT=ADDR for another host that it can reach.
    #[arg(long, value_name = "TARGET", value_parser = target)]
    target: Vec<Target>,
    /// Add this many instances, named web-00001 and so on.
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    fleet: u32,
    /// The agent: A, B, C, D, resumable (speaks 1.02), or a version such as 2.2.3.857.
    #[arg(long, default_value = "D", value_name = "AGENT", value_parser = agent)]
    agent: Agent,
    /// Answer no WebSocket pings.
    #[arg(long)]
    no_pongs: bool,
    /// The delay from the upgrade until the agent joins.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    join_delay: Option<Duration>,
    /// The delay from joining until the agent connects to the target.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    dial_delay: Option<Duration>,
    /// A limit in bits per second, announced and enforced (else 204800, enforced but not announced).
    #[arg(long, value_name = "BITS")]
    limit: Option<u64>,
    /// Enforce no limit.
    #[arg(long)]
    no_pace: bool,
    /// How long a command of Cloud Assistant takes (else 20 ms).
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    command_time: Option<Duration>,
    /// For how long a temporary key is given to an sshd that asks (else 60 s).
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    key_lifetime: Option<Duration>,
    /// For how long a WebSocketUrl works (else 10 minutes).
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    url_lifetime: Option<Duration>,
    /// Execute the scripts of RunCommand on this machine, with the programs in this folder before those of the system.
    #[arg(long, value_name = "DIR")]
    shell: Option<PathBuf>,
    /// A RAM role that may be assumed through STS, by its ARN.
    #[arg(long, value_name = "ARN")]
    role: Vec<String>,
    /// The RAM role that the metadata service gives the keys of.
    #[arg(long, value_name = "NAME")]
    metadata_role: Option<String>,
    /// The instance's name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Fault: the instance is stopped, and its agent offline. StartInstance starts it.
    #[arg(long, help_heading = "Faults")]
    stopped: bool,
    /// Fault: the Cloud Assistant agent is not online.
    #[arg(long, help_heading = "Faults")]
    agent_away: bool,
    /// Fault: the access key lacks the permission for an action, such as StartTerminalSession; repeatable.
    #[arg(long, value_name = "ACTION", help_heading = "Faults")]
    deny: Vec<String>,
    /// Fault: another instance has the same name (web-1, unless --name gives it). Its id has -twin behind it.
    #[arg(long, help_heading = "Faults")]
    twin: bool,
    /// A service instance of Compute Nest, through which sessions of the instance can be started; repeatable.
    #[arg(long, value_name = "ID")]
    service_instance: Vec<String>,
    /// More names for the certificate, separated by commas: for clients that use the service's own names, which your hosts
    /// file or proxy resolves to this address.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "ca_file")]
    tls_names: Vec<String>,
    /// Serve TLS, and write the CA to trust to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    host: Option<String>,
    port: u16,
    listener: SocketAddr,
}

fn target(text: &str) -> Result<Target, String> {
    let (from, to) = text.split_once('=').ok_or("no `=` in it")?;
    let (host, port) = match from.rsplit_once(':') {
        Some((host, port)) => (Some(host.to_owned()), port),
        None => (None, from),
    };
    let port = port.parse().map_err(|error| format!("{port}: {error}"))?;
    let listener = to.parse().map_err(|error| format!("{to}: {error}"))?;
    Ok(Target { host, port, listener })
}

fn agent(text: &str) -> Result<Agent, String> {
    match text.to_ascii_lowercase().as_str() {
        "a" => Ok(Agent::a()),
        "b" => Ok(Agent::b()),
        "c" => Ok(Agent::c()),
        "d" => Ok(Agent::d()),
        "resumable" => Ok(Agent::resumable()),
        version if version.split('.').count() == 4 && version.split('.').all(is_number) => {
            Ok(Agent::of_build(version))
        }
        _ => Err("neither A, B, C, D, resumable nor a version of four numbers".to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<u32>().is_ok()
}

fn access_key(text: &str) -> Result<AccessKey, String> {
    let mut parts = text.splitn(3, ':');
    let (Some(id), Some(secret)) = (parts.next(), parts.next()) else {
        return Err("no `:` in it".to_owned());
    };
    let key = AccessKey::new(id, secret);
    Ok(match parts.next() {
        Some(token) => key.token(token),
        None => key,
    })
}

impl Options {
    /// Why the cloud cannot be started, and what to do.
    pub(crate) fn not_started(&self, error: &io::Error) -> String {
        let fix = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "stop the program that listens there, or give --listen another port; port 0 takes a free one"
            }
            io::ErrorKind::PermissionDenied => "give --listen a port from 1024 on",
            _ => "give --listen an address of this machine",
        };
        format!("cannot listen on {}: {error}\n  fix: {fix}", self.listen)
    }

    /// The access key, without the permissions that are denied.
    fn key(&self) -> AccessKey {
        self.deny.iter().fold(self.access_key.clone(), |key, action| key.deny(action))
    }

    /// The cloud they describe.
    pub(crate) fn builder(&self) -> Builder {
        let mut agent = self.agent.clone();
        if let Some(delay) = self.join_delay {
            agent = agent.join_delay(delay);
        }
        if let Some(delay) = self.dial_delay {
            agent = agent.dial_delay(delay);
        }
        let pace = self.limit.map_or_else(Pace::default, Pace::announced);
        let pace = if self.no_pace { pace.enforced(false) } else { pace };
        let mut instance =
            Instance::new(&self.instance).agent(agent).pace(pace).pongs(!self.no_pongs);
        if let Some(time) = self.command_time {
            instance = instance.command_time(time);
        }
        if let Some(programs) = &self.shell {
            instance = instance.shell(programs);
        }
        let name = self.name.clone().or_else(|| self.twin.then(|| "web-1".to_owned()));
        if let Some(name) = &name {
            instance = instance.name(name);
        }
        if self.stopped {
            instance = instance.status(InstanceStatus::Stopped);
        }
        if self.agent_away {
            instance = instance.agent_online(false);
        }
        for Target { host, port, listener } in self.target.clone() {
            instance = match host {
                Some(host) => instance.remote(host, port, listener),
                None => instance.target(port, listener),
            };
        }
        let twin = self.twin.then(|| {
            let twin = Instance::new(format!("{}-twin", self.instance)).agent(self.agent.clone());
            twin.name(name.unwrap_or_default())
        });
        let tls = if self.ca_file.is_some() { Tls::Trusted } else { Tls::Off };
        let mut builder = LocalCloud::builder();
        if let Some(lifetime) = self.key_lifetime {
            builder = builder.key_lifetime(lifetime);
        }
        if let Some(lifetime) = self.url_lifetime {
            builder = builder.url_lifetime(lifetime);
        }
        if let Some(role) = &self.metadata_role {
            builder = builder.metadata(Metadata::new().role(role));
        }
        let builder = self.service_instance.iter().fold(builder, Builder::service_instance);
        let builder = self.tls_names.iter().fold(builder, Builder::tls_name);
        let roles = self.role.iter().map(Role::new);
        let builder = roles.fold(builder, Builder::role);
        let builder = twin.into_iter().fold(builder, Builder::instance);
        builder
            .listen(self.listen)
            .region(&self.region)
            .access_key(self.key())
            .instance(instance)
            .fleet(self.fleet)
            .tls(tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn targets_are_ports_or_hosts_with_ports() {
        let listener = SocketAddr::from(([127, 0, 0, 1], 2222));
        assert_eq!(target("22=127.0.0.1:2222"), Ok(Target { host: None, port: 22, listener }));
        assert_eq!(
            target("db.internal:3306=127.0.0.1:2222"),
            Ok(Target { host: Some("db.internal".into()), port: 3306, listener })
        );
        for bad in ["22", "x=127.0.0.1:1", "22=nowhere", "70000=127.0.0.1:1"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn agents_have_letters_or_versions() {
        assert_eq!(agent("c"), Ok(Agent::c()));
        assert_eq!(agent("Resumable"), Ok(Agent::resumable()));
        assert_eq!(agent("2.2.3.700"), Ok(Agent::of_build("2.2.3.700")));
        for bad in ["", "E", "3.700", "2.2.3.x"] {
            assert!(agent(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn faults_are_those_of_the_instance_and_of_the_key() {
        let options = |args: &[&str]| Options::parse_from(["local-cloud"].iter().chain(args));
        let all = options(&["--stopped", "--agent-away", "--twin", "--deny", "A", "--deny", "B"]);
        assert_eq!(all.key(), AccessKey::new("testid", "testsecret").deny("A").deny("B"));
        let cloud = all.builder().start().await.unwrap();
        let is_so = cloud.update_instance("i-example", |instance| {
            assert_eq!(instance.status, InstanceStatus::Stopped);
            assert_eq!((instance.agent_online, instance.name.as_str()), (false, "web-1"));
        });
        let twin = |instance: &mut Instance| assert_eq!(instance.name, "web-1");
        assert!(is_so && cloud.update_instance("i-example-twin", twin));
        let cloud = options(&["--name", "db"]).builder().start().await.unwrap();
        assert!(cloud.update_instance("i-example", |instance| {
            assert_eq!(instance.status, InstanceStatus::Running);
            assert_eq!((instance.agent_online, instance.name.as_str()), (true, "db"));
        }));
    }

    #[test]
    fn a_key_may_have_a_token_with_colons() {
        let key = access_key("id:secret:a:b").unwrap();
        assert_eq!(key.token.as_deref(), Some("a:b"));
        assert!(access_key("id").is_err());
    }
}
