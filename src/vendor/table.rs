//! The commands and options of ali-instance-cli.

/// A command of ali-instance-cli.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Session,
    Ssh,
    PortForward,
    SendPublicKey,
    Configure,
    ConfigureGet,
    ConfigureSet,
    ConfigureList,
    ConfigureDelete,
    Version,
    Help,
}

/// Each command in the order of [`Command`], with its words and what it does.
const COMMANDS: [(Command, &str, &str); 11] = [
    (Command::Session, "session", "Open a shell on an instance"),
    (Command::Ssh, "ssh", "Connect stdin and stdout to a port of an instance (ssh's ProxyCommand)"),
    (Command::PortForward, "portforward", "Forward a local port to an instance"),
    (Command::SendPublicKey, "send_public_key", SEND_PUBLIC_KEY),
    (Command::Configure, "configure", "Save credentials and region in a profile"),
    (Command::ConfigureGet, "configure get", "Print fields of a profile"),
    (Command::ConfigureSet, "configure set", "Set fields of a profile, without prompts"),
    (Command::ConfigureList, "configure list", "List the profiles"),
    (Command::ConfigureDelete, "configure delete", "Delete a profile"),
    (Command::Version, "version", "Print the version"),
    (Command::Help, "help", "Print the help of a command"),
];
const SEND_PUBLIC_KEY: &str = "Let an SSH key log in to a Linux instance for 60 seconds";

impl Command {
    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        COMMANDS.into_iter().map(|(command, ..)| command)
    }

    /// Its words.
    pub(super) fn name(self) -> &'static str {
        COMMANDS[self as usize].1
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::all().find(|command| command.name() == name)
    }

    /// What it does.
    pub(super) fn about(self) -> &'static str {
        COMMANDS[self as usize].2
    }

    /// Whether it works with an instance.
    pub(super) fn needs_instance(self) -> bool {
        bit(self) & ON_INSTANCE != 0
    }
}

/// What an option's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// None.
    None,
    /// Any text.
    Text,
    /// Text that may be left out.
    Optional,
    /// A port; the second number is the least.
    Port(u16),
    /// A port, or a host and a port.
    HostPort,
    /// Seconds without data after which a session ends: 0, or 60 at least.
    IdleTimeout,
    /// A number.
    Number,
    /// A mode of credentials, which may be left out.
    Mode,
    /// Internet or Intranet.
    ConnectionType,
}

/// An option of ali-instance-cli.
#[derive(Debug)]
pub(super) struct Opt {
    pub(super) name: &'static str,
    pub(super) short: Option<char>,
    pub(super) aliases: &'static [&'static str],
    pub(super) value: Value,
    used_by: u16,
    /// Whether its value must not be shown.
    pub(super) is_secret: bool,
    /// The field of a profile that it stands for.
    pub(super) field: Option<&'static str>,
    pub(super) help: &'static str,
}

impl Opt {
    pub(super) fn is_used_by(&self, command: Command) -> bool {
        self.used_by & bit(command) != 0
    }

    /// The option that is spelt so, with its hyphens.
    pub(super) fn spelt(word: &str) -> Option<&'static Self> {
        let long =
            |name: &str| OPTIONS.iter().find(|o| o.name == name || o.aliases.contains(&name));
        if let Some(name) = word.strip_prefix("--") {
            return long(name);
        }
        let mut letters = word.strip_prefix('-')?.chars();
        let short = letters.next().filter(|_| letters.next().is_none())?;
        OPTIONS.iter().find(|option| option.short == Some(short))
    }
}

const fn bit(command: Command) -> u16 {
    1 << command as u16
}

const SESSION: u16 = bit(Command::Session);
const SSH: u16 = bit(Command::Ssh);
const FORWARD: u16 = bit(Command::PortForward);
const KEY: u16 = bit(Command::SendPublicKey);
/// Those that start sessions.
const SESSIONS: u16 = SESSION | SSH | FORWARD;
const ON_INSTANCE: u16 = SESSIONS | KEY;
const ALL: u16 = u16::MAX;

const fn opt(name: &'static str, value: Value, used_by: u16, help: &'static str) -> Opt {
    Opt { name, short: None, aliases: &[], value, used_by, is_secret: false, field: None, help }
}

