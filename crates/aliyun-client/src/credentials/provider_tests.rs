use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::super::credential_source::SourceKind;
use super::super::fetch::Address;
use super::*;

/// A credentials URI that answers when it is allowed to, and counts.
struct Server {
    port: u16,
    asked: Arc<AtomicUsize>,
    came: Arc<Notify>,
    go: Arc<Notify>,
}

impl Server {
    /// Gives the nth answer to the nth question, and the last one from then on; `None` is HTTP 500.
    async fn new(answers: &[Option<&str>]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, came, go) = (Arc::default(), Arc::<Notify>::default(), Arc::default());
        let server = Self { port, asked, came, go };
        let answers: Vec<_> = answers.iter().map(|answer| answer.map(body)).collect();
        let (asked, came, go) = (server.asked.clone(), server.came.clone(), server.go.clone());
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(socket.read_u8().await.unwrap());
                }
                let number = asked.fetch_add(1, Ordering::SeqCst);
                came.notify_one();
                let (answers, go) = (answers.clone(), Arc::clone(&go));
                tokio::spawn(async move {
                    Notify::notified(&go).await;
                    let (status, body) = match &answers[number.min(answers.len() - 1)] {
                        Some(body) => (200, body.as_str()),
                        None => (500, "hush"),
                    };
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
                    );
                    let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
                });
            }
        });
        server
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn provider(&self) -> Provider {
        let names = vec!["X_CREDENTIALS_URI".to_owned()];
        let source = Source::Variables { mode: "CredentialsURI", names };
        let address = Address::parse(&format!("http://127.0.0.1:{}/", self.port)).unwrap();
        let http = Arc::new(crate::transport::plain_client().unwrap());
        Provider::new(
            CredentialSource::new(source, SourceKind::Uri(address)),
            FetchContext {
                http,
                signature: crate::openapi::SignatureVersion::V3,
                host: Arc::new(()),
            },
        )
    }

    /// A provider that has credentials which end in so many seconds, and are due.
    fn provider_with(&self, id: &str, left: i64) -> Provider {
        let provider = self.provider();
        let now = SystemTime::now();
        let seconds = Duration::from_secs(left.unsigned_abs());
        let until = if left < 0 { now - seconds } else { now + seconds };
        let cached =
            CachedCredentials::taken(keys(id), Some(until), now - Duration::from_secs(3600));
        provider.0.state().cached = Some(cached);
        provider
    }
}

fn keys(id: &str) -> Credentials {
    let source = Source::Variables { mode: "CredentialsURI", names: Vec::new() };
    Credentials::new(id, "hush", Some("hush-token"), source).unwrap()
}

/// An answer with credentials that hold for an hour.
fn body(id: &str) -> String {
    let until = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(3600));
    format!(
        r#"{{"Code": "Success", "AccessKeyId": "{id}", "AccessKeySecret": "hush",
            "SecurityToken": "hush-token", "Expiration": "{until}"}}"#
    )
}

async fn id(provider: &Provider) -> String {
    provider.get().await.unwrap().access_key_id().to_owned()
}

/// Lets everything that can go on go on, the server's side too.
async fn settled(provider: &Provider) {
    let renewal = provider.0.state().renewal.clone();
    if let Some(renewal) = renewal {
        let _ = renewal.await;
    }
}

#[tokio::test]
async fn one_question_is_for_all_that_wait() {
    let server = Server::new(&[Some("a")]).await;
    let provider = server.provider();
    let all = join_all((0..20).map(|_| id(&provider)));
    let answer = async {
        server.came.notified().await;
        server.go.notify_one();
    };
    let (ids, ()) = tokio::join!(all, answer);
    assert!(ids.iter().all(|id| id == "a"));
    assert_eq!(id(&provider).await, "a");
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn one_failure_is_for_all_that_wait_and_the_next_asks_again() {
    let server = Server::new(&[None, Some("a")]).await;
    let provider = server.provider();
    let all = join_all((0..20).map(|_| provider.get()));
    server.go.notify_one();
    for result in all.await {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("HTTP 500"), "{error}");
        assert!(!format!("{error:?}{error}").contains("hush"), "{error:?}");
    }
    assert_eq!(server.asked(), 1);
    server.go.notify_one();
    assert_eq!(id(&provider).await, "a");
}

