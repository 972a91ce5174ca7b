//! What a user is told when TLS cannot be set up, or a handshake failed.

use super::failure::{ExitCode, Explain};
use crate::tls::{Error, Fault};

impl Explain for Error {
    fn why(&self) -> Option<String> {
        match self {
            Self::NoRoots { variables } if variables.is_empty() => {
                Some("the usual places, /etc/ssl/certs among them, hold none".into())
            }
            Self::NoRoots { variables } => {
                let set = variables
                    .iter()
                    .map(|(name, value)| format!("{name} is set to '{}'", value.display()));
                Some(format!(
                    "{}: this replaces the system's certificates, and no certificate can be read \
                     there",
                    set.collect::<Vec<_>>().join(", ")
                ))
            }
            _ => None,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::UnreadableRoots(_) => "give a PEM file with --ca-file".into(),
            Self::Unreadable { .. } => "correct the path, or its permissions".into(),
            Self::Unusable { .. } => {
                "give a PEM file: one or more blocks that begin with -----BEGIN CERTIFICATE-----"
                    .into()
            }
            Self::NoRoots { variables } if variables.is_empty() => {
                "install the package ca-certificates, or give a PEM file with --ca-file".into()
            }
            Self::NoRoots { variables } => {
                let names: Vec<_> = variables.iter().map(|(name, _)| *name).collect();
                let names = names.join(" and ");
                format!("correct or unset {names}, or give a PEM file with --ca-file")
            }
            Self::Setup(_) => "report this, with the output of -vv".into(),
        })
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::Config
    }
}

impl Explain for Fault {
    fn why(&self) -> Option<String> {
        Some(match self {
            Self::NotTrusted => "its issuer is not among the certificates of this machine: a \
                                 private cloud, or a middlebox that opens TLS"
                .into(),
            Self::SelfSigned => "it is an authority's own, as one that signs itself is: that is \
                                 taken only where this very certificate was given to be trusted"
                .into(),
            Self::WrongName { presented } if presented.is_empty() => {
                "something else answers at this address, or the endpoint is misspelt".into()
            }
            Self::WrongName { presented } => {
                let shown: Vec<_> = presented.iter().take(5).map(String::as_str).collect();
                format!("it is for {}", shown.join(", "))
            }
            Self::Expired | Self::NotYetValid => {
                "the time of this machine is not within the certificate's dates".into()
            }
            Self::NotTls => "an unencrypted service, a captive portal or a proxy answers at this \
                             address and port"
                .into(),
            Self::Revoked | Self::Refused(_) | Self::Handshake(_) => return None,
        })
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NotTrusted => {
                "give the issuer's certificate as a PEM file with --ca-file, or in \
                                 SSL_CERT_FILE; the check cannot be turned off"
                    .into()
            }
            Self::SelfSigned => {
                "give the server's certificate as a PEM file with --ca-file, or in \
                                 SSL_CERT_FILE, if you know that it is the server's; the check \
                                 cannot be turned off"
                    .into()
            }
            Self::WrongName { .. } => "correct the endpoint (--endpoint, ALIBABA_CLOUD_ENDPOINT, \
                                       the profile's endpoint) or the region"
                .into(),
            Self::Expired | Self::NotYetValid => {
                "check this machine's clock first; else the server's certificate has to be renewed"
                    .into()
            }
            Self::NotTls => "check the endpoint and its port".into(),
            Self::Revoked | Self::Refused(_) | Self::Handshake(_) => {
                "check the endpoint, and what stands on the way to it".into()
            }
        })
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::Network
    }
}
