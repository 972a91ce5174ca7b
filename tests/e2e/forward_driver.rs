//! A running `ecs-bridge forward --json`, and servers for it to lead to.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jsonschema::Validator;
use local_cloud::{Agent, Instance, Pace};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::lab::{Bridge, Ended, Lab, SOON};
use crate::world::{INSTANCE, PATIENCE};

/// Every line of stdout has to fit.
pub(crate) static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = include_str!("../../forward.schema.json");
    jsonschema::draft202012::new(&serde_json::from_str(schema).unwrap()).unwrap()
});

/// A running `ecs-bridge forward --json`.
pub(crate) struct Forward {
    pub(crate) bridge: Bridge,
    events: Events,
    reading: JoinHandle<()>,
}

/// What it has told so far.
#[derive(Clone)]
struct Events(watch::Receiver<Vec<Value>>);

/// How it ended, and all that it has told.
#[derive(Debug)]
pub(crate) struct Over {
    pub(crate) ended: Ended,
    pub(crate) events: Vec<Value>,
}

impl Forward {
    /// Starts it in a lab.
    pub(crate) fn start(lab: &Lab, args: &[&str]) -> Self {
        Self::run(&mut lab.bridge(["forward", "--json", "-i", INSTANCE].iter().chain(args)))
    }

    /// The same with a command that asks for `--json` itself.
    pub(crate) fn run(command: &mut Command) -> Self {
        let mut bridge = Bridge::start(command);
        // Nothing is read from it.
        drop(bridge.stdin.take());
        let mut lines = BufReader::new(bridge.stdout.take().unwrap()).lines();
        let (sender, events) = watch::channel(Vec::new());
        let reading = tokio::spawn(async move {
            while let Some(line) = lines.next_line().await.unwrap() {
                let event: Value = serde_json::from_str(&line).expect("stdout has JSON only");
                if let Err(error) = SCHEMA.validate(&event) {
                    panic!("not as the schema has it: {error}: {line}");
                }
                sender.send_modify(|events| events.push(event));
            }
        });
        Self { bridge, events: Events(events), reading }
    }

    /// Where its only forward listens.
    pub(crate) async fn address(&mut self) -> String {
        self.addresses(1).await.remove(0)
    }

    /// Where its forwards listen.
    pub(crate) async fn addresses(&mut self, count: usize) -> Vec<String> {
        let listening = |events: &[Value]| of(events, "listening").count() >= count;
        let events = self.until("listening", listening).await;
        let addresses = of(&events, "listening").map(|event| text(event, "address"));
        addresses.map(str::to_owned).collect()
    }

    /// The port of the only forward.
    pub(crate) async fn port(&mut self) -> String {
        self.address().await.rsplit_once(':').unwrap().1.to_owned()
    }

    /// A new connection to the only forward.
    pub(crate) async fn connect(&mut self) -> TcpStream {
        TcpStream::connect(self.address().await).await.unwrap()
    }

