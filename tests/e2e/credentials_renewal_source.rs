//! A command that runs for days has its credentials from where it had the first ones.

use local_cloud::{AccessKey, Builder, Lifetime, LocalCloud, Metadata, SourceFault, SourcePart};
use tokio::process::Command;

use crate::credentials_renewal::{SOON_DUE, Works};
use crate::lab::Lab;
use crate::profiles::{ECS_ROLE, KEYS, cloud, file, one, write, write_to};

/// Keys of somebody else, which the API takes.
const OTHERS: &str = r#""access_key_id": "otherid", "access_key_secret": "testsecret-other""#;

/// Where a forward has its credentials from, and a file that would go before that.
struct Row {
    name: &'static str,
    prepare: fn(&Lab, &mut Command),
    appears: fn(&Lab),
}

fn rows() -> [Row; 6] {
    let current = |lab: &Lab| write(lab, &one("AK", OTHERS));
    [
        Row { name: "the attached role", prepare: |_, _| {}, appears: current },
        Row {
            name: "the attached role, and an ini file",
            prepare: |_, _| {},
            appears: |lab| {
                let keys = "access_key_id = otherid\naccess_key_secret = testsecret-other\n";
                std::fs::create_dir(lab.dir.path().join(".alibabacloud")).unwrap();
                let text = format!("[default]\ntype = access_key\n{keys}");
                file(lab, ".alibabacloud/credentials", &text);
            },
        },
        Row {
            name: "a role that a variable names",
            prepare: |_, command| {
                command.env("ALIBABA_CLOUD_ECS_METADATA", ECS_ROLE);
            },
            appears: current,
        },
        Row {
            name: "a credentials URI",
            prepare: |lab, command| {
                command.env("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true");
                command.env("ALIBABA_CLOUD_CREDENTIALS_URI", lab.cloud.credentials_uri());
            },
            appears: current,
        },
        Row {
            name: "a profile, and one of its name in the file of ali-instance-cli",
            prepare: |lab, _| write(lab, &one("AK", KEYS)),
            appears: |lab| write_to(lab, "config_ecs.json", &one("AK", OTHERS)),
        },
        Row {
            name: "a section of the ini file, and a profile of its name",
            prepare: |lab, command| {
                let keys = "access_key_id = testid\naccess_key_secret = testsecret\n";
                std::fs::create_dir(lab.dir.path().join(".alibabacloud")).unwrap();
                file(lab, ".alibabacloud/credentials", &format!("[p]\ntype = access_key\n{keys}"));
                command.env("ALIBABA_CLOUD_PROFILE", "p");
            },
            appears: current,
        },
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_appears_changes_no_account() {
    for Row { name, prepare, appears } in rows() {
        eprintln!("--- {name}");
        let keys = [("testid", "testsecret"), ("otherid", "testsecret-other")];
        let keys = keys.map(|(id, secret)| AccessKey::new(id, secret));
        let cloud = keys.into_iter().fold(cloud(), Builder::access_key);
        let mut works = Works::with(cloud, prepare).await;
        works.echoes().await;
        appears(&works.lab);
        works.echoes().await;
        let (lab, log) = works.end().await;
        let sessions = lab.cloud.sessions();
        let ids: Vec<&str> = sessions.iter().map(|s| s.access_key_id.as_str()).collect();
        assert!(ids.len() == 2 && ids[0] == ids[1], "{name}: {ids:?}\n{log}");
    }
}

fn count(cloud: &LocalCloud, part: SourcePart) -> usize {
    cloud.look(|state| state.sources().filter(|source| source.part == part).count())
}

/// A forward that has its keys from the metadata service or else from a credentials URI.
async fn either(metadata: Metadata) -> Works {
    let soon = Lifetime::new(SOON_DUE);
    let cloud = cloud().metadata(metadata.lifetime(soon)).uri_lifetime(soon);
    Works::with(cloud, |lab, command| {
        command.env("ALIBABA_CLOUD_CREDENTIALS_URI", lab.cloud.credentials_uri());
    })
    .await
}

/// The service is silent for a moment, and the URI may hand out somebody else's keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_the_instance_s_role_are_not_renewed_at_a_credentials_uri() {
    let mut works = either(Metadata::new().role(ECS_ROLE)).await;
    works.echoes().await;
    works.lab.cloud.faults().source(SourceFault::on(SourcePart::MetadataToken).silent());
    works.echo_until("a renewal", |cloud| count(cloud, SourcePart::MetadataToken) > 1).await;
    works.forward.bridge.logged("cannot be renewed").await;
    works.echoes().await;
    let (lab, log) = works.end().await;
    assert!(log.contains("it did not answer within 1 s"), "{log}");
    assert_eq!(count(&lab.cloud, SourcePart::Uri), 0, "{log}");
    let sessions = lab.cloud.sessions();
    assert!(sessions.iter().all(|session| session.access_key_id == sessions[0].access_key_id));
}

/// There was no role when it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_credentials_uri_are_renewed_there_although_a_role_is_attached() {
    let mut works = either(Metadata::new()).await;
    works.echoes().await;
    works.lab.cloud.update_metadata(|metadata| metadata.role = Some(ECS_ROLE.to_owned()));
    works.echo_until("a renewal", |cloud| count(cloud, SourcePart::Uri) > 1).await;
    let (lab, log) = works.end().await;
    assert_eq!(count(&lab.cloud, SourcePart::MetadataKeys), 0, "{log}");
}
