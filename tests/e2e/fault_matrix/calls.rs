//! The API, and the way to it.

use std::time::Duration;

use local_cloud::{ApiFault, KeyState};

use super::Cell::{Fails, Whole};
use super::{Cell, Row};

const START: &str = "StartTerminalSession";

fn start() -> ApiFault {
    ApiFault::on(START)
}

fn expired(fault: &'static str, cell: Cell) -> Row {
    let expire = |scene: super::Scene| {
        scene.prepare(|lab| {
            lab.cloud.update_access_key("testid", |key| key.state = KeyState::Expired);
        })
    };
    Row::new(fault, expire, [cell; 3])
}

pub(super) fn rows() -> Vec<Row> {
    let throttled =
        || start().error(400, "Throttling.User", "Request was denied due to throttling.");
    let failing = || start().error(500, "InternalError", "The request processing has failed.");
    vec![
        Row::api("throttled three times, then successful", throttled().times(3), Whole).within(20),
        Row::api("throttled permanently", throttled(), Fails(7, "Throttling.User")).within(30),
        Row::api("500 three times, then successful", failing().times(3), Whole).within(20),
        Row::api("500 permanently", failing(), Fails(7, "InternalError")).within(30),
        Row::api("slow: 14 s", start().delay(Duration::from_secs(14)), Whole).within(20),
        Row::api(
            "no answer at all",
            start().silent(),
            Fails(7, "is silent: no answer within 15 s"),
        )
        .within(20),
        Row::api("cut before the answer", start().cut().times(1), Whole),
        Row::api("cut in the middle of the answer", start().cut_midway().times(1), Whole),
        Row::api("stalls in the middle of the answer", start().stall_midway().times(1), Whole)
            .within(20),
        Row::api(
            "cut in each answer",
            start().cut_midway(),
            Fails(7, "in the middle of its answer"),
        )
        .unknown()
        .within(30),
        Row::api(
            "a page of HTML",
            start().raw(502, "text/html", "<html>Bad Gateway</html>"),
            Fails(7, "502"),
        )
        .within(30),
        expired(
            "credentials that have expired in the meantime",
            Fails(4, "InvalidSecurityToken.Expired"),
        ),
        Row::new(
            "DNS unavailable",
            |mut scene| {
                let endpoint = "https://ecs.nosuch.invalid".to_owned();
                scene.env.push(("ALIBABA_CLOUD_ENDPOINT", endpoint));
                scene
            },
            [Fails(7, "does not resolve"); 3],
        )
        .stays()
        .within(20),
    ]
}
