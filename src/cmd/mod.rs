//! One file a subcommand, and what they share: from the command line to a client of the API.

mod command;
mod forward;
mod known_hosts;
mod proxy;
mod register;
mod send_key;
mod session;

use std::cell::RefCell;
use std::env;
use std::io::Write as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use crate::cache::{Cache, Topic};
use crate::cli::{Cli, Command, Global, Signature};
use crate::cloud::{Client, Config, Endpoint, EndpointType, Region, SignatureVersion};
use crate::credentials::{self, Query, Resolved, Source};
use crate::explain::{ExitCode, Explain, Report};
use crate::logging;
use crate::net::Net;
use crate::proxy::Proxies;
use crate::shutdown::{Signal, outlive_file_limits};
use crate::tls::Tls;
use crate::tunnel::dial::Place;

/// Whatever went wrong, it can be explained.
type Result<T> = std::result::Result<T, Box<dyn Explain>>;

impl<E: Explain + 'static> From<E> for Box<dyn Explain> {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}

/// How a command ended, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// As it ought to.
    Normally,
    /// A signal asked for it.
    By(Signal),
    /// With the exit code of the program that it was for.
    Code(u8),
}

/// Runs a command and gives the exit code of the process. Failures are told on stderr.
pub fn run(cli: &Cli) -> u8 {
    match start(cli) {
        Ok(Done::Normally) => ExitCode::Ok as u8,
        Ok(Done::By(signal)) => signal.exit_code(),
        Ok(Done::Code(code)) => code,
        Err(error) => {
            let report = Report::new(&*error);
            logging::tell(&report);
            report.exit_code() as u8
        }
    }
}

fn start(cli: &Cli) -> Result<Done> {
    let global = &cli.global;
    logging::init(global.verbose, global.quiet, global.log_file.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Plain(format!("cannot start the event loop: {error}")))?;
    let done = runtime.block_on(async {
        outlive_file_limits();
        match &cli.command {
            Command::Proxy(args) => proxy::run(global, args).await,
            Command::Forward(args) => forward::run(global, args).await,
            Command::SendKey(args) => send_key::run(global, args).await,
            Command::KnownHosts(args) => known_hosts::run(global, args).await,
        }
    });
    // A thread that still waits for the terminal or for a name look-up is not waited for.
    runtime.shutdown_background();
    done
}

/// An error that its one sentence says all about.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Plain(String);

impl Explain for Plain {}

/// A mistake in what the user asked for, with the way to ask for it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Mistake {
    what: String,
    remedy: String,
    exit_code: ExitCode,
}

impl Explain for Mistake {
    fn remedy(&self) -> Option<String> {
        Some(self.remedy.clone())
    }

    fn exit_code(&self) -> ExitCode {
        self.exit_code
    }
}

/// The API, and connections as the API and the gateway both have them.
#[derive(Clone)]
struct Cloud {
    client: Client,
    net: Net,
    /// Where the last gateway was. All of a region's sessions have the same one.
    gateway: Rc<RefCell<Option<Place>>>,
}

impl Cloud {
    /// Finds credentials, region and endpoint. Nothing is sent.
    fn open(global: &Global) -> Result<Self> {
        let proxies = Proxies::new(global.proxy.as_ref(), &|name| env::var_os(name))?;
        let resolved = resolve(global, global.profile.as_deref())?;
        let region = global.region.as_deref().or(resolved.region.as_deref());
        let region = Region::parse(region.ok_or_else(no_region)?)?;
        let kind = match resolved.endpoint_type.as_deref() {
            Some(kind) => EndpointType::parse(kind)?,
            None => EndpointType::Internet,
        };
        let explicit = global.endpoint.as_deref().or(resolved.endpoint.as_deref());
        let endpoint = Endpoint::choose(explicit, &region, kind)?;
        let tls = Tls::new(global.ca_file.as_deref())?;
        let net = Net { tls, proxies };
        let mut config = Config::new(endpoint, region, resolved.credentials, net.tls.clone());
        config.proxies = net.proxies.clone();
        config.signature = match global.signature_version {
            Signature::V3 => SignatureVersion::V3,
            Signature::V1 => SignatureVersion::V1,
        };
        Ok(Self { client: Client::new(config)?, net, gateway: Rc::default() })
    }

    /// Something to remember of this cloud and region. Ids of other clouds may be alike.
    fn topic(&self, kind: &str, parts: &[&str]) -> Topic {
        let config = self.client.config();
        let endpoint = config.endpoint.to_string();
        let parts: Vec<_> =
            [&endpoint, config.region.as_str()].into_iter().chain(parts.iter().copied()).collect();
        Topic::new(kind, &parts)
    }

    /// The same with credentials as they are now, from where they were. The connections are shared.
    fn refreshed(&self, global: &Global) -> Result<Self> {
        // A command that runs for days does not follow another `current` profile.
        let profile = match self.client.config().credentials.source() {
            Source::Profile { name, .. } => Some(name.as_str()),
            Source::Environment { .. } => None,
        };
        let resolved = resolve(global, profile.or(global.profile.as_deref()))?;
        let client = self.client.with_credentials(resolved.credentials);
        Ok(Self { client, ..self.clone() })
    }
}

fn resolve(global: &Global, profile: Option<&str>) -> Result<Resolved> {
    Ok(credentials::resolve(&Query {
        profile,
        config: global.config.as_deref(),
        env: &|name| env::var_os(name),
        now: SystemTime::now(),
        home: home(),
    })?)
}

fn no_region() -> Mistake {
    Mistake {
        what: "no region is known".to_owned(),
        remedy: "give --region (such as cn-hangzhou), set ALIBABA_CLOUD_REGION_ID, or put \
                 region_id into the profile"
            .to_owned(),
        exit_code: ExitCode::Config,
    }
}

fn cache() -> Cache {
    Cache::of_user(&|name| env::var_os(name), home().as_deref())
}

/// Writes a line to stdout, for people or programs that asked for it.
fn print(line: &dyn std::fmt::Display) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Mistake {
            what: format!("cannot write to stdout: {error}"),
            remedy: "check what stdout is connected to, and whether there is room".to_owned(),
            exit_code: ExitCode::Failed,
        }
        .into()),
        _ => Ok(()),
    }
}

fn home() -> Option<PathBuf> {
    env::home_dir().filter(|home| !home.as_os_str().is_empty())
}
