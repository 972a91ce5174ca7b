//! Tests of `socket`.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

async fn pair() -> (TcpStream, (ReadHalf, WriteHalf)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, tcp(listener.accept().await.unwrap().0))
}

#[tokio::test]
async fn a_reset_is_not_taken_for_an_end_of_file() {
    let (mut client, (reader, mut writer)) = pair().await;
    writer.write_all(b"half of it").await.unwrap();
    let mut buffer = [0; 64];
    assert_eq!(client.read(&mut buffer).await.unwrap(), 10);
    reset(reader, writer);
    let error = client.read(&mut buffer).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// With `--bind` it may be on another machine, which can vanish without a word.
#[tokio::test]
async fn a_silent_client_is_asked_whether_it_is_there() {
    let (_client, (reader, _writer)) = pair().await;
    match reader {
        ReadHalf::Tcp(reader) => {
            assert!(socket2::SockRef::from(reader.as_ref()).keepalive().unwrap());
        }
        #[cfg(unix)]
        ReadHalf::Unix(_) => unreachable!("it is a TCP connection"),
    }
}

/// In a queue it is not worth a session. Unix sockets show it the same way.
#[tokio::test]
async fn a_client_that_closes_before_it_has_said_anything_has_left() {
    let (client, (_reader, mut writer)) = pair().await;
    let soon = timeout(Duration::from_millis(50), writer.left());
    assert!(soon.await.is_err(), "it is there");
    drop(client);
    timeout(Duration::from_secs(5), writer.left()).await.expect("it has left");

    let (mut client, (mut reader, mut writer)) = pair().await;
    client.write_all(b"hello").await.unwrap();
    drop(client);
    let soon = timeout(Duration::from_millis(50), writer.left());
    assert!(soon.await.is_err(), "what it has said is to be carried");
    let mut buffer = [0; 5];
    reader.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"hello", "it is still there");
}

#[cfg(unix)]
#[tokio::test]
async fn a_client_of_a_unix_socket_leaves_too() {
    let (client, ours) = UnixStream::pair().unwrap();
    let (_reader, mut writer) = unix(ours);
    let soon = timeout(Duration::from_millis(50), writer.left());
    assert!(soon.await.is_err(), "it is there");
    drop(client);
    timeout(Duration::from_secs(5), writer.left()).await.expect("it has left");

    let (mut client, ours) = UnixStream::pair().unwrap();
    let (mut reader, mut writer) = unix(ours);
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let soon = timeout(Duration::from_millis(50), writer.left());
    assert!(soon.await.is_err(), "what it has said is to be carried");
    let mut buffer = [0; 5];
    reader.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"hello", "it is still there");
}

#[tokio::test]
async fn a_client_that_resets_is_gone_and_one_at_its_end_of_file_is_not() {
    let (mut client, (_reader, mut writer)) = pair().await;
    client.shutdown().await.unwrap();
    let soon = timeout(Duration::from_millis(50), writer.closed());
    assert!(soon.await.is_err(), "it may still read");
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    timeout(Duration::from_secs(5), writer.closed()).await.expect("it has gone");
}
