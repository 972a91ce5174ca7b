//! What sources of credentials need of the program that they are a part of.

use std::any::Any;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::cause::Cause;
use crate::openapi::sign::SignatureVersion;
use crate::transport::Transport;

/// Puts a terminal back to how it was.
pub type Restore = Box<dyn Fn() + Send + Sync>;

/// Values that were renewed, and the profile that they are to be written to.
#[derive(Clone, Copy)]
pub struct Renewed<'a> {
    /// The profile file.
    pub file: &'a Path,
    /// The profile's name.
    pub profile: &'a str,
    /// A field, and the value that it has to have: whoever has signed in again meanwhile has newer values.
    pub unchanged: (&'static str, Option<&'a str>),
    /// The fields to write. Secrets are among them.
    pub fields: &'a [(String, Value)],
}

/// Why renewed values were not written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SaveError {
    /// Nothing can be written there.
    #[error("{0}")]
    ReadOnly(Cause),
    /// Another reason.
    #[error("{0}")]
    Other(Cause),
}

/// Variables of the program's own that say where a service is, for tests and for private clouds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Variables {
    /// The variable of the endpoint of STS.
    pub sts_endpoint: Option<&'static str>,
    /// The variable of the URL of the OAuth service.
    pub oauth_url: Option<&'static str>,
    /// The variable of the URL of the metadata service.
    pub metadata_url: Option<&'static str>,
}

/// The program. All of it may be left out: `()` is a host too.
pub trait Host: fmt::Debug + Send + Sync {
    /// The variables that are looked at beside the vendor's.
    fn variables(&self) -> Variables {
        Variables::default()
    }

    /// The name of a role's session, where neither the profile nor a variable has one: it stands in the
    /// account's logs.
    fn session_name(&self) -> &'static str {
        env!("CARGO_PKG_NAME")
    }

    /// Warns of a file of secrets that others may read or change, as the bits of its permissions say; once
    /// for each `mode` that it has.
    fn warn_of_shared(&self, file: &Path, mode: u32) {
        let file = file.display();
        tracing::warn!("{file} holds secrets and others may read or change it (mode {mode:03o})");
    }

    /// Where this process is in the foreground of a terminal: what puts it back to how it is now.
    fn foreground(&self) -> Option<Restore> {
        None
    }

    /// Keeps other processes from renewing profiles of a file, until what is given is dropped; `None` where
    /// that is not possible in time.
    fn lock<'a>(
        &'a self,
        file: &'a Path,
        within: Duration,
    ) -> BoxFuture<'a, Result<Option<Box<dyn Any + Send>>, Cause>> {
        let _ = (file, within);
        Box::pin(async { Ok(None) })
    }

    /// Keeps the program from ending until what is given is dropped: a token that works once is sent, and the
    /// one that takes its place is not written yet.
    fn keep_running(&self) -> Box<dyn Any + Send> {
        Box::new(())
    }

    /// Writes values to a profile, the file as a whole or not at all; `false` if the profile has changed.
    fn save<'a>(&'a self, new: Renewed<'a>) -> BoxFuture<'a, Result<bool, SaveError>> {
        let _ = new;
        Box::pin(async { Ok(false) })
    }
}

impl Host for () {}

/// What sources are asked with.
#[derive(Clone, Debug)]
pub struct FetchContext {
    /// What sends requests.
    pub http: Arc<dyn Transport>,
    /// The signature of calls of STS.
    pub signature: SignatureVersion,
    /// The program.
    pub host: Arc<dyn Host>,
}
