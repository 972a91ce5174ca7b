//! What sources are asked with.

use std::sync::Arc;

use super::host::Host;
use crate::openapi::sign::SignatureVersion;
use crate::transport::Transport;

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
