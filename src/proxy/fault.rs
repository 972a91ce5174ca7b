//! Why a proxy did not connect to a host.

use std::time::Duration;

use super::server::{Origin, Proxy, Scheme};
use crate::tls;
use aliyun_client::endpoint::authority;

/// Why a proxy did not connect to a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.what())]
pub(crate) struct Fault {
    /// The proxy, without user name and password.
    proxy: String,
    pub(crate) scheme: Scheme,
    pub(crate) origin: Origin,
    /// Where the way was to lead.
    pub(crate) target: String,
    pub(crate) kind: FaultKind,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The proxy's own name has no address.
    Resolve(String),
    /// No TCP connection to the proxy: what the system says.
    Connect(String),
    /// No TCP connection to the proxy in time.
    Timeout(Duration),
    /// A TCP connection, and then no answer in time.
    Silent(Duration),
    /// No TLS with the proxy.
    Tls(tls::Fault),
    /// The target's name has no address here, where the proxy does not resolve it.
    TargetName(String),
    /// The target is not a host that can be sent to a proxy.
    Target,
    /// It requires a user name and a password, or does not accept those that were given.
    Login {
        /// Whether there were any.
        given: bool,
    },
    /// It does not accept passwords, although one was given.
    NoLogin,
    /// It requires another authentication than a password.
    OtherLogin {
        /// The authentication that it offers.
        kinds: String,
    },
    /// It answers with another HTTP status than that of success.
    Refused {
        /// The status.
        code: u16,
        /// The status and its words.
        status: String,
    },
    /// It answers with a SOCKS code of refusal.
    Socks {
        /// The code.
        code: u8,
    },
    /// What answers is not such a proxy.
    NotAProxy {
        /// The protocol that was expected.
        speaks: &'static str,
        /// What it sent.
        said: String,
    },
    /// It closed the connection before it had answered.
    Closed,
}

impl Fault {
    /// The fault of a proxy that was to lead to `host`.
    pub(crate) fn new(proxy: &Proxy, host: &str, port: u16, kind: FaultKind) -> Self {
        Self {
            proxy: proxy.to_string(),
            scheme: proxy.scheme,
            origin: proxy.origin,
            target: authority(host, port),
            kind,
        }
    }

    /// Whether another try may succeed: what the proxy has decided stays.
    pub(crate) fn is_worth_a_retry(&self) -> bool {
        match &self.kind {
            FaultKind::Resolve(_)
            | FaultKind::Connect(_)
            | FaultKind::Timeout(_)
            | FaultKind::Silent(_)
            | FaultKind::TargetName(_)
            | FaultKind::Closed => true,
            FaultKind::Refused { code, .. } => *code >= 500,
            FaultKind::Socks { code } => matches!(code, 1 | 3..=6),
            _ => false,
        }
    }

    fn what(&self) -> String {
        let Self { proxy, target, .. } = self;
        match &self.kind {
            FaultKind::Resolve(_) => format!("the name of the proxy {proxy} does not resolve"),
            FaultKind::Connect(_) => format!("cannot connect to the proxy {proxy}"),
            FaultKind::Timeout(within) => {
                format!("no connection to the proxy {proxy} within {} s", within.as_secs())
            }
            FaultKind::Silent(within) => {
                format!("the proxy {proxy} did not answer within {} s", within.as_secs())
            }
            FaultKind::Tls(fault) => format!("no secure connection to the proxy {proxy}: {fault}"),
            FaultKind::TargetName(_) => {
                format!("the name of {target} does not resolve on this machine")
            }
            FaultKind::Target => {
                format!("the proxy {proxy} cannot be asked to connect to {target}")
            }
            FaultKind::Login { given: false } | FaultKind::OtherLogin { .. } => {
                format!("the proxy {proxy} requires authentication")
            }
            FaultKind::Login { given: true } => {
                format!("the proxy {proxy} refused the user name or the password")
            }
            FaultKind::NoLogin => format!("the proxy {proxy} takes no user name and password"),
            FaultKind::Refused { status, .. } => {
                format!("the proxy {proxy} refused to connect to {target}: HTTP {status}")
            }
            FaultKind::Socks { code } => {
                let words = socks_words(*code);
                format!(
                    "the proxy {proxy} did not connect to {target}: {words} (SOCKS reply {code})"
                )
            }
            FaultKind::NotAProxy { speaks, .. } => {
                let a = if *speaks == "HTTP" { "an" } else { "a" };
                format!("what answers at {proxy} is not {a} {speaks} proxy")
            }
            FaultKind::Closed => {
                format!("the proxy {proxy} closed the connection instead of answering")
            }
        }
    }
}

/// RFC 1928, 6.
fn socks_words(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "its rules forbid it",
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the connection was refused",
        6 => "the TTL expired",
        7 => "it does not support CONNECT",
        8 => "it does not support this type of address",
        _ => "for a reason of its own",
    }
}
