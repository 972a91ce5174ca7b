//! Terminal sessions: started, listed, ended.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::{Action, ApiError, Asked, Call, Params, encode};
use crate::{
    session::{SessionRecord, SessionState},
    shell::ShellRequest,
    world::{Control, Shared, Ticket, random_hex},
};

/// Longest TargetServer.
const MAX_TARGET_SERVER: usize = 128;
/// Longest CommandLine, in characters.
const MAX_COMMAND_LINE: usize = 512;
/// Longest Username and PasswordName, in characters.
const MAX_NAME: usize = 255;

pub(super) const ACTIONS: &[Action] = &[
    Action::ecs("StartTerminalSession", start),
    Action::ecs("EndTerminalSession", end),
    Action::ecs("DescribeTerminalSessions", describe),
];

fn start(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let region = call.region()?;
    let asked = Asked::of(call, "StartTerminalSession")?;
    if let Some(again) = same_again(call, asked.as_ref())? {
        return Ok(again);
    }
    let record = wanted(call, &region)?;
    if !call.world.settings.session_manager_enabled {
        let message = "The Session Manager feature is disabled for this account.";
        return Err(ApiError::new(403, "UserBehavior.SessionManagerDisabled", message));
    }
    check_quotas(call, &region, &record.instance)?;

    let (url_key, lifetime) =
        (call.world.settings.url_key.clone(), call.world.settings.url_lifetime);
    let (id, token) = (record.id.clone(), random_hex(32));
    let base = &call.shared.websocket_base;
    let url = format!("{base}/session?{}={}&token={token}", encode(&url_key), encode(&id));
    let expires = SystemTime::now() + lifetime;
    let (instance, port) = (record.instance.clone(), record.port);
    let target_server = record.target_server.clone();
    let shell = ShellRequest {
        username: record.username.clone(),
        command_line: record.command_line.clone(),
        password_name: call.optional("PasswordName").map(str::to_owned),
    };
    let record = SessionRecord { url_expires: expires, ..record };
    let Some(serial) = call.shared.note(|state| state.add_session(record)) else {
        return Err(ApiError::new(500, "InternalError", "The session could not be recorded."));
    };
    let ticket = Ticket {
        id,
        serial,
        token,
        url,
        expires,
        instance,
        port,
        target_server,
        shell,
        asked,
        live: Vec::new(),
    };
    let answer = answer(&ticket);
    call.world.tickets.add(ticket);
    Ok(answer)
}

/// Starts a session with a port, or a shell, as the first access key would, and gives its URL.
pub(crate) fn start_for(shared: &Shared, instance: &str, port: Option<u16>) -> Option<String> {
    let mut world = shared.world();
    let region = world.instances.get(instance)?.region.clone();
    let key = world.keys.values().next()?.clone();
    let mut params = Params::from([
        ("RegionId".to_owned(), region),
        ("InstanceId.1".to_owned(), instance.to_owned()),
    ]);
    if let Some(port) = port {
        params.insert("PortNumber".to_owned(), port.to_string());
    }
    let mut call = Call { shared, world: &mut world, key: &key, params: &params };
    let answer = start(&mut call).ok()?;
    answer["WebSocketUrl"].as_str().map(str::to_owned)
}

fn answer(ticket: &Ticket) -> Value {
    json!({
        "SessionId": ticket.id,
        "SecurityToken": ticket.token,
        "WebSocketUrl": ticket.url,
    })
}

/// The session that the same ClientToken was answered with before.
fn same_again(call: &Call<'_>, asked: Option<&Asked>) -> Result<Option<Value>, ApiError> {
    let Some(asked) = asked else { return Ok(None) };
    let tickets = call.world.tickets.iter();
    let mut before = tickets.filter_map(|ticket| ticket.asked.as_ref().map(|a| (ticket, a)));
    let again = before.find(|(_, before)| before.has_token_of(asked));
    again.map(|(ticket, before)| before.same(asked).map(|()| answer(ticket))).transpose()
}

