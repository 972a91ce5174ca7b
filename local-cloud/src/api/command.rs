//! Commands: run, invoked, asked after.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Action, ApiError, Asked, Call, public_key, results};
use crate::{
    command::{INSTALL_COMMAND, InvocationRecord, Order, SEND_KEY_COMMAND, Task, take_fault},
    world::random_hex,
};

/// Longest CommandContent, in Base64, as which it is counted whatever it comes as.
const MAX_CONTENT: usize = 24 * 1_024;
/// So many instances may be named in a call.
const MAX_INSTANCES: usize = 100;
/// How long a command may run, in seconds: as a rule, and what may be asked for. Documents say 10 at least; the vendor's own
/// client asks for 5.
const TIMEOUT: u64 = 60;
const TIMEOUTS: std::ops::RangeInclusive<u64> = 1..=86_400;

pub(super) const ACTIONS: &[Action] = &[
    Action::ecs("RunCommand", run),
    Action::ecs("InvokeCommand", invoke),
    Action::ecs("DescribeInvocationResults", results::describe),
];

/// Parameters that change what a command does in ways that are not played here: better refused than not heeded.
const NOT_PLAYED: [&str; 10] = [
    "ContainerId",
    "ContainerName",
    "EnableParameter",
    "Frequency",
    "Launcher",
    "ResourceTag.1.Key",
    "Tag.1.Key",
    "Timed",
    "Username",
    "WorkingDir",
];

fn run(call: &mut Call<'_>) -> Result<Value, ApiError> {
    ask(call, "RunCommand", |call| {
        if call.require("Type")? != "RunShellScript" {
            return Err(ApiError::invalid("Type", "this stand-in runs RunShellScript only"));
        }
        let content = content(call)?;
        let order = if content.trim_ascii() == INSTALL_COMMAND.as_bytes() {
            Order::Install
        } else {
            Order::Script { content }
        };
        Ok((format!("c-{}", random_hex(8)), order))
    })
}

fn invoke(call: &mut Call<'_>) -> Result<Value, ApiError> {
    ask(call, "InvokeCommand", |call| {
        let id = call.require("CommandId")?;
        if id != SEND_KEY_COMMAND {
            let message = format!("The specified command ID {id} does not exist.");
            return Err(ApiError::new(404, "InvalidCmdId.NotFound", message));
        }
        Ok((id.to_owned(), send_key(call.require("Parameters")?)?))
    })
}

