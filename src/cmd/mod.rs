//! One file a subcommand, and what they share: from the command line to a client of the API.

mod agent;
mod cache;
mod command;
mod completions;
mod configure;
mod diagnose;
mod doctor;
mod forward;
mod help;
mod known_hosts;
mod list;
mod log;
mod man;
mod plan;
mod policy;
mod proxy;
mod queue;
mod register;
mod send_key;
mod session;
mod session_error;
mod ssh_config;
mod start;
mod target;
mod waiting;
mod warning;

use std::cell::RefCell;
use std::env;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::{debug, info};

use crate::cache::{Cache, Topic};
use crate::cli::{Cli, Command, Global, LookUp, Signature};
use crate::cloud::{
    Client, Config, Endpoint, EndpointError, EndpointType, Region, SignatureVersion,
};
use crate::credentials::{self, FetchContext, Provider, Query, Resolved, Setting, Source, home};
use crate::explain::{ExitCode, Explain, Report, Unwritten};
use crate::http::Http;
use crate::net::Net;
use crate::proxy::Proxies;
use crate::shutdown::{Signal, Signals, outlive_file_limits};
use crate::tls::Tls;
use crate::tunnel::dial::GatewayAddr;
use crate::{event_loop, logging};

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
    let code = match start(cli) {
        Ok(Done::Normally) => ExitCode::Ok as u8,
        Ok(Done::By(signal)) => signal.exit_code(),
        Ok(Done::Code(code)) => code,
        Err(error) => {
            let report = Report::new(&*error);
            logging::tell(&report);
            logging::failed(&report);
            report.exit_code() as u8
        }
    };
    logging::ended(code);
    code
}

fn start(cli: &Cli) -> Result<Done> {
    let global = &cli.global;
    let runtime = event_loop::start()
        .map_err(|error| Message(format!("cannot start the event loop: {error}")))?;
    let done = runtime.block_on(async {
        outlive_file_limits();
        logging::init(cli)?;
        match &cli.command {
            Command::Proxy(args) => proxy::run(global, args).await,
            Command::Forward(args) => forward::run(global, args).await,
            Command::SendKey(args) => until_signal(send_key::run(global, args)).await,
            Command::KnownHosts(args) => until_signal(known_hosts::run(global, args)).await,
            Command::List(args) => until_signal(list::run(global, args)).await,
            Command::Doctor(args) => doctor::run(global, args).await,
            Command::Policy(args) => policy::run(args),
            Command::Log(args) => until_signal(log::run(args)).await,
            Command::Configure(args) => configure::run(global, args).await,
            Command::Cache(args) => cache::run(global, args),
            Command::SshConfig(args) => ssh_config::run(global, args).await,
            Command::Completions(args) => completions::run(args),
            Command::Man(args) => man::run(args),
            Command::Help(args) => help::run(args),
            Command::CompleteTargets(args) => completions::run_for_script(args),
        }
    });
    // A thread that still waits for the terminal or for a name look-up is not waited for.
    runtime.shutdown_background();
    done
}

/// Runs a command that heeds no signal itself. One that comes ends it, and with it what it has
/// started: a program that credentials come from would go on.
async fn until_signal(command: impl Future<Output = Result<Done>>) -> Result<Done> {
    let mut signals =
        Signals::new().map_err(|error| Message(format!("cannot listen for signals: {error}")))?;
    tokio::select! {
        done = command => done,
        signal = signals.next() => Ok(Done::By(signal)),
    }
}

/// An error that its one sentence says all about.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Message(String);

impl Explain for Message {}

/// A mistake in what the user asked for, with the way to ask for it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct UsageError {
    what: String,
    remedy: String,
    exit_code: ExitCode,
}

impl Explain for UsageError {
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
    /// What signs the client's calls.
    provider: Provider,
    net: Net,
    /// Where the last gateway was. All of a region's sessions have the same one.
    gateway: Rc<RefCell<Option<GatewayAddr>>>,
    endpoints: Endpoints,
}

/// Where the APIs of regions are.
#[derive(Clone)]
struct Endpoints {
    /// The one of all regions, if it was given by hand.
    explicit: Option<Endpoint>,
    kind: EndpointType,
}

impl Endpoints {
    fn new(chosen: &Endpoint, region: &Region, kind: EndpointType) -> Self {
        // An endpoint that is the region's own is wrong for another region.
        let own = [EndpointType::Internet, EndpointType::Vpc];
        let is_own = own.iter().any(|kind| Endpoint::for_region(region, *kind) == *chosen);
        Self { explicit: (!is_own).then(|| chosen.clone()), kind }
    }

    fn of(&self, region: &Region) -> Endpoint {
        self.explicit.clone().unwrap_or_else(|| Endpoint::for_region(region, self.kind))
    }
}

impl Cloud {
    /// Finds out how to come by credentials, and region and endpoint. Nothing is sent.
    fn open(global: &Global) -> Result<Self> {
        Self::of(global, || resolve(global, global.profile.as_deref()))
    }