/// Checks what is asked for, and makes the record of it.
fn wanted(call: &Call<'_>, region: &str) -> Result<SessionRecord, ApiError> {
    let instance = call.require("InstanceId.1")?.to_owned();
    if call.list("InstanceId").len() > 1 {
        let message = "The number of InstanceIds exceeds the limit of 1.";
        return Err(ApiError::new(400, "InstanceIds.ExceedLimit", message));
    }
    let port = match call.optional("PortNumber") {
        None => None,
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            _ => {
                let message = "The specified PortNumber is not between 1 and 65535.";
                return Err(ApiError::new(400, "PortNumber.Invalid", message));
            }
        },
    };
    let target_server = call.optional("TargetServer").map(str::to_owned);
    if let Some(host) = &target_server {
        if port.is_none() {
            return Err(ApiError::missing("PortNumber"));
        }
        if host.chars().count() > MAX_TARGET_SERVER {
            let message = "The specified TargetServer is longer than 128 characters.";
            return Err(ApiError::new(400, "InvalidTargetServer.Malformed", message));
        }
    }
    let command_line = call.optional("CommandLine").map(str::to_owned);
    if let Some(line) = &command_line {
        if port.is_some() {
            let message = "CommandLine and PortNumber cannot be specified at the same time.";
            return Err(ApiError::new(400, "InvalidCommandLine.Conflict", message));
        }
        if line.chars().count() > MAX_COMMAND_LINE {
            let message = "The length of CommandLine exceeds the limit of 512 characters.";
            return Err(ApiError::new(400, "InvalidCommandLine.LengthLimitExceeded", message));
        }
    }
    for (name, code) in [
        ("Username", "Username.ExceedLimit"),
        ("PasswordName", "InvalidPasswordName.LengthLimitExceeded"),
    ] {
        if call.optional(name).is_some_and(|value| value.chars().count() > MAX_NAME) {
            return Err(ApiError::new(400, code, format!("The specified {name} is too long.")));
        }
    }
    let connection_type = call.optional("ConnectionType").map(str::to_owned);
    if connection_type.as_deref().is_some_and(|kind| kind != "Internet" && kind != "Intranet") {
        return Err(ApiError::invalid("ConnectionType", "neither Internet nor Intranet"));
    }
    if call.world.instances.get(&instance).is_none_or(|found| found.region != region) {
        let message = format!("The specified instance {instance} does not exist.");
        return Err(ApiError::new(404, "InvalidInstance.NotFound", message));
    }
    let id = format!("s-{}", random_hex(16));
    Ok(SessionRecord {
        port,
        target_server,
        connection_type,
        username: call.optional("Username").map(str::to_owned),
        command_line,
        client_token: call.optional("ClientToken").map(str::to_owned),
        access_key_id: call.key.id.clone(),
        ..SessionRecord::new(id, instance, region.to_owned())
    })
}

fn check_quotas(call: &Call<'_>, region: &str, instance: &str) -> Result<(), ApiError> {
    let settings = &call.world.settings;
    let lag = settings.quota_lag;
    let (active, connected) = call.shared.look(|state| {
        let counts = |s: &&SessionRecord| s.is_open() || s.lingers(lag);
        let active = state.sessions().filter(|s| s.region == region).filter(counts).count();
        let here = state.sessions().filter(|s| s.instance == instance);
        let connected = |s: &&SessionRecord| {
            s.state == SessionState::Connected || s.connections > 0 && s.lingers(lag)
        };
        (active, here.filter(connected).count())
    });
    if active >= settings.region_quota || connected >= settings.instance_quota {
        let message = format!(
            "The maximum number of sessions is exceeded: {active} of {} in the region, {connected} of {} connected to the instance.",
            settings.region_quota, settings.instance_quota
        );
        return Err(ApiError::new(403, "SessionCount.ExceedLimit", message));
    }
    Ok(())
}

fn end(call: &mut Call<'_>) -> Result<Value, ApiError> {
    call.region()?;
    let id = call.require("SessionId")?.to_owned();
    let known = call.shared.look(|state| state.session(&id).is_some());
    if !known {
        let message = format!("The specified SessionId {id} does not exist.");
        return Err(ApiError::new(404, "InvalidSessionId.NotFound", message));
    }
    if let Some(ticket) = call.world.tickets.remove(&id) {
        for stream in &ticket.live {
            // One that is busy ending anyway does not need to hear of it.
            let _ = stream.controls.try_send(Control::End);
        }
    }
    call.shared.note(|state| {
        if let Some(session) = state.by_id_mut(&id) {
            session.ended_by_api = true;
            session.end_calls += 1;
            session.terminate("EndTerminalSession");
        }
    });
    Ok(json!({}))
}

fn describe(call: &mut Call<'_>) -> Result<Value, ApiError> {
    let region = call.region()?;
    let most = call.number::<usize>("MaxResults")?.unwrap_or(10).clamp(1, 100);
    let skip = call.number::<usize>("NextToken")?.unwrap_or(0);
    let (instance, id) = (call.optional("InstanceId"), call.optional("SessionId"));
    let (list, more) = call.shared.look(|state| {
        let fits = |session: &&SessionRecord| {
            session.region == region
                && instance.is_none_or(|wanted| session.instance == wanted)
                && id.is_none_or(|wanted| session.id == wanted)
        };
        let mut found = state.sessions().filter(fits).skip(skip);
        let list: Vec<Value> = found.by_ref().take(most).map(described).collect();
        (list, found.next().is_some())
    });
    let next = if more { (skip + list.len()).to_string() } else { String::new() };
    Ok(json!({"NextToken": next, "Sessions": {"Session": list}}))
}

fn described(session: &SessionRecord) -> Value {
    let started = humantime::format_rfc3339_seconds(session.started).to_string();
    let (status, reason) = match session.state {
        SessionState::Started => ("Connecting", ""),
        SessionState::Connected => ("Connected", ""),
        SessionState::Disconnected => ("Disconnected", "AgentSocketClosed"),
        SessionState::Terminated => ("Terminated", "ClientClosed"),
    };
    json!({
        "SessionId": session.id,
        "CreationTime": started,
        "ClientIP": "127.0.0.1",
        "PortNumber": session.port.map(|port| port.to_string()),
        "TargetServer": session.target_server,
        "Connections": {"Connection": [{
            "InstanceId": session.instance,
            "Status": status,
            "StartTime": started,
            "ClosedReason": reason,
        }]},
    })
}
