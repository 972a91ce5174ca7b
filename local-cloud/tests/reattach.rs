//! Streams of 1.02 that outlive their WebSocket: who may take one up again, and where it goes on.

mod support;

use std::time::Duration;

use futures_util::SinkExt as _;
use local_cloud::{
    Action, Agent, Instance, LocalCloud, Pace, Resumption, SessionState, SyncAnswer,
};
use support::*;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};
use tokio_tungstenite::tungstenite::Message;

fn quick() -> Instance {
    Instance::new("i-a").agent(Agent::resumable().quick()).pace(Pace::off())
}

fn with(resumption: Resumption) -> Instance {
    Instance::new("i-a").agent(Agent::resumable().quick().resumption(resumption)).pace(Pace::off())
}

#[tokio::test]
async fn a_stream_is_taken_up_again_where_it_was() {
    let (cloud, mut client) = echoing(quick()).await;
    client.input(b"before").await;
    client.output(1).await;
    assert!(cloud.faults().inject(&client.started.id, Action::Cut));
    assert_eq!(client.next().await, Seen::Broken);
    let record = session(&cloud, |s| s.live == 0).await;
    assert_eq!(
        (record.state, record.socket_ends),
        (SessionState::Disconnected, ["Cut".into()].into())
    );

    client.reattach().await.unwrap();
    client.opened().await;
    client.sync().await;
    client.input(b"after").await;
    assert_eq!(client.output(2).await, b"after");
    let record = only(&cloud);
    assert_eq!((record.connections, record.resumptions, record.live, record.dials), (2, 1, 1, 1));
    assert_eq!((record.sync_frames, record.client_syncs[0].socket), (1, 2));
    assert_eq!((record.client_syncs[0].input, record.client_syncs[0].output), (1, 1));
    assert!(record.client_syncs[0].at >= record.attached[1]);
    assert_eq!((record.state, record.end_reason), (SessionState::Connected, None));
    assert_eq!(record.violations, [""; 0]);
    let upgrade = cloud.upgrades().remove(1);
    assert_eq!((upgrade.channel, upgrade.status), (Some(client.channel.clone()), 101));

    client.close().await;
    assert_eq!(client.next().await, Seen::Closed(1000));
    let record = session(&cloud, |s| s.state == SessionState::Terminated).await;
    assert_eq!(record.end_reason.as_deref(), Some("ClientClosed"));
    assert_eq!(client.reattach().await, Err(403), "it is over");
}

#[tokio::test]
async fn outputs_go_on_in_the_meantime_and_wait_for_the_sync() {
    for early in [false, true] {
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let resumption = Resumption::default().early_outputs(early).reannounces(false);
        let cloud = cloud_with(with(resumption).target(22, target.local_addr().unwrap())).await;
        let mut client = Resuming::open(&cloud, "i-a", 22).await;
        client.opened().await;
        let (mut tcp, _) = soon(target.accept()).await.unwrap();
        tcp.write_all(b"1").await.unwrap();
        client.output(1).await;
        cloud.faults().inject(&client.started.id, Action::Cut);
        assert_eq!(client.next().await, Seen::Broken);
        tcp.write_all(b"2").await.unwrap();
        session(&cloud, |s| s.last_output == 2).await;
        client.reattach().await.unwrap();
        tcp.write_all(b"3").await.unwrap();
        session(&cloud, |s| s.last_output == 3).await;
        if early {
            assert_eq!(client.output(3).await, b"3");
            client.have = 1;
        }
        client.sync().await;
        assert_eq!(client.output(2).await, b"2");
        assert_eq!(client.output(3).await, b"3");
        assert_eq!(only(&cloud).resent_outputs, u64::from(early), "those that were sent before");
    }
}

