//! An API that goes black, kept connections that are dead, and single actions that are late or refused.
#![allow(clippy::unwrap_used, reason = "clippy lets it pass in tests, but not in what they share")]

mod support;

use std::time::{Duration, Instant};

use local_cloud::{ApiFault, Instance, LocalCloud};
use support::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const MOMENT: Duration = Duration::from_millis(60);
const STATUS_CALL: &str = "DescribeCloudAssistantStatus";

/// A connection that is kept from one call to the next.
struct Kept(TcpStream);

impl Kept {
    async fn new(cloud: &LocalCloud) -> Self {
        Self(TcpStream::connect(cloud.addr()).await.unwrap())
    }

    /// The HTTP status of a call; nothing, if no answer comes.
    async fn call(&mut self, action: &str, patience: Duration) -> Option<u16> {
        let call = Call::new(action, &[("InstanceId.1", "i-a")]);
        let request = call.v3_tampered(|text| text.replace("connection: close\r\n", ""));
        self.0.write_all(request.as_bytes()).await.unwrap();
        timeout(patience, self.answer()).await.ok()
    }

    async fn answer(&mut self) -> u16 {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(self.0.read_u8().await.unwrap()));
        }
        let head = head.to_ascii_lowercase();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn answers(&mut self) -> bool {
        self.call(STATUS_CALL, SOON).await == Some(200)
    }

    async fn is_silent(&mut self) -> bool {
        self.call(STATUS_CALL, MOMENT).await.is_none()
    }
}

async fn cloud() -> LocalCloud {
    cloud_with(Instance::new("i-a")).await
}

#[tokio::test]
async fn an_api_that_goes_black_after_some_calls() {
    let cloud = cloud().await;
    cloud.faults().api(ApiFault::on_any().silent().after(2));
    let mut kept = Kept::new(&cloud).await;
    assert!(kept.answers().await);
    assert!(Kept::new(&cloud).await.answers().await);
    for _ in 0..2 {
        assert!(Kept::new(&cloud).await.is_silent().await, "a connection of its own");
    }
    assert!(kept.is_silent().await, "a kept one");
    let calls: Vec<u16> = cloud.calls().iter().map(|call| call.status).collect();
    assert_eq!(calls, [200, 200, 0, 0, 0], "all of them were read");
    cloud.faults().clear();
    assert!(Kept::new(&cloud).await.answers().await);
}

#[tokio::test]
async fn only_some_calls_of_one_action() {
    let cloud = cloud().await;
    cloud
        .faults()
        .api(ApiFault::on(STATUS_CALL).error(500, "InternalError", "x").after(1).times(1));
    let mut kept = Kept::new(&cloud).await;
    assert_eq!(kept.call("DescribeInstances", SOON).await, Some(200));
    assert_eq!(kept.call(STATUS_CALL, SOON).await, Some(200));
    assert_eq!(kept.call(STATUS_CALL, SOON).await, Some(500));
    assert_eq!(kept.call(STATUS_CALL, SOON).await, Some(200));
}

#[tokio::test]
async fn kept_connections_that_are_dead_while_new_ones_work() {
    let cloud = cloud().await;
    let (mut used, mut unused) = (Kept::new(&cloud).await, Kept::new(&cloud).await);
    assert!(used.answers().await);
    // One that has sent nothing is accepted by now, or may be in a moment: it has to be seen once.
    assert!(unused.answers().await);
    cloud.faults().dead_connections();
    assert!(used.is_silent().await && unused.is_silent().await);
    let mut new = Kept::new(&cloud).await;
    assert!(new.answers().await && new.answers().await, "a new one can be kept");
    assert!(used.is_silent().await, "for good");
}

#[tokio::test]
async fn kept_connections_die_with_a_call() {
    let cloud = cloud().await;
    cloud.faults().api(ApiFault::on_any().dead_connections().after(1));
    let mut kept = Kept::new(&cloud).await;
    assert!(kept.answers().await);
    assert!(kept.is_silent().await);
    let mut new = Kept::new(&cloud).await;
    assert!(new.answers().await && new.answers().await);
    assert!(kept.is_silent().await);
}

#[tokio::test]
async fn one_action_late_and_refused() {
    let cloud = cloud().await;
    for fault in [ApiFault::on(STATUS_CALL).delay(MOMENT), ApiFault::on(STATUS_CALL).late(MOMENT)] {
        cloud.faults().api(fault.times(1));
        let begin = Instant::now();
        assert_eq!(call(&cloud, STATUS_CALL, &[("InstanceId.1", "i-a")]).await.status, 200);
        assert!(begin.elapsed() >= MOMENT);
    }
    assert!(cloud.update_access_key("testid", |key| _ = key.denied.insert(STATUS_CALL.into())));
    let refused = call(&cloud, STATUS_CALL, &[("InstanceId.1", "i-a")]).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "Forbidden.RAM"));
    start(&cloud, "i-a", 22).await;
}
