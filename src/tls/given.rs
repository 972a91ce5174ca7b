//! The platform's verifier, and one thing beside it: a server's own certificate among those that were
//! given to be trusted.
//!
//! `openssl req -x509` makes a certificate that signs itself and says that it is an authority's.
//! Private clouds have such servers, and whoever gives that very certificate by `--ca-file` trusts
//! it, as OpenSSL and Go do; the rules of webpki say that an authority is no server. Nothing else is
//! forgiven: the dates and the name have to be right, and the server has to have its key.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// See the module.
#[derive(Debug)]
pub(super) struct OrGiven {
    pub(super) verifier: Verifier,
    pub(super) given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OrGiven {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // webpki looks at the dates before it comes to this.
            Err(error) if is_of_authority(&error) && self.given.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Whether a certificate is refused only for being an authority's.
fn is_of_authority(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(problem) if says_authority(problem))
}

/// Whether that is what is wrong with a certificate.
pub(super) fn says_authority(problem: &CertificateError) -> bool {
    let CertificateError::Other(OtherError(cause)) = problem else { return false };
    matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    use super::super::{CHECKED_BY_SYSTEM, Fault};
    use super::*;

    fn authority(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["example.test".into()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    /// Whether a server of this name may show this certificate, where that one was given.
    fn verify(
        shown: &CertificateDer<'static>,
        given: &CertificateDer<'static>,
        name: &str,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let given = vec![given.clone()];
        let verifier = Verifier::new_with_extra_roots(given.clone(), provider).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        OrGiven { verifier, given }.verify_server_cert(shown, &[], &name, &[], now)
    }

    #[test]
    fn the_very_certificate_that_was_given_is_trusted() {
        let one = authority(|_| {});
        assert!(verify(&one, &one, "example.test", UnixTime::now()).is_ok());
    }

    #[test]
    fn another_one_is_not_nor_is_that_one_for_another_name_or_another_time() {
        // Apple's verifier knows no time before 2001.
        let one = authority(|params| params.not_before = date_time_ymd(2010, 1, 1));
        let two = authority(|_| {});
        let now = UnixTime::now();
        let refused = |shown, name, now| {
            let error = verify(shown, &one, name, now).unwrap_err();
            (Fault::find(&error).unwrap(), error)
        };
        let (fault, error) = refused(&two, "example.test", now);
        assert_eq!(is_of_authority(&error), !CHECKED_BY_SYSTEM, "{error}");
        let unknown = if CHECKED_BY_SYSTEM { Fault::NotTrusted } else { Fault::SelfSigned };
        assert_eq!(fault, unknown);
        let (fault, error) = refused(&one, "else.test", now);
        assert!(matches!(fault, Fault::WrongName { .. }), "{error}");
        assert!(CHECKED_BY_SYSTEM || error.to_string().contains("else.test"), "{error}");
        let then = UnixTime::since_unix_epoch(Duration::from_secs(1_100_000_000));
        let (fault, error) = refused(&one, "example.test", then);
        // Windows has one word for both.
        assert!(
            fault == Fault::NotYetValid || CHECKED_BY_SYSTEM && fault == Fault::Expired,
            "{error}"
        );
    }
}
