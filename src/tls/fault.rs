//! Why a TLS handshake failed, found in the chain of causes of any library's error.

use std::error::Error as StdError;

use rustls::{CertificateError, OtherError};

use super::given::says_authority;
use aliyun_client::text::chain;

/// Why a TLS handshake failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The certificate was issued by an authority that this machine does not trust.
    #[error("the server's certificate is not trusted")]
    NotTrusted,
    /// The server shows the certificate of an authority, most often one that signs itself.
    #[error("the server's certificate is not trusted")]
    SelfSigned,
    /// The certificate is for other names.
    #[error("the server's certificate is for another name")]
    WrongName {
        /// The names it is for, as far as the verifier tells.
        presented: Vec<String>,
    },
    /// The certificate's time is over.
    #[error("the server's certificate has expired")]
    Expired,
    /// The certificate's time has not begun.
    #[error("the server's certificate is not valid yet")]
    NotYetValid,
    /// The certificate was revoked.
    #[error("the server's certificate was revoked")]
    Revoked,
    /// The certificate is refused for a rarer reason.
    #[error("the server's certificate was refused: {0}")]
    Refused(String),
    /// What answers does not speak TLS.
    #[error("the server does not speak TLS")]
    NotTls,
    /// The two sides did not agree.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
}

impl Fault {
    /// Looks for rustls' error in `error` and all that caused it.
    pub(crate) fn find(error: &(dyn StdError + 'static)) -> Option<Self> {
        chain(error).find_map(|link| link.downcast_ref::<rustls::Error>()).map(Self::of)
    }

    fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(problem) => match problem {
                // A bad signature: an issuer of that name is trusted, but with another key, as
                // when a private authority was made anew.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Self::NotTrusted
                }
                CertificateError::NotValidForName => Self::WrongName { presented: Vec::new() },
                CertificateError::NotValidForNameContext { presented, .. } => {
                    Self::WrongName { presented: presented.iter().map(|n| dns_name(n)).collect() }
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Self::Expired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                CertificateError::Revoked => Self::Revoked,
                problem if says_authority(problem) => Self::SelfSigned,
                CertificateError::Other(OtherError(cause)) => {
                    let text = cause.to_string();
                    Self::of_apple(&text).unwrap_or(Self::Refused(text))
                }
                other => Self::Refused(other.to_string()),
            },
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            other => Self::Handshake(other.to_string()),
        }
    }

    /// What Apple's code means, which rustls-platform-verifier passes on at the end of a text.
    fn of_apple(text: &str) -> Option<Self> {
        match text.rsplit_once(": ")?.1 {
            // errSecNotTrusted
            "-67843" => Some(Self::NotTrusted),
            // errSecCertificateExpired
            "-67818" => Some(Self::Expired),
            // errSecCertificateNotValidYet
            "-67819" => Some(Self::NotYetValid),
            _ => None,
        }
    }
}

/// The verifier writes `DnsName("a.b")`; people write `a.b`.
fn dns_name(presented: &str) -> String {
    match presented.split_once('"').and_then(|(_, rest)| rest.split_once('"')) {
        Some((name, _)) => name.to_owned(),
        None => presented.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn faults_are_found_below_io_errors() {
        let inner = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, inner));
        assert_eq!(Fault::find(&error), Some(Fault::NotTrusted));
        assert_eq!(Fault::find(&io::Error::other("else")), None);
    }

    #[test]
    fn codes_of_apple_are_known_by_their_number() {
        for (text, fault) in [
            ("“x” certificate is not trusted: -67843", Fault::NotTrusted),
            ("“x” certificate is expired: -67818", Fault::Expired),
            ("“x” certificate is not valid yet: -67819", Fault::NotYetValid),
            ("else: -1", Fault::Refused("else: -1".to_owned())),
        ] {
            let cause = OtherError(Arc::new(io::Error::other(text)));
            let error = rustls::Error::InvalidCertificate(CertificateError::Other(cause));
            assert_eq!(Fault::find(&error), Some(fault));
        }
    }

    #[test]
    fn names_lose_their_wrapping() {
        assert_eq!(dns_name("DnsName(\"a.b\")"), "a.b");
        assert_eq!(dns_name("IpAddress(127.0.0.1)"), "IpAddress(127.0.0.1)");
    }
}
