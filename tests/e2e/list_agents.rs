//! `list` with many instances: pages, and agents that are asked about side by side.

use std::time::Duration;

use local_cloud::{AccessKey, ApiFault, Instance, LocalCloud};

use crate::lab::Lab;
use crate::list::{list, objects};
use crate::targets::{LOOK, calls};

const AGENTS: &str = "DescribeCloudAssistantStatus";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_are_listed_page_by_page() {
    let lab = Lab::with(LocalCloud::builder().fleet(2_999), Instance::new("i-bp1own")).await;
    let all = objects(&lab, &[]).await;
    assert_eq!(all.len(), 3_000);
    assert!(all.iter().all(|instance| instance["session_manager"] == true));
    let pages = calls(&lab, LOOK);
    assert_eq!(pages.len(), 30);
    assert!(pages.iter().all(|call| call.params["MaxResults"] == "100"));
    let agents = calls(&lab, AGENTS);
    assert_eq!(agents.len(), 60);
    assert!(agents.iter().all(|call| call.params.contains_key("InstanceId.50")));
    // The agents of the first page are asked about before the last page is.
    assert!(agents[0].at < pages[29].at, "one after the other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_agents_are_asked_about_at_once_where_the_service_takes_fewer() {
    let cloud = LocalCloud::builder().fleet(99).agent_status_limit(20);
    let lab = Lab::with(cloud, Instance::new("i-bp1own")).await;
    let all = objects(&lab, &[]).await;
    assert_eq!(all.len(), 100);
    assert!(all.iter().all(|instance| instance["session_manager"] == true), "{all:?}");
    let agents = calls(&lab, AGENTS);
    let refused = agents.iter().filter(|call| call.code.is_some()).count();
    assert!(refused <= 4, "it is tried {refused} times in vain");
    assert!(agents.len() - refused <= 10, "{} calls", agents.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_four_are_asked_about_at_the_same_time() {
    let lab = Lab::with(LocalCloud::builder().fleet(999), Instance::new("i-bp1own")).await;
    lab.cloud.faults().api(ApiFault::on(AGENTS).delay(Duration::from_millis(300)));
    assert_eq!(objects(&lab, &[]).await.len(), 1_000);
    // One comes when another has been answered, so every fifth is 300 ms behind.
    let at: Vec<_> = calls(&lab, AGENTS).iter().map(|call| call.at).collect();
    assert_eq!(at.len(), 20);
    for pair in at.windows(5) {
        let apart = pair[4].duration_since(pair[0]).unwrap_or_default();
        assert!(apart >= Duration::from_millis(290), "{apart:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_may_not_be_asked_about_are_not_known() {
    let key = AccessKey::new("testid", "testsecret").deny(AGENTS).deny("DescribeManagedInstances");
    let cloud = LocalCloud::builder().access_key(key).fleet(1_000);
    let lab = Lab::with(cloud, Instance::new("i-bp1own")).await;
    let ended = list(&lab, &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let shown = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(shown.lines().count(), 1_002);
    assert!(shown.lines().skip(1).all(|line| line.ends_with("  ?      ?")), "{shown}");
    let notes: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(notes.len(), 2, "{}", ended.stderr);
    assert!(notes.iter().any(|note| note.contains(AGENTS)), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("DescribeManagedInstances")), "{notes:?}");
    assert!(calls(&lab, AGENTS).len() <= 4, "it is invalid to ask again");
    let all = objects(&lab, &["-q"]).await;
    assert!(all.iter().all(|i| i["agent"].is_null() && i["session_manager"].is_null()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_throttled_is_asked_again() {
    let lab = Lab::with(LocalCloud::builder().fleet(199), Instance::new("i-bp1own")).await;
    for action in [AGENTS, LOOK] {
        let fault = ApiFault::on(action).error(400, "Throttling.User", "slow down").times(2);
        lab.cloud.faults().api(fault.header("x-acs-retry-after", "50"));
    }
    let all = objects(&lab, &[]).await;
    assert_eq!(all.len(), 200);
    assert!(all.iter().all(|instance| instance["session_manager"] == true));
}