/// What both ways to a command have in common. The answer has the InvokeId, and the CommandId, which InvokeCommand's caller
/// knows already.
fn ask(
    call: &mut Call<'_>,
    action: &'static str,
    order: impl FnOnce(&Call<'_>) -> Result<(String, Order), ApiError>,
) -> Result<Value, ApiError> {
    let region = call.region()?;
    let asked = Asked::of(call, action)?;
    if let Some(answer) = call.world.answered.find(asked.as_ref())? {
        note_again(call, &answer);
        return Ok(answer);
    }
    for name in NOT_PLAYED {
        if call.optional(name).is_some_and(|value| value != "false") {
            return Err(ApiError::invalid(name, "this stand-in does not play it"));
        }
    }
    if call.optional("RepeatMode").is_some_and(|mode| mode != "Once") {
        return Err(ApiError::invalid("RepeatMode", "this stand-in plays Once only"));
    }
    let seconds = call.number("Timeout")?.unwrap_or(TIMEOUT);
    if !TIMEOUTS.contains(&seconds) {
        return Err(ApiError::invalid("Timeout", "not between 1 and 86400 seconds"));
    }
    let (command_id, order) = order(call)?;
    let instances = named_instances(call, &region)?;

    let id = format!("t-{}", random_hex(8));
    let records = instances.into_iter().map(|instance| InvocationRecord {
        region: region.clone(),
        timeout: Duration::from_secs(seconds),
        client_token: call.optional("ClientToken").map(str::to_owned),
        access_key_id: call.key.id.clone(),
        ..InvocationRecord::new(id.clone(), command_id.clone(), instance, &order)
    });
    let records = records.collect();
    begin(call, records, &order)?;
    let answer = json!({"InvokeId": id, "CommandId": command_id});
    call.world.answered.add(asked, &answer);
    Ok(answer)
}

/// A call that came before, with the same ClientToken.
fn note_again(call: &Call<'_>, answer: &Value) {
    call.shared.note(|state| {
        let records = state.commands.invocations_mut();
        records
            .filter(|record| answer["InvokeId"] == record.id)
            .for_each(|record| record.calls += 1);
    });
}

fn named_instances(call: &Call<'_>, region: &str) -> Result<Vec<String>, ApiError> {
    call.require("InstanceId.1")?;
    let named = call.list("InstanceId");
    if named.len() > MAX_INSTANCES {
        let message = "The number of instance IDs exceeds the upper limit.";
        return Err(ApiError::new(403, "InstanceIds.ExceedLimit", message));
    }
    for (index, id) in named.iter().enumerate() {
        if call.world.instances.get(*id).is_none_or(|found| found.region != region) {
            let message = format!("The specified instance {id} does not exist.");
            return Err(ApiError::new(404, "InvalidInstance.NotFound", message));
        }
        if named[..index].contains(id) {
            return Err(ApiError::invalid("InstanceId", "one is named twice"));
        }
    }
    Ok(named.into_iter().map(str::to_owned).collect())
}

/// Puts the invocations on record, and lets those begin that ever get anywhere.
fn begin(
    call: &mut Call<'_>,
    records: Vec<InvocationRecord>,
    order: &Order,
) -> Result<(), ApiError> {
    let busy = |_| ApiError::new(500, "InternalError.Dispatch", "Too many commands begin at once.");
    let permit = call.shared.tasks.try_reserve().map_err(busy)?;
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for mut record in records {
        let Some(instance) = call.world.instances.get_mut(&record.instance) else { continue };
        let commands = &mut instance.commands;
        let fault = take_fault(&mut commands.faults, record.kind);
        record.empty_left = commands.results_empty;
        record.mask = fault.as_ref().and_then(|fault| fault.mask.clone());
        let stays = record.mask.as_ref().is_some_and(|mask| mask.is_for_ever());
        let script_timeout = commands.script_timeout.unwrap_or(record.timeout);
        let (time, limit) = (commands.time, record.timeout.min(script_timeout));
        let instance = record.instance.clone();
        let Some(serial) = call.shared.note(|state| state.commands.add(record)) else { continue };
        if !stays {
            tasks.push(Task {
                serial,
                instance,
                order: order.clone(),
                begun,
                time: fault.as_ref().and_then(|fault| fault.takes).unwrap_or(time),
                limit,
                ends: fault.and_then(|fault| fault.ends),
            });
        }
    }
    permit.send(tasks);
    Ok(())
}

/// CommandContent, decoded.
fn content(call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
    let content = call.require("CommandContent")?;
    let encoding = call.optional("ContentEncoding").unwrap_or("PlainText");
    let (length, content) = if encoding.eq_ignore_ascii_case("Base64") {
        let wrong = |_| {
            let message = "The CommandContent can only be encoded by Base64.";
            ApiError::new(403, "CmdContent.DecodeError", message)
        };
        (content.len(), STANDARD.decode(content).map_err(wrong)?)
    } else if encoding.eq_ignore_ascii_case("PlainText") {
        (content.len().div_ceil(3) * 4, content.as_bytes().to_vec())
    } else {
        return Err(ApiError::invalid("ContentEncoding", "neither Base64 nor PlainText"));
    };
    if length > MAX_CONTENT {
        let message = "The maximum length of a command is exceeded.";
        return Err(ApiError::new(403, "CmdContent.ExceedLimit", message));
    }
    Ok(content)
}

/// Parameters of the command that sends a key: the two that it has, and no others.
fn send_key(parameters: &str) -> Result<Order, ApiError> {
    let invalid = |why: &str| ApiError::invalid("Parameters", why);
    let object: Map<String, Value> =
        serde_json::from_str(parameters).map_err(|_| invalid("not one JSON object"))?;
    let mut names: Vec<&str> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    if names != ["sshPublicKey", "username"] {
        let message = "The passed-in parameters do not match the parameters defined when you created the command.";
        return Err(ApiError::new(403, "Parameter.NotMatched", message));
    }
    let (Some(user), Some(key)) = (object["username"].as_str(), object["sshPublicKey"].as_str())
    else {
        let message = "The type of parameter value is not supported.";
        return Err(ApiError::new(403, "ParameterType.NotSupported", message));
    };
    if !public_key::is_user_name(user) {
        return Err(invalid("username is not the name of a user"));
    }
    public_key::check(key).map_err(|why| invalid(&format!("sshPublicKey {why}")))?;
    Ok(Order::SendKey { user: user.to_owned(), key: key.to_owned() })
}
