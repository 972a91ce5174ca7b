//! What this program does for sources of credentials: its variables, warnings, terminal, and profile files.

use std::any::Any;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use aliyun_client::cause::Cause;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{Error, Host, Renewed, Restore, SaveError, Variables, store};
use crate::platform::replace::{self, Destination};
use crate::platform::terminal::Foreground;

/// The name of a role's session, where nothing else gives one.
pub(crate) const SESSION: &str = "ecs-bridge";

/// The number of refresh tokens that were sent and whose successors are not written yet.
static TOKENS_SENT: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));

/// A refresh token that is sent, until its successor is written.
struct TokenSent;

impl TokenSent {
    fn new() -> Self {
        TOKENS_SENT.send_modify(|count| *count += 1);
        Self
    }
}

impl Drop for TokenSent {
    fn drop(&mut self) {
        TOKENS_SENT.send_modify(|count| *count -= 1);
    }
}

/// Waits until the successor of each refresh token that was sent is written; `None` if that is so already.
pub(crate) fn tokens_written() -> Option<impl Future<Output = ()>> {
    let mut sent = TOKENS_SENT.subscribe();
    if *sent.borrow() == 0 {
        return None;
    }
    Some(async move {
        // The sender is never dropped.
        let _ = sent.wait_for(|count| *count == 0).await;
    })
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Program;

impl Host for Program {
    fn variables(&self) -> Variables {
        Variables {
            sts_endpoint: Some("ECS_BRIDGE_STS_ENDPOINT"),
            oauth_url: Some("ECS_BRIDGE_OAUTH_URL"),
            metadata_url: Some("ECS_BRIDGE_METADATA_URL"),
        }
    }

    fn session_name(&self) -> &'static str {
        SESSION
    }

    fn warn_of_shared(&self, file: &Path, mode: u32) {
        tracing::warn!(
            "{} holds secrets and others may read or change it (mode {mode:03o}): chmod 600 it",
            file.display()
        );
    }

    fn foreground(&self) -> Option<Restore> {
        let foreground = Foreground::get()?;
        Some(Box::new(move || foreground.restore()))
    }

    fn lock<'a>(
        &'a self,
        file: &'a Path,
        within: Duration,
    ) -> BoxFuture<'a, Result<Option<Box<dyn Any + Send>>, Cause>> {
        Box::pin(async move {
            let place = Destination::of(file).map_err(Cause::new)?;
            let held = replace::hold(&place, within).await;
            Ok(held.map(|held| Box::new(held) as Box<dyn Any + Send>))
        })
    }

    fn keep_running(&self) -> Box<dyn Any + Send> {
        Box::new(TokenSent::new())
    }

    fn save<'a>(&'a self, new: Renewed<'a>) -> BoxFuture<'a, Result<bool, SaveError>> {
        Box::pin(async move {
            let saved = store::change(new.file, |document| {
                let Some(entry) = document.profile(new.profile) else { return Ok(false) };
                // Whoever has signed in again meanwhile has newer values than these.
                if entry.text(new.unchanged.0).as_deref() != new.unchanged.1 {
                    return Ok(false);
                }
                let fields = new.fields.iter();
                let fields: Vec<_> =
                    fields.map(|(name, value)| (name.as_str(), Some(value.clone()))).collect();
                Ok(document.set(new.profile, &fields).is_ok())
            });
            saved.await.map_err(|problem| match &problem {
                Error::Unwritten(cause)
                    if matches!(cause.downcast_ref(), Some(replace::Error::ReadOnly { .. })) =>
                {
                    SaveError::ReadOnly(Cause::new(problem))
                }
                _ => SaveError::Other(Cause::new(problem)),
            })
        })
    }
}
