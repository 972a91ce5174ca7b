//! Which certificates are believed, by the API and the gateway alike.
//!
//! That the gateway's alone is not is among the failures of `failing_session`.

use local_cloud::{Agent, Instance, LocalCloud, Tls};
use tokio::io::AsyncWriteExt;

use crate::case::{Case, run_all};
use crate::lab::{Bridge, Lab};
use crate::world::INSTANCE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_does_not_hold_is_told() {
    let with_ca = |name, tls| {
        let case = Case::new(name).cloud(move |cloud| cloud.tls(tls));
        let write = |lab: &Lab| {
            std::fs::write(lab.dir.path().join("ca.pem"), lab.cloud.ca_pem().unwrap()).unwrap();
        };
        // Nothing that needs a signature is sent to a server like that.
        case.prepare(write).args(&["--ca-file", "DIR/ca.pem"]).calls("StartTerminalSession", 0)
    };
    run_all(vec![
        with_ca("not trusted", Tls::UntrustedCa).fails(
            7,
            "the server's certificate is not trusted",
            "its issuer is not among the certificates of this machine",
            "--ca-file",
        ),
        with_ca("for another name", Tls::WrongName).fails(
            7,
            "the server's certificate is for another name",
            "it is for gateway.example",
            "--endpoint",
        ),
        with_ca("expired", Tls::Expired).fails(
            7,
            "the server's certificate has expired",
            "not within the certificate's dates",
            "this machine's clock",
        ),
        Case::new("trusted by nobody but itself")
            .cloud(|cloud| cloud.tls(Tls::Trusted))
            .calls("StartTerminalSession", 0)
            .fails(7, "the server's certificate is not trusted", "its issuer", "--ca-file"),
        Case::new("no TLS where it is due")
            .prepare(|lab| {
                let https = lab.cloud.endpoint().replace("http://", "https://");
                std::fs::write(lab.dir.path().join("c.json"), profile(&https)).unwrap();
            })
            .args(&["-q", "--config", "DIR/c.json", "--profile", "p"])
            .without_endpoint()
            .fails(7, "the server does not speak TLS", "an unencrypted service", "its port"),
    ])
    .await;
}

fn profile(endpoint: &str) -> String {
    format!(
        r#"{{"profiles": [{{"name": "p", "mode": "AK", "access_key_id": "testid",
            "access_key_secret": "testsecret", "endpoint": "{endpoint}"}}]}}"#
    )
}

#[tokio::test]
async fn a_certificate_given_by_hand_is_trusted_by_the_api_and_the_gateway() {
    for by_variable in [false, true] {
        let instance = Instance::new(INSTANCE).agent(Agent::d().quick());
        let lab = Lab::with(LocalCloud::builder().tls(Tls::Trusted), instance).await;
        assert!(lab.cloud.endpoint().starts_with("https://"));
        let ca = lab.dir.path().join("ca.pem");
        std::fs::write(&ca, lab.cloud.ca_pem().unwrap()).unwrap();
        let mut command = lab.bridge(["proxy", INSTANCE]);
        match by_variable {
            true => command.env("SSL_CERT_FILE", ca),
            false => command.arg("--ca-file").arg(ca),
        };
        let mut bridge = Bridge::start(&mut command);
        let mut target = lab.accept().await;
        target.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        bridge.expect(b"SSH-2.0-x\r\n").await;
        drop(target);
        bridge.end().await.well(b"");
        lab.all_ended().await;
    }
}
