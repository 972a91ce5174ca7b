//! Credentials that end: renewed in time, once for all, and once more when the service says so.

use std::time::Duration;

use local_cloud::{
    ApiFault, Lifetime, LocalCloud, Logins, Role, SessionRecord, SourceFault, SourcePart,
};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::forward_driver::{Forward, Server, echoes, text};
use crate::lab::{Bridge, Lab};
use crate::profiles::{
    ARN, KEYS, OIDC_TOKEN, PROVIDER, ROLE, calls, carries, cloud, file, instance, one,
    shows_nothing, without_keys, write,
};
use crate::world::{INSTANCE, PATIENCE};

const START: &str = "StartTerminalSession";
/// What is told to end in this time is due after one second.
pub(crate) const SOON_DUE: Duration = Duration::from_secs(181);

fn role(lifetime: Lifetime) -> Role {
    Role::new(ARN).lifetime(lifetime).oidc_token(PROVIDER, OIDC_TOKEN)
}

fn ram_role_arn() -> String {
    one("RamRoleArn", &format!("{KEYS}, {ROLE}"))
}

/// A lab with an echo server behind port 7, and a forward to it.
pub(crate) struct Works {
    pub(crate) lab: Lab,
    pub(crate) forward: Forward,
    _server: Server,
    connections: u64,
}

impl Works {
    /// With credentials by the profile `p`.
    pub(crate) async fn new(cloud: local_cloud::Builder, profiles: &str) -> Self {
        Self::with(cloud, |lab, _| write(lab, profiles)).await
    }

    /// With credentials from where the lab and the command have them.
    pub(crate) async fn with(
        cloud: local_cloud::Builder,
        prepare: impl FnOnce(&Lab, &mut Command),
    ) -> Self {
        let server = Server::echo().await;
        let lab = Lab::with(cloud, instance().target(7, server.addr)).await;
        file(&lab, "token", OIDC_TOKEN);
        // The first connection finds out what the credentials are worth.
        let args = ["-vvv", "forward", "--json", "-i", INSTANCE, "-L", "0:localhost:7"];
        let args = args.iter().chain(&["--linger", "0", "--grace", "0", "--no-probe"]);
        let mut command = lab.bridge(args);
        command.arg("--ready-delay").arg("0");
        prepare(&lab, &mut command);
        let forward = Forward::run(without_keys(&mut command));
        Self { lab, forward, _server: server, connections: 0 }
    }

    /// One connection, through which something goes and comes back.
    pub(crate) async fn echoes(&mut self) {
        let mut connection = self.forward.connect().await;
        self.connections += 1;
        echoes(&mut connection).await;
    }

    /// Connections, one after the other, until something is true of the cloud; none fails.
    pub(crate) async fn echo_until(&mut self, what: &str, is_so: impl Fn(&LocalCloud) -> bool) {
        let began = Instant::now();
        while !is_so(&self.lab.cloud) {
            assert!(began.elapsed() < PATIENCE, "{what}\n{}", self.forward.bridge.log());
            self.echoes().await;
        }
    }

    /// Ends it, and gives its log. Every session that it had went well.
    pub(crate) async fn end(mut self) -> (Lab, String) {
        let closed = self.connections as usize;
        for event in self.forward.all(closed, "closed").await {
            assert_ne!(event["reason"], "failed", "{event}");
        }
        let over = self.forward.stop("TERM").await;
        assert_eq!(over.code(), 143, "{}", over.ended.stderr);
        self.lab.all_ended().await;
        shows_nothing(&self.lab, &over.ended.stderr);
        (self.lab, over.ended.stderr)
    }
}

fn assumed(cloud: &LocalCloud) -> usize {
    cloud.look(|state| state.calls().filter(|c| c.action.starts_with("AssumeRole")).count())
}

fn refused(lab: &Lab) -> usize {
    calls(lab, START).iter().filter(|call| call.code.is_some()).count()
}

/// A source by which keys are had that end.
struct Source {
    name: &'static str,
    profile: String,
    /// How often it was asked.
    count: fn(&LocalCloud) -> usize,
}

