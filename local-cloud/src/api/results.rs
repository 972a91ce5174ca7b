//! DescribeInvocationResults: what became of commands.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{ApiError, Call};
use crate::command::{Ending, InvocationRecord};

/// Answers for an invocation, an instance, or all that the region has; an InvokeId that nobody knows has no results.
pub(super) fn describe(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let region = call.region()?;
    let (id, instance) = (call.optional("InvokeId"), call.optional("InstanceId"));
    let encoding = call.optional("ContentEncoding").unwrap_or("Base64");
    let plain = encoding.eq_ignore_ascii_case("PlainText");
    if !plain && !encoding.eq_ignore_ascii_case("Base64") {
        return Err(ApiError::invalid("ContentEncoding", "neither Base64 nor PlainText"));
    }
    let page = call.number::<usize>("PageNumber")?.unwrap_or(1).max(1);
    let size = call.number::<usize>("PageSize")?.unwrap_or(10).clamp(1, 50);
    let fits = |record: &&mut InvocationRecord| {
        record.region == region
            && id.is_none_or(|wanted| record.id == wanted)
            && instance.is_none_or(|wanted| record.instance == wanted)
    };
    let list: Vec<Value> = call
        .shared
        .note(|state| {
            let found = state.commands.invocations_mut().filter(fits);
            found.filter_map(|record| described(record, plain)).collect()
        })
        .unwrap_or_default();
    let total = list.len();
    let list: Vec<Value> =
        list.into_iter().skip((page - 1).saturating_mul(size)).take(size).collect();
    Ok(json!({"Invocation": {
        "TotalCount": total,
        "PageNumber": page,
        "PageSize": size,
        "NextToken": "",
        "InvocationResults": {"InvocationResult": list},
    }}))
}

fn described(record: &mut InvocationRecord, plain: bool) -> Option<Value> {
    let (status, true_one) = record.poll()?;
    // A status that a fault shows comes with nothing that would give the truth away.
    let ending = record.ending.as_ref().filter(|_| true_one);
    let time = |time: Option<SystemTime>| {
        time.map(|time| humantime::format_rfc3339_seconds(time).to_string()).unwrap_or_default()
    };
    let output = ending.map(|ending| ending.output.as_slice()).unwrap_or_default();
    let output =
        if plain { String::from_utf8_lossy(output).into_owned() } else { STANDARD.encode(output) };
    let finished = time(record.ended.filter(|_| ending.is_some()));
    let mut result = json!({
        "InvokeId": record.id,
        "CommandId": record.command_id,
        "InstanceId": record.instance,
        "InvocationStatus": status,
        "InvokeRecordStatus": record_status(ending),
        "Output": output,
        "Dropped": ending.map_or(0, |ending| ending.dropped),
        "ErrorCode": ending.map_or("", |ending| &ending.error_code),
        "ErrorInfo": ending.map_or("", |ending| &ending.error_info),
        "StartTime": time(record.running_since.filter(|_| true_one)),
        "FinishedTime": finished,
        "StopTime": "",
        "Repeats": u8::from(ending.is_some()),
        "Username": "root",
    });
    if let Some(code) = ending.and_then(|ending| ending.exit_code) {
        result["ExitCode"] = json!(code);
    }
    Some(result)
}

/// The older and coarser status, which is not to be relied on.
fn record_status(ending: Option<&Ending>) -> &'static str {
    match ending.map(|ending| ending.status.as_str()) {
        None => "Running",
        Some("Success") => "Finished",
        Some("Cancelled" | "Terminated") => "Stopped",
        Some(_) => "Failed",
    }
}
