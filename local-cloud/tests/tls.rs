//! TLS: one port for the API and the gateway, certificates right and wrong.
#![allow(clippy::unwrap_used, reason = "clippy lets it pass in tests, but not in their helpers")]

mod support;

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
};

use local_cloud::{Agent, Instance, LocalCloud, Tls};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use support::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{client_async, tungstenite::client::IntoClientRequest as _};

async fn connect(cloud: &LocalCloud) -> std::io::Result<TlsStream<TcpStream>> {
    connect_to(cloud, "localhost").await
}

async fn connect_to(cloud: &LocalCloud, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
    connect_trusting(cloud.ca_pem().unwrap(), cloud.addr(), name).await
}

async fn connect_trusting(
    pem: &str,
    addr: SocketAddr,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(addr).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
}

async fn cloud(tls: Tls) -> LocalCloud {
    let instance = Instance::new("i-a").agent(Agent::d().quick());
    let instance = instance.target(22, greeter().await);
    LocalCloud::builder().instance(instance).tls(tls).start().await.unwrap()
}

#[tokio::test]
async fn the_api_and_a_session_over_tls() {
    let cloud = cloud(Tls::Trusted).await;
    assert_eq!(cloud.endpoint(), format!("https://localhost:{}", cloud.addr().port()));
    let mut tls = connect(&cloud).await.unwrap();
    let params = [("InstanceId.1", "i-a"), ("PortNumber", "22")];
    tls.write_all(Call::new("StartTerminalSession", &params).v3().as_bytes()).await.unwrap();
    let mut answer = String::new();
    // The server ends the connection without close_notify, which rustls reports.
    let _ = soon(tls.read_to_string(&mut answer)).await;
    let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    let started = started(&Answer { status: 200, head: String::new(), body });
    let base = format!("wss://localhost:{}/session?", cloud.addr().port());
    assert!(started.url.starts_with(&base), "{}", started.url);

    let url = started.url.replace("sessionid", "sessionId");
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("x-acs-session-token", "".parse().unwrap());
    let tls = connect(&cloud).await.unwrap();
    let (_ws, response) = soon(client_async(request, tls)).await.unwrap();
    assert_eq!(response.status(), 101);
    cloud.wait_for_session(|s| s.output_bytes == 8, SOON).await.unwrap();
}

#[tokio::test]
async fn certificates_that_no_client_may_take() {
    for (tls, wanted) in [
        (Tls::WrongName, "not valid for name"),
        (Tls::UntrustedCa, "UnknownIssuer"),
        (Tls::Expired, "expired"),
    ] {
        let error = connect(&cloud(tls).await).await.unwrap_err().to_string();
        assert!(error.contains(wanted), "{tls:?}: {error}");
    }
}

#[tokio::test]
async fn the_certificate_is_for_more_names() {
    let name = "ecs.cn-hangzhou.aliyuncs.com";
    let builder = LocalCloud::builder().tls(Tls::Trusted).tls_name(name);
    let cloud = builder.start().await.unwrap();
    assert!(connect_to(&cloud, name).await.is_ok());
    assert!(connect(&cloud).await.is_ok());
    assert!(connect_to(&cloud, "ecs.cn-beijing.aliyuncs.com").await.is_err());
}

/// The program itself, as a client that knows only the service's names is led to it; and Compute Nest, in one call.
#[tokio::test]
async fn the_program_serves_more_names_and_a_service_instance() {
    let name = "ecs.cn-hangzhou.aliyuncs.com";
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let mut child = Command::new(env!("CARGO_BIN_EXE_local-cloud"))
        .args(["--instance", "i-a", "--service-instance", "si-a", "--tls-names"])
        .arg(format!("other.example,{name}"))
        .arg("--ca-file")
        .arg(&ca)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The file is there once all is said.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let first = lines.next().unwrap();
    assert!(lines.any(|line| line.contains("ca.pem")));
    let port = first.rsplit(':').next().unwrap().parse().unwrap();
    let (pem, addr) =
        (std::fs::read_to_string(ca).unwrap(), SocketAddr::from(([127, 0, 0, 1], port)));
    for name in ["localhost", "other.example"] {
        assert!(connect_trusting(&pem, addr, name).await.is_ok(), "{name}");
    }
    let mut tls = connect_trusting(&pem, addr, name).await.unwrap();
    let mut call = Call::new(
        "InvokeServiceInstanceOperationAPI",
        &[
            ("ServiceInstanceId", "si-a"),
            ("OperationProduct", "ecs"),
            ("OperationAction", "StartTerminalSession"),
            ("OperationVersion", "2014-05-26"),
            ("OperationParameters", r#"{"RegionId": "cn-hangzhou", "InstanceId": ["i-a"]}"#),
        ],
    );
    call.version = "2021-05-21";
    tls.write_all(call.v3().as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = soon(tls.read_to_string(&mut answer)).await;
    assert!(answer.contains("OperationResults"), "{answer}");
    child.kill().unwrap();
    child.wait().unwrap();
}
