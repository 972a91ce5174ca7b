//! Temporary keys: registered by a command, asked for by an sshd, gone after a while.
#![allow(clippy::unwrap_used, reason = "clippy lets it pass in tests, but not in their helpers")]

mod support;

use std::time::{Duration, Instant};

use local_cloud::{CommandFault, CommandKind, Ending, Instance, KeyPlugin, LocalCloud};
use support::*;

fn ready() -> Instance {
    Instance::new("i-a").key_plugin(KeyPlugin::Installed)
}

async fn get(cloud: &LocalCloud, query: &str) -> Answer {
    let request = format!(
        "GET /authorized-keys?{query} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
    );
    exchange(cloud, &request).await.unwrap()
}

/// The keys that an sshd on `i-a` is given for a user.
async fn keys(cloud: &LocalCloud, user: &str) -> Vec<String> {
    let answer = get(cloud, &format!("instance=i-a&user={user}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.head.contains("content-type: text/plain"), "{}", answer.head);
    answer.body.lines().map(str::to_owned).collect()
}

async fn sent(cloud: &LocalCloud, user: &str, key: &str) {
    let id = invoke_id(&send_key(cloud, "i-a", user, key).await);
    assert!(ended(cloud, &id).await.succeeded());
}

#[tokio::test]
async fn a_key_is_given_to_the_sshd_of_its_user() {
    let cloud = cloud_with(ready()).await;
    cloud.add_instance(Instance::new("i-b").key_plugin(KeyPlugin::Installed));
    assert!(keys(&cloud, "root").await.is_empty());
    sent(&cloud, "root", PUBLIC_KEY).await;
    let other = PUBLIC_KEY.replace("me@here", "another");
    sent(&cloud, "root", &other).await;
    assert_eq!(keys(&cloud, "root").await, [PUBLIC_KEY, &other]);
    assert!(keys(&cloud, "admin").await.is_empty());
    assert_eq!(get(&cloud, "instance=i-b&user=root").await.body, "");

    let record = cloud.keys().remove(0);
    assert_eq!((record.instance.as_str(), record.user.as_str()), ("i-a", "root"));
    assert_eq!(record.key, PUBLIC_KEY);
    assert_eq!(record.until.duration_since(record.registered).unwrap(), Duration::from_secs(60));
    assert!(record.is_valid());
    let command = cloud.invocations().remove(0);
    assert_eq!((command.kind, command.command_id.as_str()), (CommandKind::SendKey, SEND_KEY));
    assert_eq!(command.username.as_deref(), Some("root"));
    assert_eq!(command.public_key.as_deref(), Some(PUBLIC_KEY));

    let queries = cloud.key_queries();
    let given: Vec<_> = queries.iter().map(|query| (query.user.as_str(), query.keys)).collect();
    assert_eq!(given, [("root", 0), ("root", 2), ("admin", 0), ("root", 0)]);
    assert_eq!(queries[3].instance, "i-b");
    assert_eq!(cloud.forget_keys("i-a"), 2);
    assert!(keys(&cloud, "root").await.is_empty());
}

#[tokio::test]
async fn nobody_asks_without_the_plugin() {
    let cloud = cloud_with(Instance::new("i-a")).await;
    sent(&cloud, "root", PUBLIC_KEY).await;
    assert_eq!(cloud.keys().len(), 1, "registered it is nonetheless");
    assert_eq!(get(&cloud, "instance=i-a&user=root").await.status, 404);
    let installed = run_script(&cloud, "i-a", INSTALL).await;
    assert!(ended(&cloud, &invoke_id(&installed)).await.succeeded());
    assert_eq!(keys(&cloud, "root").await, [PUBLIC_KEY]);
    assert!(cloud.has_key_plugin("i-a") && cloud.uninstall_key_plugin("i-a"));
    assert!(!cloud.uninstall_key_plugin("i-a"), "once is enough");
    assert_eq!(get(&cloud, "instance=i-a&user=root").await.status, 404);

    cloud.update_instance("i-a", |instance| {
        instance.commands.key_plugin = KeyPlugin::broken(2, "no package\n");
    });
    let broken = run_script(&cloud, "i-a", INSTALL).await;
    let ending = ended(&cloud, &invoke_id(&broken)).await.ending.unwrap();
    assert_eq!(ending, Ending::failed(2).output("no package\n"));
    assert_eq!(get(&cloud, "instance=i-a&user=root").await.status, 404);
    let statuses: Vec<u16> = cloud.key_queries().iter().map(|query| query.status).collect();
    assert_eq!(statuses, [404, 200, 404, 404]);
}

#[tokio::test]
async fn a_key_goes_after_its_time() {
    let lifetime = Duration::from_millis(300);
    let cloud = LocalCloud::builder().instance(ready()).key_lifetime(lifetime).start().await;
    let cloud = cloud.unwrap();
    sent(&cloud, "root", PUBLIC_KEY).await;
    let until = Instant::now() + SOON;
    while !keys(&cloud, "root").await.is_empty() {
        assert!(Instant::now() < until, "it is still given");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let record = cloud.keys().remove(0);
    assert!(!record.is_valid(), "not given and yet valid");
    let given = cloud.key_queries().into_iter().filter(|query| query.keys == 1);
    assert!(given.map(|query| query.at).all(|at| at < record.until));
    // A new one, for longer.
    cloud.update_settings(|settings| settings.key_lifetime = Duration::from_secs(60));
    sent(&cloud, "root", PUBLIC_KEY).await;
    assert_eq!(keys(&cloud, "root").await, [PUBLIC_KEY]);
    assert_eq!(cloud.keys().len(), 2);
}

#[tokio::test]
async fn a_command_that_fails_registers_nothing() {
    let cloud = cloud_with(ready()).await;
    for ending in [Ending::failed(1), Ending::success()] {
        let fault = CommandFault::on(CommandKind::SendKey).ends(ending.clone()).times(1);
        assert!(cloud.faults().command("i-a", fault));
        let id = invoke_id(&send_key(&cloud, "i-a", "root", PUBLIC_KEY).await);
        assert_eq!(ended(&cloud, &id).await.ending, Some(ending));
    }
    assert!(cloud.keys().is_empty());
    assert!(keys(&cloud, "root").await.is_empty());
}

#[tokio::test]
async fn what_the_question_has_to_say() {
    let cloud = cloud_with(ready()).await;
    for (query, status) in [
        ("instance=i-a", 400),
        ("instance=i-a&user=", 400),
        ("user=root", 400),
        ("", 400),
        ("instance=i-x&user=root", 404),
        ("user=root&instance=i-a", 200),
    ] {
        assert_eq!(get(&cloud, query).await.status, status, "{query}");
    }
    let path = "/authorized-keys?instance=i-a&user=root";
    let post = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(exchange(&cloud, &post).await.unwrap().status, 405);
    assert_eq!(cloud.authorized_keys_url("i-a"), format!("{}{}", cloud.endpoint(), &path[..29]));
    assert!(cloud.calls().is_empty(), "it is no call of the API");
    // Whoever waits for the sshd's question hears of it.
    let asked = cloud.wait_for(|state| state.key_queries().any(|query| query.status == 200), SOON);
    asked.await.unwrap();
}
