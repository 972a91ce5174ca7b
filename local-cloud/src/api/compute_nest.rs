//! Compute Nest: a call of ECS that is carried out on behalf of a service instance.

use serde_json::{Value, json};

use super::{Action, ApiError, Call, Params, terminal};

pub(super) const ACTIONS: &[Action] = &[Action {
    name: "InvokeServiceInstanceOperationAPI",
    version: "2021-05-21",
    is_signed: true,
    run: invoke,
}];

fn invoke(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let id = call.require("ServiceInstanceId")?;
    if !call.world.service_instances.contains(id) {
        let message = format!("The specified service instance {id} does not exist.");
        return Err(ApiError::new(404, "EntityNotExist.ServiceInstance", message));
    }
    for (name, wanted) in [("OperationProduct", "ecs"), ("OperationVersion", "2014-05-26")] {
        if call.require(name)? != wanted {
            return Err(ApiError::invalid(name, "not known here"));
        }
    }
    let action = call.require("OperationAction")?;
    let action = terminal::ACTIONS.iter().find(|known| known.name == action);
    let action = action.ok_or_else(|| ApiError::invalid("OperationAction", "not known here"))?;
    let mut params = params(call.require("OperationParameters")?)?;
    if let Some(region) = call.optional("RegionId") {
        params.entry("RegionId".to_owned()).or_insert_with(|| region.to_owned());
    }
    let Call { shared, world, key, .. } = call;
    let result = (action.run)(&mut Call { shared, world, key, params: &params })?;
    Ok(json!({ "OperationResults": result.to_string() }))
}

/// The parameters of the inner call; lists become `Name.1`, `Name.2`, ….
fn params(text: &str) -> Result<Params, ApiError> {
    let wrong = || ApiError::invalid("OperationParameters", "not a JSON object of plain values");
    let Ok(Value::Object(map)) = serde_json::from_str(text) else { return Err(wrong()) };
    let mut params = Params::new();
    for (name, value) in map {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    params.insert(format!("{name}.{}", index + 1), plain(item).ok_or_else(wrong)?);
                }
            }
            value => _ = params.insert(name, plain(&value).ok_or_else(wrong)?),
        }
    }
    Ok(params)
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is_so) => Some(is_so.to_string()),
        _ => None,
    }
}
