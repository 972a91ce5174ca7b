//! One TLS configuration for the API and the WebSocket alike.
//!
//! Certificates are checked by the platform's verifier against the platform's roots; `--ca-file`
//! adds to them. `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured too: on Linux and the BSDs they
//! stand in place of the platform's roots, as with OpenSSL; on macOS and Windows the certificates
//! of `SSL_CERT_FILE` are trusted beside the system's. Nothing turns the check off.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use crate::platform::open_files::OpenFiles;

mod fault;
mod given;
pub(crate) use fault::Fault;
use given::OrGiven;

/// The environment variable that names a PEM file of certificates to trust.
const SSL_CERT_FILE: &str = "SSL_CERT_FILE";

/// The environment variable that names folders of certificates to trust, where the platform's roots
/// are files.
const SSL_CERT_DIR: &str = "SSL_CERT_DIR";

/// Whether certificates are checked by the system, not by webpki: an error of it has no names, and does not tell
/// that a certificate is an authority's.
#[cfg(test)]
pub(crate) const CHECKED_BY_SYSTEM: bool = cfg!(any(windows, target_vendor = "apple"));

/// The most that is read of a certificate file, in bytes: five times the largest bundle known.
const MAX_FILE: u64 = 4 << 20;

/// How many files are open at once while the system's certificates are read: a folder and a file in it.
const ROOT_FILES: usize = 2;

/// Why TLS cannot be set up. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file of certificates cannot be read.
    #[error("the certificate file {} cannot be read: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        problem: std::io::Error,
    },
    /// The file is a folder, too large, or holds no usable certificate.
    #[error("the certificate file {} is invalid: {problem}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The files of the system's certificates cannot be opened.
    #[error("the CA certificates of this machine cannot be read: {0}")]
    UnreadableRoots(#[source] std::io::Error),
    /// There is nothing that a certificate could be checked against.
    #[error("this machine has no CA certificates to check a server with")]
    NoRoots {
        /// The variables that are set in place of the system's certificates, and their values.
        variables: Vec<(&'static str, OsString)>,
    },
    /// rustls refused the configuration.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[source] rustls::Error),
}

/// The TLS configuration, built when it is first needed. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Tls {
    inner: Arc<Inner>,
}

struct Inner {
    extra: Vec<CertificateDer<'static>>,
    ssl_cert_file: Option<PathBuf>,
    ssl_cert_dir: Option<OsString>,
    config: OnceLock<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("extra", &self.inner.extra.len())
            .field("built", &self.inner.config.get().is_some())
            .finish()
    }
}

impl Tls {
    /// Reads `ca_file` if one is given; the platform's own certificates are left until
    /// [`Tls::client_config`], so that a machine without any can still speak to itself unencrypted.
    ///
    /// # Errors
    /// [`Error::Unreadable`] and [`Error::Unusable`], both about `ca_file`.
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<Self, Error> {
        // A variable that is empty counts as one that is not set.
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self::with(ca_file, variable(SSL_CERT_FILE).map(PathBuf::from), variable(SSL_CERT_DIR))
    }

