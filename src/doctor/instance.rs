//! The instance and its agent.

use super::context::{DoctorContext, not_known, without_target};
use super::outcome::Outcome;
use crate::app::{Result, cache};
use crate::cloud::{AgentStatus, InstanceState, Kind};
use crate::explain::{ExitCode, Report};
use crate::session::agent::{AgentVersions, SILENT_REDIAL, UPDATE};
use crate::session::diagnose::{missing, not_running, offline, too_old, version, without_sessions};
use crate::session::failure::Finding;
use crate::target::finder::{Finder, Found, Instances as _};
use session_manager_proto::generation::{AgentVersion, Generation};

impl DoctorContext<'_> {
    /// There is such an instance.
    pub(crate) async fn instance(&self) -> Outcome {
        let Some(target) = &self.args.target else { return without_target() };
        let Some(cloud) = self.cloud.get() else { return not_known("the endpoint") };
        let finder = match Finder::new(cloud, target, &self.args.look_up) {
            Ok(finder) => finder,
            Err(error) => return Outcome::failed(&error),
        };
        let found = match finder.find().await {
            Ok(found) => found,
            Err(error) => return Outcome::failed(&*error),
        };
        let (found, state) = match self.state_of(&finder, found).await {
            Ok(Ok(there)) => there,
            Ok(Err(unknown)) => return unknown,
            Err(error) => return Outcome::failed(&*error),
        };
        let said = format!("{found} in {}", found.cloud.client.config().region);
        // No other check sets them.
        let _ = (self.found.set(found), self.state.set(state));
        Outcome::passed(said)
    }

    /// The instance with its state; or another one, if the one that is remembered is gone.
    async fn state_of(
        &self,
        finder: &Finder,
        mut found: Found,
    ) -> Result<std::result::Result<(Found, Option<InstanceState>), Outcome>> {
        // The service knows managed instances by their agents only.
        if found.id.starts_with("mi-") {
            return Ok(Ok((found, None)));
        }
        for _ in 0..2 {
            let error = match found.cloud.client.instance_state(&found.id).await {
                Ok(Some(state)) => return Ok(Ok((found, Some(state)))),
                Ok(None) => None,
                Err(error) if error.kind() == Kind::InstanceNotFound => Some(error),
                Err(error) if error.kind() == Kind::PermissionMissing => {
                    return Ok(Ok((found, None)));
                }
                Err(error) => return Ok(Err(Outcome::failed(&error))),
            };
            match (finder.again(&found).await?, error) {
                (Some(other), _) => found = other,
                (None, Some(error)) => return Err(error.into()),
                (None, None) => break,
            }
        }
        Ok(Err(unknown_instance(&found)))
    }

    /// It runs.
    pub(crate) async fn running(&self) -> Outcome {
        let Some(state) = self.state.get().and_then(Option::as_ref) else {
            return self.not_known("its state");
        };
        match not_running(state) {
            Some(finding) => failed(&finding),
            None => Outcome::passed("it runs"),
        }
    }

    /// It has an agent.
    pub(crate) async fn agent_installed(&self) -> Outcome {
        let Some(found) = self.found.get() else { return self.not_known("the instance") };
        let agent = match found.cloud.client.agent_status(&found.id).await {
            Ok(Some(agent)) => agent,
            Ok(None) => return failed(&Finding::AgentMissing),
            Err(error) if error.kind() == Kind::InstanceNotFound => return Outcome::failed(&error),
            Err(error) => return Outcome::Unknown(Report::new(&error)),
        };
        let versions = AgentVersions::new(cache(&self.args.look_up), self.global.quiet);
        versions.learn(&found.cloud, &found.id, agent.version.clone());
        let finding = missing(&agent);
        let said = format!("version {}", version(&agent));
        let _ = self.agent.set(agent);
        finding.map_or_else(|| Outcome::passed(said), |finding| failed(&finding))
    }

    /// Its agent is online.
    pub(crate) async fn agent_online(&self) -> Outcome {
        self.agent(|agent| {
            let heard = agent.last_heartbeat.as_deref();
            let heard = heard.map(|at| format!("last heard of at {at}"));
            match (offline(agent), agent.online) {
                (Some(finding), _) => {
                    let mut report = of(&finding);
                    report.why = heard;
                    Outcome::Failed(report)
                }
                (None, Some(_)) => Outcome::passed(heard.unwrap_or_else(|| "it is".to_owned())),
                (None, None) => not_known("whether it is"),
            }
        })
    }

    /// Its agent is new enough.
    pub(crate) async fn agent_version(&self) -> Outcome {
        self.agent(|agent| match (too_old(agent), &agent.version) {
            (Some(finding), _) => failed(&finding),
            (None, Some(version)) if redials(version) => Outcome::passed(format!(
                "{version} is new enough for sessions. Warning: {SILENT_REDIAL}, so that idle \
                 sessions of other protocols than SSH are not kept open; {UPDATE}"
            )),
            (None, Some(version)) => Outcome::passed(format!("{version} is new enough")),
            (None, None) => not_known("its version"),
        })
    }

    /// Its agent supports sessions.
    pub(crate) async fn agent_sessions(&self) -> Outcome {
        self.agent(|agent| match (without_sessions(agent), agent.supports_sessions) {
            (Some(finding), _) => failed(&finding),
            (None, Some(_)) => Outcome::passed("the service says that it supports them"),
            (None, None) => not_known("whether it supports them"),
        })
    }

    fn agent(&self, judge: impl FnOnce(&AgentStatus) -> Outcome) -> Outcome {
        self.agent.get().map_or_else(|| self.not_known("its agent"), judge)
    }
}

/// Whether agents of this version connect again to a target that has closed.
fn redials(version: &str) -> bool {
    AgentVersion::parse(version).map(Generation::of).is_some_and(Generation::redials)
}

fn of(finding: &Finding) -> Report {
    Report::plain(finding.to_string(), ExitCode::Target).fix(finding.remedy())
}

fn failed(finding: &Finding) -> Outcome {
    Outcome::Failed(of(finding))
}

/// The service does not list it, which is its answer for an unknown instance.
fn unknown_instance(found: &Found) -> Outcome {
    let region = &found.cloud.client.config().region;
    let report = Report::plain(format!("there is no such instance: {found}"), ExitCode::Target);
    let report = report.why(format!("region {region} has none that this account can see"));
    Outcome::Failed(report.fix(
        "check the id, and the region it is in (--region, ALIBABA_CLOUD_REGION_ID, the profile's \
         region_id); `ecs-bridge list` shows those there are",
    ))
}
