//! A proxy of the test's own: HTTP CONNECT or SOCKS5, with a login and faults as the test wants them.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::forward_driver::Server;

/// A name that no name server has; the relay takes it for this machine.
pub(crate) const NAME: &str = "cloud.nosuch.invalid";

/// What it does in place of leading on.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Says this to the request, and closes.
    Say(Vec<u8>),
    /// Says this before it has heard anything, and closes once the other side does.
    Greet(Vec<u8>),
    /// Says nothing.
    Silence,
}

/// What it speaks, and whom it lets through.
#[derive(Clone, Default)]
pub(crate) struct Rules {
    socks: bool,
    tls: Option<TlsAcceptor>,
    login: Option<(&'static str, &'static str)>,
    /// From which connection on, counted from 0.
    fault: Option<(usize, Fault)>,
    stalls: watch::Sender<bool>,
    /// The connections that are closed, counted from 0.
    cut: watch::Sender<Vec<usize>>,
}

impl Rules {
    pub(crate) fn http() -> Self {
        Self::default()
    }

    pub(crate) fn socks() -> Self {
        Self { socks: true, ..Self::default() }
    }

    /// Serves TLS, for localhost, and gives the certificate to trust.
    pub(crate) fn tls(mut self) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        self.tls = Some(TlsAcceptor::from(Arc::new(config)));
        (self, made.cert.pem())
    }

    pub(crate) fn login(mut self, user: &'static str, password: &'static str) -> Self {
        self.login = Some((user, password));
        self
    }

    pub(crate) fn fault(self, fault: Fault) -> Self {
        self.fault_from(0, fault)
    }

    pub(crate) fn fault_from(mut self, first: usize, fault: Fault) -> Self {
        self.fault = Some((first, fault));
        self
    }

    pub(crate) async fn start(self) -> Relay {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let count = Arc::<Mutex<usize>>::default();
        let (kept, counted, rules) = (asked.clone(), count.clone(), self.clone());
        let server = Server::start(move |stream| {
            let number = {
                let mut count = counted.lock().unwrap();
                *count += 1;
                *count - 1
            };
            let (rules, kept) = (rules.clone(), kept.clone());
            async move {
                match rules.tls.clone() {
                    None => rules.serve(stream, number, &kept).await,
                    Some(tls) => rules.serve(tls.accept(stream).await?, number, &kept).await,
                }
            }
        })
        .await;
        Relay { rules: self, asked, count, server }
    }

    async fn serve(
        self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        number: usize,
        asked: &Mutex<Vec<String>>,
    ) -> io::Result<()> {
        let fault =
            self.fault.clone().filter(|(first, _)| number >= *first).map(|(_, fault)| fault);
        match &fault {
            Some(Fault::Greet(words)) => {
                stream.write_all(words).await?;
                stream.read_to_end(&mut Vec::new()).await?;
                return Ok(());
            }
            Some(Fault::Silence) => {
                stream.read_to_end(&mut Vec::new()).await?;
                return Ok(());
            }
            _ => {}
        }
        let say = match fault {
            Some(Fault::Say(words)) => Some(words),
            _ => None,
        };
        let asked_for = match self.socks {
            true => self.hear_socks(&mut stream).await?.map(|target| (target, None)),
            false => self.hear_http(&mut stream).await?,
        };
        let Some((target, request)) = asked_for else { return Ok(()) };
        asked.lock().unwrap().push(target.clone());
        if let Some(words) = say {
            return stream.write_all(&words).await;
        }
        let (host, port) = target.rsplit_once(':').unwrap();
        let address: Option<IpAddr> = match host {
            NAME | "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
            host => host.parse().ok(),
        };
        let upstream = match address {
            Some(address) => TcpStream::connect((address, port.parse::<u16>().unwrap())).await.ok(),
            None => None,
        };
        let (yes, no): (&[u8], &[u8]) = match self.socks {
            true => (b"\x05\x00\x00\x01\0\0\0\0\0\0", b"\x05\x04\x00\x01\0\0\0\0\0\0"),
            false => (
                b"HTTP/1.1 200 Connection established\r\nVia: 1.1 relay\r\n\r\n",
                b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
            ),
        };
        let Some(upstream) = upstream else { return stream.write_all(no).await };
        let (mut near, mut far) = (tokio::io::split(stream), upstream.into_split());
        match request {
            Some(request) => far.1.write_all(&request).await?,
            None => near.1.write_all(yes).await?,
        }
        let up = pass(near.0, far.1, self.stalls.subscribe());
        let down = pass(far.0, near.1, self.stalls.subscribe());
        let mut cut = self.cut.subscribe();
        tokio::select! {
            passed = async { tokio::try_join!(up, down) } => passed.map(|_| ()),
            _ = cut.wait_for(|cut| cut.contains(&number)) => Ok(()),
        }
    }

    /// The target of a CONNECT, or of a request for an `http://` URL and that request's head; `None` if
    /// it was refused for its login.
    async fn hear_http(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> io::Result<Option<(String, Option<Vec<u8>>)>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let (method, rest) = head.split_once(' ').unwrap();
        let asked = rest.split(' ').next().unwrap();
        let (target, request) = match asked.strip_prefix("http://") {
            Some(url) => (url.split('/').next().unwrap(), Some(head.clone().into_bytes())),
            None if method == "CONNECT" => (asked, None),
            None => panic!("neither a CONNECT nor for a URL: {head}"),
        };
        let target = target.to_owned();
        if let Some((user, password)) = self.login {
            let login = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"));
            let line = format!("proxy-authorization: basic {login}\r\n").to_ascii_lowercase();
            if !head.to_ascii_lowercase().contains(&line) {
                let no = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                          Proxy-Authenticate: Basic realm=\"relay\"\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(no.as_bytes()).await?;
                return Ok(None);
            }
        }
        Ok(Some((target, request)))
    }

    /// The target of a SOCKS5 CONNECT (RFC 1928, 1929); `None` if it was refused for its login.
    async fn hear_socks(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> io::Result<Option<String>> {
        async fn some(stream: &mut (impl AsyncRead + Unpin), count: usize) -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; count];
            stream.read_exact(&mut bytes).await?;
            Ok(bytes)
        }
        assert_eq!(stream.read_u8().await?, 5);
        let count = stream.read_u8().await?;
        let methods = some(stream, count.into()).await?;
        let wanted = if self.login.is_some() { 2 } else { 0 };
        if !methods.contains(&wanted) {
            stream.write_all(&[5, 0xff]).await?;
            return Ok(None);
        }
        stream.write_all(&[5, wanted]).await?;
        if let Some((user, password)) = self.login {
            assert_eq!(stream.read_u8().await?, 1);
            let count = stream.read_u8().await?;
            let is_user = some(stream, count.into()).await? == user.as_bytes();
            let count = stream.read_u8().await?;
            let is_password = some(stream, count.into()).await? == password.as_bytes();
            stream.write_all(&[1, u8::from(!(is_user && is_password))]).await?;
            if !(is_user && is_password) {
                return Ok(None);
            }
        }
        assert_eq!(some(stream, 3).await?, [5, 1, 0]);
        let host = match stream.read_u8().await? {
            1 => Ipv4Addr::from(stream.read_u32().await?).to_string(),
            3 => {
                let count = stream.read_u8().await?;
                String::from_utf8(some(stream, count.into()).await?).unwrap()
            }
            4 => panic!("nothing here has IPv6"),
            other => panic!("an address of kind {other}"),
        };
        Ok(Some(format!("{host}:{}", stream.read_u16().await?)))
    }
}

