//! What an instance is called on the command line: its id, its name, an address or a tag, each with a
//! region behind it if need be. Here it is only parsed; [`find`] calls the API, [`cache`] stores results.

use std::fmt;
use std::net::Ipv4Addr;

use crate::cloud::Region;
use crate::explain::{ExitCode, Explain};

pub(crate) mod cache;
pub(crate) mod find;
pub(crate) mod finder;

/// The port of SSH servers, and of commands where none is given.
pub(crate) const SSH_PORT: u16 = 22;
/// What may stand behind it all, so that a rule for `*.ecs` in ssh_config holds for it.
const SUFFIX: &str = ".ecs";
/// The longest name that an instance may have, in characters.
const MAX_NAME: usize = 128;
/// Directions that regions outside of China are named by.
const DIRECTIONS: [&str; 9] = [
    "north",
    "south",
    "east",
    "west",
    "central",
    "northeast",
    "southeast",
    "northwest",
    "southwest",
];
/// Parts of the world that they begin with.
const PARTS: [&str; 8] = ["ap", "us", "eu", "me", "na", "sa", "af", "ca"];

/// How an instance is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    /// By its id, as it seems: a name may look like one.
    Id(String),
    /// By its name.
    Name(String),
    /// By an address.
    Address(Ipv4Addr),
    /// By a tag's key, and its value if it matters.
    Tag(String, Option<String>),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "the id '{id}'"),
            Self::Name(name) => write!(f, "the name '{name}'"),
            Self::Address(address) => write!(f, "the address {address}"),
            Self::Tag(key, None) => write!(f, "the tag '{key}'"),
            Self::Tag(key, Some(value)) => write!(f, "the tag '{key}' with the value '{value}'"),
        }
    }
}

/// A target as the user has given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The words as they were given.
    pub input: String,
    /// How they name the instance.
    pub selector: Selector,
    /// How they name its region.
    pub region: Option<Region>,
}

/// Why words name no instance. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    /// There are none.
    #[error("the target is empty")]
    Empty,
    /// They have characters that nothing is named with.
    #[error("{0:?} names no instance: it has control characters")]
    Control(String),
    /// They are longer than any name.
    #[error("the target is longer than the {MAX_NAME} characters that a name may have")]
    TooLong,
    /// A tag without a key.
    #[error("{0:?} names no tag")]
    NoKey(String),
    /// `user@instance`.
    #[error("'{user}@{instance}' is no instance: it names a user, too")]
    User {
        /// The user.
        user: String,
        /// What stands behind it.
        instance: String,
    },
    /// `instance:port`.
    #[error("'{instance}:{port}' is no instance: it has a port behind it")]
    Port {
        /// What stands before it.
        instance: String,
        /// The port.
        port: String,
    },
}

impl Explain for TargetError {
    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::User { user, instance } => {
                let host = host(instance);
                format!("the user goes to ssh: ssh {user}@{host}; here give {instance}")
            }
            Self::Port { instance, port } => format!(
                "give the port as a word of its own: {instance} {port}; with ssh: ssh -p {port} root@{}",
                host(instance)
            ),
            _ => "give an instance's id (i-…, mi-…), its name, an address of it, or tag:key=value, with \
                  .REGION behind it if need be; `ecs-bridge list` shows the instances"
                .to_owned(),
        })
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }
}

impl Target {
    /// Reads `NAME[.REGION][.ecs]`. What stands behind the last dot is a region if it looks like one,
    /// or is among those that are known.
    ///
    /// # Errors
    /// When no instance can be called so.
    pub(crate) fn parse(input: &str, known: &[Region]) -> Result<Self, TargetError> {
        if input.chars().any(char::is_control) {
            return Err(TargetError::Control(input.to_owned()));
        }
        let input = unquoted(input);
        if let Some((user, instance)) = user(input) {
            let (user, instance) = (user.to_owned(), instance.to_owned());
            return Err(TargetError::User { user, instance });
        }
        if let Some((instance, port)) = port(input) {
            let (instance, port) = (instance.to_owned(), port.to_owned());
            return Err(TargetError::Port { instance, port });
        }
        let (selector, region) = split(input, known);
        Ok(Self { input: input.to_owned(), selector: Selector::parse(selector)?, region })
    }
}

