//! What can be switched on: Session Manager, and an instance.

use crate::openapi::answer::{field, text};
use crate::openapi::client::Client;
use crate::openapi::error::{Error, Kind};

impl Client {
    /// Whether Session Manager is switched on: `DescribeCloudAssistantSettings`, or where that is not
    /// answered the older `DescribeUserBusinessBehavior`. `None` if they do not say.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn session_manager_enabled(&self) -> Result<Option<bool>, Error> {
        let mut call = self.prepare("DescribeCloudAssistantSettings", None, Ok(()))?;
        call.set("SettingType.1", "SessionManagerConfig".to_owned());
        let refused = match self.call(&call).await {
            Ok((answer, _)) => {
                let found = field(&answer, "SessionManagerConfig")
                    .and_then(|config| text(config, "SessionManagerEnabled"));
                match found.map(|word| word.to_ascii_lowercase()).as_deref() {
                    Some("true") => return Ok(Some(true)),
                    Some("false") => return Ok(Some(false)),
                    _ => None,
                }
            }
            // An older service, or a policy that was written for one.
            Err(error) if matches!(error.kind(), Kind::PermissionMissing | Kind::OtherCode) => {
                Some(error)
            }
            Err(error) => return Err(error),
        };
        let mut call = self.prepare("DescribeUserBusinessBehavior", None, Ok(()))?;
        call.set("statusKey", "sessionManagerStatus".to_owned());
        match (self.call(&call).await, refused) {
            (Ok((answer, _)), _) => Ok(text(&answer, "StatusValue").map(|word| {
                // It is the only value that is known to mean so.
                !word.eq_ignore_ascii_case("disabled")
            })),
            (Err(_), Some(error)) | (Err(error), None) => Err(error),
        }
    }

    /// `StartInstance`. `false` if the instance is in no state to be started: somebody else has
    /// started it, or it is still being stopped.
    ///
    /// # Errors
    /// Every [`Error`].
    pub async fn start_instance(&self, instance_id: &str) -> Result<bool, Error> {
        let mut call = self.prepare_for("StartInstance", instance_id)?;
        call.set("InstanceId", instance_id.to_owned());
        match self.call(&call).await {
            Ok(_) => Ok(true),
            Err(error) if error.code().is_some_and(|c| c.starts_with(WRONG_STATE)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The code of an operation that the instance's state does not allow, and of its finer ones.
const WRONG_STATE: &str = "IncorrectInstanceStatus";