#[tokio::test]
async fn who_reconnects_without_the_channel_gets_a_stream_of_its_own() {
    let (cloud, mut client) = echoing(quick()).await;
    let url = client.started.url.replacen("sessionid", "sessionId", 1);
    for other in ["d-0", "d-"] {
        let refused = client.reattach_to(&format!("{url}&channelId={other}")).await;
        assert_eq!(refused, Err(403));
    }
    let first = client.channel.clone();
    client.reattach_to(&format!("{url}&channelId=")).await.unwrap();
    client.opened().await;
    assert_ne!(client.channel, first);
    session(&cloud, |s| s.dials == 2 && s.resumptions == 0).await;
    let why = cloud.upgrades()[1].refusal.clone();
    assert_eq!(why.as_deref(), Some("no such channel, or over"));

    for agent in [Agent::a(), Agent::d()] {
        let instance = Instance::new("i-a").agent(agent.quick()).target(22, echo().await);
        let cloud = cloud_with(instance).await;
        let (_client, started) = Client::open(&cloud, "i-a", 22).await;
        let channel = only(&cloud).channel.unwrap();
        let mut again = Resuming::open(&cloud, "i-a", 22).await;
        again.started = started;
        again.channel = channel;
        assert_eq!(again.reattach().await, Err(403));
    }
}

#[tokio::test]
async fn a_new_socket_takes_the_place_of_the_old_one() {
    let (cloud, mut client) = echoing(quick()).await;
    let channel = client.channel.clone();
    let mut second = Resuming::open(&cloud, "i-a", 22).await;
    second.started = client.started.clone();
    second.channel = channel;
    second.reattach().await.unwrap();
    assert_eq!(client.next().await, Seen::Broken);
    second.opened().await;
    second.sync().await;
    second.input(b"here").await;
    assert_eq!(second.output(1).await, b"here");
    let record = only(&cloud);
    assert_eq!((record.live, record.socket_ends), (1, vec!["Replaced".to_owned()]));
}

#[tokio::test]
async fn a_stream_that_nobody_takes_up_ends() {
    let (cloud, client) =
        echoing(with(Resumption::default().grace(Duration::from_millis(30)))).await;
    let (id, channel) = (client.started.id.clone(), client.channel.clone());
    drop(client);
    let record = session(&cloud, |s| s.state == SessionState::Terminated).await;
    assert_eq!((record.id, record.channel), (id, Some(channel)));
    assert_eq!(record.end_reason.as_deref(), Some("ResumeTimeout"));
    assert_eq!(record.socket_ends, ["ClientGone"]);
}

#[tokio::test]
async fn a_clients_close_with_1000_is_final_and_others_are_not() {
    use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
    for (code, status) in
        [(CloseCode::Normal, 403), (CloseCode::Policy, 403), (CloseCode::Away, 101)]
    {
        let (cloud, mut client) = echoing(quick()).await;
        let frame = CloseFrame { code, reason: "".into() };
        client.ws.send(Message::Close(Some(frame))).await.unwrap();
        session(&cloud, |s| s.live == 0).await;
        assert_eq!(client.reattach().await.err().unwrap_or(101), status, "{code:?}");
    }
}

#[tokio::test]
async fn the_api_ends_a_stream_that_waits_for_its_client() {
    let (cloud, mut client) = echoing(quick()).await;
    cloud.faults().inject(&client.started.id, Action::Reset);
    session(&cloud, |s| s.live == 0).await;
    let answer = call(&cloud, "EndTerminalSession", &[("SessionId", &client.started.id)]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(client.reattach().await, Err(403));
    assert_eq!(only(&cloud).end_reason.as_deref(), Some("EndTerminalSession"));
}

#[tokio::test]
async fn a_url_that_has_expired_takes_up_what_lives_unless_told_otherwise() {
    for (outlives, status) in [(true, 101), (false, 403)] {
        let instance = with(Resumption::default().outlives_url(outlives)).target(22, echo().await);
        let builder = LocalCloud::builder().instance(instance).url_lifetime(Duration::from_secs(1));
        let cloud = builder.start().await.unwrap();
        let mut client = Resuming::open(&cloud, "i-a", 22).await;
        client.opened().await;
        // Until the URL works no more for a stream of its own.
        let url = client.started.url.replacen("sessionid", "sessionId", 1);
        let channel = client.channel.clone();
        while client.reattach_to(&url).await.is_ok() {
            assert_eq!(client.status().await, [0]);
        }
        client.channel = channel;
        assert_eq!(client.reattach().await.err().unwrap_or(101), status);
    }
}

#[tokio::test]
async fn what_was_on_its_way_when_the_target_closed_is_not_lost() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cloud = cloud_with(quick().target(22, target.local_addr().unwrap())).await;
    let mut client = Resuming::open(&cloud, "i-a", 22).await;
    client.opened().await;
    let (mut tcp, _) = soon(target.accept()).await.unwrap();
    assert!(cloud.faults().inject(&client.started.id, Action::Cut));
    assert_eq!(client.next().await, Seen::Broken);
    tcp.write_all(b"last words").await.unwrap();
    drop(tcp);
    session(&cloud, |s| s.last_output == 1).await;
    client.reattach().await.unwrap();
    client.opened().await;
    client.sync().await;
    assert_eq!(client.output(1).await, b"last words");
    let status = client.frame().await;
    assert_eq!((status.kind, status.output), (STATUS, 1));
    assert_eq!(status.payload, b"\x05ReadFromTargetPortFailed");
    // As long as nobody has closed, it can still be asked for.
    client.have = 0;
    client.sync().await;
    assert_eq!(client.output(1).await, b"last words");
    assert_eq!(client.status().await, b"\x05ReadFromTargetPortFailed");
    // The client says no more: the gateway closes.
    assert_eq!(client.next().await, Seen::Closed(1000));
    client.ws.flush().await.unwrap();
    let record = session(&cloud, |s| s.state == SessionState::Terminated).await;
    assert_eq!(record.end_reason.as_deref(), Some("ReadFromTargetPortFailed"));
    assert!(record.close_handshake);
}

