//! The command line of sessions that are started by other means than a call of one's own account.

use clap::Args;
use secrecy::SecretString;

use super::values::secret;

/// How a session is started, where the account of the credentials does not have the instance.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Via {
    /// Start the session through this service instance of Compute Nest, which owns the instance
    ///
    /// TARGET is the instance's id. InvokeServiceInstanceOperationAPI of Compute Nest is called in place of
    /// StartTerminalSession.
    #[arg(long, hide_short_help = true, value_name = "ID")]
    pub service_instance: Option<String>,

    /// Use the session of this WebSocket URL, which somebody else has started; no API is called
    #[arg(
        long,
        hide = true,
        value_name = "URL",
        value_parser = secret,
        conflicts_with = "service_instance"
    )]
    pub wss_url: Option<SecretString>,
}
