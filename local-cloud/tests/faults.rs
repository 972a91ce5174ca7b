//! Faults of the stream, each where it was asked for; and who is turned away at the upgrade.

mod support;

use std::{pin::pin, time::Duration};

use futures_util::SinkExt as _;
use local_cloud::{
    Action, Agent, Fault, Instance, LocalCloud, Malformed, Pace, Point, SessionState,
};
use support::*;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

fn quick() -> Instance {
    Instance::new("i-a").agent(Agent::d().quick()).pace(Pace::off())
}

/// An instance whose port 22 echoes, and one fault.
async fn with(at: Point, action: Action) -> LocalCloud {
    cloud_with(quick().target(22, echo().await).fault(Fault::new(at, action))).await
}

/// The HTTP status that an upgrade is refused with.
async fn refused(cloud: &LocalCloud, url: &str, header: Option<&str>) -> u16 {
    match Client::connect_url(cloud, url, header).await {
        Err(WsError::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => 101,
    }
}

#[tokio::test]
async fn who_may_upgrade() {
    let cloud = cloud_with(quick()).await;
    let session = start(&cloud, "i-a", 22).await;
    let url = session.url.replace("sessionid", "sessionId");
    assert_ne!(session.url, url, "spelt as the service does");
    assert_eq!(refused(&cloud, &session.url, Some("")).await, 400, "not renamed");
    assert_eq!(refused(&cloud, &url, Some("other")).await, 403);
    assert_eq!(refused(&cloud, &url, None).await, 403);
    assert_eq!(refused(&cloud, &format!("{url}0"), Some("")).await, 403, "another token");
    assert_eq!(refused(&cloud, &url, Some("")).await, 101);
    assert_eq!(refused(&cloud, &url, Some(&session.token)).await, 101, "a second connection");
    cloud.update_settings(|settings| settings.check_token_header = false);
    assert_eq!(refused(&cloud, &url, None).await, 101);
    let why: Vec<_> = cloud.upgrades().into_iter().map(|u| (u.status, u.token_header)).collect();
    assert_eq!(why.len(), 7);
    assert_eq!(why[1], (403, Some("other".to_owned())));

    cloud.update_settings(|settings| {
        settings.url_lifetime = Duration::ZERO;
        settings.url_key = "sessionId".to_owned();
    });
    let late = start(&cloud, "i-a", 22).await;
    assert!(late.url.contains("sessionId="));
    assert_eq!(refused(&cloud, &late.url, Some("")).await, 403);
    assert_eq!(cloud.upgrades()[7].refusal.as_deref(), Some("the URL has expired"));
    let plain = format!("GET {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "/session");
    assert_eq!(exchange(&cloud, &plain).await.unwrap().status, 426);
}

#[tokio::test]
async fn an_upgrade_refused_late_or_never_answered() {
    for status in [403, 429, 500] {
        let cloud = cloud_with(quick()).await;
        let fault = Fault::new(Point::Upgrade, Action::Refuse(status));
        assert!(cloud.faults().stream("i-a", fault.times(1)));
        let session = start(&cloud, "i-a", 22).await;
        let url = session.url.replace("sessionid", "sessionId");
        assert_eq!(refused(&cloud, &url, Some("")).await, status);
        assert_eq!(refused(&cloud, &url, Some("")).await, 101, "once is what was asked for");
    }
    let cloud = with(Point::Upgrade, Action::Silence).await;
    let session = start(&cloud, "i-a", 22).await;
    let mut connecting = pin!(Client::try_connect(&cloud, &session, Some("")));
    tokio::select! {
        _ = &mut connecting => panic!("it was answered"),
        asked = cloud.wait_for(|state| state.upgrades().count() == 1, SOON) => asked.unwrap(),
    }
    assert!(tokio::time::timeout(Duration::from_millis(60), connecting).await.is_err());
    assert_eq!(cloud.upgrades()[0].status, 0);

    let delay = Duration::from_millis(60);
    let cloud = with(Point::Upgrade, Action::Delay(delay)).await;
    let begin = std::time::Instant::now();
    Client::open(&cloud, "i-a", 22).await;
    assert!(begin.elapsed() >= delay);
}

#[tokio::test]
async fn never_opened() {
    let cloud = with(Point::BeforeOpened, Action::Hang).await;
    let (mut client, started) = Client::open(&cloud, "i-a", 22).await;
    assert_eq!(client.status().await.0, 0);
    assert_eq!(client.status().await.0, 1);
    client.ws.send(Message::Ping("x".into())).await.unwrap();
    assert!(matches!(client.next().await, Got::Other(Message::Pong(_))), "the gateway lives");
    let record = cloud.wait_for_session(|s| s.faults_struck == 1, SOON).await.unwrap();
    assert_eq!(record.opened, 0);
    assert!(cloud.faults().inject(&started.id, Action::Resume));
    assert_eq!(client.status().await.0, 3);
}

#[tokio::test]
async fn aborted_with_a_text() {
    let cloud = with(Point::BeforeOpened, Action::status(2, "InitChannelFailed")).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.status().await;
    client.status().await;
    assert_eq!(client.status().await, (2, "InitChannelFailed".to_owned()));
    assert_eq!(client.next().await, Got::Closed(1000));
    let record = cloud.wait_for_session(|s| s.live == 0, SOON).await.unwrap();
    assert_eq!(record.end_reason.as_deref(), Some("InitChannelFailed"));
}

#[tokio::test]
async fn cut_after_exactly_so_many_bytes_of_output() {
    for action in [Action::Cut, Action::Reset, Action::Close(1006)] {
        let cloud = with(Point::OutputBytes(5_000), action).await;
        let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
        client.opened().await;
        for _ in 0..3 {
            client.input(&[1; 2_048]).await;
        }
        assert_eq!(client.output(5_000).await.len(), 5_000);
        assert_eq!(client.next().await, Got::Broken);
        let gone = |s: &local_cloud::SessionRecord| s.state == SessionState::Disconnected;
        let record = cloud.wait_for_session(gone, SOON).await.unwrap();
        assert_eq!(record.output_bytes, 5_000);
        assert!(record.is_open(), "nobody has ended it");
    }
}

#[tokio::test]
async fn an_agent_that_was_struck_says_no_more_when_its_target_closes() {
    for action in [Action::Cut, Action::Close(1012), Action::Hang] {
        let fault = Fault::new(Point::OutputBytes(8), action.clone());
        let cloud = cloud_with(quick().target(22, greeter().await).fault(fault)).await;
        let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
        client.opened().await;
        client.output(8).await;
        if action == Action::Hang {
            client.input(b"\n").await; // would make the target close
            client.ws.send(Message::Ping("x".into())).await.unwrap();
            assert!(matches!(client.next().await, Got::Other(Message::Pong(_))));
            assert_eq!(cloud.sessions()[0].forwarded_bytes, 0);
        } else {
            let wanted = if action == Action::Cut { Got::Broken } else { Got::Closed(1012) };
            assert_eq!(client.next().await, wanted);
        }
    }
}

#[tokio::test]
async fn closed_with_a_code() {
    for code in [1000, 1001, 1008, 1011, 1012, 1013, 1005] {
        let cloud = with(Point::OutputBytes(3), Action::Close(code)).await;
        let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
        client.opened().await;
        client.input(b"abcdef").await;
        assert_eq!(client.output(3).await, b"abc");
        assert_eq!(client.next().await, Got::Closed(code));
        let record = cloud.wait_for_session(|s| s.live == 0, SOON).await.unwrap();
        assert_eq!(record.end_reason, Some(format!("Close {code}")));
        assert_eq!(record.is_open(), code != 1000 && code != 1008);
    }
}

#[tokio::test]
async fn after_input_and_after_a_time() {
    let cloud = with(Point::InputBytes(10), Action::Cut).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    client.input(b"123456789").await;
    client.output(9).await;
    client.input(b"0").await;
    let mut last = client.next().await;
    while let Got::Frame { .. } = last {
        last = client.next().await;
    }
    assert_eq!(last, Got::Broken);

    let moment = Duration::from_millis(20);
    let cloud = with(Point::AfterOpened(moment), Action::Cut).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    assert_eq!(client.next().await, Got::Broken);
}

#[tokio::test]
async fn the_agent_says_it_is_over_in_so_many_words() {
    for (state, text) in [(5, "AgentTimeout"), (6, "Exit"), (2, "OpenChannelFailed")] {
        let cloud = with(Point::Opened, Action::status(state, text)).await;
        let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
        client.opened().await;
        assert_eq!(client.status().await, (state, text.to_owned()));
        assert_eq!(client.next().await, Got::Closed(1000));
    }
    // Frozen is no end by itself.
    let cloud = with(Point::Opened, Action::status(8, "restart")).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    assert_eq!(client.status().await, (8, "restart".to_owned()));
    client.input(b"still here").await;
    assert_eq!(client.output(10).await, b"still here");
}

#[tokio::test]
async fn messages_that_are_no_frames() {
    for malformed in [
        Malformed::Short,
        Malformed::Garbled,
        Malformed::Text,
        Malformed::WrongLength,
        Malformed::CreatedZero,
        Malformed::UnknownType,
        Malformed::Huge(10 << 20),
    ] {
        let cloud = with(Point::Opened, Action::Send(malformed)).await;
        let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
        client.opened().await;
        match (malformed, client.next().await) {
            (Malformed::Text, got) => assert!(matches!(got, Got::Other(Message::Text(_)))),
            (Malformed::UnknownType, got) => {
                assert!(matches!(got, Got::Frame { kind: 99, .. }), "{got:?}");
            }
            (Malformed::Huge(size), Got::Frame { payload, .. }) => assert_eq!(payload.len(), size),
            (_, got) => assert!(matches!(got, Got::Malformed(_)), "{malformed:?}: {got:?}"),
        }
        client.input(b"on").await;
        assert_eq!(client.output(2).await, b"on", "the stream goes on");
    }
}

#[tokio::test]
async fn half_open_says_nothing_more() {
    let cloud = with(Point::OutputBytes(2), Action::Silence).await;
    let (mut client, started) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    client.input(b"abc").await;
    client.output(2).await;
    client.input(b"lost").await;
    client.ws.send(Message::Ping("x".into())).await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(60), client.next()).await;
    assert!(silence.is_err(), "{silence:?}");
    assert!(cloud.end_session(&started.id));
    assert_eq!(client.next().await, Got::Broken, "no goodbye gets out either");
}

#[tokio::test]
async fn late_answers() {
    let delay = Duration::from_millis(60);
    let cloud = with(Point::OutputBytes(1), Action::Delay(delay)).await;
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    // Before the first byte is on its way: nobody knows when a busy machine lets it be read.
    let begin = std::time::Instant::now();
    client.input(b"ab").await;
    assert_eq!(client.output(2).await, b"ab");
    assert!(begin.elapsed() >= delay);
}

#[tokio::test]
async fn stalled_on_either_side_until_it_is_taken_back() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let instance = quick().target(22, target.local_addr().unwrap());
    let cloud = cloud_with(instance).await;
    for stall in [Action::StallClient, Action::StallTarget] {
        let (mut client, started) = Client::open(&cloud, "i-a", 22).await;
        client.opened().await;
        let (mut tcp, _) = soon(target.accept()).await.unwrap();
        assert!(cloud.faults().inject(&started.id, stall.clone()));
        let hit = |s: &local_cloud::SessionRecord| s.id == started.id && s.faults_struck == 1;
        cloud.wait_for_session(hit, SOON).await.unwrap();
        client.input(b"in").await;
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        tcp.write_all(b"out").await.unwrap();
        let mut buf = [0; 2];
        if stall == Action::StallClient {
            assert_eq!(client.output(3).await, b"out");
            assert_eq!(cloud.session(&started.id).unwrap().input_frames, 0);
        } else {
            soon(tcp.read_exact(&mut buf)).await.unwrap();
            assert_eq!(cloud.session(&started.id).unwrap().output_frames, 0);
        }
        assert!(cloud.faults().inject(&started.id, Action::Resume));
        if stall == Action::StallClient {
            soon(tcp.read_exact(&mut buf)).await.unwrap();
        } else {
            assert_eq!(client.output(3).await, b"out");
        }
        assert_eq!(&buf, b"in");
    }
}

