//! What users read: the help of each command, messages of each kind, and what commands print, kept in
//! `tests/messages`. What has changed shows in the diff of
//!
//! ```sh
//! TRYCMD=overwrite cargo test --test messages
//! ```
//!
//! Each command runs in a home folder of its own, a copy of what [`home`] makes, with nothing in its
//! environment but this, which a case may put before the command:
//!
//! - `CLOUD=…`: which cloud is there: one of those of [`clouds`], in place of `plain`; or `none`.
//! - `AS=…`: the name that the program is called by.
//! - `NEW=1`: the home folder is empty, as a newcomer's.
//! - `STDIN=…`: a line on stdin.
//! - `SSH_VERSION=…`: which `ssh` is there; `SSH_PLAIN=1`: one that does not ask ecs-bridge.
//! - any variable of the program's own.
//!
//! What differs from run to run is put in words that do not: `[PORT]`, `[TIME]`, `[REQUEST-ID]`; the
//! home folder is `/home/me`. A backslash is written as `⧵`: trycmd would take it for one of Windows.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use local_cloud::{
    AccessKey, Agent, Builder, ClockOffset, Instance, InstanceStatus, KeyState, LocalCloud, Os,
    Pace,
};

/// So long the gateway waits for an agent that does not come, where it is not the client that gives up.
const AWAY: Duration = Duration::from_millis(100);
/// Tells the second run of this program, which has a bare environment, from the first.
const BARE: &str = "MESSAGES_IN_A_BARE_ENVIRONMENT";

#[test]
fn messages() {
    if env::var_os(BARE).is_none() {
        return again_without_environment();
    }
    let lab = tempfile::tempdir().unwrap();
    fs::create_dir(lab.path().join("new")).unwrap();
    home(&lab.path().join("me"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let clouds = runtime.block_on(clouds(lab.path()));
    let program = lab.path().join("ecs-bridge");
    fs::write(&program, SCRIPT.replace("@LAB@", lab.path().to_str().unwrap())).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();

    fs::create_dir(lab.path().join("bin")).unwrap();
    let ssh = lab.path().join("bin/ssh");
    fs::write(&ssh, SSH).unwrap();
    fs::set_permissions(&ssh, Permissions::from_mode(0o700)).unwrap();

    let cases = trycmd::TestCases::new();
    cases.register_bin("ecs-bridge", program.as_path());
    cases.timeout(Duration::from_secs(60));
    cases.case("tests/messages/*.trycmd").run();

    for (name, cloud) in clouds {
        assert_eq!(cloud.violations(), [""; 0], "{name}");
    }
}

/// What is set where the tests run must not be seen by what they run.
fn again_without_environment() {
    let kept = ["PATH", "TMPDIR", "TRYCMD"].map(|name| (name, env::var_os(name)));
    let filters = env::args().skip(1).filter(|word| word.starts_with("trycmd="));
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "messages", "--nocapture"])
        .args(filters)
        .env_clear()
        .envs(kept.into_iter().filter_map(|(name, value)| Some((name, value?))))
        .env(BARE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "see above; TRYCMD=overwrite takes the messages as they are now");
}