impl Selector {
    fn parse(text: &str) -> Result<Self, TargetError> {
        if let Some(tag) = text.strip_prefix("tag:") {
            let (key, value) = match tag.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (tag, None),
            };
            return match key {
                "" => Err(TargetError::NoKey(text.to_owned())),
                key => Ok(Self::Tag(key.to_owned(), value)),
            };
        }
        if text.trim().is_empty() {
            return Err(TargetError::Empty);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        if text.chars().count() > MAX_NAME {
            return Err(TargetError::TooLong);
        }
        if is_id(text) {
            return Ok(Self::Id(text.to_owned()));
        }
        Ok(Self::Name(text.to_owned()))
    }
}

/// Words without the quotes around them, which are left where no shell has read them.
pub(crate) fn unquoted(input: &str) -> &str {
    let without = |quote: char| {
        let inner = input.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.is_empty() && !inner.contains(quote)).then_some(inner)
    };
    without('\'').or_else(|| without('"')).unwrap_or(input)
}

/// The user and the instance of `user@instance`. A tag's value may have an `@` in it.
fn user(input: &str) -> Option<(&str, &str)> {
    let (user, instance) = input.rsplit_once('@')?;
    let is_user = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_user = !user.is_empty() && user.chars().all(is_user);
    (is_user && !instance.trim().is_empty()).then_some((user, instance))
}

/// The instance and the port of `instance:port`. Names may have colons, and ids have none.
fn port(input: &str) -> Option<(&str, &str)> {
    let (instance, port) = input.rsplit_once(':')?;
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = is_id(split(instance, &[]).0) || instance.ends_with(SUFFIX);
    (is_port && is_host).then_some((instance, port))
}

/// What ssh calls an instance.
fn host(instance: &str) -> String {
    let is_host = is_id(instance) || instance.ends_with(SUFFIX);
    if is_host { instance.to_owned() } else { format!("{instance}{SUFFIX}") }
}

/// Takes the region off, and what makes a host name of it.
fn split<'a>(input: &'a str, known: &[Region]) -> (&'a str, Option<Region>) {
    let inner = input.strip_suffix(SUFFIX).unwrap_or(input);
    let Some((selector, last)) = inner.rsplit_once('.') else { return (inner, None) };
    let region = Region::parse(last).ok().filter(|region| region.as_str() == last);
    match region {
        Some(region) if !selector.is_empty() && (is_region(last) || known.contains(&region)) => {
            (selector, Some(region))
        }
        _ => (inner, None),
    }
}

/// Whether a word is the id of an instance, by its looks.
pub(crate) fn is_id(word: &str) -> bool {
    let tail = word.strip_prefix("i-").or_else(|| word.strip_prefix("mi-")).unwrap_or_default();
    !tail.is_empty() && tail.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether a name is one that a pattern means, in which `*` stands for anything. Capitals do not
/// matter.
pub(crate) fn is_like(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_lowercase(), name.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    // The first place that fits leaves the most for the others.
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

/// Whether a word looks like the ids that regions have: `cn-` and a place, with more behind it as in
/// `cn-shenzhen-finance-1`, or part of the world, direction and number: `ap-southeast-1`.
fn is_region(word: &str) -> bool {
    let mut parts = word.split('-');
    let (Some(first), Some(second)) = (parts.next(), parts.next()) else { return false };
    if first == "cn" {
        let is_place = second.len() > 1 && second.bytes().all(|byte| byte.is_ascii_lowercase());
        let is_part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        return is_place && parts.all(is_part);
    }
    let number = parts.next().unwrap_or_default();
    PARTS.contains(&first)
        && DIRECTIONS.contains(&second)
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && parts.next().is_none()
}

/// The words that lead to an instance from a region, its name if there is any way to put it.
pub(crate) fn input_for(id: &str, name: &str, region: &Region, home: &Region) -> String {
    let leads_there = |input: &String| {
        let known = [home.clone()];
        let target = Target::parse(input, &known).ok();
        target.is_some_and(|target| {
            target.selector == Selector::Name(name.to_owned())
                && target.region.as_ref().unwrap_or(home) == region
        })
    };
    let of_region = |word: &str| format!("{word}.{region}");
    let ways = [name.to_owned(), of_region(name), format!("{}{SUFFIX}", of_region(name))];
    let found = ways.into_iter().find(leads_there);
    found.unwrap_or_else(|| if region == home { id.to_owned() } else { of_region(id) })
}

#[cfg(test)]
mod tests;