fn sources() -> [Source; 5] {
    fn asked(cloud: &LocalCloud, part: SourcePart) -> usize {
        cloud.look(|state| state.sources().filter(|source| source.part == part).count())
    }
    fn source(name: &'static str, fields: &str, count: fn(&LocalCloud) -> usize) -> Source {
        Source { name, profile: one(name, fields), count }
    }
    let oidc =
        format!(r#"{ROLE}, "oidc_provider_arn": "{PROVIDER}", "oidc_token_file": "DIR/token""#);
    let uri: fn(&LocalCloud) -> usize = |cloud| asked(cloud, SourcePart::Uri);
    [
        source("RamRoleArn", &format!("{KEYS}, {ROLE}"), assumed),
        source("OIDC", &oidc, assumed),
        source("CredentialsURI", r#""credentials_uri": "CLOUD/credentials""#, uri),
        source("EcsRamRole", r#""ram_role_name": "EcsRole""#, |cloud| {
            asked(cloud, SourcePart::MetadataKeys)
        }),
        source("External", r#""process_command": "sh DIR/print""#, uri),
    ]
}

/// A day of work in some seconds: three generations of keys, and no connection that fails. The keys
/// of a generation end soon after the next ones are due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_goes_on_with_one_generation_of_keys_after_the_other() {
    let lifetime = Lifetime::new(SOON_DUE).but_really(Duration::from_secs(20));
    for Source { name, profile, count } in sources() {
        eprintln!("--- {name}");
        let metadata = local_cloud::Metadata::new().role("EcsRole").lifetime(lifetime);
        let cloud = cloud().role(role(lifetime)).metadata(metadata).uri_lifetime(lifetime);
        let mut works = Works::new(cloud, &profile).await;
        // A program that gets its keys from somewhere else, as they do.
        let names = r#"s/AccessKeyId/access_key_id/; s/AccessKeySecret/access_key_secret/;
            s/SecurityToken/sts_token/; s/Expiration/expiration/"#;
        let uri = works.lab.cloud.credentials_uri();
        file(&works.lab, "print", &format!("curl -sf {uri} | sed '{names}'"));
        works.echo_until("three generations", |cloud| count(cloud) >= 3).await;
        works.echoes().await;
        let (lab, log) = works.end().await;
        assert_eq!(refused(&lab), 0, "{name}: none has ended before it was renewed\n{log}");
        let sessions = lab.cloud.sessions();
        let mut ids: Vec<&str> = sessions.iter().map(|s| s.access_key_id.as_str()).collect();
        ids.dedup();
        assert!(ids.len() >= 2 && ids.iter().all(|id| id.starts_with("STS.")), "{name}: {ids:?}");
        // They are used on until they are due: there are more connections than keys.
        assert!(sessions.len() > count(&lab.cloud) - 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_hold_are_asked_for_once() {
    let mut works = Works::new(cloud(), &ram_role_arn()).await;
    for _ in 0..5 {
        works.echoes().await;
    }
    let (lab, _) = works.end().await;
    assert_eq!(assumed(&lab.cloud), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_come_together_share_one_question() {
    let slow = ApiFault::on("AssumeRole").delay(Duration::from_millis(300));
    let mut works = Works::new(cloud().api_fault(slow), &ram_role_arn()).await;
    let address = works.forward.address().await;
    let mut together = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let address = address.clone();
        together.spawn(async move {
            let mut connection = TcpStream::connect(address).await.unwrap();
            echoes(&mut connection).await;
        });
    }
    together.join_all().await;
    works.connections = 10;
    let (lab, _) = works.end().await;
    assert_eq!((assumed(&lab.cloud), calls(&lab, START).len()), (1, 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_cannot_be_renewed_are_used_to_their_end() {
    let mut works = Works::new(cloud().role(role(Lifetime::new(SOON_DUE))), &ram_role_arn()).await;
    works.echoes().await;
    let fault = ApiFault::on("AssumeRole").error(403, "NoPermission", "not any more");
    works.lab.cloud.faults().api(fault);
    works.echo_until("an attempt to renew them", |cloud| assumed(cloud) >= 2).await;
    works.forward.bridge.logged("cannot be renewed").await;
    for _ in 0..3 {
        works.echoes().await;
    }
    let (lab, log) = works.end().await;
    assert!(log.contains("the old ones are used until"), "{log}");
    // It is not tried at each connection.
    assert_eq!((assumed(&lab.cloud), refused(&lab)), (2, 0), "{log}");
    let sessions = lab.cloud.sessions();
    let same = |session: &SessionRecord| session.access_key_id == sessions[0].access_key_id;
    assert!(sessions.iter().all(same));
}

/// The keys are over, and there are no others: it is said why, and the next connection tries again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_over_and_cannot_be_renewed_fail_one_connection_at_a_time() {
    let second = Lifetime::new(Duration::from_secs(1));
    let mut works = Works::new(cloud().role(role(second)), &ram_role_arn()).await;
    works.echoes().await;
    let fault = ApiFault::on("AssumeRole").error(403, "NoPermission", "not now");
    works.lab.cloud.faults().api(fault);
    let began = Instant::now();
    let error = loop {
        assert!(began.elapsed() < PATIENCE, "{}", works.forward.bridge.log());
        // It may be reset before it is there.
        drop(TcpStream::connect(works.forward.address().await).await);
        works.connections += 1;
        let closed = works.forward.told(works.connections, "closed").await;
        if closed["reason"] == "failed" {
            break works.forward.told(works.connections, "error").await;
        }
    };
    assert!(
        text(&error, "message").starts_with("no credentials by STS for profile 'p'"),
        "{error}"
    );
    assert!(text(&error, "fix").contains("sts:AssumeRole"), "{error}");
    works.lab.cloud.faults().clear();
    works.echoes().await;
    let over = works.forward.stop("TERM").await;
    shows_nothing(&works.lab, &over.ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_the_service_finds_to_be_over_are_renewed_once() {
    let mut works = Works::new(cloud(), &ram_role_arn()).await;
    works.echoes().await;
    works.forward.told(1, "closed").await;
    works.lab.all_ended().await;
    works.lab.cloud.expire_temporary_keys();
    works.echoes().await;
    let (lab, log) = works.end().await;
    assert!(log.contains("the service finds the credentials to be over"), "{log}");
    assert_eq!((assumed(&lab.cloud), refused(&lab)), (2, 1));
    let starts = calls(&lab, START);
    let codes: Vec<_> = starts.iter().map(|call| call.code.as_deref()).collect();
    assert_eq!(codes, [None, Some("InvalidSecurityToken.Expired"), None]);
    // It was the same request, with other keys.
    assert_eq!(starts[1].params["ClientToken"], starts[2].params["ClientToken"]);
}

/// Keys that are over as soon as they are there: one more try, and no more.
#[tokio::test]
async fn keys_that_are_never_good_are_not_renewed_for_ever() {
    for mode in ["RamRoleArn", "CredentialsURI"] {
        let never = Lifetime::new(Duration::from_secs(3600)).but_really(Duration::ZERO);
        let lab = Lab::with(cloud().role(role(never)).uri_lifetime(never), instance()).await;
        let fields = format!(r#"{KEYS}, {ROLE}, "credentials_uri": "CLOUD/credentials""#);
        write(&lab, &one(mode, &fields));
        let mut command = lab.bridge(["proxy", INSTANCE]);
        let ended = Bridge::start(without_keys(&mut command)).end().await;
        let report = ended.report().unwrap();
        assert_eq!(ended.code, Some(4), "{}", ended.stderr);
        assert!(report.what.contains("InvalidSecurityToken.Expired"), "{}", report.what);
        assert!(report.why.contains(&format!("(mode {mode})")), "{}", report.why);
        assert_eq!(calls(&lab, START).len(), 2);
        let asked = assumed(&lab.cloud) + lab.cloud.sources().len();
        assert_eq!(asked, 2, "{mode}");
        shows_nothing(&lab, &ended.stderr);
    }
}

/// The renewal itself fails: the refusal is told, and why nothing could be done about it.
#[tokio::test]
async fn what_hinders_a_renewal_is_told_with_the_refusal() {
    let never = Lifetime::new(Duration::from_secs(3600)).but_really(Duration::ZERO);
    let lab = Lab::with(cloud().uri_lifetime(never), instance()).await;
    write(&lab, &one("CredentialsURI", r#""credentials_uri": "CLOUD/credentials""#));
    let slow = ApiFault::on(START).delay(Duration::from_millis(500));
    lab.cloud.faults().api(slow);
    let mut command = lab.bridge(["proxy", INSTANCE]);
    let bridge = Bridge::start(without_keys(&mut command));
    let asked = lab.cloud.wait_for(|state| state.sources().count() == 1, PATIENCE);
    asked.await.unwrap();
    let fault = SourceFault::on(SourcePart::Uri).raw(500, "text/plain", "testsecret");
    lab.cloud.faults().source(fault);
    let ended = bridge.end().await;
    let report = ended.report().unwrap();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(report.why.contains("and they cannot be renewed: "), "{}", report.why);
    assert!(report.why.contains("it answers with HTTP 500"), "{}", report.why);
    shows_nothing(&lab, &ended.stderr);
}

/// While a forward has keys that hold, a file that is being written does not hinder it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_being_written_does_no_harm_while_keys_hold() {
    let mut works = Works::new(cloud(), &ram_role_arn()).await;
    works.echoes().await;
    let path = works.lab.dir.path().join(".aliyun/config.json");
    std::fs::write(&path, "{\"current\": ").unwrap();
    works.echoes().await;
    assert_eq!(assumed(&works.lab.cloud), 1);
    // Another role is another profile: what was kept is not used for it.
    let another = one("RamRoleArn", &format!(r#"{KEYS}, {ROLE}, "expired_seconds": 900"#));
    write(&works.lab, &another);
    works.echoes().await;
    let (lab, _) = works.end().await;
    assert_eq!(assumed(&lab.cloud), 2);
}

/// A token that its issuer has renewed is the one that is exchanged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_s_file_is_read_each_time() {
    let oidc =
        format!(r#"{ROLE}, "oidc_provider_arn": "{PROVIDER}", "oidc_token_file": "DIR/token""#);
    let mut works = Works::new(cloud(), &one("OIDC", &oidc)).await;
    works.echoes().await;
    works.forward.told(1, "closed").await;
    works.lab.all_ended().await;
    let next = "testsecret.next.token";
    works.lab.cloud.add_role(Role::new(ARN).oidc_token(PROVIDER, next));
    file(&works.lab, "token", next);
    works.lab.cloud.expire_temporary_keys();
    works.echoes().await;
    let (lab, _) = works.end().await;
    let tokens: Vec<Value> = calls(&lab, "AssumeRoleWithOIDC")
        .iter()
        .map(|c| c.params["OIDCToken"].clone().into())
        .collect();
    assert_eq!(tokens, [OIDC_TOKEN, next]);
}

/// A registration of a key and a session that is started ask for credentials at the same time.
#[tokio::test]
async fn a_command_that_calls_twice_at_once_asks_once() {
    let slow = SourceFault::on(SourcePart::Uri).delay(Duration::from_millis(200));
    let lab = Lab::with(cloud().source_fault(slow), instance()).await;
    write(&lab, &one("CredentialsURI", r#""credentials_uri": "CLOUD/credentials""#));
    crate::world::make_key(lab.dir.path(), "id").await;
    let mut command = lab.bridge(["proxy", INSTANCE, "--send-key", "id.pub"]);
    let ended = timeout(PATIENCE, carries(&lab, without_keys(&mut command))).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(lab.cloud.sources().len(), 1);
}

/// The keys end while the forward runs: who connects then is served, with one request for new ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forward_renews_the_keys_of_a_login_once_they_have_ended() {
    let sso = r#""cloud_sso_sign_in_url": "CLOUD/login", "cloud_sso_account_id": "123",
        "cloud_sso_access_config": "ac-1", "access_token": "testsecret-access",
        "cloud_sso_access_token_expire": 4000000000"#;
    let oauth = r#""oauth_site_type": "CN", "oauth_refresh_token": "testsecret-refresh""#;
    for (mode, fields, part) in
        [("CloudSSO", sso, SourcePart::CloudSso), ("OAuth", oauth, SourcePart::OAuthToken)]
    {
        eprintln!("--- {mode}");
        // They end before they are due: nothing but a connection asks for new ones.
        let second = Lifetime::new(Duration::from_secs(1)).but_really(Duration::from_secs(60));
        let mut logins = Logins::new().lifetime(second);
        logins = logins.access_token("testsecret-access").refresh_token("testsecret-refresh");
        // An access token that is not used twice.
        logins.token_seconds = 5;
        let mut works = Works::new(cloud().logins(logins), &one(mode, fields)).await;
        works.echoes().await;
        let asked = move |cloud: &LocalCloud| {
            cloud.look(|state| state.sources().filter(|source| source.part == part).count())
        };
        assert_eq!(asked(&works.lab.cloud), 1, "{mode}");
        works.lab.cloud.update_logins(|logins| logins.lifetime = Lifetime::default());
        works.echo_until("a renewal", |cloud| asked(cloud) > 1).await;
        for _ in 0..3 {
            works.echoes().await;
        }
        let (lab, log) = works.end().await;
        assert_eq!((asked(&lab.cloud), refused(&lab)), (2, 0), "{mode}\n{log}");
        let sessions = lab.cloud.sessions();
        let mut ids: Vec<&str> = sessions.iter().map(|s| s.access_key_id.as_str()).collect();
        ids.dedup();
        assert_eq!(ids.len(), 2, "{mode}: {ids:?}");
    }
}

/// What a program prints is used to the end that it tells, however long the keys hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_expiration_of_a_program_bounds_the_keys_that_it_leads_to() {
    let mut works =
        Works::new(cloud(), &one("External", r#""process_command": "sh DIR/print""#)).await;
    let uri = works.lab.cloud.credentials_uri();
    // Due after one second.
    let print = format!(
        r#"echo "{{\"mode\": \"CredentialsURI\", \"credentials_uri\": \"{uri}\", \"expiration\": $(($(date +%s) + 181))}}""#
    );
    file(&works.lab, "print", &print);
    let asked = |cloud: &LocalCloud| cloud.look(|state| state.sources().count());
    works.echo_until("three runs", |cloud| asked(cloud) >= 3).await;
    let (lab, log) = works.end().await;
    assert_eq!(refused(&lab), 0, "{log}");
    assert!(lab.cloud.sessions().len() > 3, "it does not run for each connection");
}
