//! Commands on a small stack, as the main thread has it on Windows.

use local_cloud::{Agent, Instance, LocalCloud, Pace};

use crate::lab::{Bridge, Lab, QUIET_PORT};
use crate::terminal::by;
use crate::world::INSTANCE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_main_thread_with_one_mebibyte_is_enough() {
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    let lab = Lab::with(LocalCloud::builder(), instance).await;
    for (args, code) in [
        (&["list"][..], 0),
        (&["doctor", "--help"], 0),
        (&["proxy", INSTANCE, QUIET_PORT, "--linger", "0"], 0),
        (&["proxy", "i-nobody", "22"], 6),
        (&["doctor", "i-nobody"], 6),
    ] {
        let small = by(&["sh", "-c", "ulimit -s 1024; exec \"$@\"", "sh"], &lab.bridge(args));
        let mut bridge = Bridge::start(&mut { small });
        drop(bridge.stdin.take());
        let ended = bridge.end().await;
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.stderr);
    }
}
