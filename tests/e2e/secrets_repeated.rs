//! What is never shown although somebody else repeats it: the API, the gateway, a proxy, what stands
//! in their place; and what the environment asks for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use local_cloud::{AccessKey, Action, Agent, ApiFault, Instance, LocalCloud, Pace, Restart, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::forward_driver::{Forward, Server};
use crate::lab::{Bridge, Lab};
use crate::send_key_memory::tell_host_key;
use crate::world::{INSTANCE, command, make_key, run};

const SECRET: &str = "secret/of+the=key-0123456789";
const TOKEN: &str = "token/of+the=role-0123456789";
/// Of the address of a session that somebody else than the cloud has given.
const SESSION_TOKEN: &str = "5e551017700c0ffee0ddba11deadbea7";
/// So much of a secret is as good as all of it.
const TELLING: usize = 8;

async fn lab(instance: Instance) -> Lab {
    lab_over(Tls::Off, instance).await
}

async fn lab_over(tls: Tls, instance: Instance) -> Lab {
    let key = AccessKey::new("STS.example", SECRET).token(TOKEN);
    let cloud = LocalCloud::builder().access_key(key).tls(tls).name("127.0.0.1");
    let lab = Lab::with(cloud, instance.pace(Pace::off())).await;
    std::fs::create_dir(lab.dir.path().join(".ssh")).unwrap();
    make_key(&lab.dir.path().join(".ssh"), "id_ed25519").await;
    tell_host_key(&lab, INSTANCE);
    lab
}

fn newer() -> Instance {
    Instance::new(INSTANCE).agent(Agent::d().quick())
}

/// Whatever is said has no part of a secret in it, as it is or encoded.
fn keeps(texts: &[String], secrets: &[String]) {
    let percent = |text: &str| text.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    for secret in secrets.iter().flat_map(|secret| [secret.clone(), percent(secret)]) {
        assert!(secret.len() > TELLING, "{secret} is no secret");
        for part in secret.as_bytes().windows(TELLING).map(String::from_utf8_lossy) {
            for text in texts {
                assert!(!text.contains(&*part), "'{part}' of '{secret}' is in:\n{text}");
            }
        }
    }
}

/// All that a run says, with everything that can be logged, on stderr or in a file.
async fn said(lab: &Lab, args: &[&str]) -> Vec<String> {
    let mut texts = Vec::new();
    for to_file in [false, true] {
        let mut command = lab.bridge(["-vvv"].iter().chain(args));
        // What other programs are asked to tell everything by.
        command
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .env("RUST_LIB_BACKTRACE", "1");
        if to_file {
            command.args(["--log-file", "log"]);
        }
        let mut bridge = Bridge::start(&mut command);
        #[cfg(target_os = "linux")]
        texts.push(std::fs::read_to_string(format!("/proc/{}/cmdline", bridge.pid())).unwrap());
        drop(bridge.stdin.take());
        let ended = bridge.end().await;
        texts.extend([ended.stderr, String::from_utf8_lossy(&ended.stdout).into_owned()]);
    }
    texts.push(std::fs::read_to_string(lab.dir.path().join("log")).unwrap_or_default());
    texts
}

/// A server that answers each request with what this makes of it, and the requests that it got.
async fn answering(
    answer: impl Fn(&str) -> String + Send + Sync + 'static,
) -> (Server, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::<Mutex<Vec<String>>>::default();
    let (kept, answer) = (requests.clone(), Arc::new(answer));
    let server = Server::start(move |mut stream: TcpStream| {
        let (kept, answer) = (kept.clone(), answer.clone());
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            kept.lock().unwrap().push(head.clone());
            stream.write_all(answer(&head).as_bytes()).await
        }
    });
    (server.await, requests)
}

/// What a request is answered with.
type Answer = Box<dyn Fn(&str) -> String + Send + Sync>;

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn signature(request: &str) -> String {
    let (_, rest) = request.split_once("Signature=").expect("it is signed");
    rest.split([' ', '&', '\r'])
        .next()
        .unwrap()
        .replace("%2F", "/")
        .replace("%2B", "+")
        .replace("%3D", "=")
}

const COMMANDS: [&[&str]; 4] = [
    &["proxy", INSTANCE],
    &["forward", "--json", "-i", INSTANCE, "-L", "0:localhost:22"],
    &["send-key", "--json", "-i", INSTANCE],
    &["known-hosts", INSTANCE],
];

