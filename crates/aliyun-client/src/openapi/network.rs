//! Why a call did not reach the API, or its answer did not come back.

use std::time::Duration;

use crate::cause::Cause;
use crate::endpoint::Endpoint;
use crate::transport::SendError;

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NetworkError {
    /// The host's name has no address, or the name server did not say.
    #[error("the host name '{host}' does not resolve")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver says.
        detail: String,
    },
    /// The address, or a firewall, refuses connections.
    #[error("{endpoint} refuses connections")]
    Refused {
        /// The API's endpoint.
        endpoint: String,
    },
    /// No connection within the time for it.
    #[error("no connection to {endpoint} within {}", seconds(*.after))]
    ConnectTimeout {
        /// The API's endpoint.
        endpoint: String,
        /// The time-out.
        after: Duration,
    },
    /// Connected, but no answer to the TLS handshake in time.
    #[error("{endpoint} is silent: no TLS within {}", seconds(*.after))]
    TlsTimeout {
        /// The API's endpoint.
        endpoint: String,
        /// The time-out, from before the connection was made.
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
    /// A proxy did not connect to the API.
    #[error("the API cannot be reached: {cause}")]
    Proxy {
        /// Why not.
        cause: Cause,
        /// Whether another try may succeed.
        is_transient: bool,
    },
    /// The server could not be trusted, or does not speak TLS.
    #[error("no secure connection to {endpoint}: {fault}")]
    Tls {
        /// The API's endpoint.
        endpoint: String,
        /// What is wrong.
        fault: Cause,
    },
    /// Connected, and then nothing until the time for the call was over.
    #[error("{endpoint} is silent: no answer within {}", seconds(*.after))]
    AnswerTimeout {
        /// The API's endpoint.
        endpoint: String,
        /// The time-out.
        after: Duration,
    },
    /// An answer that has begun, and whose end has not come when the time for the call was over.
    #[error("{endpoint} stopped in the middle of its answer: no end within {}", seconds(*.after))]
    Unfinished {
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
    /// Sorts an error that came before the answer's headers were complete; the time is that for a
    /// connection.
    pub fn of(error: SendError, to: &Endpoint, after: Duration) -> Self {
        let endpoint = to.to_string();
        match error {
            SendError::Resolve(detail) => Self::Dns { host: to.host().to_owned(), detail },
            SendError::Refused(_) => Self::Refused { endpoint },
            SendError::Timeout => Self::ConnectTimeout { endpoint, after },
            SendError::SilentTls => Self::TlsTimeout { endpoint, after },
            SendError::Proxy { cause, is_transient } => Self::Proxy { cause, is_transient },
            SendError::Tls(fault) => Self::Tls { endpoint, fault },
            SendError::Other(detail) => Self::Connect { endpoint, detail },
            SendError::Closed(detail) => Self::Closed { endpoint, detail },
        }
    }

    /// Whether another try may succeed. `idempotent`: it may be made although the first took effect.
    pub(crate) fn is_worth_a_retry(&self, idempotent: bool) -> bool {
        match self {
            Self::Dns { .. }
            | Self::Refused { .. }
            | Self::ConnectTimeout { .. }
            | Self::TlsTimeout { .. }
            | Self::Connect { .. } => true,
            // The call may have taken effect although no answer came.
            Self::Closed { .. } | Self::Cut { .. } => idempotent,
            Self::Proxy { is_transient, .. } => *is_transient,
            Self::Tls { .. } | Self::AnswerTimeout { .. } | Self::Unfinished { .. } => false,
        }
    }
}

/// A time for messages: `15 s`.
pub(crate) fn seconds(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{} s", time.as_secs())
    } else {
        format!("{:.1} s", time.as_secs_f64())
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
        let tls = NetworkError::Tls {
            endpoint: endpoint(),
            fault: Cause::new(std::io::Error::other("not trusted")),
        };
        assert!(!tls.is_worth_a_retry(true));
    }

    #[test]
    fn times_read_well() {
        assert_eq!(seconds(Duration::from_secs(15)), "15 s");
        assert_eq!(seconds(Duration::from_millis(4500)), "4.5 s");
    }
}
