//! Cloud Assistant: whether agents are there, and whether Session Manager is switched on.

use serde_json::{Value, json};

use super::{Action, ApiError, Call};

pub(super) const ACTIONS: &[Action] = &[
    Action::ecs("DescribeCloudAssistantStatus", describe_cloud_assistant_status),
    Action::ecs("DescribeCloudAssistantSettings", describe_cloud_assistant_settings),
    Action::ecs("DescribeUserBusinessBehavior", describe_user_business_behavior),
];

fn describe_cloud_assistant_status(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let region = call.region()?;
    let limit = call.world.settings.agent_status_limit;
    if call.list("InstanceId").len() > limit {
        let message = format!("The number of InstanceIds exceeds the limit of {limit}.");
        return Err(ApiError::new(400, "InstanceIds.ExceedLimit", message));
    }
    let now = humantime::format_rfc3339_seconds(call.world.settings.now()).to_string();
    let list: Vec<Value> = call
        .instances(&region)
        .iter()
        .map(|instance| {
            // Of an agent that was never there nothing was ever heard.
            let version = instance.version();
            let heard = if version.is_empty() { "" } else { now.as_str() };
            json!({
                "InstanceId": instance.id,
                "CloudAssistantStatus": instance.reachable().to_string(),
                "CloudAssistantVersion": version,
                "OSType": instance.os.name(),
                "SupportSessionManager": instance.supports_sessions(),
                "LastHeartbeatTime": heard,
            })
        })
        .collect();
    Ok(json!({
        "TotalCount": list.len(),
        "InstanceCloudAssistantStatusSet": {"InstanceCloudAssistantStatus": list},
    }))
}

fn describe_cloud_assistant_settings(call: &mut Call<'_>) -> Result<Value, ApiError> {
    call.region()?;
    let enabled = call.world.settings.session_manager_enabled;
    let wanted = call.list("SettingType");
    if wanted.is_empty() {
        return Err(ApiError::missing("SettingType"));
    }
    if wanted.contains(&"SessionManagerConfig") {
        return Ok(json!({"SessionManagerConfig": {"SessionManagerEnabled": enabled}}));
    }
    Ok(json!({}))
}

fn describe_user_business_behavior(call: &mut Call<'_>) -> Result<Value, ApiError> {
    call.region()?;
    if call.require("statusKey")? != "sessionManagerStatus" {
        return Err(ApiError::invalid("statusKey", "only sessionManagerStatus is known"));
    }
    let value = if call.world.settings.session_manager_enabled { "enabled" } else { "disabled" };
    Ok(json!({"StatusValue": value}))
}
