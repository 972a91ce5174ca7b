//! Profile files of the test's own, and roles for them.

use std::os::unix::fs::PermissionsExt as _;

use local_cloud::{Agent, Builder, CallRecord, Instance, LocalCloud, Metadata, Pace, Role};
use tokio::process::Command;

use crate::case::Case;
use crate::lab::{Bridge, Ended, Lab};
use crate::world::INSTANCE;

pub(crate) const ARN: &str = "acs:ram::1234567890:role/ops";
pub(crate) const PROVIDER: &str = "acs:ram::1234567890:oidc-provider/ci";
pub(crate) const OIDC_TOKEN: &str = "testsecret.oidc.token";
/// The role of the instance that the client is taken to run on.
pub(crate) const ECS_ROLE: &str = "EcsRole";

/// Fields of profiles.
pub(crate) const KEYS: &str = r#""access_key_id": "testid", "access_key_secret": "testsecret""#;
pub(crate) const ROLE: &str =
    r#""ram_role_arn": "acs:ram::1234567890:role/ops", "ram_session_name": "tests""#;

/// A cloud with a role, and with the other sources of temporary keys.
pub(crate) fn cloud() -> Builder {
    let role = Role::new(ARN).oidc_token(PROVIDER, OIDC_TOKEN);
    LocalCloud::builder().role(role).metadata(Metadata::new().role(ECS_ROLE))
}

/// An instance with an agent that is quick.
pub(crate) fn instance() -> Instance {
    Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off())
}

/// Writes profiles to where they are looked for. `CLOUD` in them is the cloud's endpoint, `DIR` the
/// folder.
pub(crate) fn write(lab: &Lab, profiles: &str) {
    write_to(lab, "config.json", profiles);
}

/// The same for a file of this name.
pub(crate) fn write_to(lab: &Lab, name: &str, profiles: &str) {
    let dir = lab.dir.path().display().to_string();
    let text = profiles.replace("CLOUD", &lab.cloud.endpoint()).replace("DIR", &dir);
    let text = format!(r#"{{"current": "p", "profiles": [{text}]}}"#);
    let path = lab.dir.path().join(".aliyun").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // As programs do that renew it: whoever reads it meanwhile finds one or the other.
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// A file in the folder of the lab.
pub(crate) fn file(lab: &Lab, name: &str, content: &str) {
    std::fs::write(lab.dir.path().join(name), content).unwrap();
}

/// One profile `p`.
pub(crate) fn one(mode: &str, fields: &str) -> String {
    format!(r#"{{"name": "p", "mode": "{mode}", "region_id": "cn-hangzhou", {fields}}}"#)
}

/// A program without keys in its environment.
pub(crate) fn without_keys(command: &mut Command) -> &mut Command {
    for name in ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"] {
        command.env_remove(name);
    }
    command
}

/// A run that fails with these profiles, the first of which is `p`.
pub(crate) fn failing(name: &'static str, profiles: impl Into<String>) -> Case {
    let profiles = profiles.into();
    let case = Case::new(name).cloud(|_| cloud()).without_keys();
    case.prepare(move |lab| write(lab, &profiles)).calls("StartTerminalSession", 0)
}

/// Carries a banner from the target and back with a command that was started, and its end.
pub(crate) async fn carries(lab: &Lab, command: &mut Command) -> Ended {
    let mut bridge = Bridge::start(command);
    let target = async {
        use tokio::io::AsyncWriteExt as _;
        let mut target = lab.accept().await;
        target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        target
    };
    tokio::select! {
        target = target => {
            bridge.expect(b"SSH-2.0-x\r\n").await;
            drop(target);
            bridge.end().await
        }
        status = bridge.child.wait() => {
            panic!("it has ended early: {status:?}\n{}", bridge.log());
        }
    }
}

/// The calls of an action.
pub(crate) fn calls(lab: &Lab, action: &str) -> Vec<CallRecord> {
    lab.cloud.calls().into_iter().filter(|call| call.action == action).collect()
}

/// Nothing that anybody was given stands in a text.
pub(crate) fn shows_nothing(lab: &Lab, text: &str) {
    let calls = lab.cloud.calls();
    let tokens = calls.iter().filter_map(|call| call.headers.get("x-acs-security-token"));
    let of_v1 = calls.iter().filter_map(|call| call.params.get("SecurityToken"));
    let all = tokens.chain(of_v1).map(String::as_str).chain(["testsecret", "token=", "ws://"]);
    for secret in all {
        assert!(!text.contains(secret), "it shows '{secret}':\n{text}");
    }
}