#[tokio::test]
async fn a_cut_on_command_waits_for_nobody() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let instance = quick().target(22, target.local_addr().unwrap());
    let cloud = cloud_with(instance).await;
    let (client, started) = Client::open(&cloud, "i-a", 22).await;
    let (mut tcp, _) = soon(target.accept()).await.unwrap();
    // The client reads nothing, so that the gateway's queue fills up and stays so.
    let flood = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        while tcp.write_all(&[0; 65_536]).await.is_ok() {}
    });
    cloud.wait_for_session(|s| s.output_bytes > 100_000, SOON).await.unwrap();
    assert!(cloud.faults().inject(&started.id, Action::Cut));
    cloud.wait_for_session(|s| s.live == 0, SOON).await.unwrap();
    soon(flood).await.unwrap();
    assert!(!cloud.faults().inject(&started.id, Action::Cut), "nobody is there any more");
    drop(client);
}

#[tokio::test]
async fn a_cloud_that_is_gone_leaves_nothing() {
    let cloud = with(Point::OutputBytes(1 << 40), Action::Cut).await;
    let addr = cloud.addr();
    let (mut client, _) = Client::open(&cloud, "i-a", 22).await;
    client.opened().await;
    cloud.shutdown().await;
    assert_eq!(client.next().await, Got::Broken);
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}
