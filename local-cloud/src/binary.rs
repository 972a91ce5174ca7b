//! The command: starts the cloud, prints how it is reached, and waits for a signal.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use local_cloud::LocalCloud;
use tokio::signal::unix::{SignalKind, signal};

use crate::options::Options;

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run() -> ExitCode {
    let options = Options::parse();
    match serve(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("local-cloud: error: {text}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: &Options) -> Result<(), String> {
    let listen = |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let cloud = options.builder().start().await.map_err(|error| options.not_started(&error))?;
    announce(&cloud, options)
        .map_err(|error| format!("cannot write how it is reached: {error}"))?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    cloud.shutdown().await;
    Ok(())
}

/// Lines that a shell can evaluate. They are written at once, for whoever waits for them at the end of a pipe.
fn announce(cloud: &LocalCloud, options: &Options) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "# {} at {}", options.instance, cloud.endpoint())?;
    for (name, value) in cloud.env() {
        writeln!(out, "export {name}='{value}'")?;
    }
    // For an AuthorizedKeysCommand, which puts `&user=%u` behind it.
    let url = cloud.authorized_keys_url(&options.instance);
    writeln!(out, "export LOCAL_CLOUD_AUTHORIZED_KEYS_URL='{url}'")?;
    // For a client that has these apart from the API.
    writeln!(out, "export ECS_BRIDGE_STS_ENDPOINT='{}'", cloud.endpoint())?;
    writeln!(out, "export ECS_BRIDGE_METADATA_URL='{}'", cloud.metadata_url())?;
    writeln!(out, "export LOCAL_CLOUD_CREDENTIALS_URI='{}'", cloud.credentials_uri())?;
    if let (Some(path), Some(pem)) = (&options.ca_file, cloud.ca_pem()) {
        std::fs::write(path, pem)?;
        writeln!(out, "export SSL_CERT_FILE='{}'", path.display())?;
    }
    out.flush()
}
