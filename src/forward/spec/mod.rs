//! What is forwarded where: `-L` as OpenSSH writes it, and `--local-port`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where a forward listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// On a TCP port; 0 takes a free one.
    Tcp(SocketAddr),
    /// On one TCP port of 127.0.0.1 and of ::1; 0 takes one that is free on both.
    Loopbacks(u16),
    /// On a unix socket.
    Unix(PathBuf),
}

/// One forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    /// Where it listens; `None` for the address is left to `--bind`.
    pub listen: ListenSpec,
    /// The host that it leads to as seen from the instance; `None` is the instance itself.
    pub host: Option<String>,
    /// The port there.
    pub port: u16,
}

/// Where a forward listens, before `--bind` is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenSpec {
    /// On a TCP port of an address, or of the one that `--bind` names.
    Tcp(Option<Bind>, u16),
    /// On a unix socket.
    Unix(PathBuf),
}

/// The local address that a TCP forward listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    /// Both loopback addresses, 127.0.0.1 and ::1: `localhost`.
    Loopbacks,
    /// One address.
    One(IpAddr),
}

impl ListenSpec {
    /// The place to listen at.
    pub(crate) fn at(&self, bind: Bind) -> Listen {
        match self {
            Self::Tcp(address, port) => match address.unwrap_or(bind) {
                Bind::Loopbacks => Listen::Loopbacks(*port),
                Bind::One(address) => Listen::Tcp(SocketAddr::new(address, *port)),
            },
            Self::Unix(path) => Listen::Unix(path.clone()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Loopbacks(port) => write!(f, "localhost:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Why a `-L` is not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpecError {
    /// Not as many parts as any form has.
    #[error(
        "expected [bind:]port:host:hostport, port:hostport, port, or /path/to.sock:host:hostport"
    )]
    Form,
    /// A socket of the remote side, which OpenSSH's servers support.
    #[error("{0:?} is a socket on the remote side: sessions lead to ports only")]
    FarSocket(String),
    /// An invalid port.
    #[error("{0:?} is not a port, a number from {least} to 65535", least = .1)]
    Port(String, u16),
    /// An invalid address to listen on.
    #[error(
        "{0:?} is not an address of this machine to listen on; use an IP address, localhost or *"
    )]
    Bind(String),
    /// An invalid host.
    #[error("{0:?} is not a host: 1 to 128 characters, no blanks")]
    Host(String),
}

impl FromStr for Forward {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<Self, SpecError> {
        let parts = split(spec)?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (listen, host, port) = match parts[..] {
            [both] => {
                let port = port(both, 1)?;
                return Ok(Self { listen: ListenSpec::Tcp(None, port), host: None, port });
            }
            [_, there] | [_, _, there] if there.starts_with('/') => {
                return Err(SpecError::FarSocket(there.to_owned()));
            }
            // As kubectl and docker have it: a port here, and one of the instance.
            [here, there] if is_number(there) && !here.contains('/') => {
                // kubectl's `:5432` takes a free port here.
                let here = if here.is_empty() { 0 } else { port(here, 0)? };
                let listen = ListenSpec::Tcp(None, here);
                return Ok(Self { listen, host: None, port: port(there, 1)? });
            }
            [path, host, there] if path.contains('/') => {
                (ListenSpec::Unix(path.into()), host, there)
            }
            [here, host, there] => (ListenSpec::Tcp(None, port(here, 0)?), host, there),
            [address, here, host, there] => {
                (ListenSpec::Tcp(Some(bind(address)?), port(here, 0)?), host, there)
            }
            _ => return Err(SpecError::Form),
        };
        Ok(Self { listen, host: self::host(host)?, port: self::port(port, 1)? })
    }
}

/// The parts between the colons; brackets keep an IPv6 address together.
fn split(spec: &str) -> Result<Vec<String>, SpecError> {
    let (mut parts, mut part, mut inside) = (Vec::new(), String::new(), false);
    for c in spec.chars() {
        match c {
            '[' if !inside && part.is_empty() => inside = true,
            ']' if inside => inside = false,
            ':' if !inside => parts.push(std::mem::take(&mut part)),
            c => part.push(c),
        }
    }
    parts.push(part);
    if inside { Err(SpecError::Form) } else { Ok(parts) }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn port(text: &str, least: u16) -> Result<u16, SpecError> {
    let port = text.parse().ok().filter(|port| is_number(text) && *port >= least);
    port.ok_or_else(|| SpecError::Port(text.to_owned(), least))
}

/// An address to listen on, as `-L` and `--bind` take it: `*` and nothing are every IPv4 one.
pub(crate) fn bind(text: &str) -> Result<Bind, SpecError> {
    match unbracketed(text) {
        "localhost" => Ok(Bind::Loopbacks),
        "*" | "" => Ok(Bind::One(Ipv4Addr::UNSPECIFIED.into())),
        text => text.parse().map(Bind::One).map_err(|_| SpecError::Bind(text.to_owned())),
    }
}

/// An IPv6 address may be in brackets where it stands alone, too.
fn unbracketed(text: &str) -> &str {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inside.filter(|text| text.contains(':')).unwrap_or(text)
}

/// The host of a forward. The instance's own names mean the instance, which needs no look-up there.
pub(crate) fn host(text: &str) -> Result<Option<String>, SpecError> {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    let text = unbracketed(text);
    if text.is_empty() || text.len() > 128 || text.contains(odd) {
        return Err(SpecError::Host(text.to_owned()));
    }
    let own = ["localhost", "127.0.0.1"].contains(&text) || text.parse() == Ok(Ipv6Addr::LOCALHOST);
    Ok((!own).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests;
