//! What is told when a proxy makes no way, and what is never told of it.

use base64::Engine as _;
use local_cloud::{Agent, Instance, LocalCloud, Tls};

use crate::case::{Case, run_all};
use crate::lab::{Bridge, Lab, refusing};
use crate::relay::{Fault, NAME, Relay, Rules};
use crate::world::INSTANCE;

const START: &str = "StartTerminalSession";

fn say(words: impl AsRef<[u8]>) -> Fault {
    Fault::Say(words.as_ref().to_vec())
}

/// A run through a proxy that fails before the API has been asked.
fn through(name: &'static str, url: impl AsRef<str>) -> Case {
    Case::new(name)
        .cloud(|cloud| cloud.tls(Tls::Trusted).name("127.0.0.1"))
        .prepare(write_ca)
        .args(&["--ca-file", "DIR/ca.pem", "--proxy", url.as_ref()])
        .calls(START, 0)
}

fn write_ca(lab: &Lab) {
    std::fs::write(lab.dir.path().join("ca.pem"), lab.cloud.ca_pem().unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_that_is_of_no_use_is_told_and_not_shown() {
    let flag = |name, url| through(name, url).args(&["-q"]);
    let variable = |name, variable, url: &str| Case::new(name).env(variable, url).calls(START, 0);
    let what = "the proxy of --proxy cannot be used";
    run_all(vec![
        flag("a scheme that is not known", "socks4://u:testsecret@h:1").fails(
            2,
            "the proxy of --proxy cannot be used: socks4:// is not a kind of proxy",
            "",
            "socks5h",
        ),
        flag("a host that is none", "http://u:testsecret@10.0.0.300:3128").fails(
            2,
            "the proxy of --proxy cannot be used: its host is not a name or an address",
            "",
            "'none'",
        ),
        flag("a port that is none", "http://u:testsecret@h:x").fails(2, what, "", "'none'"),
        flag("a password in the wrong place", "u:testsecret").fails(2, what, "", "%40"),
        flag("nothing at all", "").without_keys().fails(2, "it names no host", "", "'none'"),
        variable("a variable of our own", "ECS_BRIDGE_PROXY", "ftp://u:testsecret@h").fails(
            3,
            "the proxy of ECS_BRIDGE_PROXY cannot be used: ftp://",
            "",
            "'none'",
        ),
        variable("a variable", "https_proxy", "http://u:testsecret@h:0").fails(
            3,
            "the proxy of https_proxy cannot be used: its port",
            "",
            "--proxy none",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_proxy_that_makes_no_way_is_told() {
    let http = |fault| Rules::http().fault(fault).start();
    let forbids = http(say("HTTP/1.1 403 Not \x1b[31mwith me\r\nX: y\r\n\r\n")).await;
    let ntlm = http(say("HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\n\r\n")).await;
    let gone = http(say("HTTP/1.0 504 Gateway Timeout\r\n\r\n")).await;
    let ssh = http(Fault::Greet(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec())).await;
    let web = http(say("HTTP/1.1 405 Method Not Allowed\r\n\r\n<html>")).await;
    let (cuts, says_half) = (http(say("")).await, http(say("HTTP/1.1 200 O")).await);
    let silent = http(Fault::Silence).await;
    let locked = Rules::http().login("u", "testsecret").start().await;
    let socks = Rules::socks().start().await;
    let (tls, _) = Rules::http().tls();
    let (tls, plain) = (tls.start().await, Rules::http().start().await);
    let (_held, refusing) = refusing();
    let check = "scheme, address and port in --proxy";
    run_all(vec![
        through("nobody listens", format!("http://{refusing}")).within(15).fails(
            7,
            "the API cannot be reached: cannot connect to the proxy http://127.0.0.1",
            "refused",
            "address and port in --proxy",
        ),
        through("a password is wanted", locked.url_with("http", "")).fails(
            7,
            "requires authentication",
            "none was given; the proxy is the one of --proxy",
            "user:password@",
        ),
        through("the password is wrong", locked.url_with("http", "u:testsecret2@")).fails(
            7,
            "refused the user name or the password",
            "the proxy is the one of --proxy",
            "correct the user name and the password",
        ),
        through("something else than a password is wanted", ntlm.url_with("http", "u:p@")).fails(
            7,
            "requires authentication",
            "it takes NTLM",
            "a local one",
        ),
        through("forbidden", forbids.url("http")).fails(
            7,
            ": HTTP 403 Not ?[31mwith me",
            "its rules forbid it",
            "allow CONNECT to 127.0.0.1:",
        ),
        through("the proxy does not reach it", gone.url("http")).within(15).fails(
            7,
            ": HTTP 504 Gateway Timeout",
            "the proxy itself cannot reach 127.0.0.1:",
            "NO_PROXY=127.0.0.1",
        ),
        through("a web server", web.url("http")).fails(
            7,
            ": HTTP 405 Method Not Allowed",
            "--proxy",
            "allow CONNECT",
        ),
        through("no HTTP at all", ssh.url("http")).fails(
            7,
            "is not an HTTP proxy",
            "it answered with 'SSH-2.0-OpenSSH_9.9'",
            check,
        ),
        through("a SOCKS proxy", socks.url("http")).within(15).fails(
            7,
            "closed the connection instead of answering",
            "it speaks something else",
            check,
        ),
        through("it closes", cuts.url("http")).within(15).fails(
            7,
            "closed the connection instead of answering",
            "its rules may forbid the way",
            check,
        ),
        through("it closes in the middle", says_half.url("http")).within(15).fails(
            7,
            "closed the connection instead of answering",
            "",
            check,
        ),
        through("it is silent", silent.url("http")).within(15).fails(
            7,
            "did not answer within 5 s",
            "it accepted the connection and sent nothing",
            check,
        ),
        through("it speaks TLS", tls.url("http")).fails(
            7,
            "is not an HTTP proxy",
            "write https://",
            check,
        ),
        through("it does not speak TLS", plain.url("https")).within(15).fails(
            7,
            "the proxy https://localhost",
            "--proxy",
            "",
        ),
        through("its certificate is not trusted", tls.url("https")).fails(
            7,
            "no secure connection to the proxy https://localhost",
            "its issuer is not among",
            "--ca-file",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socks_proxy_that_makes_no_way_is_told() {
    let socks = |fault| Rules::socks().fault(fault).start();
    let code = |code: u8| say([5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
    let (forbids, odd) = (socks(code(2)).await, socks(code(200)).await);
    let (refused, cuts) = (socks(code(5)).await, socks(say("")).await);
    let silent = socks(Fault::Silence).await;
    let open = Rules::socks().start().await;
    let locked = Rules::socks().login("u", "testsecret").start().await;
    let web = socks(Fault::Greet(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())).await;
    let check = "scheme, address and port in --proxy";
    run_all(vec![
        through("a password is wanted", locked.url_with("socks5h", "")).fails(
            7,
            "requires authentication",
            "none was given",
            "user:password@",
        ),
        through("the password is wrong", locked.url_with("socks5", "u:testsecret2@")).fails(
            7,
            "refused the user name or the password",
            "the one of --proxy",
            "correct the user name",
        ),
        through("no password is taken", open.url_with("socks5h", "u:testsecret@")).fails(
            7,
            "takes no user name and password",
            "",
            "leave user name and password out",
        ),
        through("forbidden", forbids.url("socks5h")).fails(
            7,
            "its rules forbid it (SOCKS reply 2)",
            "the one of --proxy",
            "have the proxy allow CONNECT to 127.0.0.1:",
        ),
        through("refused", refused.url("socks5h")).within(15).fails(
            7,
            "the connection was refused (SOCKS reply 5)",
            "",
            "check that the proxy can reach",
        ),
        through("a code that nobody knows", odd.url("socks5h")).fails(
            7,
            "for a reason of its own (SOCKS reply 200)",
            "",
            "NO_PROXY",
        ),
        through("it closes", cuts.url("socks5h")).within(15).fails(
            7,
            "closed the connection instead of answering",
            "",
            check,
        ),
        through("it is silent", silent.url("socks5h")).within(15).fails(
            7,
            "did not answer within 5 s",
            "may not be a SOCKS5 proxy",
            check,
        ),
        through("it speaks HTTP", web.url("socks5h")).fails(
            7,
            "is not a SOCKS5 proxy",
            "it answered with 'HTTP/1.1 400 Bad Request'",
            check,
        ),
        // The proxy is on this machine, and a name on another is asked of it.
        through("a name that does not resolve", Rules::socks().start().await.url("socks5"))
            .args(&["--endpoint", "https://ecs.nosuch.invalid"])
            .within(15)
            .fails(7, "does not resolve on this machine", "names are resolved here", "socks5h://"),
        through("a proxy whose name does not resolve", "http://proxy.nosuch.invalid:1")
            .args(&["--endpoint", "https://ecs.nosuch.invalid"])
            .within(15)
            .fails(
                7,
                "the name of the proxy http://proxy.nosuch.invalid:1 does not resolve",
                "the resolver says",
                "correct the proxy's name in --proxy",
            ),
    ])
    .await;
}

/// The API is reached, and the gateway is not: the second connection fails, and those after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_the_proxy_does_not_lead_to_is_told() {
    let http = |fault| Rules::http().fault_from(1, fault).start();
    let forbids = http(say("HTTP/1.1 403 Forbidden\r\n\r\n")).await;
    let (silent, cuts) = (http(Fault::Silence).await, http(say("")).await);
    let socks = Rules::socks().fault_from(1, say([5, 3, 0, 1, 0, 0, 0, 0, 0, 0])).start().await;
    let case = |name, url: String| {
        Case::new(name).args(&["--proxy", &url]).request_id().calls(START, 1).within(15)
    };
    run_all(vec![
        case("forbidden", forbids.url("http")).fails(
            7,
            "the gateway cannot be reached: the proxy http://localhost",
            "its rules forbid it",
            "allow CONNECT to 127.0.0.1",
        ),
        case("it closes", cuts.url("http")).fails(
            7,
            "the gateway cannot be reached: the proxy http://localhost",
            "the proxy is the one of --proxy",
            "--proxy",
        ),
        case("it is silent", silent.url("http")).fails(
            7,
            "did not answer within 5 s",
            "it accepted the connection and sent nothing",
            "--proxy",
        ),
        case("the network is unreachable", socks.url("socks5h")).fails(
            7,
            "the network is unreachable (SOCKS reply 3)",
            "",
            "check that the proxy can reach",
        ),
    ])
    .await;
}

/// Without the proxy the name is nobody's; so nothing has gone around it.
#[tokio::test]
async fn a_proxy_that_fails_is_not_gone_around() {
    let relay = Rules::http().fault(say("HTTP/1.1 503 Later\r\n\r\n")).start().await;
    let cloud = LocalCloud::builder().tls(Tls::Trusted).name(NAME);
    let lab = Lab::with(cloud, Instance::new(INSTANCE).agent(Agent::d().quick())).await;
    write_ca(&lab);
    let url = relay.url("http");
    let args = ["--ca-file", "ca.pem", "--proxy", &url, "proxy", INSTANCE];
    let ended = Bridge::start(&mut lab.bridge(args)).end().await;
    assert_eq!(ended.code, Some(7), "{}", ended.stderr);
    // Each try needs two: the second is for the words of the refusal.
    assert_eq!(relay.connections(), 2 * 4, "it is tried again");
    assert!(lab.cloud.calls().is_empty());
}

const SECRET: &str = "hush@proxy/%";

/// Runs it with everything that can be logged, to stderr and to a file, and gives all that was said.
async fn said(lab: &Lab, url: &str, command: &[&str]) -> String {
    let mut texts = String::new();
    for to_file in [false, true] {
        let log = lab.dir.path().join("log");
        let mut bridge = lab.bridge(["-vvv", "--ca-file", "ca.pem"]);
        bridge.args(command).env("HTTPS_PROXY", url);
        if to_file {
            bridge.arg("--log-file").arg(&log);
        }
        let mut bridge = Bridge::start(&mut bridge);
        drop(bridge.stdin.take());
        #[cfg(target_os = "linux")]
        texts
            .push_str(&std::fs::read_to_string(format!("/proc/{}/cmdline", bridge.pid())).unwrap());
        let target = async {
            loop {
                drop(lab.accept_if_dialled().await);
            }
        };
        let ended = tokio::select! {
            ended = bridge.end() => ended,
            () = target => unreachable!("it accepts for ever"),
        };
        texts += &ended.stderr;
        texts += &String::from_utf8_lossy(&ended.stdout);
        if to_file {
            texts += &std::fs::read_to_string(log).unwrap_or_default();
        }
    }
    texts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_is_shown_nowhere() {
    let cloud = LocalCloud::builder().tls(Tls::Trusted).name(NAME);
    let lab = Lab::with(cloud, Instance::new(INSTANCE).agent(Agent::d().quick())).await;
    write_ca(&lab);
    let wrong = "user-of-it:hush%40proxy%2F%25@";
    let start = |rules: Rules| rules.login("user-of-it", SECRET).start();
    let login = |relay: &Relay, scheme| relay.url_with(scheme, wrong);
    let (http, socks) = (start(Rules::http()).await, start(Rules::socks()).await);
    let cuts = start(Rules::http().fault(say(""))).await;
    // It repeats what it was told.
    let echoes = "HTTP/1.1 403 No, hush@proxy/%\r\nX-Seen: hush@proxy/%\r\n\r\nhush@proxy/%";
    let echoes = start(Rules::http().fault_from(1, say(echoes))).await;
    let locked = Rules::http().login("user-of-it", "another").start().await;
    let urls = [
        login(&http, "http"),
        login(&socks, "socks5h"),
        login(&cuts, "http"),
        login(&echoes, "http"),
        login(&locked, "http"),
        format!("{}/path", login(&http, "http")),
        login(&http, "socks4"),
    ];
    let encoded = base64::prelude::BASE64_STANDARD.encode(format!("user-of-it:{SECRET}"));
    let forward = ["forward", "-i", INSTANCE, "--json", "-L", "0:localhost:81"];
    for url in &urls {
        for command in [&["proxy", INSTANCE][..], &forward] {
            let text = said(&lab, url, command).await;
            assert!(text.contains("HTTPS_PROXY"), "{text}");
            for secret in [SECRET, "hush%40proxy%2F%25", "hush", "user-of-it", &*encoded] {
                assert!(!text.contains(secret), "'{secret}' is in:\n{text}");
            }
        }
    }
    assert!(http.asked().len() > 1 && socks.asked().len() > 1);
}

/// Nor by --help, which shows variables' values for some programs.
#[tokio::test]
async fn help_tells_of_the_danger_and_not_of_the_value() {
    let lab = Lab::new(Instance::new(INSTANCE)).await;
    // The options that every command takes are in the help of ecs-bridge, and in a page of their own.
    for args in [&["--help"][..], &["help", "options"], &["proxy", "--help"]] {
        let mut command = lab.bridge(args);
        let help = command.env("ECS_BRIDGE_PROXY", "http://u:hush@h").output().await.unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!words.contains("hush"), "{help}");
        if args[0] == "proxy" {
            assert!(words.contains("ecs-bridge help options"), "{help}");
        } else {
            assert!(words.contains("Other users can see a password here"), "{help}");
            assert!(words.contains("ECS_BRIDGE_PROXY"), "{help}");
        }
    }
}