/// An option that stands for a field of a profile.
const fn field(name: &'static str, field: &'static str, help: &'static str) -> Opt {
    Opt { field: Some(field), ..opt(name, Value::Text, ALL, help) }
}

impl Opt {
    const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    const fn alias(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    const fn secret(self) -> Self {
        Self { is_secret: true, ..self }
    }
}

/// All of them, in the order of the help.
pub(super) static OPTIONS: [Opt; 35] = [
    opt("instance", Value::Text, ON_INSTANCE, "Instance: its id (or name, IP address, tag)")
        .short('i'),
    opt("port", Value::Port(1), SSH, "Port of the instance [default: 22]"),
    opt("local-port", Value::Port(0), FORWARD, "Listen on this port [default: 80]").short('l'),
    opt("remote-port", Value::HostPort, FORWARD, REMOTE_PORT).short('r'),
    opt("bind", Value::Text, FORWARD, "Listen on this address [default: localhost only]"),
    opt("user-name", Value::Text, SESSION | KEY, "User on the instance [send_public_key: root]"),
    opt("public-key", Value::Text, KEY, "Public key: a file or the key [default: ~/.ssh/id_*.pub]"),
    opt("idle-timeout", Value::IdleTimeout, SESSION | FORWARD, IDLE_TIMEOUT),
    opt("connection-type", Value::ConnectionType, SESSIONS, CONNECTION_TYPE),
    opt("service-instance", Value::Text, SESSIONS, SERVICE_INSTANCE).short('s'),
    opt("wss-url", Value::Text, SESSIONS, WSS_URL).short('u').alias(&["url"]).secret(),
    opt("password-name", Value::Text, SESSION, "Windows: name of the stored password")
        .alias(&["passwd-name"]),
    opt("password", Value::Text, SESSION, "Refused: use --password-name")
        .alias(&["passwd"])
        .secret(),
    opt("profile", Value::Optional, ALL, "Use this profile [default: the current one]").short('p'),
    Opt {
        field: Some("mode"),
        ..opt("mode", Value::Mode, ALL, "Credential mode: AK, StsToken, CredentialsURI, …")
    },
    opt("region", Value::Text, ALL, "Use this region"),
    opt("config-path", Value::Text, ALL, "Read profiles from this file"),
    field("access-key-id", "access_key_id", "AccessKey id"),
    field("access-key-secret", "access_key_secret", "AccessKey secret (others can see it here)")
        .secret(),
    field("sts-token", "sts_token", "Security token (others can see it here)").secret(),
    field("sts-region", "sts_region", "Region whose STS is called"),
    field("ram-role-name", "ram_role_name", "RAM role of this ECS instance"),
    field("ram-role-arn", "ram_role_arn", "Role to assume"),
    field("role-session-name", "ram_session_name", "Name of the role's session"),
    field("expired-seconds", "expired_seconds", "Assume the role for this many seconds"),
    field("credentials-uri", "credentials_uri", "URI that returns credentials"),
    field("process-command", "process_command", "Command that prints credentials"),
    opt("private-key", Value::Text, ALL, "Refused: key pairs are not supported").secret(),
    opt("key-pair-name", Value::Text, ALL, "Refused: key pairs are not supported"),
    opt("language", Value::Text, ALL, "Accepted; messages are in English"),
    opt("read-timeout", Value::Number, ALL, "Accepted; a call takes at most 15 seconds")
        .alias(&["retry-timeout"]),
    opt("connect-timeout", Value::Number, ALL, "Accepted; a connection takes at most 5 seconds"),
    opt("retry-count", Value::Number, ALL, "Accepted; a call is tried at most 4 times"),
    opt("skip-secure-verify", Value::None, ALL, "Refused: certificates are always verified"),
    opt("verbose", Value::None, ALL, "Print what is done on stderr"),
];
const REMOTE_PORT: &str = "Forward to this port, or host:port [default: 80]";
const IDLE_TIMEOUT: &str = "End after this many seconds without data; 0 = never";
const CONNECTION_TYPE: &str = "Internet, or Intranet (inside the VPC)";
const SERVICE_INSTANCE: &str = "Start the session through this service instance of Compute Nest";
const WSS_URL: &str = "Use the session of this WebSocket URL; no API is called";