    fn with(
        ca_file: Option<&Path>,
        ssl_cert_file: Option<PathBuf>,
        ssl_cert_dir: Option<OsString>,
    ) -> Result<Self, Error> {
        let extra = ca_file.map(read_certificates).transpose()?.unwrap_or_default();
        let inner = Inner { extra, ssl_cert_file, ssl_cert_dir, config: OnceLock::new() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The configuration, for the API and the WebSocket alike: TLS 1.2 and 1.3, no ALPN.
    ///
    /// # Errors
    /// [`Error::NoRoots`] where nothing can be checked against; [`Error::Setup`] from rustls.
    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>, Error> {
        if let Some(config) = self.inner.config.get() {
            return Ok(config.clone());
        }
        let config = Arc::new(self.build()?);
        Ok(self.inner.config.get_or_init(|| config).clone())
    }

    fn build(&self) -> Result<ClientConfig, Error> {
        let mut extra = self.inner.extra.clone();
        let mut given = extra.clone();
        if let Some(path) = &self.inner.ssl_cert_file {
            match read_certificates(path) {
                Ok(found) => {
                    // On Linux and the BSDs the verifier reads the variable by itself.
                    if cfg!(any(target_vendor = "apple", windows)) {
                        extra.extend(found.iter().cloned());
                    }
                    given.extend(found);
                }
                Err(Error::Unreadable { path, problem })
                    if OpenFiles::of_io(&problem).is_some() =>
                {
                    return Err(Error::Unreadable { path, problem });
                }
                Err(problem) => tracing::warn!("{SSL_CERT_FILE}: {problem}"),
            }
        }
        let trusted_by_hand = !extra.is_empty();
        if self.inner.ssl_cert_file.is_none() && self.inner.ssl_cert_dir.is_none() {
            extra.extend(roots_beside_empty_variable());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = match extra.is_empty() {
            // On Windows this is the user's own store, and no chain engine is made.
            true => Verifier::new(provider.clone()),
            false => Verifier::new_with_extra_roots(extra, provider.clone()),
        };
        let verifier = verifier.map_err(|problem| {
            match problem {
                // What the verifier says when it has no root at all.
                rustls::Error::General(_)
                    if !trusted_by_hand && !cfg!(any(windows, target_vendor = "apple")) =>
                {
                    match OpenFiles::check_room(ROOT_FILES) {
                        Err(problem) => Error::UnreadableRoots(problem),
                        Ok(()) => Error::NoRoots { variables: self.inner.variables() },
                    }
                }
                other => Error::Setup(other),
            }
        })?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::Setup)?
            // rustls calls every verifier but its own 'dangerous'; this one is the platform's.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OrGiven { verifier, given }))
            .with_no_client_auth();
        Ok(config)
    }
}

/// A configuration for a client that uses no TLS: it trusts no certificate.
pub(crate) fn trusting_nobody() -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Setup)?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

impl Inner {
    /// The variables that stand in place of the system's certificates.
    fn variables(&self) -> Vec<(&'static str, OsString)> {
        let file = self.ssl_cert_file.clone().map(PathBuf::into_os_string);
        let set = [(SSL_CERT_FILE, file), (SSL_CERT_DIR, self.ssl_cert_dir.clone())];
        set.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// The system's certificates, where the verifier does not read them because `SSL_CERT_FILE` is set
/// to nothing. Those that are damaged are left out, as the verifier does.
#[cfg(all(unix, not(target_os = "android"), not(target_vendor = "apple")))]
fn roots_beside_empty_variable() -> Vec<CertificateDer<'static>> {
    if std::env::var_os(SSL_CERT_FILE).is_none() {
        return Vec::new();
    }
    let places = openssl_probe::probe();
    let folders = places.cert_dir.iter().map(|folder| (None, Some(folder.as_path())));
    let mut roots: Vec<_> = [(places.cert_file.as_deref(), None)]
        .into_iter()
        .chain(folders)
        .flat_map(|(file, folder)| rustls_native_certs::load_certs_from_paths(file, folder).certs)
        .filter(|root| RootCertStore::empty().add(root.clone()).is_ok())
        .collect();
    roots.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    roots.dedup();
    roots
}

/// The variable is nothing to these platforms' verifiers.
#[cfg(not(all(unix, not(target_os = "android"), not(target_vendor = "apple"))))]
fn roots_beside_empty_variable() -> Vec<CertificateDer<'static>> {
    Vec::new()
}

/// The certificates of a PEM file: at least one, each of them fit to be trusted.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unreadable = |problem| Error::Unreadable { path: path.to_owned(), problem };
    let unusable = |problem: String| Error::Unusable { path: path.to_owned(), problem };

    // Windows opens no folders.
    if path.is_dir() {
        return Err(unusable("it is a folder".into()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(unusable(format!("it is larger than {} MiB", MAX_FILE >> 20)));
    }
    // Editors of Windows begin a file with a byte-order mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    if bytes.is_empty() {
        return Err(unusable("it is empty".into()));
    }

    let mut certificates = Vec::new();
    let mut store = RootCertStore::empty();
    for (at, certificate) in CertificateDer::pem_slice_iter(bytes).enumerate() {
        let at = at + 1;
        let certificate =
            certificate.map_err(|e| unusable(format!("certificate {at} is damaged: {e}")))?;
        store
            .add(certificate.clone())
            .map_err(|e| unusable(format!("certificate {at} cannot be trusted: {e}")))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        // A DER certificate is an ASN.1 sequence of a length in two bytes.
        let problem = if bytes.starts_with(&[0x30, 0x82]) {
            "it is DER, not PEM; convert it with: openssl x509 -inform der -in FILE -out FILE.pem"
        } else {
            "it holds no certificate in PEM"
        };
        return Err(unusable(problem.into()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{ExitCode, Explain as _};

    fn certificate() -> rcgen::CertifiedKey<rcgen::KeyPair> {
        rcgen::generate_simple_self_signed(vec!["example.test".into()]).unwrap()
    }

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    fn refusal(content: &[u8]) -> String {
        let file = file(content);
        Tls::new(Some(file.path())).unwrap_err().to_string()
    }

    #[test]
    fn one_certificate_or_many() {
        let (one, two) = (certificate().cert, certificate().cert);
        let pem = format!("a comment\n{}\n{}", one.pem(), two.pem());
        let tls = Tls::new(Some(file(pem.as_bytes()).path())).unwrap();
        assert_eq!(tls.inner.extra.len(), 2);
        let config = tls.client_config().unwrap();
        assert!(Arc::ptr_eq(&config, &tls.clone().client_config().unwrap()), "built once");
        assert!(config.alpn_protocols.is_empty());
    }

    #[test]
    fn files_without_a_certificate_are_told_apart() {
        assert!(refusal(b"").contains("it is empty"));
        assert!(refusal(b"hello").contains("no certificate in PEM"));
        assert!(refusal(certificate().cert.der()).contains("it is DER"));
        let key = certificate().signing_key.serialize_pem();
        assert!(refusal(key.as_bytes()).contains("no certificate in PEM"));
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(refusal(damaged.as_bytes()).contains("certificate 1 cannot be trusted"));
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(refusal(cut.as_bytes()).contains("certificate 1 is damaged"));
        assert!(refusal(&vec![b'x'; MAX_FILE as usize + 1]).contains("larger than 4 MiB"));
    }

    #[test]
    fn a_missing_file_and_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let error = Tls::new(Some(&folder.path().join("ca.pem"))).unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }), "{error}");
        assert_eq!(error.exit_code(), ExitCode::Config);
        let error = Tls::new(Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("folder"), "{error}");
    }

