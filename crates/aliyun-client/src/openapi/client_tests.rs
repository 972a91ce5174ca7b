use std::future::{pending, ready};

use futures_util::FutureExt as _;
use secrecy::ExposeSecret as _;

use super::super::scripted::*;
use super::super::{NetworkError, SignatureVersion, sign};
use super::*;
use crate::ecs::{ConnectionType, InstanceState, StartTerminalSession};
use crate::openapi::sign::Params;
use crate::transport::{Sending, Terms, Transport, plain_client};

#[tokio::test]
async fn a_v3_call_goes_on_the_wire_as_it_was_signed() {
    let server = Server::new(&[session()]).await;
    let request = StartTerminalSession {
        target_server: Some("a*~b'(中)+%2F".into()),
        connection_type: Some(ConnectionType::Intranet),
        ..StartTerminalSession::to_port("i-1", 8022)
    };
    let session = client(&server).start_terminal_session(&request, pending()).await.unwrap();
    assert_eq!(session.session_id, "s-1");
    assert_eq!(session.websocket_url.expose_secret(), "wss://hush");
    assert_eq!(session.security_token.expose_secret(), "hush-t");
    assert_eq!(session.request_id.as_deref(), Some("R-ok"));
    assert!(!format!("{session:?}").contains("hush"));

    let sent = &server.requests()[0];
    let token = query(sent, "ClientToken");
    let line = sent.lines().next().unwrap();
    assert_eq!(
        line,
        format!(
            "POST /?ClientToken={token}&ConnectionType=Intranet&InstanceId.1=i-1&PortNumber=8022\
             &RegionId=cn-test&TargetServer=a%2A~b%27%28%E4%B8%AD%29%2B%252F HTTP/1.1"
        )
    );
    // The signature, made again from what arrived.
    let params = Params::from([
        ("ClientToken".to_owned(), token),
        ("ConnectionType".to_owned(), "Intranet".to_owned()),
        ("InstanceId.1".to_owned(), "i-1".to_owned()),
        ("PortNumber".to_owned(), "8022".to_owned()),
        ("RegionId".to_owned(), "cn-test".to_owned()),
        ("TargetServer".to_owned(), "a*~b'(中)+%2F".to_owned()),
    ]);
    let again = sign::v3(
        sign::Request {
            host: header(sent, "host"),
            action: header(sent, "x-acs-action"),
            version: header(sent, "x-acs-version"),
            params: &params,
        },
        sign::Key { id: "LTAI0123456789", secret: SECRET, token: Some(TOKEN) },
        sign::Stamp {
            time: humantime::parse_rfc3339(header(sent, "x-acs-date")).unwrap(),
            nonce: header(sent, "x-acs-signature-nonce"),
        },
    );
    let authorization = header(sent, "authorization");
    assert!(authorization.ends_with(&format!("Signature={}", again.signature)), "{authorization}");
    assert_eq!(header(sent, "host"), format!("127.0.0.1:{}", server.port));
    assert_eq!(header(sent, "accept"), "application/json");
    assert_eq!(header(sent, "accept-encoding"), "identity");
    assert_eq!(header(sent, "content-length"), "0");
}

#[tokio::test]
async fn a_v1_call_has_everything_in_the_query() {
    let server = Server::new(&[session(), json("200 OK", "", "{}")]).await;
    let mut config = config(&format!("http://127.0.0.1:{}", server.port));
    config.signature = SignatureVersion::V1;
    let client = Client::new(config).unwrap();
    start(&client).await.unwrap();
    client.end_terminal_session("s-1").await.unwrap();
    let sent = &server.requests()[1];
    assert!(sent.starts_with("POST /?AccessKeyId=LTAI0123456789&Action=EndTerminalSession&"));
    assert_eq!(query(sent, "SecurityToken"), "hush-token%2B%2F%3D");
    assert_eq!(query(sent, "SessionId"), "s-1");
    assert!(!query(sent, "Signature").is_empty());
    assert!(!sent.to_lowercase().contains("x-acs-"));
}

