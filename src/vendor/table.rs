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

impl Command {
    pub(super) const ALL: [Self; 11] = [
        Self::Session,
        Self::Ssh,
        Self::PortForward,
        Self::SendPublicKey,
        Self::Configure,
        Self::ConfigureGet,
        Self::ConfigureSet,
        Self::ConfigureList,
        Self::ConfigureDelete,
        Self::Version,
        Self::Help,
    ];

    /// Its words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Ssh => "ssh",
            Self::PortForward => "portforward",
            Self::SendPublicKey => "send_public_key",
            Self::Configure => "configure",
            Self::ConfigureGet => "configure get",
            Self::ConfigureSet => "configure set",
            Self::ConfigureList => "configure list",
            Self::ConfigureDelete => "configure delete",
            Self::Version => "version",
            Self::Help => "help",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.name() == name)
    }

    /// What it does.
    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Session => "Open a shell on an instance",
            Self::Ssh => "Connect stdin and stdout to a port of an instance (ssh's ProxyCommand)",
            Self::PortForward => "Forward a local port to an instance",
            Self::SendPublicKey => "Let an SSH key log in to a Linux instance for 60 seconds",
            Self::Configure => "Save credentials and region in a profile",
            Self::ConfigureGet => "Print fields of a profile",
            Self::ConfigureSet => "Set fields of a profile, without prompts",
            Self::ConfigureList => "List the profiles",
            Self::ConfigureDelete => "Delete a profile",
            Self::Version => "Print the version",
            Self::Help => "Print the help of a command",
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }

    /// Whether it works with an instance.
    pub(super) fn needs_instance(self) -> bool {
        self.bit() & ON_INSTANCE != 0
    }

    /// Whether it takes words that are no options.
    pub(super) fn takes_words(self) -> bool {
        matches!(self, Self::ConfigureGet | Self::Help)
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
        self.used_by & command.bit() != 0
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

const fn secret(option: Opt) -> Opt {
    Opt { is_secret: true, ..option }
}

const fn short(short: char, option: Opt) -> Opt {
    Opt { short: Some(short), ..option }
}

const fn alias(aliases: &'static [&'static str], option: Opt) -> Opt {
    Opt { aliases, ..option }
}

/// All of them, in the order of the help.
pub(super) static OPTIONS: [Opt; 35] = [
    short(
        'i',
        opt("instance", Value::Text, ON_INSTANCE, "Instance: its id (or name, IP address, tag)"),
    ),
    opt("port", Value::Port(1), SSH, "Port of the instance [default: 22]"),
    short('l', opt("local-port", Value::Port(0), FORWARD, "Listen on this port [default: 80]")),
    short(
        'r',
        opt(
            "remote-port",
            Value::HostPort,
            FORWARD,
            "Forward to this port, or host:port [default: 80]",
        ),
    ),
    opt("bind", Value::Text, FORWARD, "Listen on this address [default: localhost only]"),
    opt("user-name", Value::Text, SESSION | KEY, "User on the instance [send_public_key: root]"),
    opt("public-key", Value::Text, KEY, "Public key: a file or the key [default: ~/.ssh/id_*.pub]"),
    opt(
        "idle-timeout",
        Value::IdleTimeout,
        SESSION | FORWARD,
        "End after this many seconds without data; 0 = never",
    ),
    opt(
        "connection-type",
        Value::ConnectionType,
        SESSIONS,
        "Internet, or Intranet (inside the VPC)",
    ),
    short(
        's',
        opt(
            "service-instance",
            Value::Text,
            SESSIONS,
            "Start the session through this service instance of Compute Nest",
        ),
    ),
    short(
        'u',
        secret(alias(
            &["url"],
            opt(
                "wss-url",
                Value::Text,
                SESSIONS,
                "Use the session of this WebSocket URL; no API is called",
            ),
        )),
    ),
    alias(
        &["passwd-name"],
        opt("password-name", Value::Text, SESSION, "Windows: name of the stored password"),
    ),
    secret(alias(
        &["passwd"],
        opt("password", Value::Text, SESSION, "Refused: use --password-name"),
    )),
    short('p', opt("profile", Value::Optional, ALL, "Use this profile [default: the current one]")),
    Opt {
        field: Some("mode"),
        ..opt("mode", Value::Mode, ALL, "Credential mode: AK, StsToken, CredentialsURI, …")
    },
    opt("region", Value::Text, ALL, "Use this region"),
    opt("config-path", Value::Text, ALL, "Read profiles from this file"),
    field("access-key-id", "access_key_id", "AccessKey id"),
    secret(field(
        "access-key-secret",
        "access_key_secret",
        "AccessKey secret (others can see it here)",
    )),
    secret(field("sts-token", "sts_token", "Security token (others can see it here)")),
    field("sts-region", "sts_region", "Region whose STS is called"),
    field("ram-role-name", "ram_role_name", "RAM role of this ECS instance"),
    field("ram-role-arn", "ram_role_arn", "Role to assume"),
    field("role-session-name", "ram_session_name", "Name of the role's session"),
    field("expired-seconds", "expired_seconds", "Assume the role for this many seconds"),
    field("credentials-uri", "credentials_uri", "URI that returns credentials"),
    field("process-command", "process_command", "Command that prints credentials"),
    secret(opt("private-key", Value::Text, ALL, "Refused: key pairs are not supported")),
    opt("key-pair-name", Value::Text, ALL, "Refused: key pairs are not supported"),
    opt("language", Value::Text, ALL, "Accepted; messages are in English"),
    alias(
        &["retry-timeout"],
        opt("read-timeout", Value::Number, ALL, "Accepted; a call takes at most 15 seconds"),
    ),
    opt("connect-timeout", Value::Number, ALL, "Accepted; a connection takes at most 5 seconds"),
    opt("retry-count", Value::Number, ALL, "Accepted; a call is tried at most 4 times"),
    opt("skip-secure-verify", Value::None, ALL, "Refused: certificates are always verified"),
    opt("verbose", Value::None, ALL, "Print what is done on stderr"),
];
