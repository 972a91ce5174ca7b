//! Gateways that are silent, slow or not read.

use super::*;

/// The answer is for later sessions, too, so it is polled although the stream has no use for it.
#[tokio::test(start_paused = true)]
async fn a_look_up_that_has_begun_comes_to_its_end() {
    let (socket, mut gateway) = pair().await;
    let (_out, local) = duplex(1024);
    let (_stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    let (answer, answered) = tokio::sync::oneshot::channel();
    let agent = async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        answer.send(()).unwrap();
        Generation::D
    };
    let agent = Some(futures_util::stream::once(agent).boxed_local());
    let connection = (socket, GatewayConnection { agent, agent_is_queried: true, ..plain() });
    let stop = tokio::time::sleep(Duration::from_secs(5));
    let session = Session::new(clock(), Config::new(1));
    let splice = splice(connection, session, &mut local, stop, &nobody);
    let others = async {
        let ssh = b"SSH-2.0-x\r\n";
        let output = frame(Version::V1_01, FrameType::OUTPUT, Sequence::Single(0), ssh);
        gateway.send(output).await.unwrap();
        let begin = clock();
        answered.await.unwrap();
        (clock() - begin).as_secs()
    };
    assert_eq!(tokio::join!(splice, others).1, 1);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_falls_silent_is_given_up_after_a_minute() {
    let (socket, mut gateway) = pair().await;
    let (_out, local) = duplex(1024);
    let (_stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    let begin = clock();
    let (connection, session) = ((socket, plain()), Session::new(begin, Config::new(1)));
    let splice = splice(connection, session, &mut local, std::future::pending(), &nobody);
    let play = async {
        open(&mut gateway, Version::V1_01).await;
        // It answers one ping, and the next ones are never read.
        while !gateway.next().await.unwrap().unwrap().is_ping() {}
        gateway.flush().await.unwrap();
        gateway
    };
    let (outcome, _gateway) = tokio::join!(splice, play);
    let End::Failed(Failure::Disconnected(Disconnect::Broken(how))) = outcome.end else { panic!() };
    assert!(how.contains("no data and no ping response for 60 s"), "{how}");
    let took = (clock() - begin).as_secs();
    assert!((80..=82).contains(&took), "{took} s: the first ping after 20 s, and 60 s of silence");
}

/// Nothing published shows a gateway that answers pings (docs/protocol.md, 6).
#[tokio::test(start_paused = true)]
async fn a_gateway_that_never_answers_pings_is_kept_for_as_long_as_it_likes() {
    let (socket, mut gateway) = pair().await;
    let (_out, local) = duplex(1024);
    let (_stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    open(&mut gateway, Version::V1_01).await;
    let (connection, session) = ((socket, plain()), Session::new(clock(), Config::new(1)));
    let stop = tokio::time::sleep(Duration::from_secs(3590));
    let outcome = splice(connection, session, &mut local, stop, &nobody).await;
    assert_eq!(outcome.end, End::Local);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_answers_pings_is_kept_for_as_long_as_it_likes() {
    let (socket, mut gateway) = pair().await;
    let (_out, local) = duplex(1024);
    let (_stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    let begin = clock();
    let (connection, session) = ((socket, plain()), Session::new(begin, Config::new(1)));
    // Between two keepalives: which of them and the end came first would be left to chance.
    let stop = tokio::time::sleep(Duration::from_secs(3590));
    let splice = splice(connection, session, &mut local, stop, &nobody);
    let play = async {
        open(&mut gateway, Version::V1_01).await;
        let mut seen = (0, 0);
        while let (Some(frame), pings, _) = next(&mut gateway).await {
            seen.0 += usize::from(frame.kind == FrameType::INPUT);
            seen.1 += pings;
        }
        seen
    };
    let (outcome, (keepalives, pings)) = tokio::join!(splice, play);
    assert_eq!(outcome.end, End::Local);
    assert_eq!(keepalives, 71, "every 50 s");
    assert!((175..=180).contains(&pings), "{pings}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_not_read_is_not_taken_for_a_silent_one() {
    let (socket, mut gateway) = pair().await;
    let (mut far, local) = duplex(1024);
    let (_stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    let begin = clock();
    let (connection, session) = ((socket, plain()), Session::new(begin, Config::new(1)));
    let splice = splice(connection, session, &mut local, std::future::pending(), &nobody);
    let (sent, written) = (mpsc::unbounded_channel(), noise(MUCH));
    let (done, mut finished) = sent;
    let play = async {
        open(&mut gateway, Version::V1_01).await;
        let (mut sink, mut stream) = gateway.split();
        let send = async {
            for (number, payload) in (0..).zip(written.chunks(2048)) {
                let sequence = Sequence::Single(number);
                let message = frame(Version::V1_01, FrameType::OUTPUT, sequence, payload);
                sink.send(message).await.unwrap();
            }
            let exit = frame(Version::V1_01, FrameType::STATUS, Sequence::Single(0), b"\x05Exit");
            sink.send(exit).await.unwrap();
            sink
        };
        let read = async {
            let mut pongs = 0;
            while let Some(Ok(message)) = stream.next().await {
                if message.is_pong() {
                    pongs += 1;
                    let _ = done.send(pongs);
                }
            }
        };
        tokio::join!(send, read)
    };
    let read = async {
        // Nobody reads for 100 s: five signs of life later.
        while finished.recv().await.unwrap() < 5 {}
        assert!(clock() - begin >= Duration::from_secs(100));
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        read
    };
    let (outcome, _, read) = tokio::join!(splice, play, read);
    assert!(matches!(outcome.end, End::Remote(_)), "{outcome:?}");
    assert!(read == written);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_reads_nothing_for_a_while_is_not_sent_a_burst() {
    let (socket, mut gateway) = pair().await;
    let (_out, local) = duplex(1024);
    let (mut stdin, reader) = duplex(1024);
    let mut local = LocalSide::new(reader, local);
    let connection = (socket, GatewayConnection { reconnect: &never, ..plain() });
    let session = Session::new(clock(), Config::new(1));
    let splice = splice(connection, session, &mut local, std::future::pending(), &nobody);
    let written = noise(MUCH);
    let play = async {
        open(&mut gateway, Version::V1_01).await;
        let (mut read, mut log, mut turn) = (Vec::new(), Vec::new(), 0);
        while read.len() < MUCH {
            // What is there without waiting.
            while let Ok((Some(frame), ..)) =
                timeout(Duration::from_millis(1), next(&mut gateway)).await
            {
                read.extend_from_slice(&frame.payload);
                log.push((clock(), frame.payload.len()));
            }
            turn += 1;
            let pause = if turn % 50 == 0 { 5000 } else { 50 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let exit = frame(Version::V1_01, FrameType::STATUS, Sequence::Single(0), b"\x05Exit");
        gateway.send(exit).await.unwrap();
        (read, log)
    };
    let (outcome, _, (read, log)) = tokio::join!(splice, stdin.write_all(&written), play);
    assert!(matches!(outcome.end, End::Remote(_)), "{outcome:?}");
    assert!(read == written);
    for (first, (from, _)) in log.iter().enumerate() {
        let second = log[first..].iter().take_while(|(at, _)| *at - *from < Duration::from_secs(1));
        let bytes: usize = second.map(|(_, bytes)| bytes).sum();
        assert!(bytes <= 25_600, "{bytes} bytes in a second");
    }
}
