//! A session that does not open: the checks of `doctor` that may tell why are made by themselves.

use std::time::Duration;

use local_cloud::{Action, ApiFault, Fault, Instance, InstanceStatus, Point};

use crate::case::{Case, run_all};

/// An answer of the API's that says that Session Manager is off.
const OFF: &str = r#"{"SessionManagerConfig": {"SessionManagerEnabled": false}}"#;

/// A session that opens nothing, and of which nobody says why.
fn unexplained(name: &'static str) -> Case {
    let abort = Fault::new(Point::BeforeOpened, Action::status(2, "no reason"));
    Case::new(name).request_id().instance(move |instance| instance.fault(abort))
}

fn refused(name: &'static str, code: &'static str) -> Case {
    Case::new(name).request_id().prepare(move |lab| {
        let fault = ApiFault::on("StartTerminalSession");
        lab.cloud.faults().api(fault.error(403, code, "It is not possible."));
    })
}

fn with(case: Case, change: impl FnOnce(&mut Instance) + Send + 'static) -> Case {
    case.prepare(move |lab| {
        assert!(lab.cloud.update_instance(crate::world::INSTANCE, change));
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cause_is_named() {
    let could_not = "could not be established";
    run_all(vec![
        with(unexplained("the agent is too old"), |instance| {
            instance.agent_version = Some("2.2.3.256".to_owned());
        })
        .fails(6, "too old: version 2.2.3.256", could_not, "later than x.y.3.256"),
        unexplained("Session Manager has been switched off meanwhile")
            .prepare(|lab| {
                let fault = ApiFault::on("DescribeCloudAssistantSettings");
                lab.cloud.faults().api(fault.raw(200, "application/json", OFF));
            })
            .fails(
                6,
                "Session Manager is switched off in cn-hangzhou",
                could_not,
                "aliyun ecs ModifyCloudAssistantSettings --RegionId cn-hangzhou",
            ),
        unexplained("an older service says so in its own way")
            .prepare(|lab| {
                let faults = lab.cloud.faults();
                let unknown = ApiFault::on("DescribeCloudAssistantSettings");
                faults.api(unknown.error(404, "InvalidAction.NotFound", "No such API."));
                let old = ApiFault::on("DescribeUserBusinessBehavior");
                faults.api(old.raw(200, "application/json", r#"{"StatusValue": "disabled"}"#));
            })
            .fails(6, "Session Manager is switched off", could_not, "aliyun ecs Modify"),
        with(unexplained("one answer does not come, and another one tells"), |instance| {
            instance.agent_online = false;
            instance.agent_timeout = Duration::from_millis(50);
            instance.faults.clear();
        })
        .prepare(|lab| lab.cloud.faults().api(ApiFault::on("DescribeInstanceStatus").silent()))
        .within(3)
        .fails(
            6,
            "agent of the instance is not online",
            "AgentTimeout",
            "systemctl restart",
        ),
        unexplained("nothing is wrong for all that can be seen").fails(
            8,
            could_not,
            "gave up before the session was open",
            "Cloud Assistant",
        ),
        with(refused("refused, and the instance is stopped", "Operation.Forbidden"), |instance| {
            instance.status = InstanceStatus::Stopped;
        })
        .fails(6, "it is stopped: ", "the state or the kind", "proxy --start"),
        with(refused("refused with a code of its own", "InstanceNotReady"), |instance| {
            instance.agent_online = false;
        })
        .fails(6, "is not online: ", "the service says", "systemctl restart"),
        refused("refused, and nothing is wrong with the instance", "InstanceNotReady").fails(
            1,
            "InstanceNotReady",
            "the service says: It is not possible",
            "look the code up",
        ),
        refused("refused with a code that says it all", "SessionCount.ExceedLimit")
            .args(&["--wait", "0"])
            .calls("DescribeInstanceStatus", 0)
            .fails(6, "there are too many sessions", "100 active", "close connections"),
    ])
    .await;
}
