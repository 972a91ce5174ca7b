//! What a new connection need not wait for one after the other.

use std::time::Duration;

use local_cloud::{Agent, ApiFault, Instance};
use tokio::io::AsyncWriteExt;

use crate::forward_driver::{Forward, read};
use crate::lab::{Lab, QUIET_PORT};
use crate::world::INSTANCE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_is_dialled_while_the_api_is_asked() {
    let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::d().quick())).await;
    let spec = format!("0:localhost:{QUIET_PORT}");
    let mut forward =
        Forward::start(&lab, &["-vv", "-L", &spec, "--no-probe", "--ready-delay", "0"]);
    // Where it is, is known from the session before.
    for ahead in [false, true] {
        let late = Duration::from_millis(500);
        lab.cloud.faults().api(ApiFault::on("StartTerminalSession").delay(late).times(1));
        let mut client = forward.connect().await;
        let mut target = lab.accept().await;
        target.write_all(b"hello").await.unwrap();
        assert_eq!(read(&mut client, 5).await, b"hello");
        let ahead = format!("connected to the gateway ahead of the session: {ahead}");
        forward.bridge.logged(&ahead).await;
    }
    assert_eq!(lab.cloud.upgrades().len(), 2);
    forward.stop("TERM").await;
    lab.all_ended().await;
}
