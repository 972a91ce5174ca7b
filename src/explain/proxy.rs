//! What a user is told when a proxy does not connect to a host, or its setting is invalid.

use super::failure::{ExitCode, Explain};
use crate::proxy::{ECS_BRIDGE_PROXY, Fault, FaultKind, Origin, SettingError};
use crate::tls;

impl Explain for Fault {
    fn why(&self) -> Option<String> {
        let origin = format!("the proxy is the one of {}", self.origin);
        Some(match cause(self) {
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
                "use a proxy that takes a password, or a local one that adds the authentication \
                 this one requires"
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

fn cause(fault: &Fault) -> Option<String> {
    Some(match &fault.kind {
        FaultKind::Resolve(detail) => format!("the resolver says: {detail}"),
        FaultKind::Connect(detail) => detail.clone(),
        FaultKind::Timeout(_) => {
            "it accepts nothing, or something in between drops the packets".to_owned()
        }
        FaultKind::Silent(_) => format!(
            "it accepted the connection and sent nothing: it may not be {} proxy, or not reach {} \
             itself",
            if fault.scheme.is_http() { "an HTTP" } else { "a SOCKS5" },
            fault.target
        ),
        FaultKind::Tls(problem) => return problem.why(),
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
            format!("the proxy itself cannot reach {}", fault.target)
        }
        FaultKind::Refused { code: 403, .. } => "its rules forbid it".to_owned(),
        FaultKind::NotAProxy { said, .. } => format!("it answered with {said}"),
        FaultKind::Closed => "its rules may forbid the way, or it speaks something else".to_owned(),
        _ => return None,
    })
}
impl Explain for SettingError {
    fn remedy(&self) -> Option<String> {
        let way_out = match self.origin {
            Origin::Flag | Origin::Variable(ECS_BRIDGE_PROXY) => "write 'none' for no proxy at all",
            Origin::Variable(_) => "switch it off with --proxy none",
        };
        Some(format!(
            "give it as [http|https|socks5|socks5h]://[user:password@]host[:port], with special \
             characters of the password as %40 and the like, or {way_out}"
        ))
    }

    fn exit_code(&self) -> ExitCode {
        match self.origin {
            Origin::Flag => ExitCode::Usage,
            Origin::Variable(_) => ExitCode::Config,
        }
    }
}