/// Something that answers in place of the API, and repeats all that it knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_repeats_the_request_is_not_repeated() {
    // A header line that stands where none is expected, and one that a key stands in.
    let in_header = |request: &str| {
        let line = request.lines().find(|line| line.to_lowercase().starts_with("authorization:"));
        line.map_or("x", |line| line.split_once(": ").unwrap().1).to_owned()
    };
    let json = |value: serde_json::Value| value.to_string();
    let answers: Vec<Answer> = vec![
        Box::new(|request| http("500 Oops", "", &format!("{SECRET} {TOKEN} {request}"))),
        Box::new(|request| {
            // So much of a page is looked at that the secret is cut where it ends.
            let head = format!("<html><meta content=\"{}\"><p>", "x".repeat(16_348));
            http("502 Bad", "", &format!("{head}{SECRET}</p><p>{TOKEN} {request}"))
        }),
        Box::new(move |request| {
            let message = format!("no: {TOKEN} {SECRET} {request}");
            http("400 Bad", "", &json(serde_json::json!({"Code": "Odd", "Message": message})))
        }),
        Box::new(move |request| {
            let id = format!("x-acs-request-id: {}\r\n", in_header(request));
            let code = serde_json::json!({"Code": TOKEN, "Message": SECRET, "RequestId": SECRET});
            http("403 No", &id, &json(code))
        }),
        Box::new(move |request| {
            let location = format!("location: http://127.0.0.1:1/{}\r\n", in_header(request));
            http("302 Found", &location, "")
        }),
        Box::new(move |request| {
            let id = format!("x-acs-request-id: {TOKEN}{}\r\n", in_header(request));
            http("200 OK", &id, &format!("{{\"Message\": \"{TOKEN}"))
        }),
    ];
    for answer in answers {
        let (server, requests) = answering(answer).await;
        let lab = lab(newer()).await;
        let endpoint = format!("http://{}", server.addr);
        let mut texts = Vec::new();
        for version in ["v3", "v1"] {
            for command in COMMANDS {
                let args = ["--endpoint", &endpoint, "--signature-version", version];
                texts.extend(said(&lab, &[&args, command].concat()).await);
            }
        }
        let mut secrets: BTreeSet<_> =
            requests.lock().unwrap().iter().map(|r| signature(r)).collect();
        assert!(secrets.len() >= 16, "each call was signed");
        secrets.extend([SECRET.to_owned(), TOKEN.to_owned()]);
        keeps(&texts, &Vec::from_iter(secrets));
        assert!(texts.concat().contains("failed"), "nothing was logged");
    }
}

fn session_at(gateway: SocketAddr) -> ApiFault {
    let url = format!("ws://{gateway}/session?sessionid=s-1&token={SESSION_TOKEN}");
    let answer = serde_json::json!({
        "RequestId": "R-1", "SessionId": "s-1", "SecurityToken": SESSION_TOKEN, "WebSocketUrl": url,
    });
    ApiFault::on("StartTerminalSession").raw(200, "application/json", answer.to_string())
}

/// What is shown of a refusal is cut somewhere, and that may be in the middle of a token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_repeats_the_request_is_not_repeated() {
    let lab = lab(newer()).await;
    for padding in [0, 100, 130, 140, 150, 160] {
        let (server, requests) = answering(move |request| {
            http("403 Forbidden", "", &format!("{} {request}", ".".repeat(padding)))
        })
        .await;
        lab.cloud.faults().clear();
        lab.cloud.faults().api(session_at(server.addr));
        let mut texts = said(&lab, COMMANDS[0]).await;
        texts.extend(said(&lab, COMMANDS[1]).await);
        assert!(texts.concat().contains("its answer: "), "nothing of it is shown: {texts:?}");
        assert!(requests.lock().unwrap()[0].contains(SESSION_TOKEN));
        keeps(&texts, &[SESSION_TOKEN.to_owned()]);
    }
}

/// The stream's own words go into messages and into the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_repeats_the_address_is_not_repeated() {
    for state in [2, 5, 6] {
        let lab = lab(newer()).await;
        let mut bridge = Bridge::start(&mut lab.bridge(["-vvv", "proxy", INSTANCE]));
        let mut target = lab.accept().await;
        target.write_all(b"hello").await.unwrap();
        bridge.expect(b"hello").await;
        let session = lab.cloud.sessions()[0].clone();
        let token = session.token_header.unwrap();
        let text = format!(
            "NoSuchReason: ?sessionid={}&token={token} or {token}, and no more",
            session.id
        );
        assert!(lab.cloud.faults().inject(&session.id, Action::status(state, text)));
        let ended = bridge.end().await;
        assert!(ended.stderr.contains("and no more"), "{}", ended.stderr);
        keeps(&[ended.stderr], &[token]);
        lab.all_ended().await;
    }
}

