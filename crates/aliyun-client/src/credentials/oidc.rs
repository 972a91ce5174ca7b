//! A RAM role that a token of an identity provider is exchanged for: STS AssumeRoleWithOIDC.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;

use super::cached::CachedCredentials;
use super::error::Error;
use super::host::FetchContext;
use super::json::RawCredentials;
use super::keys::Credentials;
use super::provide::{ProvideCredentials, Providing};
use super::role::{Role, config};
use super::source::Source;
use crate::cause::Cause;
use crate::openapi::Client;

/// The longest token, in bytes.
const MAX_TOKEN: u64 = 64 << 10;

/// A token and what it is exchanged for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Oidc {
    pub(super) role: Role,
    pub(super) provider_arn: String,
    /// It is read each time: whoever issues the tokens writes new ones.
    pub(super) token_file: PathBuf,
}

/// Exchanges the token that the file has now.
pub(super) async fn exchange(
    oidc: &Oidc,
    source: &Source,
    context: &FetchContext,
) -> Result<CachedCredentials, Error> {
    let token = read(&oidc.token_file).map_err(|problem| Error::OidcToken {
        origin: source.clone(),
        path: oidc.token_file.clone(),
        problem: problem.into(),
    })?;
    let failed = |error| Error::Sts { origin: source.clone(), error: Box::new(error) };
    let nobody = Arc::new(Nobody(source.clone()));
    let client = Client::new(config(&oidc.role.sts, nobody, context)).map_err(failed)?;
    let session = client.assume_role_with_oidc(&oidc.role.request, &oidc.provider_arn, &token);
    let session = session.await.map_err(failed)?;
    RawCredentials::from(session).cached(source)
}

/// Signs nothing: the call is not signed.
#[derive(Debug)]
struct Nobody(Source);

impl ProvideCredentials for Nobody {
    fn source(&self) -> &Source {
        &self.0
    }

    fn provide(&self) -> Providing<'_, Credentials> {
        Box::pin(async { Err(Cause::new(Error::Stopped)) })
    }
}

fn read(path: &Path) -> Result<SecretString, String> {
    use std::io::Read as _;
    let said = |error: std::io::Error| error.to_string();
    // To open a pipe could take for ever.
    if !std::fs::metadata(path).map_err(said)?.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(said)?;
    file.take(MAX_TOKEN + 1).read_to_string(&mut text).map_err(said)?;
    match text.trim_start_matches('\u{feff}').trim() {
        "" => Err("it is empty".to_owned()),
        _ if text.len() as u64 > MAX_TOKEN => Err("it is larger than 64 KiB".to_owned()),
        token => Ok(token.to_owned().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn a_token_is_what_the_file_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(read(&path).is_err());
        assert_eq!(read(folder.path()).unwrap_err(), "it is not a file");
        std::fs::write(&path, " hush.hush\n").unwrap();
        assert_eq!(read(&path).unwrap().expose_secret(), "hush.hush");
        std::fs::write(&path, "\u{feff}hush.hush\r\n").unwrap();
        assert_eq!(read(&path).unwrap().expose_secret(), "hush.hush");
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(read(&path).unwrap_err(), "it is empty");
        std::fs::write(&path, vec![b'x'; MAX_TOKEN as usize + 1]).unwrap();
        assert_eq!(read(&path).unwrap_err(), "it is larger than 64 KiB");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read(&path).unwrap_err().contains("UTF-8"));
    }
}
