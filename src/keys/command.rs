//! Commands that run in an instance over the control plane, and the errors when they fail.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::cloud::{self, Client, Invocation, InvocationError, InvocationResult};
use crate::explain::{ExitCode, Explain};
use crate::session::diagnose::{Diagnosis, diagnose};
use crate::session::failure::Finding;

/// All that is done in an instance for one command of ours takes this long at most.
const WITHIN: Duration = Duration::from_secs(60);
/// The same for one command there, in seconds.
pub(crate) const TIMEOUT: u32 = 60;
/// Installs the plug-in that makes the instance's sshd ask for registered keys.
pub(crate) const INSTALL: &str =
    "acs-plugin-manager -e -P config_ecs_instance_connect --params --install";
/// After how long an instance that is known is looked at, if it has not done its work.
const LOOK_AFTER: Duration = Duration::from_secs(3);
/// How long one whose agent is reported offline may take, since it may have come back.
const AWAY_WITHIN: Duration = Duration::from_secs(10);

/// The purpose of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Installing the key plug-in.
    Install,
    /// Registering a key.
    SendKey,
    /// Printing its host keys.
    HostKeys,
    /// Printing which program its sshd runs for keys.
    KeyCommand,
}

impl Step {
    /// What has failed, as a message begins.
    pub(crate) fn failed(self, instance: &str) -> String {
        match self {
            Self::Install => format!("the key plug-in cannot be installed on {instance}"),
            Self::SendKey => format!("the key cannot be registered with {instance}"),
            Self::HostKeys => format!("the host keys of {instance} cannot be found out"),
            Self::KeyCommand => format!("the sshd configuration of {instance} cannot be read"),
        }
    }
}

/// A command that failed in an instance.
#[derive(Debug)]
pub(crate) struct Failed {
    step: Step,
    instance: String,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Windows,
    Away,
    Command { error: InvocationError, finding: Option<Finding> },
}

impl Failed {
    /// Whether it may succeed once the instance is started.
    pub(crate) fn is_of_starting(&self) -> bool {
        match &self.cause {
            Cause::Windows => false,
            Cause::Away => true,
            Cause::Command { error, .. } => error.is_undelivered() || error.may_pass(),
        }
    }
}

impl std::error::Error for Failed {}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.cause {
            Cause::Windows | Cause::Away => f.write_str(&self.step.failed(&self.instance)),
            Cause::Command { error, .. } => error.fmt(f),
        }
    }
}

impl Explain for Failed {
    fn why(&self) -> Option<String> {
        match &self.cause {
            Cause::Windows => Some(match self.step {
                Step::HostKeys => "it runs Windows: only Linux can be asked".to_owned(),
                _ => "it runs Windows: the service registers keys with Linux only".to_owned(),
            }),
            Cause::Away => Some(Finding::AgentOffline.to_string()),
            Cause::Command { error, finding } => {
                let parts = finding.iter().map(ToString::to_string).chain(error.why());
                Some(parts.collect::<Vec<_>>().join("; ")).filter(|why| !why.is_empty())
            }
        }
    }

    fn remedy(&self) -> Option<String> {
        match &self.cause {
            Cause::Windows => Some(match self.step {
                Step::HostKeys => "compare the fingerprint yourself: ssh-keygen -lf \
                                   C:\\ProgramData\\ssh\\ssh_host_ed25519_key.pub"
                    .to_owned(),
                _ => "use a password, or a key that lives on the instance; for Remote Desktop: \
                      ecs-bridge forward -i TARGET -L 3389"
                    .to_owned(),
            }),
            Cause::Away => Some(Finding::AgentOffline.remedy()),
            Cause::Command { finding: Some(finding), .. } => Some(finding.remedy()),
            Cause::Command { error: error @ InvocationError::Call(_), .. } => error.remedy(),
            Cause::Command { error, .. } if self.step == Step::Install => {
                let fix = error.remedy().unwrap_or_default();
                Some(format!(
                    "{fix}; if it fails again, run it by hand in the instance, as root:\n{INSTALL}"
                ))
            }
            Cause::Command { error, .. } => error.remedy(),
        }
    }

    fn request_id(&self) -> Option<&str> {
        match &self.cause {
            Cause::Command { error, .. } => error.request_id(),
            Cause::Windows | Cause::Away => None,
        }
    }

    fn exit_code(&self) -> ExitCode {
        match &self.cause {
            Cause::Command { error, finding: None } => error.exit_code(),
            _ => ExitCode::Target,
        }
    }

    fn is_unknown_instance(&self) -> bool {
        matches!(&self.cause, Cause::Command { error, .. } if error.is_unknown_instance())
    }
}

/// Waits for a command to be taken by the service and to succeed in an instance: its result, and the
/// `RequestId` of the call that started it.
pub(crate) async fn done(
    client: &Client,
    instance: &str,
    step: Step,
    began: Instant,
    invoked: impl Future<Output = Result<Invocation, cloud::Error>>,
) -> Result<(InvocationResult, Option<String>), (Step, InvocationError)> {
    let done = async {
        let invocation = invoked.await?;
        let what = step.failed(&client.label(instance));
        let result = client.succeeded(&invocation, &what, began, WITHIN).await?;
        Ok((result, invocation.request_id))
    };
    done.await.map_err(|error| (step, error))
}

/// Waits for work in an instance, and looks at the instance meanwhile: at once if it has never done
/// such work, since it may not be able to, and otherwise only if it takes long or fails.
///
/// # Errors
/// With the state of the instance that prevents the work, if one is found; otherwise with the error
/// of the work. Its step is `step` unless the work names another.
pub(crate) async fn run_while_agent_online<T>(
    client: &Client,
    instance: &str,
    step: Step,
    is_known: bool,
    work: impl Future<Output = Result<T, (Step, InvocationError)>>,
) -> Result<T, Failed> {
    let failed = |step, cause| Failed { step, instance: client.label(instance), cause };
    let (step, error) = tokio::select! {
        biased;
        done = work => match done {
            Ok(value) => return Ok(value),
            Err(error) => error,
        },
        cause = agent_problem(client, instance, is_known) => {
            return Err(failed(step, cause));
        }
    };
    let seen = match error.is_vague() {
        true => diagnose(client, instance).await,
        false => Diagnosis::default(),
    };
    if seen.is_windows {
        debug!("it would have been: {error}");
        return Err(failed(step, Cause::Windows));
    }
    Err(failed(step, Cause::Command { error, finding: seen.finding }))
}

/// Returns when there is a reason not to wait for an instance any longer.
async fn agent_problem(client: &Client, instance: &str, is_known: bool) -> Cause {
    if is_known {
        sleep(LOOK_AFTER).await;
    }
    match client.agent_status(instance).await {
        Ok(Some(agent)) if agent.is_windows() => return Cause::Windows,
        Ok(Some(agent)) if agent.online == Some(false) => {
            debug!("the agent of {instance} is said to be away");
            sleep(AWAY_WITHIN).await;
            match client.agent_status(instance).await {
                // It may have come back, and be at work.
                Ok(Some(agent)) if agent.online == Some(true) => {}
                Ok(_) => return Cause::Away,
                Err(error) => debug!("cannot look at the instance again: {error}"),
            }
        }
        Ok(_) => {}
        // The work itself reports what is wrong with the credentials, the network or the id.
        Err(error) => debug!("cannot look at the instance: {error}"),
    }
    std::future::pending().await
}
