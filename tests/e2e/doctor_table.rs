//! `doctor` on broken set-ups: in each of them one thing is wrong, and it names that one and no
//! other. docs/doctor.md has them as a table, and a test here compares the two.

use std::fmt::Write as _;
use std::time::Duration;

use local_cloud::{
    AccessKey, ApiFault, ClockOffset, CommandFault, CommandKind, Ending, InstanceStatus, KeyState,
    Tls,
};

use crate::doctor::{SetUp, run_all};
use crate::lab::refusing;

const KEY: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
const ENDPOINT: &str = "ALIBABA_CLOUD_ENDPOINT";
const STATUS: &str = "DescribeCloudAssistantStatus";

fn key() -> AccessKey {
    AccessKey::new("testid", "testsecret")
}

/// A profile whose temporary keys are over.
const EXPIRED: &str = r#"{"current": "work", "profiles": [{"name": "work", "mode": "StsToken",
    "access_key_id": "testid", "access_key_secret": "testsecret", "sts_token": "testsecret",
    "sts_expiration": 1700000000, "region_id": "cn-hangzhou"}]}"#;

/// Set-ups of this machine.
fn of_this_machine() -> Vec<SetUp> {
    let (bound, refusing) = refusing();
    let (held, nobody) = crate::lab::refusing();
    vec![
        SetUp::new("no configuration, no keys").without_keys().fails(
            "credentials",
            3,
            "no credentials were found",
            "ecs-bridge configure",
        ),
        SetUp::new("a profile that does not exist")
            .file(".aliyun/config.json", EXPIRED)
            .args(&["--profile", "wrok"])
            .fails("configuration", 3, "there is no profile 'wrok'", "correct the name"),
        SetUp::new("a profile whose temporary keys have expired")
            .without_keys()
            .file(".aliyun/config.json", EXPIRED)
            .fails("credentials", 3, "have expired", "get new temporary credentials"),
        SetUp::new("no name server, or a wrong region")
            .env(ENDPOINT, "https://ecs.nosuch.invalid")
            .within(8)
            .fails("dns", 7, "'ecs.nosuch.invalid' does not resolve", "this machine's DNS"),
        SetUp::new("a proxy that refuses")
            .holding(bound)
            .args(&["--proxy", &format!("http://{refusing}")])
            .fails("proxy", 7, "the proxy http://127.0.0.1", "--proxy none"),
        SetUp::new("a firewall that refuses")
            .holding(held)
            .env(ENDPOINT, format!("http://{nobody}"))
            .within(2)
            .fails("connection", 7, "refuses connections", "check the endpoint and its port"),
        SetUp::new("a certificate that is not trusted")
            .cloud(|cloud| cloud.tls(Tls::UntrustedCa))
            .fails("tls", 7, "certificate is not trusted", "--ca-file"),
        SetUp::new("something other than the API answers")
            .prepare(|lab| {
                let page = "<html>Please log in</html>";
                lab.cloud.faults().api(ApiFault::on_any().raw(200, "text/html", page));
            })
            .fails("endpoint", 7, "the answer is not the API's", "see what answers"),
        SetUp::new("a clock that is 20 minutes behind")
            .cloud(|cloud| cloud.clock_offset(ClockOffset::Ahead(Duration::from_secs(1230))))
            .fails("clock", 4, "this machine's clock is 20m", "timedatectl set-ntp true"),
        SetUp::new("an ssh that does not use ecs-bridge").file("ssh-G", "echo user root\n").fails(
            "ssh_config",
            3,
            "does not use ecs-bridge",
            "ssh-config --write",
        ),
        SetUp::new("an ssh whose ProxyCommand does not exist")
            .file("ssh-G", "echo proxycommand /nonexistent/ecs-bridge proxy %h %p\n")
            .fails("ssh_config", 3, "which is not there", "ssh-config --write"),
        SetUp::new("a shell that does not exist").env("SHELL", "/nonexistent/sh").fails(
            "proxy_shell",
            3,
            "SHELL=/nonexistent/sh cannot run ssh's ProxyCommand",
            "/bin/sh",
        ),
    ]
}

/// Set-ups of the account.
fn of_the_account() -> Vec<SetUp> {
    vec![
        SetUp::new("a wrong secret").env(KEY, "othersecret").fails(
            "access_key",
            4,
            "the signature does not match",
            "set ALIBABA_CLOUD_ACCESS_KEY_ID",
        ),
        SetUp::new("a token that the service rejects as expired")
            .cloud(|cloud| cloud.access_key(key().token("testsecret").state(KeyState::Expired)))
            .env("ALIBABA_CLOUD_SECURITY_TOKEN", "testsecret")
            .fails("access_key", 4, "the security token has expired", "SECURITY_TOKEN anew"),
        SetUp::new("no permission to read the status")
            .cloud(|cloud| cloud.access_key(key().deny("DescribeInstanceStatus").deny(STATUS)))
            .fails(
                "permission",
                5,
                "ecs:DescribeInstanceStatus, ecs:DescribeCloudAssistantStatus",
                r#""Action":["ecs:DescribeInstanceStatus","ecs:DescribeCloudAssistantStatus"]"#,
            ),
        SetUp::new("no permission for sessions")
            .cloud(|cloud| cloud.access_key(key().deny("StartTerminalSession")))
            .fails("session", 5, "a permission is missing", "\"ecs:StartTerminalSession\""),
        SetUp::new("Session Manager is disabled")
            .cloud(|cloud| cloud.session_manager_enabled(false))
            .fails(
                "session_manager",
                6,
                "Session Manager is switched off in cn-hangzhou",
                "aliyun ecs ModifyCloudAssistantSettings --RegionId cn-hangzhou",
            ),
    ]
}

