//! What instances say about themselves.

use serde_json::{Value, json};

use super::{Action, ApiError, Call};

pub(super) const ACTIONS: &[Action] =
    &[Action::ecs("DescribeInstanceStatus", describe_instance_status)];

fn describe_instance_status(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let region = call.region()?;
    let found = call.instances(&region);
    let list: Vec<Value> = found
        .iter()
        .filter(|instance| !instance.is_managed())
        .map(|instance| json!({"InstanceId": instance.id, "Status": instance.status.name()}))
        .collect();
    Ok(json!({
        "TotalCount": list.len(),
        "PageNumber": 1,
        "PageSize": 10,
        "InstanceStatuses": {"InstanceStatus": list},
    }))
}
