//! The handshake with a proxy, until it has connected to the target.
//!
//! It is hyper-util's, which reads 8 KiB of an answer at most. It has one error for all refusals, so the
//! bytes of the proxy are kept beside it, to report the cause.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;

use super::fault::FaultKind;
use super::server::{Login, Proxy, scrub};
use aliyun_client::endpoint::authority;
use aliyun_client::text::printable;

/// The most bytes of a proxy that are kept: as many as are read.
const MAX_RECEIVED: usize = 8 * 1024;

/// Lets the proxy at the other end of `io` connect to `host`, a name or an address.
///
/// # Errors
/// Every answer of the proxy but success. There is no time-out here.
pub(crate) async fn tunnel<T>(proxy: &Proxy, io: T, host: &str, port: u16) -> Result<T, FaultKind>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let target = format!("http://{}/", authority(host, port));
    let target: Uri = target.parse().map_err(|_| FaultKind::Target)?;
    let received = ReceivedBytes::default();
    let take_received =
        || std::mem::take(&mut *received.lock().unwrap_or_else(PoisonError::into_inner));
    let io = Given(Some(TokioIo::new(Tapped { io, received: received.clone() })));
    // Where the proxy is plays no part any more: it is connected to.
    let unused = Uri::from_static("http://proxy.invalid/");
    let login = proxy.login.as_ref();
    let tunnelled = if proxy.scheme.is_http() {
        let mut tunnel = Tunnel::new(unused, io);
        if let Some(login) = login {
            tunnel = tunnel.with_auth(basic(login));
        }
        tunnel.call(target).await.map_err(|_| of_http(&take_received(), login))
    } else {
        let mut socks = SocksV5::new(unused, io);
        if let Some(Login { user, password }) = login {
            let text = |secret: &SecretString| secret.expose_secret().to_owned();
            socks = socks.with_auth(text(user), text(password));
        }
        socks.call(target).await.map_err(|_| of_socks(&take_received(), login.is_some()))
    };
    tunnelled.map(|tapped| tapped.into_inner().io)
}