    /// A new connection to the only forward, which is reset before anything comes.
    pub(crate) async fn refused(&mut self) {
        match TcpStream::connect(self.address().await).await {
            Ok(mut connection) => is_reset(&mut connection).await,
            // It was quicker than the connection.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    /// Waits for an event of a connection: `accepted`, `opened`, `error`, `closed`.
    pub(crate) async fn told(&mut self, connection: u64, name: &str) -> Value {
        let fits = |event: &&Value| event["connection"] == connection;
        let what = format!("{name} of {connection}");
        let events = self.until(&what, |events| of(events, name).any(|e| fits(&e))).await;
        let found = of(&events, name).find(fits).cloned();
        found.unwrap()
    }

    /// Waits until so many connections have come to this.
    pub(crate) async fn all(&mut self, count: usize, name: &str) -> Vec<Value> {
        let what = format!("{count} {name}");
        let events = self.until(&what, |events| of(events, name).count() >= count).await;
        of(&events, name).cloned().collect()
    }

    /// What it has told so far of this kind.
    pub(crate) fn so_far(&self, name: &str) -> Vec<Value> {
        of(&self.events.0.borrow(), name).cloned().collect()
    }

    async fn until(&mut self, what: &str, fits: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let how = match timeout(PATIENCE, self.events.0.wait_for(|events| fits(events))).await {
            Ok(Ok(events)) => return events.clone(),
            Ok(Err(_)) => "before its end",
            Err(_) => "in time",
        };
        let told = self.events.0.borrow();
        panic!("it has not told '{what}' {how}: {told:#?}\n{}", self.bridge.log());
    }

    /// Sends a signal, and waits for the end, which has to come soon.
    pub(crate) async fn stop(self, signal: &str) -> Over {
        self.bridge.signal(signal).await;
        timeout(SOON, self.end()).await.expect("it ends soon")
    }

    /// Waits for its end, and checks that what it has told makes sense.
    pub(crate) async fn end(self) -> Over {
        let ended = self.bridge.end().await;
        timeout(PATIENCE, self.reading).await.expect("nobody else has its stdout").unwrap();
        let over = Over { events: self.events.0.borrow().clone(), ended };
        over.check();
        over
    }
}

impl Over {
    /// What it has told of this kind.
    pub(crate) fn all(&self, name: &str) -> Vec<&Value> {
        of(&self.events, name).collect()
    }

    /// The exit code.
    pub(crate) fn code(&self) -> i32 {
        self.ended.code.expect("it was not killed")
    }

    /// Every connection is accepted first and closed last, and nothing is told twice.
    fn check(&self) {
        let mut connections = BTreeMap::<u64, Vec<&str>>::new();
        for event in &self.events {
            if let Some(number) = event["connection"].as_u64()
                // It may come at any time in between.
                && text(event, "event") != "warning"
            {
                connections.entry(number).or_default().push(text(event, "event"));
            }
        }
        for (number, told) in connections {
            let fits = matches!(
                told[..],
                ["accepted", "closed"]
                    | ["accepted", "opened", "closed"]
                    | ["accepted", "error", "closed"]
                    | ["accepted", "opened", "error", "closed"]
            );
            assert!(fits, "connection {number}: {told:?}");
        }
    }
}

fn of<'a>(events: &'a [Value], name: &str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["event"] == name)
}

/// A text of an event.
pub(crate) fn text<'a>(event: &'a Value, name: &str) -> &'a str {
    event[name].as_str().unwrap_or_else(|| panic!("no {name}: {event}"))
}

/// A number of an event.
pub(crate) fn number(event: &Value, name: &str) -> u64 {
    event[name].as_u64().unwrap_or_else(|| panic!("no {name}: {event}"))
}

/// A server of the test's own: what it does with a connection is the test's to say.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let serve = Arc::new(serve);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Some(_) = connections.join_next() => {}
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.unwrap();
                        // That a connection ends early is for whoever is at its other end to judge.
                        connections.spawn(serve(stream));
                    }
                }
            }
        });
        Self { addr, _tasks: tasks }
    }

    /// Sends back what it gets.
    pub(crate) async fn echo() -> Self {
        Self::start(async |mut stream: TcpStream| {
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await.map(|_| ())
        })
        .await
    }
}

/// What is sent on a connection to an echo server comes back.
pub(crate) async fn echoes(connection: &mut TcpStream) {
    connection.write_all(b"are you there?").await.unwrap();
    assert_eq!(read(connection, 14).await, b"are you there?");
}

/// So many bytes, no more and no fewer.
pub(crate) async fn read(from: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let read = timeout(PATIENCE, from.read_exact(&mut bytes)).await;
    read.expect("they come in time").expect("all of them come");
    bytes
}

/// All that comes until the end of file.
pub(crate) async fn rest(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, from.read_to_end(&mut bytes)).await;
    read.expect("the end comes in time").map(|_| bytes)
}

/// The connection ends with a reset, so that nobody takes what came for all.
pub(crate) async fn is_reset(connection: &mut TcpStream) {
    let error = rest(connection).await.expect_err("an end of file");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// Nothing comes for a while, and the connection stays open.
pub(crate) async fn is_silent(connection: &mut TcpStream, time: Duration) {
    let read = timeout(time, connection.read(&mut [0])).await;
    assert!(read.is_err(), "{read:?}");
}

/// A lab with an echo server behind port 7.
pub(crate) async fn echo_lab() -> (Lab, Server) {
    let server = Server::echo().await;
    let instance = Instance::new(INSTANCE).agent(Agent::d().quick()).pace(Pace::off());
    (Lab::new(instance.target(7, server.addr)).await, server)
}