#[tokio::test]
async fn what_passes_is_tried_again_with_a_new_nonce_and_the_same_client_token() {
    let cut = Act::Send("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"Sess".into());
    for failure in [
        refusal("Throttling.User"),
        json("503 x", "", r#"{"code":"ServiceUnavailable","message":"m"}"#),
        json("200 OK", "", r#"{"Code":"InternalError"}"#),
        refusal("SignatureNonceUsed"),
        refusal("IdempotentProcessing"),
        Act::Close,
        cut,
    ] {
        let server = Server::new(&[failure.clone(), failure, session()]).await;
        start(&client(&server)).await.unwrap();
        let sent = server.requests();
        assert_eq!(sent.len(), 3);
        let nonces: Vec<_> = sent.iter().map(|r| header(r, "x-acs-signature-nonce")).collect();
        assert!(nonces[0] != nonces[1] && nonces[1] != nonces[2]);
        let tokens: Vec<_> = sent.iter().map(|r| query(r, "ClientToken")).collect();
        assert!(tokens[0] == tokens[1] && tokens[1] == tokens[2] && tokens[0].len() == 32);
    }
}

#[tokio::test]
async fn four_tries_and_no_more() {
    let server = Server::new(&[refusal("Throttling")]).await;
    let error = start(&client(&server)).await.unwrap_err();
    assert_eq!(server.requests().len(), 4);
    assert_eq!((error.kind(), error.tries()), (Kind::Throttled, 4));
    assert_eq!(error.code(), Some("Throttling"));
    assert_eq!(error.request_id(), Some("R"));
}

#[tokio::test]
async fn what_stays_is_tried_once() {
    for code in [
        "SignatureDoesNotMatch",
        "InvalidSecurityToken.Expired",
        "InvalidTimeStamp.Expired",
        "Forbidden.RAM",
        "UserBehavior.SessionManagerDisabled",
        "InvalidInstance.NotFound",
        "Unknown.Code",
    ] {
        // Whatever the status says: the code decides.
        let body = format!(r#"{{"Code":"{code}","Message":"m"}}"#);
        let server = Server::new(&[json("503 x", "x-acs-request-id: R-h\r\n", &body)]).await;
        let error = start(&client(&server)).await.unwrap_err();
        assert_eq!(server.requests().len(), 1, "{code}");
        assert_eq!(error.code(), Some(code));
        assert_eq!(error.request_id(), Some("R-h"));
    }
}

#[tokio::test]
async fn what_may_have_been_obeyed_is_not_sent_again_unless_that_does_no_harm() {
    let cut = Act::Send("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"Sess".into());
    for act in [cut, Act::Close] {
        let server = Server::new(&[act]).await;
        let error = harmful(&client(&server)).await.unwrap_err();
        assert_eq!((error.kind(), server.requests().len()), (Kind::Network, 1));
    }
}

/// Only what may have made a session is tried again, to find out which one is to be ended.
#[tokio::test]
async fn what_nobody_wants_any_more_is_tried_again_only_if_it_may_have_been_obeyed() {
    let cut = Act::Send("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"Sess".into());
    for (failures, tries) in [
        (vec![refusal("Throttling")], 1),
        (vec![cut.clone(), refusal("Throttling")], 3),
        (vec![Act::Close], 2),
        (vec![refusal("InternalError")], 2),
        (vec![refusal("IdempotentProcessing")], 2),
    ] {
        let server = Server::new(&[failures, vec![session()]].concat()).await;
        let request = StartTerminalSession::to_port("i-1", 22);
        let started = client(&server).start_terminal_session(&request, ready(())).await;
        assert_eq!((server.requests().len(), started.is_ok()), (tries, tries > 1));
    }
}

#[tokio::test]
async fn the_pause_that_the_service_asks_for_is_kept_or_the_call_ends() {
    let asks = |millis: u32| {
        json("429 x", &format!("x-acs-retry-after: {millis}\r\n"), r#"{"Code":"Throttling"}"#)
    };
    let server = Server::new(&[asks(60), session()]).await;
    let begun = Instant::now();
    start(&client(&server)).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(60));

    let server = Server::new(&[asks(15_000)]).await;
    let begun = Instant::now();
    let error = start(&client(&server)).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(server.requests().len(), 1);
    assert!(error.note().unwrap().contains("asks to wait 15 s"), "{:?}", error.note());
}

#[tokio::test]
async fn a_silent_server_ends_the_call_in_its_time() {
    let server = Server::new(&[Act::Silence]).await;
    let mut config = config(&format!("http://127.0.0.1:{}", server.port));
    config.call_timeout = Duration::from_millis(100);
    let error = start(&Client::new(config.clone()).unwrap()).await.unwrap_err();
    assert!(matches!(error.network(), Some(NetworkError::AnswerTimeout { .. })));
    assert!(error.to_string().contains("is silent: no answer within 0.1 s"), "{error}");
    assert_eq!(error.kind(), Kind::Network);

    // What was known before says more than that time is up.
    let server = Server::new(&[refusal("Throttling"), Act::Silence]).await;
    config.endpoint = Endpoint::parse(&format!("http://127.0.0.1:{}", server.port)).unwrap();
    // The time is up when the last try is made, however busy the machine is.
    config.call_timeout = Duration::from_secs(3600);
    let client = Client::new(config).unwrap();
    let mut call = std::pin::pin!(start(&client));
    tokio::select! {
        _ = &mut call => panic!("the server is silent"),
        () = async { while server.requests().len() < 2 { tokio::task::yield_now().await } } => {}
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3600)).await;
    let error = call.await.unwrap_err();
    assert_eq!(error.kind(), Kind::Throttled);
    assert!(error.note().unwrap().contains("ended during the last try"));
}

/// Notifies when the head of an answer is there.
#[derive(Debug)]
struct Heads {
    client: reqwest::Client,
    head: Arc<Notify>,
}

impl Transport for Heads {
    fn send<'a>(&'a self, request: reqwest::Request, terms: Terms<'a>) -> Sending<'a> {
        let head = || self.head.notify_one();
        Box::pin(self.client.send(request, terms).inspect(move |_| head()))
    }

    fn directly(&self) -> Arc<dyn Transport> {
        self.client.directly()
    }
}

/// A client of a server, and what is notified when the head of an answer is there.
fn watched(server: &Server) -> (Client, Arc<Notify>) {
    let head = Arc::new(Notify::new());
    let mut config = config(&format!("http://127.0.0.1:{}", server.port));
    config.http = Arc::new(Heads { client: plain_client().unwrap(), head: head.clone() });
    (Client::new(config).unwrap(), head)
}

fn stalled() -> Act {
    let head = "HTTP/1.1 200 OK\r\nx-acs-request-id: R-h\r\ncontent-length: 500\r\n\r\n";
    Act::Stall(format!("{head}{{\"Sess"))
}

/// Lets time pass that nobody has to wait for.
async fn advance(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

fn kept(server: &Server) -> Vec<String> {
    server.requests().into_iter().filter(|request| request != CLOSED).collect()
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_has_another_try_beside_it() {
    let server = Server::new(&[stalled(), session()]).await;
    let (client, head) = watched(&server);
    let passes = async {
        head.notified().await;
        advance(5).await;
    };
    let (started, ()) = tokio::join!(start(&client), passes);
    assert_eq!(started.unwrap().session_id, "s-1");
    let sent = kept(&server);
    assert_eq!(sent.len(), 2);
    assert_eq!(query(&sent[0], "ClientToken"), query(&sent[1], "ClientToken"));
    assert_ne!(
        header(&sent[0], "x-acs-signature-nonce"),
        header(&sent[1], "x-acs-signature-nonce")
    );
}

/// What does harm when obeyed twice is not sent again, and what its answer has brought is told.
#[tokio::test]
async fn an_answer_without_an_end_is_told_with_the_request_id_of_its_head() {
    let server = Server::new(&[stalled()]).await;
    let (client, head) = watched(&server);
    let passes = async {
        head.notified().await;
        advance(15).await;
    };
    let (called, ()) = tokio::join!(harmful(&client), passes);
    let error = called.unwrap_err();
    assert_eq!((error.kind(), error.tries(), kept(&server).len()), (Kind::Network, 1, 1));
    assert!(
        error.to_string().ends_with("stopped in the middle of its answer: no end within 15 s"),
        "{error}"
    );
    assert_eq!(error.request_id(), Some("R-h"));
}

#[tokio::test]
async fn answers_that_are_none() {
    let page = json("502 Bad Gateway", "", "<html><title>502 Bad Gateway</title></html>");
    let server = Server::new(&[page]).await;
    let error = start(&client(&server)).await.unwrap_err();
    assert_eq!((error.kind(), error.tries()), (Kind::Answer, 1));
    assert!(error.to_string().contains("HTTP 502, '502 Bad Gateway'"), "{error}");

    let redirect = json("302 Found", "location: http://127.0.0.1:1/\r\n", "");
    let error = start(&client(&Server::new(&[redirect]).await)).await.unwrap_err();
    assert!(error.to_string().contains("HTTP 302"), "{error}");

    let server = Server::new(&[json("200 OK", "", r#"{"SessionId":"s","RequestId":"R"}"#)]).await;
    let error = start(&client(&server)).await.unwrap_err();
    assert!(error.to_string().contains("no WebSocketUrl"), "{error}");
    assert_eq!(error.request_id(), Some("R"));

    let large = "x".repeat(transport::MAX_ANSWER + 1);
    let server = Server::new(&[json("200 OK", "", &large)]).await;
    let error = start(&client(&server)).await.unwrap_err();
    assert!(error.to_string().contains("larger than 1048576 bytes"), "{error}");
    let head = format!("connection: close\r\nx-acs-request-id: R {SECRET}");
    let endless = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{large}");
    let server = Server::new(&[Act::Send(endless)]).await;
    let error = start(&client(&server)).await.unwrap_err();
    assert!(error.to_string().contains("larger than 1048576 bytes"), "{error}");
    assert_eq!(error.request_id(), Some("R …"), "it repeats no secret");
}

#[tokio::test]
async fn the_two_looks_at_a_session_that_does_not_open() {
    let stopped = r#"{"InstanceStatuses":{"InstanceStatus":[{"Status":"Stopped"}]}}"#;
    let none = r#"{"InstanceCloudAssistantStatusSet":{"InstanceCloudAssistantStatus":[]}}"#;
    let server = Server::new(&[json("200 OK", "", stopped), json("200 OK", "", none)]).await;
    let client = client(&server);
    let state = client.instance_state("i-1").await.unwrap().unwrap();
    assert_eq!(state, InstanceState::Stopped);
    assert_eq!(client.agent_status("i-1").await.unwrap(), None);
    assert_eq!(header(&server.requests()[1], "x-acs-action"), "DescribeCloudAssistantStatus");
}

#[tokio::test]
async fn nothing_secret_is_shown_whatever_the_answer_repeats() {
    for signature in [SignatureVersion::V3, SignatureVersion::V1] {
        let encoded = sign::encode(TOKEN);
        let bodies = [
            format!(r#"{{"Code":"X","Message":"{TOKEN} {encoded} {SECRET}"}}"#),
            format!("<p>{TOKEN} {encoded}"),
            format!(r#"{{"WebSocketUrl":"{TOKEN}"#),
        ];
        for body in bodies {
            let server = Server::new(&[json("400 x", "", &body)]).await;
            let mut config = config(&format!("http://127.0.0.1:{}", server.port));
            config.signature = signature;
            let client = Client::new(config).unwrap();
            let text = format!("{} {client:?}", shown(&start(&client).await.unwrap_err()));
            assert!(!text.contains("hush"), "{text}");
        }
        // An error of the HTTP library, which knows the URL.
        let mut config = config("http://127.0.0.1:1");
        config.signature = signature;
        let text = shown(&start(&Client::new(config).unwrap()).await.unwrap_err());
        assert!(!text.contains("hush") && !text.contains("Signature="), "{text}");
    }
}

#[tokio::test]
async fn nonsense_is_refused_before_anything_is_sent() {
    let server = Server::new(&[session()]).await;
    let client = client(&server);
    let error = client.end_terminal_session("").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_dropped_call_closes_its_connection() {
    let server = Server::new(&[Act::Silence]).await;
    let client = client(&server);
    let call = start(&client);
    tokio::select! {
        _ = call => panic!("the server is silent"),
        () = async { while server.requests().is_empty() { tokio::task::yield_now().await } } => {}
    }
    while server.requests().last().unwrap() != CLOSED {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_log_tells_what_was_tried_and_nothing_secret() {
    #[derive(Clone, Default)]
    struct Log(Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    // As long as there is only one, whether an event is logged is decided by the thread that comes to
    // it first: here that may be another test's, which logs nothing.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);

    let server = Server::new(&[refusal("Throttling"), session()]).await;
    let mut config = config(&format!("http://127.0.0.1:{}", server.port));
    config.signature = SignatureVersion::V1;
    start(&Client::new(config).unwrap()).await.unwrap();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for part in ["StartTerminalSession", "status=400", "failed: Throttling", "status=200", "R-ok"] {
        assert!(log.contains(part), "{part} in {log}");
    }
    assert!(!log.contains("hush") && !log.contains("Signature="), "{log}");
}

#[test]
fn pauses_double_and_stay_within_their_bounds() {
    let base = Duration::from_millis(200);
    for (tries, full) in [(1, 200), (2, 400), (3, 800), (40, 5000)] {
        let full = Duration::from_millis(full);
        for _ in 0..50 {
            let pause = backoff(base, tries).unwrap();
            assert!(pause <= full && pause >= full / 2, "{tries}: {pause:?}");
        }
    }
}
