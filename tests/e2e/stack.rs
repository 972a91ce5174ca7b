//! Commands where the main thread has a small stack, as on Windows, which gives it 1 MiB.

use local_cloud::{Agent, Instance, LocalCloud, Pace};

use crate::lab::{Bridge, Lab, QUIET_PORT};
use crate::terminal::by;
use crate::world::INSTANCE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_main_thread_with_a_small_stack_is_enough() {
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    let lab = Lab::with(LocalCloud::builder(), instance).await;
    for (args, code) in [
        (&["list"][..], 0),
        (&["doctor", "--help"], 0),
        (&["proxy", INSTANCE, QUIET_PORT, "--linger", "0"], 0),
        (&["proxy", "i-nobody", "22"], 6),
        (&["doctor", "i-nobody"], 6),
    ] {
        let small = by(&["sh", "-c", "ulimit -s 256; exec \"$@\"", "sh"], &lab.bridge(args));
        let mut bridge = Bridge::start(&mut { small });
        drop(bridge.stdin.take());
        let ended = bridge.end().await;
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.stderr);
    }
}
