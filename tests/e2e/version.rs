//! `version`: what bug reports need.

use serde_json::Value;

use crate::lab::{Bridge, Lab};
use crate::world::INSTANCE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_and_the_facts_of_a_bug_report_are_printed() {
    let lab = Lab::new(local_cloud::Instance::new(INSTANCE)).await;
    let plain = Bridge::start(&mut lab.bridge(["version"])).end().await;
    assert_eq!(plain.code, Some(0), "{}", plain.stderr);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(String::from_utf8_lossy(&plain.stdout), format!("ecs-bridge {version}\n"));

    let json = Bridge::start(&mut lab.bridge(["version", "--json"])).end().await;
    let facts: Value = serde_json::from_slice(&json.stdout).expect("a JSON document");
    assert_eq!(facts["version"], version);
    assert_eq!(facts["os"]["family"], std::env::consts::OS);
    assert_eq!(facts["os"]["arch"], std::env::consts::ARCH);
    assert!(facts["os"]["kernel"].as_str().is_some_and(|kernel| kernel.contains('.')), "{facts}");
    assert!(facts["target"].as_str().unwrap().contains(std::env::consts::ARCH), "{facts}");
    assert_eq!(facts["tls"]["library"], "rustls");
    for unknown in ["commit", "ssh"] {
        assert!(facts[unknown].is_null() || facts[unknown].is_string(), "{facts}");
    }

    let doctor = Bridge::start(&mut lab.bridge(["doctor", "--json"])).end().await;
    let document: Value = serde_json::from_slice(&doctor.stdout).expect("a JSON document");
    assert_eq!(document["ecs_bridge"], facts);
}
