//! TCP through the connection: `-L` and `-D` (direct), `-R` (listening here). Loopback only.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use bytes::BytesMut;
use russh::server::{ChannelOpenHandle, Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelOpenFailure, ChannelReadHalf};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What is read at once before it becomes packets.
pub(super) const CHUNK: usize = 32 * 1024;

/// Answers a request to connect from here, and carries it.
pub(super) async fn direct(
    channel: Channel<Msg>,
    reply: ChannelOpenHandle,
    host: String,
    port: u32,
) {
    match connect(&host, port).await {
        Ok(stream) => {
            reply.accept().await;
            splice(channel, stream).await;
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        }
        Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
    }
}

async fn connect(host: &str, port: u32) -> io::Result<TcpStream> {
    let port = u16::try_from(port).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut outcome = Err(io::ErrorKind::NotFound.into());
    for address in tokio::net::lookup_host((host, port)).await? {
        if !address.ip().is_loopback() {
            outcome = Err(io::ErrorKind::PermissionDenied.into());
            continue;
        }
        outcome = TcpStream::connect(address).await;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Opens the listener of a remote forwarding, whatever address was asked for on loopback.
pub(super) async fn listen(address: &str, port: u32) -> Option<(TcpListener, u32)> {
    let ip = match address {
        "" | "*" | "localhost" => IpAddr::from(Ipv4Addr::LOCALHOST),
        other => other.parse().ok().filter(IpAddr::is_loopback)?,
    };
    let listener = TcpListener::bind((ip, u16::try_from(port).ok()?)).await.ok()?;
    let bound = listener.local_addr().ok()?.port();
    Some((listener, bound.into()))
}

/// Offers each connection to the listener to the client.
pub(super) async fn accept(listener: TcpListener, address: String, port: u32, handle: Handle) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, peer)) = accepted else { return };
                let (handle, address) = (handle.clone(), address.clone());
                connections.spawn(async move {
                    let from = peer.ip().to_string();
                    let opened = handle
                        .channel_open_forwarded_tcpip(address, port, from, peer.port().into())
                        .await;
                    if let Ok(channel) = opened {
                        splice(channel, stream).await;
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries both directions until both have ended; the end of one does not end the other.
async fn splice(channel: Channel<Msg>, mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let (mut incoming, outgoing) = channel.split();
    let (mut from_target, to_target) = stream.split();
    let download = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            match from_target.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => outgoing.data_bytes(buffer.split().freeze()).await?,
            }
        }
        outgoing.eof().await
    };
    tokio::pin!(download);
    let mut upload = Box::pin(feed(&mut incoming, to_target));
    let ended = tokio::select! {
        fed = &mut upload => Some(fed),
        _ = &mut download => None,
    };
    match ended {
        None => {
            upload.await;
        }
        Some(Fed::Eof) => {
            let _ = download.await;
        }
        Some(Fed::Broken) => {
            // A target that takes no more may still have an answer on its way.
            drop(upload);
            tokio::select! {
                _ = &mut download => {}
                () = discard(&mut incoming) => {}
            }
        }
        Some(Fed::Closed) => {}
    }
    let _ = outgoing.close().await;
}

/// How the client's direction of a channel ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// The client sent all it had, and the target has it.
    Eof,
    /// The target takes no more.
    Broken,
    /// The client closed the channel, or is gone.
    Closed,
}

/// Writes what the client sends to the target, and shuts it down after the last byte.
pub(super) async fn feed(
    incoming: &mut ChannelReadHalf,
    mut target: impl AsyncWrite + Unpin,
) -> Fed {
    while let Some(message) = incoming.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                let written = async {
                    target.write_all(&data).await?;
                    target.flush().await
                };
                if written.await.is_err() {
                    return Fed::Broken;
                }
            }
            ChannelMsg::Eof => {
                let _ = target.shutdown().await;
                return Fed::Eof;
            }
            ChannelMsg::Close => return Fed::Closed,
            _ => {}
        }
    }
    Fed::Closed
}

/// Discards input until the client closes the channel, so that it holds up no other.
pub(super) async fn discard(incoming: &mut ChannelReadHalf) {
    while let Some(message) = incoming.wait().await {
        if matches!(message, ChannelMsg::Close) {
            return;
        }
    }
}
