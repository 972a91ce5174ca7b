//! Commands, as a client asks for them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use local_cloud::{InvocationRecord, LocalCloud};
use serde_json::{Value, json};

use super::{Answer, SOON, call};

pub const INSTALL: &str = "acs-plugin-manager -e -P config_ecs_instance_connect --params --install";
pub const SEND_KEY: &str = "cmd-ACS-ECS-SendSshPublicKey-linux.sh";
/// Nobody has its private half.
pub const PUBLIC_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@here";

/// RunCommand of a script; gives the answer.
pub async fn run_script(cloud: &LocalCloud, instance: &str, script: &str) -> Answer {
    let content = STANDARD.encode(script);
    let params = [
        ("Type", "RunShellScript"),
        ("CommandContent", content.as_str()),
        ("ContentEncoding", "Base64"),
        ("InstanceId.1", instance),
    ];
    call(cloud, "RunCommand", &params).await
}

/// InvokeCommand of the command that registers a key; gives the answer.
pub async fn send_key(cloud: &LocalCloud, instance: &str, user: &str, key: &str) -> Answer {
    let parameters = key_parameters(user, key);
    let params =
        [("CommandId", SEND_KEY), ("InstanceId.1", instance), ("Parameters", parameters.as_str())];
    call(cloud, "InvokeCommand", &params).await
}

pub fn invoke_id(answer: &Answer) -> String {
    let id = answer.json()["InvokeId"].as_str().map(str::to_owned);
    id.unwrap_or_else(|| panic!("no InvokeId: {}", answer.body))
}

/// The command's record, once it has ended on all its instances.
pub async fn ended(cloud: &LocalCloud, id: &str) -> InvocationRecord {
    let over = |record: &InvocationRecord| record.id == id && record.ended.is_some();
    cloud.wait_for_invocation(over, SOON).await.unwrap()
}

/// What DescribeInvocationResults has on an invocation.
pub async fn results(cloud: &LocalCloud, id: &str, more: &[(&str, &str)]) -> Vec<Value> {
    let params = [&[("InvokeId", id)], more].concat();
    let answer = call(cloud, "DescribeInvocationResults", &params).await;
    let json = answer.json();
    let list = json["Invocation"]["InvocationResults"]["InvocationResult"].as_array();
    list.unwrap_or_else(|| panic!("no list: {}", answer.body)).clone()
}

/// Parameters of the command that registers a key.
pub fn key_parameters(user: &str, key: &str) -> String {
    json!({"username": user, "sshPublicKey": key}).to_string()
}
