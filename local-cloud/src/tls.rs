//! Certificates made on the spot.

use std::{io, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio_rustls::TlsAcceptor;

/// How the cloud serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Tls {
    /// Plain HTTP and WebSocket.
    #[default]
    Off,
    /// TLS for the cloud's name and 127.0.0.1, by the CA that [`crate::LocalCloud::ca_pem`] gives.
    Trusted,
    /// A certificate of that CA, but for another name.
    WrongName,
    /// A certificate of a CA that nobody knows.
    UntrustedCa,
    /// A certificate of that CA which ran out in 2020.
    Expired,
}

/// What serves TLS, and the CA a client would have to trust.
pub(crate) struct Identity {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) ca_pem: String,
}

impl Tls {
    /// Makes the certificates of a cloud of that name, and more names; `None` for plain HTTP.
    pub(crate) fn identity(self, name: &str, more: &[String]) -> io::Result<Option<Identity>> {
        if self == Self::Off {
            return Ok(None);
        }
        self.make(name, more).map(Some).map_err(|error| io::Error::other(error.to_string()))
    }

    fn make(self, name: &str, more: &[String]) -> Result<Identity, Box<dyn std::error::Error>> {
        let shown = authority("local-cloud")?;
        let stranger = authority("a stranger")?;
        let issuer = if self == Self::UntrustedCa { &stranger } else { &shown };
        let names: &[&str] = match self {
            Self::WrongName => &["gateway.example"],
            _ => &[name, "127.0.0.1"],
        };
        let names: Vec<String> =
            names.iter().map(ToString::to_string).chain(more.to_vec()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "local-cloud gateway");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        if self == Self::Expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, issuer)?;
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)?;
        Ok(Identity { acceptor: TlsAcceptor::from(Arc::new(config)), ca_pem: shown.pem() })
    }
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_can_be_made() {
        assert!(Tls::Off.identity("localhost", &[]).unwrap().is_none());
        for tls in [Tls::Trusted, Tls::WrongName, Tls::UntrustedCa, Tls::Expired] {
            let identity = tls.identity("localhost", &["a.example".to_owned()]).unwrap().unwrap();
            assert!(identity.ca_pem.starts_with("-----BEGIN CERTIFICATE-----"), "{tls:?}");
        }
    }
}