/// Passes one direction on, while nothing stalls: then all that has come meanwhile at once.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut stalls: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        let count = from.read(&mut buffer).await?;
        if stalls.wait_for(|stalls| !stalls).await.is_err() {
            return Ok(());
        }
        match count {
            0 => return to.shutdown().await,
            count => to.write_all(&buffer[..count]).await?,
        }
        to.flush().await?;
    }
}

/// A running proxy.
pub(crate) struct Relay {
    rules: Rules,
    asked: Arc<Mutex<Vec<String>>>,
    count: Arc<Mutex<usize>>,
    server: Server,
}

impl Relay {
    /// Its URL for a scheme, with its login if it wants one.
    pub(crate) fn url(&self, scheme: &str) -> String {
        let encode = |text: &str| text.replace('%', "%25").replace('@', "%40").replace('/', "%2F");
        match self.rules.login {
            Some((user, password)) => {
                self.url_with(scheme, &format!("{}:{}@", encode(user), encode(password)))
            }
            None => self.url_with(scheme, ""),
        }
    }

    /// Its URL with another login.
    pub(crate) fn url_with(&self, scheme: &str, login: &str) -> String {
        format!("{scheme}://{login}{}", self.place())
    }

    /// Its host and port, as messages show it.
    pub(crate) fn place(&self) -> String {
        format!("localhost:{}", self.server.addr.port())
    }

    /// From now on nothing passes, or everything again.
    pub(crate) fn stall(&self, stalls: bool) {
        self.rules.stalls.send_replace(stalls);
    }

    /// Closes a connection, counted from 0.
    pub(crate) fn cut(&self, number: usize) {
        self.rules.cut.send_modify(|cut| cut.push(number));
    }

    /// The targets that were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// How many connections came.
    pub(crate) fn connections(&self) -> usize {
        *self.count.lock().unwrap()
    }
}
