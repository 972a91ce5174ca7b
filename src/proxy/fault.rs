//! What a user is told when a proxy makes no way.

use std::time::Duration;

use super::{Origin, Proxy, Scheme, authority};
use crate::explain::{ExitCode, Explain};
use crate::tls;

/// Why a proxy made no way to a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.what())]
pub struct Fault {
    /// The proxy, without user name and password.
    proxy: String,
    scheme: Scheme,
    origin: Origin,
    /// Where the way was to lead.
    target: String,
    kind: FaultKind,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
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
    /// The target's name has no address here, where the proxy is not to be asked.
    TargetName(String),
    /// The target is not a host that a proxy can be asked for.
    Target,
    /// It wants a user name and a password, or does not take those that were given.
    Login {
        /// Whether there were any.
        given: bool,
    },
    /// It does not take passwords, although one was given.
    NoLogin,
    /// It wants something else than a password.
    OtherLogin {
        /// What it wants.
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
        /// What it ought to speak.
        speaks: &'static str,
        /// What it said.
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
            scheme: proxy.scheme(),
            origin: proxy.origin(),
            target: authority(host, port),
            kind,
        }
    }

    /// What is wrong.
    pub fn kind(&self) -> &FaultKind {
        &self.kind
    }

    /// Whether another try may do better: what the proxy has decided stays.
    pub fn is_worth_a_retry(&self) -> bool {
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
            FaultKind::Target => format!("the proxy {proxy} cannot be asked for {target}"),
            FaultKind::Login { given: false } | FaultKind::OtherLogin { .. } => {
                format!("the proxy {proxy} wants authentication")
            }
            FaultKind::Login { given: true } => {
                format!("the proxy {proxy} refused the user name or the password")
            }
            FaultKind::NoLogin => format!("the proxy {proxy} takes no user name and password"),
            FaultKind::Refused { status, .. } => {
                format!("the proxy {proxy} refused the way to {target} with HTTP {status}")
            }
            FaultKind::Socks { code } => {
                let words = socks_words(*code);
                format!("the proxy {proxy} made no way to {target}: {words} (SOCKS reply {code})")
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

    fn cause(&self) -> Option<String> {
        Some(match &self.kind {
            FaultKind::Resolve(detail) => format!("the resolver says: {detail}"),
            FaultKind::Connect(detail) => detail.clone(),
            FaultKind::Timeout(_) => {
                "it accepts nothing, or something in between drops the packets".to_owned()
            }
            FaultKind::Silent(_) => format!(
                "it took the connection and said nothing: it may not be {} proxy, or not reach {} \
                 itself",
                if self.scheme.is_http() { "an HTTP" } else { "a SOCKS5" },
                self.target
            ),
            FaultKind::Tls(fault) => return fault.why(),
            FaultKind::TargetName(detail) => {
                format!("with socks5:// names are resolved here; the resolver says: {detail}")
            }
            FaultKind::Login { given: false } => "none was given".to_owned(),
            FaultKind::OtherLogin { kinds } => {
                format!(
                    "it takes {kinds}; a user name and a password (Basic) are all that is \
                         known here"
                )
            }
            FaultKind::Refused { code: 502..=504, .. } => {
                format!("the proxy itself cannot reach {}", self.target)
            }
            FaultKind::Refused { code: 403, .. } => "its rules forbid it".to_owned(),
            FaultKind::NotAProxy { said, .. } => format!("it answered with {said}"),
            FaultKind::Closed => {
                "its rules may forbid the way, or it speaks something else".to_owned()
            }
            _ => return None,
        })
    }
}

impl Explain for Fault {
    fn why(&self) -> Option<String> {
        let origin = format!("the proxy is the one of {}", self.origin);
        Some(match self.cause() {
            Some(cause) => format!("{cause}; {origin}"),
            None => origin,
        })
    }

    fn remedy(&self) -> Option<String> {
        let Self { origin, target, .. } = self;
        let host = target.rsplit_once(':').map_or(target.as_str(), |(host, _)| host);
        Some(match &self.kind {
            FaultKind::Resolve(_) => {
                format!("correct the proxy's name in {origin}, or check this machine's name server")
            }
            FaultKind::Connect(_) | FaultKind::Timeout(_) => format!(
                "check the proxy's address and port in {origin}, and that it runs; --proxy none \
                 does without"
            ),
            FaultKind::Silent(_) | FaultKind::Closed | FaultKind::NotAProxy { .. } => format!(
                "check the proxy's scheme, address and port in {origin} (http, https, socks5, \
                 socks5h), and that it may lead to {target}"
            ),
            FaultKind::Tls(tls::Fault::NotTls) => {
                format!("write http:// in {origin} if the proxy is spoken to without TLS")
            }
            FaultKind::Tls(tls::Fault::WrongName { .. }) => {
                format!("write the proxy's name in {origin} as its certificate has it")
            }
            FaultKind::Tls(fault) => return fault.remedy(),
            FaultKind::TargetName(_) => {
                format!("write socks5h:// in {origin}, so that the proxy resolves names")
            }
            FaultKind::Target => format!("except it with NO_PROXY={host}"),
            FaultKind::Login { given: false } => format!(
                "put user:password@ before the proxy's host in {origin} (better in a variable than \
                 on a command line, which others can see)"
            ),
            FaultKind::Login { given: true } => format!(
                "correct the user name and the password in {origin}; special characters are \
                 written as %40 and the like"
            ),
            FaultKind::NoLogin => format!("leave user name and password out in {origin}"),
            FaultKind::OtherLogin { .. } => {
                "use a proxy that takes a password, or a local one that adds what this one wants"
                    .to_owned()
            }
            FaultKind::Refused { code: 502..=504, .. } | FaultKind::Socks { code: 1 | 3..=6 } => {
                format!(
                    "check that the proxy can reach and resolve {target}; NO_PROXY={host} goes \
                     around it"
                )
            }
            FaultKind::Refused { .. } | FaultKind::Socks { .. } => format!(
                "have the proxy allow CONNECT to {target}, name another in {origin}, or go around \
                 it with NO_PROXY={host}"
            ),
        })
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::Network
    }
}

/// RFC 1928, 6.
fn socks_words(code: u8) -> &'static str {
    match code {
        1 => "it failed in general",
        2 => "its rules forbid it",
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the connection was refused",
        6 => "the way is too long (TTL expired)",
        7 => "it does not know CONNECT",
        8 => "it does not know this kind of address",
        _ => "for a reason of its own",
    }
}
