//! How commands end on instances that cannot take them, and when a fault has its way.
#![allow(clippy::unwrap_used, reason = "clippy lets it pass in tests, but not in their helpers")]

mod support;

use std::time::Duration;

use local_cloud::{CommandFault, CommandKind, Ending, Instance, InstanceStatus, LocalCloud, Os};
use serde_json::{Value, json};
use support::*;

/// How a script, and a key, end on an instance.
async fn endings(cloud: &LocalCloud) -> [(String, String); 2] {
    let script = ended(cloud, &invoke_id(&run_script(cloud, "i-a", "true").await)).await;
    let answer = send_key(cloud, "i-a", "root", PUBLIC_KEY).await;
    let key = ended(cloud, &invoke_id(&answer)).await;
    [script, key].map(|record| (record.status, record.ending.unwrap().error_code))
}

#[tokio::test]
async fn an_instance_that_cannot_take_commands() {
    let both = |status: &str, code: &str| [(); 2].map(|()| (status.to_owned(), code.to_owned()));
    let cloud = cloud_with(Instance::new("i-a").os(Os::Windows)).await;
    assert_eq!(endings(&cloud).await, both("Invalid", "CommandNotApplicable"));
    let status = call(&cloud, "DescribeCloudAssistantStatus", &[("InstanceId.1", "i-a")]).await;
    let status = &status.json()["InstanceCloudAssistantStatusSet"]["InstanceCloudAssistantStatus"];
    assert_eq!(status[0]["OSType"], "Windows");
    assert_eq!(status[0]["CloudAssistantVersion"], "2.1.4.1065");

    cloud.update_instance("i-a", |instance| {
        instance.os = Os::Linux;
        instance.agent_online = false;
    });
    assert_eq!(endings(&cloud).await, both("Aborted", "ClientNotOnline"));
    cloud.update_instance("i-a", |instance| instance.status = InstanceStatus::Stopped);
    assert_eq!(endings(&cloud).await, both("Aborted", "InstanceNotRunning"));
    assert_eq!(cloud.keys().len(), 0, "nothing of it has reached the instance");
    let last = cloud.invocations().pop().unwrap();
    assert_eq!(last.ending.unwrap().exit_code, None);

    cloud.update_instance("i-a", |instance| {
        instance.status = InstanceStatus::Running;
        instance.agent_online = true;
    });
    let [script, key] = endings(&cloud).await;
    assert_eq!(script, ("Failed".to_owned(), "ExitCodeNonzero".to_owned()), "it has no shell");
    assert_eq!(key, ("Success".to_owned(), String::new()));
    let no_shell = &cloud.invocations()[6];
    assert_eq!(no_shell.ending.as_ref().unwrap().exit_code, Some(127));
}

#[tokio::test]
async fn a_command_that_takes_longer_than_it_may() {
    let (time, limit) = (Duration::from_millis(100), Duration::from_millis(10));
    let instance = Instance::new("i-a").script_timeout(limit);
    let slow = CommandFault::on(CommandKind::Install).takes(time);
    let cloud = cloud_with(instance.command_fault(slow)).await;
    let answer = run_script(&cloud, "i-a", INSTALL).await;
    let ending = ended(&cloud, &invoke_id(&answer)).await.ending.unwrap();
    assert_eq!(ending, Ending::execution_timeout());
    assert!(!cloud.has_key_plugin("i-a"));
}

#[tokio::test]
async fn faults_of_commands() {
    let cloud = cloud_with(Instance::new("i-a").results_empty(0)).await;
    let install = async || invoke_id(&run_script(&cloud, "i-a", INSTALL).await);
    let status = async |id: &str| {
        let result = results(&cloud, id, &[]).await.remove(0);
        result["InvocationStatus"].as_str().unwrap().to_owned()
    };
    let put = |fault: CommandFault| assert!(cloud.faults().command("i-a", fault));
    assert!(!cloud.faults().command("i-x", CommandFault::on_any().stays("Pending")));

    // An end of any sort, for one of two kinds, once.
    let broken = Ending::failed(3).output("no space left\n");
    put(CommandFault::on(CommandKind::Install).ends(broken.clone()).times(1));
    let key = send_key(&cloud, "i-a", "root", PUBLIC_KEY).await;
    assert!(ended(&cloud, &invoke_id(&key)).await.succeeded());
    let id = install().await;
    assert_eq!(ended(&cloud, &id).await.ending, Some(broken));
    let result = results(&cloud, &id, &[("ContentEncoding", "PlainText")]).await.remove(0);
    assert_eq!((&result["ExitCode"], &result["Output"]), (&json!(3), &json!("no space left\n")));
    assert!(!cloud.has_key_plugin("i-a"));

    // Never delivered.
    put(CommandFault::on_any().ends(Ending::delivery_timeout()).times(1));
    let id = install().await;
    let record = ended(&cloud, &id).await;
    assert_eq!((record.status.as_str(), status(&id).await.as_str()), ("Aborted", "Aborted"));
    assert_eq!(results(&cloud, &id, &[]).await[0]["ErrorCode"], "DeliveryTimeout");
    assert_eq!(results(&cloud, &id, &[]).await[0]["StartTime"], "");

    // A lie.
    put(CommandFault::on(CommandKind::Install).ends(Ending::success()).times(1));
    assert!(ended(&cloud, &install().await).await.succeeded());
    assert!(!cloud.has_key_plugin("i-a"));

    // A status that nobody knows, before the truth.
    put(CommandFault::on_any().shows("Dreaming", 2).times(1));
    let id = install().await;
    assert!(ended(&cloud, &id).await.succeeded());
    let masked = results(&cloud, &id, &[]).await.remove(0);
    assert_eq!(masked["InvocationStatus"], "Dreaming");
    for name in ["StartTime", "FinishedTime", "Output", "ErrorCode"] {
        assert_eq!(masked[name], "", "{name} gives it away");
    }
    assert_eq!(masked["ExitCode"], Value::Null);
    assert_eq!((status(&id).await.as_str(), status(&id).await.as_str()), ("Dreaming", "Success"));
    assert!(cloud.has_key_plugin("i-a"));

    // For ever.
    assert!(cloud.uninstall_key_plugin("i-a"));
    put(CommandFault::on_any().stays("Pending"));
    let id = install().await;
    let over = cloud.wait_for_invocation(
        |record| record.id == id && record.ended.is_some(),
        Duration::from_millis(100),
    );
    let error = over.await.unwrap_err().to_string();
    assert!(error.contains(&id), "{error}");
    assert_eq!(status(&id).await, "Pending");
    assert!(!cloud.has_key_plugin("i-a"));
    cloud.faults().clear();
    assert!(ended(&cloud, &install().await).await.succeeded());
    assert_eq!(status(&id).await, "Pending", "clearing brings no dead back");
}