/// Set-ups of the instance.
fn of_the_instance() -> Vec<SetUp> {
    let (held, closed) = refusing();
    let old = "version 2.2.3.256 does not support sessions";
    vec![
        SetUp::new("no such instance").target("i-bp1nosuch").fails(
            "instance",
            6,
            "there is no such instance",
            "check the id, and the region",
        ),
        SetUp::new("the instance is stopped")
            .instance(|instance| instance.status(InstanceStatus::Stopped))
            .fails("running", 6, "the instance does not run, it is stopped", "--start"),
        SetUp::new("no agent")
            .instance(|instance| instance.agent_online(false).agent_version(""))
            .fails("agent_installed", 6, "has no Cloud Assistant agent", "install the agent"),
        SetUp::new("the agent is offline").instance(|instance| instance.agent_online(false)).fails(
            "agent_online",
            6,
            "is not online",
            "systemctl restart aliyun.service",
        ),
        SetUp::new("the agent is too old")
            .instance(|instance| instance.agent_version("2.2.3.256"))
            .fails("agent_version", 6, old, "later than x.y.3.256"),
        SetUp::new("the agent does not support sessions")
            .prepare(|lab| {
                let agent = r#"{"InstanceCloudAssistantStatusSet": {"InstanceCloudAssistantStatus":
                    [{"CloudAssistantStatus": "true", "CloudAssistantVersion": "2.2.3.900",
                    "OSType": "Linux", "SupportSessionManager": false}]}}"#;
                lab.cloud.faults().api(ApiFault::on(STATUS).raw(200, "application/json", agent));
            })
            .fails("agent_sessions", 6, "does not support sessions", "update the agent"),
        SetUp::new("the gateway cannot be reached")
            .prepare(|lab| {
                let session = r#"{"SessionId": "s-1", "SecurityToken": "testsecret",
                    "WebSocketUrl": "wss://gateway.nosuch.invalid/?token=testsecret"}"#;
                let fault = ApiFault::on("StartTerminalSession");
                lab.cloud.faults().api(fault.raw(200, "application/json", session));
            })
            .within(5)
            .fails("session", 7, "gateway.nosuch.invalid cannot be resolved", "the name server"),
        SetUp::new("the port is closed")
            .holding(held)
            .prepare(move |lab| {
                let instance = crate::world::INSTANCE;
                lab.cloud.update_instance(instance, |i| {
                    i.targets.insert((None, 22), closed);
                });
            })
            .fails("port", 6, "OpenTargetPortFailed", "the service runs and listens there"),
        SetUp::new("the port is not an SSH server").says("220 ftp.example ready\r\n").fails(
            "port",
            6,
            "what answers on port 22 is not an SSH server",
            "ss -ltnp",
        ),
        SetUp::new("sshd uses another key program, with `--send-key`")
            .args(&["--send-key"])
            .instance(|instance| {
                let told = "effective authorizedkeyscommand /usr/bin/sss_ssh_authorizedkeys\n";
                let fault = CommandFault::on(CommandKind::Script);
                instance.command_fault(fault.ends(Ending::success().output(told)))
            })
            .fails(
                "key_plugin",
                6,
                "sshd asks another program for keys: /usr/bin/sss_ssh_authorizedkeys",
                "ecs-bridge send-key --reinstall -i",
            ),
        SetUp::new("the port sends nothing").says("").within(6).fails(
            "port",
            6,
            "port 22 accepts connections and sends nothing",
            "ss -ltnp",
        ),
    ]
}

/// The table of docs/doctor.md.
fn table() -> String {
    let mut table =
        "| what is wrong | failed check | message | exit code |\n|---|---|---|---|\n".to_owned();
    let all = [of_this_machine(), of_the_account(), of_the_instance()];
    for set_up in all.into_iter().flatten() {
        let SetUp { name, id, what, code, .. } = set_up;
        writeln!(table, "| {name} | `{id}` | … {what} … | {code} |").unwrap();
    }
    table
}

#[test]
fn the_docs_have_this_table() {
    crate::generated::check("docs/doctor.md", &table());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_this_machine_is_named() {
    run_all(of_this_machine()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_account_is_named() {
    run_all(of_the_account()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_instance_is_named() {
    run_all(of_the_instance()).await;
}
