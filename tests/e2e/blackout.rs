//! Connections to the API that are kept, and that something on the way has forgotten.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use local_cloud::{Agent, Instance};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::forward_driver::{Forward, Server};
use crate::lab::{Lab, QUIET_PORT};
use crate::world::INSTANCE;

/// Passes connections on. Those that came before a blackout take everything, and nothing comes out at
/// the other end, as where a NAT has forgotten them.
struct Nat {
    server: Server,
    count: Arc<AtomicUsize>,
    black_before: Arc<AtomicUsize>,
}

impl Nat {
    async fn to(upstream: std::net::SocketAddr) -> Self {
        let (count, black_before) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (counted, black) = (count.clone(), black_before.clone());
        let server = Server::start(move |stream| {
            let (number, black) = (counted.fetch_add(1, Ordering::SeqCst), black.clone());
            async move {
                let upstream = TcpStream::connect(upstream).await?;
                let (near, far) = (stream.into_split(), upstream.into_split());
                let is_black = || number < black.load(Ordering::SeqCst);
                tokio::try_join!(pass(near.0, far.1, is_black), pass(far.0, near.1, is_black))?;
                Ok(())
            }
        })
        .await;
        Self { server, count, black_before }
    }

    fn connections(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn black_out(&self) {
        self.black_before.store(self.connections(), Ordering::SeqCst);
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    is_black: impl Fn() -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        match from.read(&mut buffer).await? {
            _ if is_black() => {}
            0 => return to.shutdown().await,
            count => to.write_all(&buffer[..count]).await?,
        }
    }
}

#[tokio::test]
async fn kept_connections_to_the_api_that_went_black_are_replaced() {
    let lab = Lab::new(Instance::new(INSTANCE).agent(Agent::d().quick())).await;
    let nat = Nat::to(lab.cloud.addr()).await;
    let leads = format!("0:localhost:{QUIET_PORT}");
    let mut command = lab.bridge(["-v", "forward", "--json", "-i", INSTANCE, "--no-probe"]);
    command.args(["-L", &leads, "--grace", "0"]);
    command.env("ALIBABA_CLOUD_ENDPOINT", format!("http://{}", nat.server.addr));
    let mut forward = Forward::run(&mut command);
    // Two sessions at once have a connection each, and leave both behind.
    let mut clients = vec![forward.connect().await, forward.connect().await];
    forward.all(2, "opened").await;
    let before = nat.connections();
    assert!(before > 0, "the API is called through it");
    nat.black_out();
    clients.push(forward.connect().await);
    let opened = forward.told(3, "opened").await;
    assert!(nat.connections() > before, "over a new connection: {opened}");
    let over = forward.stop("TERM").await;
    assert_eq!(over.all("error").len(), 0, "{:?}", over.events);
    lab.all_ended().await;
}