#[tokio::test]
async fn while_the_old_ones_hold_nobody_waits() {
    let server = Server::new(&[Some("new")]).await;
    let provider = server.provider_with("old", 100);
    for _ in 0..3 {
        assert_eq!(id(&provider).await, "old");
    }
    server.came.notified().await;
    assert_eq!(id(&provider).await, "old", "the answer is still to come");
    server.go.notify_one();
    settled(&provider).await;
    assert_eq!(id(&provider).await, "new");
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn nothing_is_renewed_for_a_last_call_while_the_old_ones_hold() {
    let server = Server::new(&[Some("new")]).await;
    let last = async |provider: &Provider| {
        let credentials = ProvideCredentials::provide_last(provider).await.unwrap();
        credentials.access_key_id().to_owned()
    };
    let provider = server.provider_with("old", 100);
    assert_eq!(last(&provider).await, "old");
    assert!(provider.0.state().renewal.is_none());
    let provider = server.provider_with("old", -1);
    server.go.notify_one();
    assert_eq!(last(&provider).await, "new");
}

#[tokio::test]
async fn what_cannot_be_renewed_is_used_to_its_end_and_not_asked_for_each_time() {
    let server = Server::new(&[None]).await;
    let provider = server.provider_with("old", 100);
    server.go.notify_one();
    assert_eq!(id(&provider).await, "old");
    settled(&provider).await;
    server.go.notify_one();
    for _ in 0..3 {
        assert_eq!(id(&provider).await, "old");
        settled(&provider).await;
    }
    assert_eq!(server.asked(), 1);
    assert!(provider.holds());
    // Once it is over there is nothing to use.
    let provider = server.provider_with("old", -1);
    assert!(!provider.holds());
    server.go.notify_one();
    assert!(provider.get().await.is_err());
}

#[tokio::test]
async fn who_goes_away_does_not_end_it() {
    let server = Server::new(&[Some("a")]).await;
    let provider = server.provider();
    tokio::select! {
        _ = provider.get() => panic!("there is no answer yet"),
        () = server.came.notified() => {}
    }
    server.go.notify_one();
    assert_eq!(id(&provider).await, "a");
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn what_the_service_refuses_is_renewed_once_for_all() {
    let server = Server::new(&[Some("new"), Some("new")]).await;
    let provider = server.provider_with("old", 1000);
    server.go.notify_one();
    let all = join_all((0..20).map(|_| async { provider.renew(&keys("old")).await.unwrap() }));
    for renewed in all.await {
        assert_eq!(renewed.unwrap().access_key_id(), "new");
    }
    assert_eq!(server.asked(), 1);
    let late = provider.renew(&keys("old")).await.unwrap().unwrap();
    assert_eq!((late.access_key_id(), server.asked()), ("new", 1), "it is there already");
    // The source has no others.
    server.go.notify_one();
    assert_eq!(provider.renew(&keys("new")).await.unwrap(), None);
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn what_stands_as_it_is_has_no_others() {
    let http = Arc::new(crate::transport::plain_client().unwrap());
    let signature = crate::openapi::SignatureVersion::V3;
    let context = FetchContext { http, signature, host: Arc::new(()) };
    let provider = Provider::new(CredentialSource::of_keys(keys("a")), context.clone());
    assert_eq!(id(&provider).await, "a");
    assert_eq!(provider.renew(&keys("a")).await.unwrap(), None);
    let over = Some(SystemTime::now() - Duration::from_secs(1));
    let credential_source = CredentialSource::fixed(CachedCredentials::fixed(keys("a"), over));
    let provider = Provider::new(credential_source, context);
    assert!(matches!(*provider.get().await.unwrap_err(), Error::Expired { .. }));
    assert!(!format!("{provider:?}").contains("hush"));
}
