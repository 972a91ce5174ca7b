//! Checks of the credentials and their permissions, and of Session Manager.

use super::context::{DoctorContext, not_known};
use super::outcome::Outcome;
use crate::cloud::{Error, Kind, Verdict};
use crate::explain::{ExitCode, Report, switch_on};
use crate::policy::Policy;
use crate::target::is_id;

impl DoctorContext<'_> {
    /// The service accepts the credentials.
    pub(crate) async fn access_key(&self) -> Outcome {
        let Some(cloud) = self.cloud.get() else { return not_known("the endpoint") };
        match cloud.client.probe().await {
            Ok(()) => Outcome::passed("accepted"),
            // What it may not do is looked at next.
            Err(error) if error.kind() == Kind::PermissionMissing => Outcome::passed("accepted"),
            Err(error) => Outcome::failed(&error),
        }
    }

    /// The caller may do what can be tried without changing anything.
    pub(crate) async fn permission(&self) -> Outcome {
        let Some(cloud) = self.cloud.get() else { return not_known("the endpoint") };
        let client = &cloud.client;
        // Targets that are ids need no look-up of names.
        let by_name = self.args.target.as_deref().is_some_and(|target| !is_id(target));
        let names = async {
            match by_name {
                true => client.may_describe_instances().await,
                false => Ok(()),
            }
        };
        let agents = async { client.agent_statuses(&[]).await.map(drop) };
        let (status, agents, names) = tokio::join!(client.probe(), agents, names);
        let asked = [
            ("ecs:DescribeInstanceStatus", status),
            ("ecs:DescribeCloudAssistantStatus", agents),
            ("ecs:DescribeInstances", names),
        ];
        let mut denied: Vec<(&str, Error)> = Vec::new();
        for (action, answer) in asked {
            match answer {
                Err(error) if error.verdict() == Verdict::ValidButDenied => {
                    denied.push((action, error))
                }
                Err(error) if error.verdict() == Verdict::Unknown => {
                    return Outcome::Unknown(Report::new(&error));
                }
                _ => {}
            }
        }
        let Some((_, first)) = denied.first() else {
            let tried = match by_name {
                true => "instances, their states and their agents may be looked at",
                false => "states of instances and agents may be looked at",
            };
            return Outcome::passed(tried);
        };
        if first.kind() != Kind::PermissionMissing {
            return Outcome::failed(first);
        }
        let actions: Vec<_> = denied.iter().map(|(action, _)| *action).collect();
        let mut report = Report::new(first);
        report.what = format!("not permitted: {}", actions.join(", "));
        report.fix = Some(format!(
            "in the RAM console, attach a policy such as this one (`ecs-bridge policy connect` \
             prints one for all that connections need):\n{}",
            Policy::of(&actions).compact()
        ));
        Outcome::Failed(report)
    }

    /// Session Manager is switched on in the region of the instance.
    pub(crate) async fn session_manager(&self) -> Outcome {
        let found = self.found.get().map(|found| &found.cloud);
        let Some(cloud) = found.or(self.cloud.get()) else { return not_known("the endpoint") };
        let region = cloud.client.config().region.to_string();
        match cloud.client.session_manager_enabled().await {
            Ok(Some(true)) => Outcome::passed(format!("it is switched on in {region}")),
            Ok(Some(false)) => {
                let what = format!("Session Manager is switched off in {region}");
                let why = "it is off until somebody switches it on, once for each region";
                let report = Report::plain(what, ExitCode::Target).why(why);
                Outcome::Failed(report.fix(switch_on(&region)))
            }
            Ok(None) => {
                let what = "the service does not say whether it is switched on";
                Outcome::Unknown(Report::plain(what, ExitCode::Failed))
            }
            Err(error) if error.kind() == Kind::PermissionMissing => {
                let what = "whether it is switched on may not be asked";
                let mut report = Report::plain(what, ExitCode::Permission);
                report.request_id = error.request_id().map(str::to_owned);
                Outcome::Unknown(report.fix(format!(
                    "no session needs this permission; if none opens, attach a policy such as this \
                     one:\n{}",
                    Policy::of(&["ecs:DescribeCloudAssistantSettings"]).compact()
                )))
            }
            Err(error) => Outcome::Unknown(Report::new(&error)),
        }
    }
}
