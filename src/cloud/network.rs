//! Why a call did not reach the API, or its answer did not come back.

use std::error::Error as StdError;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::explain::{ExitCode, Explain};
use crate::tls::{Fault, chain};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The host's name has no address, or the name server did not say.
    #[error("the host name '{host}' does not resolve")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver says.
        detail: String,
    },
    /// Nobody listens at the address, or a firewall says so.
    #[error("{endpoint} refuses connections")]
    Refused {
        /// The API's endpoint.
        endpoint: String,
    },
    /// No connection, TLS handshake included, within the time for it.
    #[error("no connection to {endpoint} within {}", seconds(*.after))]
    ConnectTimeout {
        /// The API's endpoint.
        endpoint: String,
        /// The time-out.
        after: Duration,
    },
    /// The connection failed for another reason.
    #[error("no connection to {endpoint}: {detail}")]
    Connect {
        /// The API's endpoint.
        endpoint: String,
        /// What the operating system says.
        detail: String,
    },
    /// The server could not be trusted, or does not speak TLS.
    #[error("no secure connection to {endpoint}: {fault}")]
    Tls {
        /// The API's endpoint.
        endpoint: String,
        /// What is wrong.
        fault: Fault,
    },
    /// Connected, and then nothing until the time for the call was over.
    #[error("{endpoint} is silent: no answer within {}", seconds(*.after))]
    AnswerTimeout {
        /// The API's endpoint.
        endpoint: String,
        /// The time-out.
        after: Duration,
    },
    /// The connection was closed before a byte of the answer.
    #[error("{endpoint} closed the connection without an answer")]
    Closed {
        /// The API's endpoint.
        endpoint: String,
        /// What the HTTP library says.
        detail: String,
    },
    /// The connection was closed in the middle of the answer.
    #[error("{endpoint} closed the connection in the middle of its answer")]
    Cut {
        /// The API's endpoint.
        endpoint: String,
        /// What the HTTP library says.
        detail: String,
    },
}

impl NetworkError {
    /// Sorts an error that came before the answer's headers were complete.
    ///
    /// Nothing of the error's own text that could hold the URL is kept: V1 has the signature there.
    pub(super) fn before_answer(error: &reqwest::Error, endpoint: &str, connect: Duration) -> Self {
        let endpoint = endpoint.to_owned();
        if let Some(fault) = Fault::find(error) {
            return Self::Tls { endpoint, fault };
        }
        if let Some(dns) = chain(error).find_map(|link| link.downcast_ref::<DnsError>()) {
            return Self::Dns { host: dns.host.clone(), detail: dns.detail.clone() };
        }
        if !error.is_connect() {
            return Self::Closed { endpoint, detail: innermost(error) };
        }
        let io = chain(error).find_map(|link| link.downcast_ref::<io::Error>());
        if io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            Self::Refused { endpoint }
        } else if error.is_timeout() {
            Self::ConnectTimeout { endpoint, after: connect }
        } else {
            Self::Connect { endpoint, detail: innermost(error) }
        }
    }

    /// An error in the middle of the answer's body.
    pub(super) fn in_answer(error: &reqwest::Error, endpoint: &str) -> Self {
        Self::Cut { endpoint: endpoint.to_owned(), detail: innermost(error) }
    }

    /// Whether another try may do better. `idempotent`: it does no harm if the first was obeyed.
    pub(super) fn is_worth_a_retry(&self, idempotent: bool) -> bool {
        match self {
            Self::Dns { .. }
            | Self::Refused { .. }
            | Self::ConnectTimeout { .. }
            | Self::Connect { .. } => true,
            // The call may have been obeyed although nothing came back.
            Self::Closed { .. } | Self::Cut { .. } => idempotent,
            Self::Tls { .. } | Self::AnswerTimeout { .. } => false,
        }
    }
}

impl Explain for NetworkError {
    fn why(&self) -> Option<String> {
        match self {
            Self::Dns { detail, .. } => Some(format!("the resolver says: {detail}")),
            Self::Refused { .. } => Some("nothing listens there, or a firewall refuses".into()),
            Self::ConnectTimeout { .. } => {
                Some("the host does not answer, or a firewall on the way drops what is sent".into())
            }
            Self::AnswerTimeout { .. } => {
                Some("the connection was made, and then nothing came back in time".into())
            }
            Self::Tls { fault, .. } => fault.why(),
            Self::Closed { detail, .. } | Self::Cut { detail, .. } => Some(detail.clone()),
            Self::Connect { .. } => None,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Dns { .. } => Some(
                "check the region and the endpoint for a slip, and this machine's DNS; inside a \
                 VPC without internet set the profile's endpoint_type to vpc"
                    .into(),
            ),
            Self::Refused { .. } => Some(
                "check the endpoint and its port (--endpoint, ALIBABA_CLOUD_ENDPOINT, the \
                 profile's endpoint)"
                    .into(),
            ),
            Self::ConnectTimeout { .. } | Self::Connect { .. } => Some(
                "check that this machine may reach the endpoint (curl -v the address); inside a \
                 VPC without internet set the profile's endpoint_type to vpc"
                    .into(),
            ),
            Self::AnswerTimeout { .. } | Self::Closed { .. } | Self::Cut { .. } => Some(
                "try again; if it stays so, look for a firewall or proxy between here and there"
                    .into(),
            ),
            Self::Tls { fault, .. } => fault.remedy(),
        }
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::Network
    }
}

/// A time as a person says it: `15 s`.
pub(super) fn seconds(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{} s", time.as_secs())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// The text at the end of the chain of causes: the one closest to what happened.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    // The outermost text is reqwest's own, which shows the URL.
    chain(error).skip(1).last().map_or_else(|| "no reason is known".to_owned(), ToString::to_string)
}

/// Looks names up as the machine does, and leaves an error that can be told apart.
pub(super) struct Resolver {
    /// Less than the time for a whole connection: else a silent name server would look like a
    /// silent host.
    pub(super) timeout: Duration,
    /// Whether only this machine's own addresses will do.
    pub(super) loopback_only: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("'{host}' does not resolve: {detail}")]
struct DnsError {
    host: String,
    detail: String,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (timeout, loopback_only) = (self.timeout, self.loopback_only);
        Box::pin(async move {
            let failed = |detail| DnsError { host: name.as_str().to_owned(), detail };
            let lookup = tokio::net::lookup_host((name.as_str(), 0));
            let found = tokio::time::timeout(timeout, lookup)
                .await
                .map_err(|_| failed(format!("no answer within {}", seconds(timeout))))?
                .map_err(|e| failed(e.to_string()))?;
            let allowed = |ip: IpAddr| !loopback_only || ip.is_loopback();
            let addresses: Vec<_> = found.filter(|address| allowed(address.ip())).collect();
            if addresses.is_empty() {
                return Err(failed("it has no address that may be used".to_owned()).into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_obeyed_is_sent_again_only_if_that_does_no_harm() {
        let endpoint = || "https://a.b".to_owned();
        let cut = NetworkError::Cut { endpoint: endpoint(), detail: String::new() };
        assert!(cut.is_worth_a_retry(true) && !cut.is_worth_a_retry(false));
        assert!(NetworkError::Refused { endpoint: endpoint() }.is_worth_a_retry(false));
        let tls = NetworkError::Tls { endpoint: endpoint(), fault: Fault::NotTrusted };
        assert!(!tls.is_worth_a_retry(true));
    }

    #[test]
    fn times_read_well() {
        assert_eq!(seconds(Duration::from_secs(15)), "15 s");
        assert_eq!(seconds(Duration::from_millis(4500)), "4.5 s");
    }
}
