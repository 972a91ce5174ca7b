//! Who there is: filters, pages, permissions, and instances that are started.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{net::Ipv4Addr, time::Duration};

use local_cloud::{AccessKey, Instance, InstanceStatus, LocalCloud};
use serde_json::Value;
use support::{Answer, call};

async fn cloud() -> LocalCloud {
    LocalCloud::builder()
        .region("cn-hangzhou")
        .region("cn-beijing")
        .fleet(250)
        .instance(
            Instance::new("i-a")
                .name("数据库")
                .private_address(Ipv4Addr::new(10, 9, 0, 1))
                .public_address(Ipv4Addr::new(39, 1, 1, 1))
                .elastic_address(Ipv4Addr::new(47, 1, 1, 1))
                .tag("env", "prod")
                .tag("role", "db"),
        )
        .instance(Instance::new("i-b").name("there").region("cn-beijing"))
        .instance(Instance::new("mi-c").name("far").tag("env", "prod"))
        .start()
        .await
        .unwrap()
}

fn ids(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let list = &json["Instances"];
    let list = list.as_array().or(list["Instance"].as_array()).unwrap();
    list.iter().map(|instance| instance["InstanceId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn filters_hold_together() {
    let cloud = cloud().await;
    for (params, found) in [
        (&[("InstanceName", "数据库")][..], &["i-a"][..]),
        (&[("InstanceName", "数*")], &["i-a"]),
        (&[("InstanceName", "web-0001")], &[]),
        (&[("InstanceIds", r#"["i-a","i-b","mi-c","i-none"]"#)], &["i-a"]),
        (&[("PrivateIpAddresses", r#"["10.9.0.1"]"#), ("InstanceNetworkType", "vpc")], &["i-a"]),
        (&[("PublicIpAddresses", r#"["39.1.1.1"]"#)], &["i-a"]),
        (&[("EipAddresses", r#"["47.1.1.1"]"#)], &["i-a"]),
        (&[("EipAddresses", r#"["39.1.1.1"]"#)], &[]),
        (&[("Tag.1.Key", "env")], &["i-a"]),
        (&[("Tag.1.Key", "env"), ("Tag.1.Value", "test")], &[]),
        (&[("Tag.1.Key", "env"), ("Tag.2.Key", "role"), ("Tag.2.Value", "db")], &["i-a"]),
        (&[("RegionId", "cn-beijing")], &["i-b"]),
    ] {
        assert_eq!(ids(&call(&cloud, "DescribeInstances", params).await), found, "{params:?}");
    }
    let managed = call(&cloud, "DescribeManagedInstances", &[("InstanceId.1", "mi-c")]).await;
    assert_eq!(ids(&managed), ["mi-c"]);
    assert_eq!(managed.json()["Instances"][0]["Connected"], true);
    assert!(cloud.violations().is_empty(), "{:?}", cloud.violations());
    for (params, code) in [
        (&[("RegionId", "cn-nowhere")][..], "InvalidRegionId.NotFound"),
        (&[("MaxResults", "5")], "InvalidParameter.MaxResults"),
        (&[("PrivateIpAddresses", r#"["10.9.0.1"]"#)], "InvalidParameter.InstanceNetworkType"),
        (&[("NextToken", "abc")], "InvalidParameter.NextToken"),
    ] {
        assert_eq!(call(&cloud, "DescribeInstances", params).await.code(), code);
    }
    assert_eq!(cloud.violations().len(), 3, "{:?}", cloud.violations());
}

#[tokio::test]
async fn pages_follow_each_other() {
    let cloud = cloud().await;
    let (mut all, mut token) = (Vec::new(), String::new());
    for size in [100, 100, 51] {
        let params = [("MaxResults", "100"), ("NextToken", token.as_str())];
        let answer = call(&cloud, "DescribeInstances", &params).await;
        assert_eq!(ids(&answer).len(), size);
        all.extend(ids(&answer));
        token = answer.json()["NextToken"].as_str().unwrap().to_owned();
    }
    assert_eq!(token, "");
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 251);
    assert_eq!(ids(&call(&cloud, "DescribeInstances", &[]).await).len(), 10);
}

#[tokio::test]
async fn who_may_not_ask_is_refused_or_told_that_there_is_nothing() {
    let key = AccessKey::new("testid", "testsecret").deny("DescribeInstances");
    let cloud = LocalCloud::builder().access_key(key).fleet(3).start().await.unwrap();
    let refused = call(&cloud, "DescribeInstances", &[]).await;
    assert_eq!(refused.code(), "Forbidden.RAM");
    assert!(refused.body.contains("ecs:DescribeInstances"));
    cloud.update_settings(|settings| settings.empty_if_denied = true);
    assert!(ids(&call(&cloud, "DescribeInstances", &[]).await).is_empty());
    let dry = [("DryRun", "true")];
    assert_eq!(call(&cloud, "DescribeInstances", &dry).await.code(), "Forbidden.RAM");
    cloud.add_access_key(AccessKey::new("testid", "testsecret"));
    assert_eq!(call(&cloud, "DescribeInstances", &dry).await.code(), "DryRunOperation");
}

#[tokio::test]
async fn agents_are_told_of_in_numbers() {
    let cloud = cloud().await;
    let named = |count: usize| -> Vec<(String, String)> {
        let name = |n| (format!("InstanceId.{n}"), format!("i-bp1fleet{n:05}"));
        (1..=count).map(name).collect()
    };
    for (count, code) in [(50, Value::Null), (51, "InstanceIds.ExceedLimit".into())] {
        let params = named(count);
        let params: Vec<_> = params.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let answer = call(&cloud, "DescribeCloudAssistantStatus", &params).await.json();
        assert_eq!(answer["Code"], code);
        let set = &answer["InstanceCloudAssistantStatusSet"]["InstanceCloudAssistantStatus"];
        assert_eq!(set.as_array().map(Vec::len), (count == 50).then_some(50));
    }
}

#[tokio::test]
async fn a_stopped_instance_starts_in_its_time() {
    // Longer than a busy machine makes a call take.
    let (boot, agent) = (Duration::from_millis(1_500), Duration::from_millis(1_500));
    let stopped = Instance::new("i-a").status(InstanceStatus::Stopped).boot(boot, agent);
    let cloud = LocalCloud::builder().instance(stopped).start().await.unwrap();
    let start = async || call(&cloud, "StartInstance", &[("InstanceId", "i-a")]).await;
    let seen = async || {
        let id = [("InstanceId.1", "i-a")];
        let status = call(&cloud, "DescribeInstanceStatus", &id).await.json();
        let agent = call(&cloud, "DescribeCloudAssistantStatus", &id).await.json();
        let set = &agent["InstanceCloudAssistantStatusSet"]["InstanceCloudAssistantStatus"];
        (
            status["InstanceStatuses"]["InstanceStatus"][0]["Status"].as_str().unwrap().to_owned(),
            set[0]["CloudAssistantStatus"] == "true",
        )
    };
    assert_eq!(seen().await, ("Stopped".to_owned(), false));
    assert_eq!(start().await.status, 200);
    assert_eq!(seen().await, ("Starting".to_owned(), false));
    assert_eq!(start().await.code(), "IncorrectInstanceStatus");
    let mut steps = Vec::new();
    // It is asked again and again, as a client does.
    while steps.last().is_none_or(|(_, online)| !online) {
        let now = seen().await;
        if steps.last() != Some(&now) {
            steps.push(now);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let running = |online| ("Running".to_owned(), online);
    assert_eq!(steps, [("Starting".to_owned(), false), running(false), running(true)]);
    assert_eq!(start().await.code(), "IncorrectInstanceStatus");
    let unknown = call(&cloud, "StartInstance", &[("InstanceId", "i-none")]).await;
    assert_eq!(unknown.code(), "InvalidInstanceId.NotFound");
}