#[tokio::test]
async fn a_socket_that_breaks_before_the_end_was_heard_of() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cloud = cloud_with(quick().target(22, target.local_addr().unwrap())).await;
    let mut client = Resuming::open(&cloud, "i-a", 22).await;
    client.opened().await;
    let (mut tcp, _) = soon(target.accept()).await.unwrap();
    tcp.write_all(b"last words").await.unwrap();
    drop(tcp);
    // All was sent, and the status as well; the client reads none of it, and loses the socket.
    session(&cloud, |s| s.end_reason.is_some()).await;
    client.reattach().await.unwrap();
    client.opened().await;
    client.sync().await;
    assert_eq!(client.output(1).await, b"last words");
    assert_eq!(client.status().await, b"\x05ReadFromTargetPortFailed");
    client.ws.close(None).await.unwrap();
    session(&cloud, |s| s.state == SessionState::Terminated || s.live == 0).await;
}

#[tokio::test]
async fn inputs_that_were_lost_with_the_socket_are_asked_for_if_the_sync_tells_of_them() {
    for answer in [SyncAnswer::IfMissing, SyncAnswer::Always, SyncAnswer::Never] {
        let (cloud, mut client) = echoing(with(Resumption::default().sync_answer(answer))).await;
        client.input(b"1").await;
        client.output(1).await;
        cloud.faults().inject(&client.started.id, Action::Cut);
        assert_eq!(client.next().await, Seen::Broken);
        client.sent = 2; // lost with the socket
        client.reattach().await.unwrap();
        client.opened().await;
        client.sync().await;
        if answer == SyncAnswer::Never {
            client.input(b"3").await;
        }
        let sync = client.frame().await;
        assert_eq!((sync.kind, sync.input), (SYNC, 2), "{answer:?}");
        client.raw(INPUT, 2, 1, b"2").await;
        assert_eq!(client.output(2).await, b"2");
        assert_eq!(only(&cloud).violations, [""; 0]);
        if answer == SyncAnswer::Always {
            client.sync().await;
            let sync = client.frame().await;
            assert_eq!((sync.kind, sync.input), (SYNC, 3), "nothing is missing");
        }
    }
}

#[tokio::test]
async fn early_input_is_held_and_a_socket_may_change_before_the_target_is_dialled() {
    let agent = Agent::resumable().quick().join_delay(Duration::from_millis(100));
    let instance = Instance::new("i-a").agent(agent).pace(Pace::off()).target(22, echo().await);
    let cloud = cloud_with(instance).await;
    let mut client = Resuming::open(&cloud, "i-a", 22).await;
    assert_eq!(client.status().await, [0]);
    assert_eq!(client.status().await, [1]);
    client.input(b"early").await;
    session(&cloud, |s| s.received_inputs == 1).await;
    client.reattach().await.unwrap();
    client.sync().await;
    client.opened().await;
    assert_eq!(client.output(1).await, b"early");
    let record = only(&cloud);
    assert_eq!((record.opened, record.dials, record.violations.len()), (1, 1, 0));
}