    #[test]
    fn a_wrong_ssl_cert_file_is_named_when_nothing_is_left() {
        let error = Error::NoRoots { variables: vec![(SSL_CERT_FILE, "/no/such".into())] };
        assert!(error.why().unwrap().contains("SSL_CERT_FILE is set to '/no/such'"));
        assert!(error.remedy().unwrap().contains("unset SSL_CERT_FILE"));
    }

    #[test]
    fn a_wrong_ssl_cert_file_alone_is_no_error_beside_a_ca_file() {
        let file = file(certificate().cert.pem().as_bytes());
        let tls = Tls::with(Some(file.path()), Some("/no/such".into()), None).unwrap();
        assert!(tls.client_config().is_ok());
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_file() {
        let pem = [b"\xef\xbb\xbf", certificate().cert.pem().as_bytes()].concat();
        assert_eq!(Tls::new(Some(file(&pem).path())).unwrap().inner.extra.len(), 1);
        assert!(refusal(b"\xef\xbb\xbf").contains("it is empty"));
    }

    /// Does what the variable `EXPECT` says, in a process with variables of its own.
    #[test]
    #[ignore = "run by the test below"]
    fn in_a_process_of_its_own() {
        let Ok(expect) = std::env::var("EXPECT") else { return };
        let built = Tls::new(None).unwrap().client_config();
        match (expect.as_str(), built) {
            ("roots", built) => assert!(built.is_ok()),
            (names, Err(error @ Error::NoRoots { .. })) => {
                assert!(error.remedy().unwrap().contains(names), "{error:?}");
            }
            (_, built) => panic!("{built:?}"),
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_variables_stand_in_place_of_the_system_s() {
        let good = file(certificate().cert.pem().as_bytes());
        let bad = file(b"nothing");
        let (good, bad) = (good.path().to_str().unwrap(), bad.path().to_str().unwrap());
        // Without roots of the system, an empty variable is no worse than none.
        let of_system = Tls::with(None, None, None).unwrap().client_config();
        let of_system = if of_system.is_ok() { "roots" } else { "the package ca-certificates" };
        let no = "/no/such";
        for (file, folder, expect) in [
            (Some(good), None, "roots"),
            (Some(bad), None, "unset SSL_CERT_FILE,"),
            (Some(no), None, "unset SSL_CERT_FILE,"),
            (None, Some(no), "unset SSL_CERT_DIR,"),
            (Some(""), Some(no), "unset SSL_CERT_DIR,"),
            (Some(no), Some(no), "unset SSL_CERT_FILE and SSL_CERT_DIR,"),
            (Some(""), None, of_system),
            (None, Some(""), of_system),
            (Some(""), Some(""), of_system),
        ] {
            let mut run = std::process::Command::new(std::env::current_exe().unwrap());
            run.args(["--exact", "tls::tests::in_a_process_of_its_own", "--ignored"]);
            for (name, value) in [(SSL_CERT_FILE, file), (SSL_CERT_DIR, folder)] {
                match value {
                    Some(value) => run.env(name, value),
                    None => run.env_remove(name),
                };
            }
            let run = run.env("EXPECT", expect).output().unwrap();
            let said = String::from_utf8_lossy(&run.stdout);
            assert!(
                run.status.success() && said.contains("1 passed"),
                "{file:?} {folder:?}: {said}"
            );
        }
    }
}