fn basic(login: &Login) -> HeaderValue {
    let login = format!("{}:{}", login.user.expose_secret(), login.password.expose_secret());
    let value = format!("Basic {}", BASE64_STANDARD.encode(login));
    let mut value = HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// Why an HTTP proxy did not connect, from all that it sent.
fn of_http(received: &[u8], login: Option<&Login>) -> FaultKind {
    if received.is_empty() {
        return FaultKind::Closed;
    }
    let text = scrub(&String::from_utf8_lossy(received), login);
    let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.strip_prefix("HTTP/1.").and_then(|rest| rest.split_once(' '));
    let code = status.and_then(|(_, status)| status.get(..3)?.parse::<u16>().ok());
    let (Some((_, status)), Some(code)) = (status, code) else {
        return of_no_proxy(text.as_bytes(), "HTTP");
    };
    let is_whole = text.contains("\r\n\r\n") || text.contains("\n\n");
    match code {
        _ if !is_whole && received.len() < MAX_RECEIVED => FaultKind::Closed,
        407 => {
            let offers = lines.filter_map(|line| {
                let (name, value) = line.split_once(':')?;
                let kind = value.split_whitespace().next()?;
                name.eq_ignore_ascii_case("proxy-authenticate").then(|| short(kind, 20))
            });
            let offers: Vec<_> = offers.collect();
            let takes_basic = offers.iter().any(|kind| kind.eq_ignore_ascii_case("basic"));
            match offers.is_empty() || takes_basic {
                true => FaultKind::Login { given: login.is_some() },
                false => FaultKind::OtherLogin { kinds: offers.join(", ") },
            }
        }
        // hyper-util takes 200 alone for success.
        200 => {
            FaultKind::NotAProxy { speaks: "HTTP", said: "an answer that has no end".to_owned() }
        }
        code => FaultKind::Refused { code, status: short(status, 80) },
    }
}

/// Why a SOCKS proxy did not connect, from all that it sent (RFC 1928, 1929).
fn of_socks(received: &[u8], has_login: bool) -> FaultKind {
    const VERSION: u8 = 5;
    const NOTHING_FITS: u8 = 0xff;
    match *received {
        [] => FaultKind::Closed,
        [version, ..] if version != VERSION => of_no_proxy(received, "SOCKS5"),
        [_] => FaultKind::Closed,
        [_, NOTHING_FITS, ..] if has_login => FaultKind::NoLogin,
        [_, NOTHING_FITS, ..] => FaultKind::Login { given: false },
        // A method that was not offered.
        [_, method, ..] if method != if has_login { 2 } else { 0 } => match method {
            0 => FaultKind::NoLogin,
            2 => FaultKind::Login { given: false },
            method => FaultKind::OtherLogin { kinds: format!("method {method}") },
        },
        [_, 2, _, granted, ..] if granted != 0 => FaultKind::Login { given: true },
        [_, 2, _, 0, _, code, ..] | [_, 0, _, code, ..] if code != 0 => FaultKind::Socks { code },
        _ => FaultKind::Closed,
    }
}

/// What answers is something else.
fn of_no_proxy(received: &[u8], speaks: &'static str) -> FaultKind {
    let said = match received {
        // An alert, which is how a TLS server answers to what is none.
        [0x15, 3, ..] => "TLS: write https:// for a proxy that is spoken to over TLS".to_owned(),
        [0 | 5, ..] if speaks == "HTTP" && received.len() < 16 => {
            "SOCKS: write socks5h://".to_owned()
        }
        received => {
            let line = received.split(|byte| *byte == b'\n').next().unwrap_or_default();
            format!("'{}'", short(&String::from_utf8_lossy(line), 60))
        }
    };
    FaultKind::NotAProxy { speaks, said }
}

/// The beginning of a proxy's answer, safe for a message.
fn short(text: &str, most: usize) -> String {
    let is_odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
    let text: String = text.trim().chars().take(most).collect();
    printable(&text.replace(is_odd, "?"))
}

/// The bytes that a proxy has sent so far.
type ReceivedBytes = Arc<Mutex<Vec<u8>>>;

/// A connection, and what is read from it.
struct Tapped<T> {
    io: T,
    received: ReceivedBytes,
}

impl<T: AsyncRead + Unpin> AsyncRead for Tapped<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_RECEIVED.saturating_sub(received.len());
        let bytes = &buf.filled()[before..];
        received.extend_from_slice(&bytes[..bytes.len().min(room)]);
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tapped<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A connection that is there, for a library that wants to make one.
struct Given<T>(Option<TokioIo<Tapped<T>>>);

impl<T> Service<Uri> for Given<T> {
    type Response = TokioIo<Tapped<T>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().ok_or_else(|| io::Error::other("there is one connection")))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::super::server::Origin;
    use super::super::url;
    use super::*;

    /// What comes of an answer, or of several, each to one message of this side; and what was said.
    async fn answered(
        proxy: &str,
        answers: &[&[u8]],
    ) -> (Result<DuplexStream, FaultKind>, Vec<u8>) {
        let proxy = url::parse(proxy, Origin::Flag).unwrap();
        let (near, mut far) = duplex(32 * 1024);
        let server = async {
            let mut said = Vec::new();
            for answer in answers {
                let mut buf = [0; 1024];
                let count = far.read(&mut buf).await.unwrap();
                said.extend_from_slice(&buf[..count]);
                let _ = far.write_all(answer).await;
            }
            // What is kept open is not read to its end.
            drop(far);
            said
        };
        tokio::join!(tunnel(&proxy, near, "host.example", 443), server)
    }

    async fn fault(proxy: &str, answers: &[&[u8]]) -> FaultKind {
        answered(proxy, answers).await.0.err().unwrap_or_else(|| panic!("{answers:?} is a yes"))
    }

    #[tokio::test]
    async fn http_is_spoken_as_it_should_be() {
        let yes: &[u8] = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
        let (io, said) = answered("p", &[yes]).await;
        assert!(io.is_ok());
        let said = String::from_utf8(said).unwrap();
        assert_eq!(said, "CONNECT host.example:443 HTTP/1.1\r\nHost: host.example:443\r\n\r\n");
        let (io, said) = answered("u:p%3Aw@p", &[yes]).await;
        assert!(io.is_ok());
        let login = format!("Basic {}", BASE64_STANDARD.encode("u:p:w"));
        assert!(String::from_utf8(said).unwrap().contains(&login));
    }

    #[tokio::test]
    async fn refusals_of_http_are_told_apart() {
        let refused = |code, status: &str| FaultKind::Refused { code, status: status.to_owned() };
        let (near, login) = ("p", "u:w@p");
        let basic = b"HTTP/1.1 407 Auth\r\nProxy-authenticate: Basic realm=\"x\"\r\n\r\n";
        let ntlm = b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: NTLM\r\n\
                     Proxy-Authenticate: Negotiate\r\n\r\n";
        let other = FaultKind::OtherLogin { kinds: "NTLM, Negotiate".to_owned() };
        for (proxy, answer, expected) in [
            (near, &basic[..], FaultKind::Login { given: false }),
            (login, basic, FaultKind::Login { given: true }),
            (login, ntlm, other),
            (near, b"HTTP/1.1 407 Auth\r\n\r\n", FaultKind::Login { given: false }),
            (near, b"HTTP/1.1 403 Forbidden\r\n\r\n", refused(403, "403 Forbidden")),
            (
                near,
                b"HTTP/1.0 502 Bad\x1b[31m Gate\xff\r\n\r\n",
                refused(502, "502 Bad?[31m Gate?"),
            ),
            (near, b"HTTP/1.1 204\r\n\r\n", refused(204, "204")),
            (near, b"", FaultKind::Closed),
            (near, b"HTTP/1.1 200 OK\r\nVia:", FaultKind::Closed),
        ] {
            let shown = String::from_utf8_lossy(answer).into_owned();
            assert_eq!(fault(proxy, &[answer]).await, expected, "{shown}");
        }
        let endless = [&b"HTTP/1.1 200 OK\r\nX: "[..], &[b'x'; 9000]].concat();
        for (answer, part) in [
            (&b"SSH-2.0-OpenSSH\r\n"[..], "'SSH-2.0-OpenSSH'"),
            (b"\x15\x03\x01\x00\x02\x02\x16", "https://"),
            (b"\x05\xff", "socks5h://"),
            (b"HTTP/1.1 2x0 OK\r\n\r\n", "'HTTP/1.1 2x0 OK'"),
            (&endless, "no end"),
        ] {
            let FaultKind::NotAProxy { said, .. } = fault(near, &[answer]).await else {
                panic!("{part}: it is taken for a proxy");
            };
            assert!(said.contains(part), "{said}");
        }
    }

    #[tokio::test]
    async fn socks_is_spoken_as_it_should_be() {
        let yes = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50";
        let (io, said) = answered("socks5h://p", &[b"\x05\x00", yes]).await;
        assert!(io.is_ok());
        assert_eq!(said, b"\x05\x01\x00\x05\x01\x00\x03\x0chost.example\x01\xbb");
        let (io, said) = answered("socks5h://u:pw@p", &[b"\x05\x02", b"\x01\x00", yes]).await;
        assert!(io.is_ok());
        assert!(said.starts_with(b"\x05\x01\x02\x01\x01u\x02pw\x05"));
    }

    #[tokio::test]
    async fn refusals_of_socks_are_told_apart() {
        let (near, login) = ("socks5h://p", "socks5h://u:w@p");
        let code = |code| FaultKind::Socks { code };
        let rest = b"\x00\x01\x00\x00\x00\x00\x00\x00";
        let refusal = |code: u8| [&[5, code][..], rest].concat();
        let (four, odd) = (refusal(4), refusal(99));
        let other = FaultKind::OtherLogin { kinds: "method 1".to_owned() };
        for (proxy, answers, expected) in [
            (near, &[&b"\x05\x00"[..], &four][..], code(4)),
            (near, &[b"\x05\x00", &odd], code(99)),
            (login, &[b"\x05\x02", b"\x01\x00", &four], code(4)),
            (near, &[b"\x05\xff"], FaultKind::Login { given: false }),
            (near, &[b"\x05\x02"], FaultKind::Login { given: false }),
            (near, &[b"\x05\x01"], other),
            (login, &[b"\x05\xff"], FaultKind::NoLogin),
            (login, &[b"\x05\x02", b"\x01\x01"], FaultKind::Login { given: true }),
            (near, &[b""], FaultKind::Closed),
            (near, &[b"\x05"], FaultKind::Closed),
            (near, &[b"\x05\x00", b""], FaultKind::Closed),
            (near, &[b"\x05\x00", b"\x05\x00\x00"], FaultKind::Closed),
        ] {
            assert_eq!(fault(proxy, answers).await, expected, "{answers:?}");
        }
        let FaultKind::NotAProxy { said, .. } = fault(near, &[b"HTTP/1.1 400 Bad\r\n\r\n"]).await
        else {
            panic!("HTTP is taken for SOCKS");
        };
        assert_eq!(said, "'HTTP/1.1 400 Bad'");
    }
}
