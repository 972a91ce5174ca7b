//! Targets that lead nowhere, or to too much.

use local_cloud::{AccessKey, Builder, Instance};
use std::net::Ipv4Addr;

use crate::case::{Case, run_all};
use crate::lab::{Bridge, Lab};
use crate::targets::{LOOK, START, instance};
use crate::world::INSTANCE;

fn case(name: &'static str, target: &str) -> Case {
    Case::new(name).command(&["proxy", target]).calls(START, 0)
}

fn twins(builder: Builder) -> Builder {
    let address = Ipv4Addr::new(10, 0, 0, 7);
    builder
        .region("cn-hangzhou")
        .region("cn-beijing")
        .instance(instance("i-bp1twin0001", "twin").private_address(address).tag("a", "b"))
        .instance(instance("i-bp1twin0002", "twin").private_address(address).tag("a", "b"))
        .instance(instance("i-bp1twin0003", "TWIN-C"))
        .instance(instance("i-bp1twin0004", "Twin-C"))
        .instance(instance("i-2zetwin0001", "sibling").region("cn-beijing"))
        .instance(instance("i-uf6twin0001", "sibling").region("cn-shanghai"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_instances_are_listed_and_none_is_taken() {
    let twins_of = |name, target| case(name, target).cloud(twins);
    let table = "i-bp1twin0001  twin  10.0.0.7  Running  cn-hangzhou\n\
                 i-bp1twin0002  twin  10.0.0.7  Running  cn-hangzhou";
    let fix = "name one by its id";
    run_all(vec![
        twins_of("a name", "twin").fails(6, "2 instances have the name 'twin'", table, fix),
        twins_of("an address", "10.0.0.7.cn-hangzhou").fails(
            6,
            "2 instances have the address 10.0.0.7",
            table,
            fix,
        ),
        twins_of("a tag", "tag:a=b").fails(
            6,
            "2 instances have the tag 'a' with the value 'b'",
            table,
            fix,
        ),
        twins_of("a name but for capitals", "twin-c").fails(
            6,
            "2 instances have the name 'twin-c'",
            "i-bp1twin0004  Twin-C",
            fix,
        ),
        twins_of("a name in two other regions", "sibling")
            .args(&["--regions", "cn-beijing,cn-shanghai"])
            .fails(
                6,
                "2 instances have the name 'sibling'",
                "cn-shanghai",
                "name one by its id, or by its region",
            ),
        case("many", "tag:role=web").cloud(|builder| builder.fleet(130)).fails(
            6,
            "130 instances have the tag 'role' with the value 'web'",
            "i-bp1fleet00020  web-00020  10.0.0.20  Running  cn-hangzhou\nand 110 more",
            fix,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_found_is_told_with_where_it_was_looked_for() {
    let denied = |action: &'static str| {
        move |builder: Builder| {
            builder.access_key(AccessKey::new("testid", "testsecret").deny(action)).fleet(3)
        }
    };
    let list = "ecs-bridge list";
    run_all(vec![
        case("a name", "nosuch")
            .args(&["--regions", "cn-beijing,cn-hangzhou"])
            .cloud(|builder| builder.region("cn-hangzhou").region("cn-beijing"))
            .fails(
                6,
                "no instance has the name 'nosuch' (looked for in cn-hangzhou, cn-beijing)",
                "",
                list,
            ),
        case("a name that begins as another one", "web-0000").cloud(|b| b.fleet(3)).fails(
            6,
            "no instance has the name 'web-0000' (looked for in cn-hangzhou)",
            "",
            list,
        ),
        case("the name of another region's", "db")
            .cloud(|builder| {
                let there = instance("i-2zeexample0001", "db").region("cn-beijing");
                builder.region("cn-hangzhou").instance(there)
            })
            .fails(6, "no instance has the name 'db' (looked for in cn-hangzhou)", "", "--regions"),
        case("a pattern", "web-*").cloud(|builder| builder.fleet(3)).fails(
            6,
            "no instance has the name 'web-*'",
            "a '*' stands for itself here",
            list,
        ),
        case("an address", "10.0.0.77").cloud(|builder| builder.fleet(3)).calls(LOOK, 4).fails(
            6,
            "no instance has the address 10.0.0.77",
            "",
            list,
        ),
        case("a tag", "tag:Role=web").cloud(|builder| builder.fleet(3)).fails(
            6,
            "no instance has the tag 'Role' with the value 'web'",
            "%n is as it was typed",
            list,
        ),
        case("no such region", "web-1.cn-nowhere").request_id().fails(
            6,
            "there is no such region (InvalidRegionId.NotFound)",
            "'cn-nowhere'",
            "if it is part of a name, write web-1.cn-nowhere.cn-hangzhou",
        ),
        case("a region with a slip", "web-1").args(&["--region", "cn-hangzou"]).request_id().fails(
            6,
            "there is no such region",
            "'cn-hangzou'",
            "did you mean cn-hangzhou?",
        ),
        case("a region of a profile with a slip", "web-1")
            .without_keys()
            .env("ALIBABA_CLOUD_REGION_ID", "")
            .prepare(|lab| {
                let profile = crate::profiles::one("AK", crate::profiles::KEYS);
                crate::profiles::write(lab, &profile.replace("cn-hangzhou", "cn-hangzou"));
            })
            .request_id()
            .fails(6, "there is no such region", "'cn-hangzou'", "did you mean cn-hangzhou?"),
        case("one of several regions is none", "db")
            .args(&["--regions", "cn-beijing,cn-nowhere"])
            .cloud(|builder| builder.region("cn-hangzhou").region("cn-beijing"))
            .request_id()
            .fails(6, "there is no such region", "'cn-nowhere'", "correct the region"),
        case("no permission", "web-00001").cloud(denied(LOOK)).request_id().fails(
            5,
            "DescribeInstances was refused: a permission is missing (Forbidden.RAM)",
            "may not do ecs:DescribeInstances",
            r#""ecs:DescribeInstances""#,
        ),
        // The service is known to answer so.
        case("no permission, of which nothing is said", "web-00001")
            .cloud(move |builder| denied(LOOK)(builder).empty_if_denied(true))
            .request_id()
            .fails(
                5,
                "DescribeInstances was refused: a permission is missing (Forbidden.RAM)",
                "may not do ecs:DescribeInstances",
                r#""ecs:DescribeInstances""#,
            ),
        case("no permission for managed instances", "nosuch")
            .cloud(denied("DescribeManagedInstances"))
            .fails(
                6,
                "no instance has the name 'nosuch'",
                "managed instances could not be looked at (Forbidden.RAM)",
                list,
            ),
        case("too long a name", &"数".repeat(129)).calls(LOOK, 0).fails(
            2,
            "longer than the 128 characters",
            "",
            "tag:key=value",
        ),
        // The API has its say of ids.
        Case::new("an id that nothing has").command(&["proxy", "i-bp1nosuch"]).request_id().fails(
            6,
            "there is no such instance (InvalidInstance.NotFound)",
            "'i-bp1nosuch'",
            "check the id",
        ),
        Case::new("an id that nothing has, without more permissions")
            .command(&["proxy", "i-bp1nosuch"])
            .cloud(denied(LOOK))
            .request_id()
            .fails(6, "there is no such instance", "'i-bp1nosuch'", "check the id"),
        // Both the name and the id are told.
        Case::new("a stopped instance, by its name")
            .command(&["proxy", "web-1"])
            .instance(|instance| {
                instance.name("web-1").status(local_cloud::InstanceStatus::Stopped)
            })
            .request_id()
            .within(25)
            .fails(
                6,
                "it is stopped: port 22 of web-1 (i-bp1example0001)",
                "",
                "start the instance",
            ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regions_that_are_none_are_told_before_anything_is_sent() {
    let lab = Lab::new(Instance::new(INSTANCE)).await;
    for (args, part) in [
        (&["proxy", "web-1", "--regions", "cn-beijing,CN_X"][..], "'CN_X' is not a region id"),
        (&["list", "--regions", ",cn-beijing,x/y,"], "'x/y' is not a region id"),
    ] {
        let ended = Bridge::start(&mut lab.bridge(args)).end().await;
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(part), "{args:?}: {}", ended.stderr);
    }
    assert!(lab.cloud.calls().is_empty());
}