/// What runs in place of ecs-bridge: ecs-bridge, where nothing is as on other machines.
const SCRIPT: &str = concat!(
    r#"#!/bin/sh
set -eu
run=$(mktemp -d '@LAB@/run.XXXXXX')
if test -n "${NEW-}"; then whose=new; else whose=me; fi
cp -R -p "@LAB@/$whose" "$run/home"
. "@LAB@/cloud.${CLOUD:-plain}"
if test -n "${STDIN-}"; then printf '%s\n' "$STDIN" >"$run/in"; else : >"$run/in"; fi
if test -n "${AS-}"; then ln -s '"#,
    env!("CARGO_BIN_EXE_ecs-bridge"),
    r#"' "$run/$AS"; fi
as=${AS-}
unset CLOUD NEW STDIN AS TRYCMD MESSAGES_IN_A_BARE_ENVIRONMENT
cd "$run/home"
HOME=$(pwd -P)
export BRIDGE='"#,
    env!("CARGO_BIN_EXE_ecs-bridge"),
    r#"'
PATH="@LAB@/bin:$PATH"
export HOME PATH COLUMNS=100 XDG_STATE_HOME="$HOME/.local/state"
code=0
program='"#,
    env!("CARGO_BIN_EXE_ecs-bridge"),
    r#"'
test -z "$as" || program="$run/$as"
"$program" "$@" <"$run/in" >"$run/out" 2>"$run/err" || code=$?
same() {
    sed -E \
        -e "s#$HOME#/home/me#g" -e "s#$program#/usr/local/bin/ecs-bridge#g" \
        -e 's#127\.0\.0\.1:[0-9]{4,5}#127.0.0.1:[PORT]#g' \
        -e 's#\[::1\]:[0-9]{4,5}#[::1]:[PORT]#g' \
        -e 's#[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}#[REQUEST-ID]#g' \
        -e 's#2026-01-31T12:00:00Z#[EXAMPLE]#g' \
        -e 's#[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z#[TIME]#g' \
        -e 's#\[EXAMPLE\]#2026-01-31T12:00:00Z#g' \
        -e 's#, [0-9]+years .* ago#, [AGE] ago#' \
        -e 's#is (59m|1h)( [0-9]+s)? (behind|ahead)#is 1h \3#' \
        -e 's#after [0-9]+ ms#after [N] ms#' -e 's#\((5[0-9]|60) s\)#([N] s)#' \
        -e 's#os error [0-9]+#os error [N]#' \
        -e 's~"commit":("[^"]*"|null)~"commit":"[COMMIT]"~' -e 's~"os":[{][^}]*[}]~"os":"[OS]"~' \
        -e 's~"profile":"(debug|release)"~"profile":"[PROFILE]"~' \
        -e 's~"target":"[a-z0-9_]*-[a-z-]*linux[a-z-]*"~"target":"[BUILT-FOR]"~' \
        -e 's#\\#⧵#g' "$1"
}
same "$run/out"
same "$run/err" >&2
exit "$code"
"#
);

/// What is `ssh` there: an OpenSSH of the version `SSH_VERSION`, which asks ecs-bridge for each host.
const SSH: &str = r#"#!/bin/sh
if test "$1" = -V; then
    echo "${SSH_VERSION:-OpenSSH_9.9p1}, OpenSSL 3.0.19" >&2
    exit
fi
for host; do :; done
echo "identityfile ~/keys/private"
test -n "${SSH_PLAIN-}" && exit
case "$host" in i-*|mi-*|*.ecs) echo "proxycommand $BRIDGE proxy '$host' 22" ;; esac
"#;