/// Another socket has another address, with the channel's id behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_resumed_or_cannot_be_shows_no_address() {
    let resumable = || Instance::new(INSTANCE).agent(Agent::resumable().quick());
    for can_be in [true, false] {
        let lab = lab(resumable()).await;
        let args = ["-vvv", "--log-file", "log", "forward", "--json", "-i", INSTANCE, "--no-probe"];
        let mut command = lab.bridge(args);
        let mut forward = Forward::run(command.args(["-L", "0:localhost:22", "--grace", "0"]));
        let mut client = forward.connect().await;
        let mut target = lab.accept().await;
        target.write_all(b"hello").await.unwrap();
        client.read_exact(&mut [0; 5]).await.unwrap();
        let session = lab.cloud.sessions()[0].clone();
        if can_be {
            lab.cloud.faults().restart(Restart::new());
            lab.session(|session| session.resumptions == 1).await;
            target.write_all(b"hello").await.unwrap();
            client.read_exact(&mut [0; 5]).await.unwrap();
        } else {
            assert!(lab.cloud.faults().inject(&session.id, Action::Cut));
            lab.session(|session| session.live == 0).await;
            lab.cloud.end_session(&session.id);
            forward.told(1, "error").await;
        }
        let over = forward.stop("TERM").await;
        let log = std::fs::read_to_string(lab.dir.path().join("log")).unwrap();
        assert!(log.contains("making another connection to the gateway"), "{log}");
        let texts = [log, over.ended.stderr.clone(), format!("{:?}", over.events)];
        keeps(&texts, &[SECRET.into(), TOKEN.into(), session.token_header.unwrap()]);
        for address in ["channelId", "token=", "session?", "ws://"] {
            assert!(!texts.concat().contains(address), "'{address}' is shown");
        }
    }
}

/// A proxy knows its user and its password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_repeats_the_request_is_not_repeated() {
    const PASSWORD: &str = "open-sesame-0123456789";
    let (plain, secure) = (lab(newer()).await, lab_over(Tls::Trusted, newer()).await);
    let ca_file = secure.dir.path().join("ca.pem");
    std::fs::write(&ca_file, secure.cloud.ca_pem().unwrap()).unwrap();
    let statuses = ["403", "407", "502", "999"].into_iter();
    for (lab, status) in statuses.flat_map(|status| [(&plain, status), (&secure, status)]) {
        let (server, requests) = answering(move |request| {
            let line =
                request.lines().find(|l| l.to_lowercase().starts_with("proxy-authorization"));
            let login = line.unwrap().rsplit(' ').next().unwrap();
            let status = format!("{status} no {login} {PASSWORD}");
            http(
                &status,
                &format!("proxy-authenticate: {login}\r\n"),
                &format!("{PASSWORD} {request}"),
            )
        })
        .await;
        let proxy = format!("http://somebody:{PASSWORD}@{}", server.addr);
        let mut texts = Vec::new();
        for args in COMMANDS {
            let mut command = lab.bridge(["-vvv"].iter().chain(args));
            command.env("ECS_BRIDGE_PROXY", &proxy).env("SSL_CERT_FILE", &ca_file);
            let ended = Bridge::start(&mut command).end().await;
            // What is not encrypted is asked of the proxy itself, whose answer it may be.
            match lab.cloud.ca_pem().is_some() || status == "407" {
                true => assert_eq!(ended.code, Some(7), "{}", ended.stderr),
                false => assert_ne!(ended.code, Some(0), "{}", ended.stderr),
            }
            texts.extend([ended.stderr, String::from_utf8(ended.stdout).unwrap()]);
        }
        let login = requests.lock().unwrap()[0].clone();
        let login = login.split_once("asic ").unwrap().1.lines().next().unwrap().to_owned();
        keeps(&texts, &[PASSWORD.into(), login]);
    }
}

/// A program gets the addresses of its forwards beside what its user has set, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_given_nothing_but_addresses() {
    let lab = lab(newer()).await;
    let variables = |stdout: &[u8]| {
        let text = String::from_utf8(stdout.to_vec()).unwrap();
        // The lab has put its stub of ssh into PATH.
        let all = text.split('\0').filter(|line| !line.is_empty() && !line.starts_with("PATH="));
        all.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let mut plain = command("env", &lab.cloud, lab.dir.path());
    let before = variables(&run(plain.arg("-0")).await.stdout);
    let args = ["forward", "-i", INSTANCE, "-L", "0:localhost:22", "--no-probe", "--exec", "--"];
    let ended = Bridge::start(lab.bridge(args).args(["env", "-0"])).end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let after = variables(&ended.stdout);
    let added = after.difference(&before).map(|variable| variable.split_once('=').unwrap().0);
    let expected = ["ADDR", "ADDR_1", "HOST", "HOST_1", "PORT", "PORT_1"];
    assert_eq!(added.collect::<Vec<_>>(), expected.map(|name| format!("ECS_BRIDGE_{name}")));
    assert!(before.is_subset(&after), "something is missing");
}