    /// The same with credentials that are looked for otherwise.
    fn of(
        global: &Global,
        resolve: impl FnOnce() -> std::result::Result<Resolved, credentials::Error>,
    ) -> Result<Self> {
        let proxies = Proxies::new(global.proxy.as_ref(), &|name| env::var_os(name))?;
        let resolved = resolve()?;
        let Some(region) = resolved.region else { return Err(no_region().into()) };
        let region =
            Region::parse(&region.value).map_err(|error| InvalidSetting::new(error, &region))?;
        let kind = match &resolved.endpoint_type {
            Some(kind) => {
                EndpointType::parse(&kind.value).map_err(|e| InvalidSetting::new(e, kind))?
            }
            None => EndpointType::Internet,
        };
        let flag = global.endpoint.clone().filter(|endpoint| !endpoint.is_empty());
        let flag = flag.map(|value| Setting { origin: endpoint_option(&value), value });
        let explicit = flag.or(resolved.endpoint).unwrap_or_default();
        let endpoint = Endpoint::choose(Some(&explicit.value), &region, kind)
            .map_err(|error| InvalidSetting::new(error, &explicit))?;
        let endpoints = Endpoints::new(&endpoint, &region, kind);
        let tls = Tls::new(global.ca_file.as_deref())?;
        let net = Net { tls, proxies };
        let signature = match global.signature_version {
            Signature::V3 => SignatureVersion::V3,
            Signature::V1 => SignatureVersion::V1,
        };
        info!("credentials are those of {}", resolved.credential_source);
        let http = Arc::new(Http::new(net.clone()));
        let host = Arc::new(credentials::host::Program);
        let context = FetchContext { http: http.clone(), signature, host };
        let provider = Provider::new(resolved.credential_source, context);
        let mut config = Config::new(endpoint, region, Arc::new(provider.clone()), http);
        config.signature = signature;
        let client = Client::new(config)?;
        Ok(Self { client, provider, net, gateway: Rc::default(), endpoints })
    }

    /// The same in another region, where nothing is known of the gateway yet.
    fn in_region(&self, region: &Region) -> Result<Self> {
        if self.client.config().region == *region {
            return Ok(self.clone());
        }
        let client = self.client.in_region(region.clone(), self.endpoints.of(region))?;
        Ok(Self { client, gateway: Rc::default(), ..self.clone() })
    }

    /// What tells one account's instances of a region from others'.
    fn place(&self) -> [String; 3] {
        let config = self.client.config();
        let account = self.provider.credential_source().account();
        [config.endpoint.to_string(), config.region.to_string(), account]
    }

    /// Something to remember of this cloud and region. Ids of other clouds may be alike.
    fn topic(&self, kind: &str, parts: &[&str]) -> Topic {
        let config = self.client.config();
        let endpoint = config.endpoint.to_string();
        let parts: Vec<_> =
            [&endpoint, config.region.as_str()].into_iter().chain(parts.iter().copied()).collect();
        Topic::new(kind, &parts)
    }

    /// The same with credentials from where they were, as it is now. The connections are shared, and
    /// the credentials too, if nothing has changed there.
    fn refreshed(&self, global: &Global) -> Result<Self> {
        let config = self.client.config();
        // A command that runs for days does not follow another `current` profile.
        let (profile, ini_only) = match self.provider.source() {
            Source::Profile { name, .. } => (Some(name.as_str()), false),
            Source::Section { name, .. } => (Some(name.as_str()), true),
            _ => (global.profile.as_deref(), false),
        };
        let query = Query { ini_only, ..query(global, profile) };
        let credential_source = match credentials::resolve(&query) {
            Ok(resolved) => resolved.credential_source,
            // Somebody may be in the middle of writing the file.
            Err(error) if self.provider.holds() => {
                debug!("the credentials that there are are used on: {error}");
                return Ok(self.clone());
            }
            Err(error) => return Err(error.into()),
        };
        if credential_source == *self.provider.credential_source() {
            return Ok(self.clone());
        }
        let host = Arc::new(credentials::host::Program);
        let context = FetchContext { http: config.http.clone(), signature: config.signature, host };
        let provider = Provider::new(credential_source, context);
        let client = self.client.with_credentials(Arc::new(provider.clone()));
        Ok(Self { client, provider, ..self.clone() })
    }
}

fn resolve(
    global: &Global,
    profile: Option<&str>,
) -> std::result::Result<Resolved, credentials::Error> {
    credentials::resolve(&query(global, profile))
}

fn query<'a>(global: &'a Global, profile: Option<&'a str>) -> Query<'a> {
    Query {
        profile,
        region: global.region.as_deref(),
        config: global.config.as_deref(),
        env: &|name| env::var_os(name),
        now: SystemTime::now(),
        home: home(),
        ini_only: false,
    }
}

/// A region or an endpoint that is invalid, and where it was set.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
struct InvalidSetting {
    error: EndpointError,
    origin: String,
}

impl InvalidSetting {
    fn new(error: EndpointError, setting: &Setting) -> Self {
        Self { error, origin: setting.origin.clone() }
    }
}

impl Explain for InvalidSetting {
    fn why(&self) -> Option<String> {
        let origin = format!("it is that of {}", self.origin);
        Some(match self.error.why() {
            Some(why) => format!("{origin}; {why}"),
            None => origin,
        })
    }

    fn remedy(&self) -> Option<String> {
        self.error.remedy()
    }

    fn exit_code(&self) -> ExitCode {
        self.error.exit_code()
    }
}

/// What has set the endpoint: the option, or the variable that stands in its place.
fn endpoint_option(value: &str) -> String {
    let variable = "ECS_BRIDGE_ENDPOINT";
    let is_of_variable = env::var_os(variable).is_some_and(|set| set == value);
    if is_of_variable { variable.to_owned() } else { "--endpoint".to_owned() }
}

fn no_region() -> UsageError {
    UsageError {
        what: "no region is known".to_owned(),
        remedy: "give --region (such as cn-hangzhou), set ALIBABA_CLOUD_REGION_ID, or put \
                 region_id into the profile"
            .to_owned(),
        exit_code: ExitCode::Config,
    }
}

fn cache(look_up: &LookUp) -> Cache {
    match look_up.no_cache {
        true => Cache::none(),
        false => Cache::of_user(&|name| env::var_os(name), home().as_deref()),
    }
}

/// Writes a line to stdout, for people or programs that asked for it.
fn print(line: &dyn std::fmt::Display) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Unwritten(error).into())
        }
        _ => Ok(()),
    }
}