/// The home folder of someone who has profiles, good ones and others.
fn home(home: &Path) {
    let file = |name: &str, text: &str| {
        let path = home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    };
    let key = |name: &str, id: &str, more: &str| {
        format!(
            r#"{{"name": "{name}", "mode": "AK", "access_key_id": "{id}", "access_key_secret": "testsecret", "region_id": "cn-hangzhou"{more}}}"#
        )
    };
    let good = [
        key("default", "LTAI5texample0001", ""),
        key("guest", "LTAI5texample0002", ""),
        key("gone", "LTAI5texample0003", ""),
        key("off", "LTAI5texample0004", ""),
        key("wrong-secret", "LTAI5texample0001", "").replace("testsecret", "another"),
        key("beijing", "LTAI5texample0001", "").replace("cn-hangzhou", "cn-beijing"),
        key("nowhere", "LTAI5texample0001", "").replace("cn-hangzhou", "CN_NOWHERE"),
        key("no-region", "LTAI5texample0001", "").replace(r#""region_id": "cn-hangzhou""#, r#""x": 1"#),
        key("bad-endpoint", "LTAI5texample0001", r#", "endpoint": "http://ecs.example.com""#),
        key("bad-type", "LTAI5texample0001", r#", "endpoint_type": "moon""#),
        r#"{"name": "over", "mode": "StsToken", "access_key_id": "STS.example", "access_key_secret": "testsecret", "sts_token": "testtoken", "sts_expiration": 1000000000, "region_id": "cn-hangzhou"}"#.to_owned(),
        r#"{"name": "sso", "mode": "CloudSSO", "access_key_id": "STS.example", "access_key_secret": "testsecret", "sts_token": "testtoken", "sts_expiration": 1000000000, "region_id": "cn-hangzhou"}"#.to_owned(),
    ];
    let profiles = |profiles: &[String]| {
        format!(r#"{{"current": "default", "profiles": [{}]}}"#, profiles.join(", "))
    };
    file(".aliyun/config.json", &profiles(&good));

    // Each mode without one of the fields that it needs, named as in AK-access_key_id.
    let modes: [(&str, &[&str]); 10] = [
        ("AK", &["access_key_id", "access_key_secret"]),
        ("StsToken", &["access_key_id", "access_key_secret", "sts_token"]),
        ("CredentialsURI", &["credentials_uri"]),
        ("RamRoleArn", &["access_key_id", "access_key_secret", "ram_role_arn"]),
        ("RamRoleArnWithRoleName", &["ram_role_arn"]),
        ("ChainableRamRoleArn", &["source_profile", "ram_role_arn"]),
        ("OIDC", &["oidc_provider_arn", "oidc_token_file", "ram_role_arn"]),
        ("External", &["process_command"]),
        ("CloudSSO", &["access_key_id", "access_key_secret", "sts_token"]),
        ("OAuth", &["access_key_id", "access_key_secret", "sts_token"]),
    ];
    let mut odd = Vec::new();
    for (mode, fields) in modes {
        for missing in fields {
            let has = fields.iter().filter(|field| *field != missing);
            let has: String = has.map(|field| format!(r#", "{field}": "value""#)).collect();
            odd.push(format!(r#"{{"name": "{mode}-{missing}", "mode": "{mode}", "region_id": "cn-hangzhou"{has}}}"#));
        }
    }
    let role = r#""mode": "ChainableRamRoleArn", "ram_role_arn": "acs:ram::1:role/ops", "region_id": "cn-hangzhou""#;
    let run = r#""mode": "External", "region_id": "cn-hangzhou""#;
    for profile in [
        format!(r#"{{"name": "circle", {role}, "source_profile": "round"}}"#),
        format!(r#"{{"name": "round", {role}, "source_profile": "circle"}}"#),
        format!(r#"{{"name": "orphan", {role}, "source_profile": "nobody"}}"#),
        r#"{"name": "rsa", "mode": "RsaKeyPair", "region_id": "cn-hangzhou"}"#.to_owned(),
        r#"{"name": "bearer", "mode": "BearerToken", "bearer_token": "hush", "region_id": "cn-hangzhou"}"#.to_owned(),
        r#"{"name": "anonymous", "mode": "Anonymous", "region_id": "cn-hangzhou"}"#.to_owned(),
        r#"{"name": "no-mode", "mode": "", "region_id": "cn-hangzhou"}"#.to_owned(),
        r#"{"name": "blank", "mode": "AK", "access_key_id": "a b", "access_key_secret": "testsecret", "region_id": "cn-hangzhou"}"#.to_owned(),
        format!(r#"{{"name": "no-program", {run}, "process_command": "/nonexistent/program"}}"#),
        format!(r#"{{"name": "failing", {run}, "process_command": "sh -c 'echo no luck >&2; exit 3'"}}"#),
        format!(r#"{{"name": "no-json", {run}, "process_command": "echo hello"}}"#),
        format!(r#"{{"name": "no-quote", {run}, "process_command": "echo 'hello"}}"#),
        r#"{"name": "no-token", "mode": "OIDC", "ram_role_arn": "acs:ram::1:role/ops", "oidc_provider_arn": "acs:ram::1:oidc-provider/ci", "oidc_token_file": "no-such-file", "region_id": "cn-hangzhou"}"#.to_owned(),
        r#"{"name": "no-uri", "mode": "CredentialsURI", "credentials_uri": "ftp://example.com/keys", "region_id": "cn-hangzhou"}"#.to_owned(),
        key("twice", "LTAI5texample0001", ""),
        key("twice", "LTAI5texample0002", ""),
    ] {
        odd.push(profile);
    }
    file("odd.json", &profiles(&odd));
    file(
        "sdk.ini",
        "[default]\ntype = access_key\naccess_key_id = LTAI5texample0001\n\
         access_key_secret = testsecret\n\
         [half]\ntype = access_key\naccess_key_id = LTAI5texample0001\n\
         [oidc]\ntype = oidc_role_arn\n",
    );
    file("empty.json", "");
    file("no-json.json", "access_key_id = testid\n");
    file("no-object.json", "[]\n");
    file("no-profiles.json", "{}\n");
    file("cut.json", &profiles(&good)[..200]);
    file("bom.json", &format!("\u{feff}{}", profiles(&good)));
    // Not copied for each command.
    let huge = home.with_file_name("huge");
    File::create(&huge).unwrap().set_len(10 << 20).unwrap();
    symlink(huge, home.join("huge.json")).unwrap();
    file("current.json", &profiles(&good).replacen("default", "nobody", 1));
    fs::create_dir(home.join("folder")).unwrap();
    symlink("no-such-file", home.join("dangling.json")).unwrap();

    let public =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJpZp0cJmE1pVhUQ5J8sQp0bT7pVZ0m8c5ZkG8Qm3r6u me\n";
    file("keys/good.pub", public);
    file("keys/two.pub", &public.repeat(2));
    file("keys/none.pub", "hello\n");
    file("keys/dsa.pub", "ssh-dss AAAAB3NzaC1kc3MAAACBAP me\n");
    file(
        "keys/private",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----\n",
    );
    file("ca/none.pem", "hello\n");
    file("marks/.ssh/config", "# >>> ecs-bridge >>>\n");
}

/// The clouds, and the files that lead to them.
async fn clouds(lab: &Path) -> Vec<(&'static str, LocalCloud)> {
    let sshd = server();
    // Without it, commands would ask for the metadata service of the machine that the tests run on.
    let nowhere = "export ECS_BRIDGE_METADATA_URL='http://127.0.0.1:9'\n";
    fs::write(lab.join("cloud.none"), nowhere).unwrap();
    let hour = Duration::from_secs(3_600);
    let clouds = [
        ("plain", plain(sshd)),
        ("disabled", plain(sshd).session_manager_enabled(false)),
        ("full", plain(sshd).region_quota(0)),
        ("busy", plain(sshd).instance_quota(0)),
        ("early", plain(sshd).clock_offset(ClockOffset::Ahead(hour))),
        ("late", plain(sshd).clock_offset(ClockOffset::Behind(hour))),
    ];
    let mut started = Vec::new();
    for (name, cloud) in clouds {
        let cloud = cloud.start().await.unwrap();
        let (endpoint, metadata) = (cloud.endpoint(), cloud.metadata_url());
        let text = format!(
            "export ALIBABA_CLOUD_ENDPOINT=\"${{ALIBABA_CLOUD_ENDPOINT-{endpoint}}}\"\n\
             export ECS_BRIDGE_STS_ENDPOINT='{endpoint}' ECS_BRIDGE_METADATA_URL='{metadata}'\n"
        );
        fs::write(lab.join(format!("cloud.{name}")), text).unwrap();
        started.push((name, cloud));
    }
    started
}

fn plain(sshd: SocketAddr) -> Builder {
    let instance = |id: &str, name: &str| {
        let agent = Agent::d().quick();
        Instance::new(id).name(name).agent(agent).pace(Pace::off()).target(22, sshd)
    };
    let address = |last| Ipv4Addr::new(10, 0, 0, last);
    let guest = AccessKey::new("LTAI5texample0002", "testsecret");
    let guest = [
        "StartTerminalSession",
        "DescribeInstances",
        "DescribeManagedInstances",
        "DescribeCloudAssistantStatus",
        "RunCommand",
    ]
    .iter()
    .fold(guest, |guest, action| guest.deny(*action));
    LocalCloud::builder()
        .region("cn-hangzhou")
        .region("cn-beijing")
        .access_key(AccessKey::new("LTAI5texample0001", "testsecret"))
        .access_key(guest)
        .access_key(AccessKey::new("LTAI5texample0004", "testsecret").state(KeyState::Inactive))
        .instance(
            instance("i-bp1example0001", "web-1")
                .host_name("web-1")
                .private_address(address(1))
                .elastic_address(Ipv4Addr::new(47, 96, 0, 1))
                .tag("env", "prod"),
        )
        .instance(
            instance("i-bp1example0002", "stopped")
                .private_address(address(2))
                .status(InstanceStatus::Stopped)
                .agent_online(false)
                .agent_timeout(AWAY),
        )
        .instance(
            instance("i-bp1example0003", "offline")
                .private_address(address(3))
                .agent_online(false)
                .agent_timeout(AWAY),
        )
        .instance(
            instance("i-bp1example0004", "old")
                .private_address(address(4))
                .agent_version("2.2.3.200"),
        )
        .instance(
            instance("i-bp1example0005", "twin").private_address(address(5)).tag("env", "test"),
        )
        .instance(
            instance("i-bp1example0006", "twin").private_address(address(6)).tag("env", "test"),
        )
        .instance(instance("i-bp1example0007", "数据库").private_address(address(7)))
        .instance(
            instance("i-bp1example0008", "windows").private_address(address(8)).os(Os::Windows),
        )
        .instance(
            instance("i-2zeexample0001", "db")
                .region("cn-beijing")
                .private_address(Ipv4Addr::new(172, 16, 0, 1)),
        )
        .instance(instance("mi-hz01example", "office"))
}

/// Something that says on each connection what an SSH server would.
fn server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut connection = connection;
                let _ = connection.write_all(b"SSH-2.0-OpenSSH_9.9\r\n");
                let _ = std::io::copy(&mut connection, &mut std::io::sink());
            });
        }
    });
    address
}
