//! What goes when the client or the server goes.

use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::lab::{Lab, PATIENCE, ended, line};

/// A command that runs for ever, with a helper, both holding a pipe open; gives the reading end
/// once they run.
async fn hold(lab: &Lab, terminal: &str) -> (Child, pipe::Receiver) {
    let pipe = lab.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().await.unwrap().success());
    let reader = pipe::OpenOptions::new().open_receiver(&pipe).unwrap();
    let script = format!("exec 3>'{}'; sleep 1000 & echo ready >&3; sleep 1000", pipe.display());
    // The terminal's hang-up must not be what ends them.
    let script = format!("trap '' HUP; {script}");
    let child = lab.ssh([terminal, "127.0.0.1", &script]).spawn().unwrap();
    let mut reader = BufReader::new(reader);
    assert_eq!(line(&mut reader).await, "ready");
    (child, reader.into_inner())
}

/// The end of the pipe is the end of the last process that held it.
async fn nobody_holds(mut pipe: pipe::Receiver) {
    let mut rest = Vec::new();
    timeout(PATIENCE, pipe.read_to_end(&mut rest)).await.expect("a process stayed").unwrap();
}

#[tokio::test]
async fn children_go_with_their_client() {
    for terminal in ["-T", "-tt"] {
        let lab = Lab::new().await;
        let (mut child, pipe) = hold(&lab, terminal).await;
        assert_eq!((lab.server.processes(), lab.server.connections()), (1, 1));
        child.kill().await.unwrap();
        nobody_holds(pipe).await;
        lab.server.wait_for_connections(0).await;
        assert_eq!(lab.server.processes(), 0);
    }
}

#[tokio::test]
async fn children_go_with_the_server() {
    for terminal in ["-T", "-tt"] {
        let lab = Lab::new().await;
        let (child, pipe) = hold(&lab, terminal).await;
        let Lab { server, folder } = lab;
        let address = server.addr();
        drop(server);
        nobody_holds(pipe).await;
        ended(child).await;
        // The listener goes with its task, at the runtime's next turn.
        let closed = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, closed).await.expect("it still listens");
        drop(folder);
    }
}
