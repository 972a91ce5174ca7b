//! Where the WebSocket URL of a session comes from.

use std::env;
use std::ffi::OsStr;
use std::time::Instant;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout_at;
use tracing::debug;

use crate::app::{Cloud, Result, UsageError, usage};
use crate::cli::{Global, LookUp, Via};
use crate::cloud::{self, Endpoint, StartTerminalSession, TerminalSession, computenest};
use crate::credentials;
use crate::explain::ExitCode;
use crate::gateway::dial::{DialError, address, session_id};
use crate::target::finder::{Finder, Found, Instances};
use crate::target::is_id;

/// The endpoint of Compute Nest, for tests and for private clouds.
const ENDPOINT: &str = "ECS_BRIDGE_COMPUTE_NEST_ENDPOINT";
/// What stands for the instance where only a URL is known.
pub(crate) const OF_URL: &str = "the session of --wss-url";

/// Where the WebSocket URL of a session comes from.
#[derive(Clone, Debug, Default)]
pub(crate) enum Origin {
    /// StartTerminalSession.
    #[default]
    Api,
    /// The command line: one session, which somebody else has started.
    Url(SecretString),
    /// The same call by way of this service instance of Compute Nest.
    ServiceInstance { id: String, endpoint: Endpoint },
}

impl Origin {
    /// Reads the command line.
    ///
    /// # Errors
    /// When both a URL and an instance are given, or the URL is none; when a service instance is given with
    /// an instance that only one's own account could look up; and when the endpoint of Compute Nest is none.
    pub(crate) fn new(via: &Via, instance: Option<&str>) -> Result<Self> {
        if let Some(url) = &via.wss_url {
            if let Some(instance) = instance.filter(|instance| !instance.is_empty()) {
                let what = format!("--wss-url and the instance '{instance}' exclude each other");
                return usage(what, "give one of them: a URL leads to one instance already");
            }
            check(url.expose_secret())?;
            return Ok(Self::Url(url.clone()));
        }
        let Some(id) = &via.service_instance else { return Ok(Self::Api) };
        match instance {
            Some(instance) if !is_id(instance) => usage(
                format!("with --service-instance, '{instance}' has to be an id"),
                "give the id of the instance (i-…), which the service instance's owner knows",
            ),
            _ => {
                let endpoint = compute_nest(env::var_os(ENDPOINT).as_deref())?;
                Ok(Self::ServiceInstance { id: id.clone(), endpoint })
            }
        }
    }

    pub(crate) fn is_api(&self) -> bool {
        matches!(self, Self::Api)
    }

    pub(crate) fn is_url(&self) -> bool {
        matches!(self, Self::Url(_))
    }

    /// The SessionId, as far as it is known before a session is started.
    pub(crate) fn session_id(&self) -> Option<&str> {
        match self {
            Self::Url(url) => session_id(url.expose_secret()),
            Self::Api | Self::ServiceInstance { .. } => None,
        }
    }

    /// The cloud for its sessions. For a URL no credentials are looked for.
    pub(crate) fn open(&self, global: &Global) -> Result<Cloud> {
        if !self.is_url() {
            return Cloud::open(global);
        }
        let region = global.region.as_deref().unwrap_or("cn-hangzhou");
        Cloud::of(global, || credentials::placeholder(region, "--wss-url"))
    }

    /// What finds the instance that `input` means, or that of the URL.
    pub(crate) fn instance(
        &self,
        cloud: &Cloud,
        input: &str,
        look_up: &LookUp,
    ) -> Result<InstanceSource> {
        if self.is_url() {
            let (cloud, id) = (cloud.clone(), OF_URL.to_owned());
            return Ok(InstanceSource::Url(Found { cloud, id, name: None }));
        }
        Ok(InstanceSource::Finder(Finder::new(cloud, input, look_up)?))
    }

    /// Starts a session.
    pub(super) async fn start(
        &self,
        cloud: &Cloud,
        request: &StartTerminalSession,
        unwanted: impl Future<Output = ()>,
    ) -> std::result::Result<TerminalSession, cloud::Error> {
        match self {
            Self::Api => cloud.client.start_terminal_session(request, unwanted).await,
            Self::Url(url) => Ok(TerminalSession {
                session_id: self.session_id().unwrap_or_default().to_owned(),
                security_token: SecretString::default(),
                websocket_url: url.clone(),
                request_id: None,
            }),
            Self::ServiceInstance { id, endpoint } => {
                let service = service_instance(cloud, id, endpoint)?;
                service.start_terminal_session(request, unwanted).await
            }
        }
    }

    /// Ends a session, as far as that is possible in a short time.
    pub(super) async fn end(&self, cloud: &Cloud, session: &TerminalSession, deadline: Instant) {
        let id = &session.session_id;
        let ending = async {
            match self {
                Self::Api => cloud.client.end_terminal_session(id).await,
                // Whoever has started it ends it.
                Self::Url(_) => Ok(()),
                Self::ServiceInstance { id: service, endpoint } => {
                    service_instance(cloud, service, endpoint)?.end_terminal_session(id).await
                }
            }
        };
        match timeout_at(deadline.into(), ending).await {
            Ok(Ok(())) => debug!("the session is ended"),
            Ok(Err(error)) => debug!("cannot end the session: {error}"),
            Err(_) => debug!("the API did not answer in time whether the session is ended"),
        }
    }
}

/// An option that needs calls of one's own account, with a session of another one.
pub(crate) fn not_of_own(option: &str, origin: &Origin) -> UsageError {
    let by = if origin.is_url() { "--wss-url" } else { "--service-instance" };
    UsageError::new(
        format!("{option} cannot be used with {by}"),
        format!("leave {option} out: it calls the API for an instance of your own account"),
    )
}

/// The endpoint of Compute Nest, or the one that is given in its place.
fn compute_nest(given: Option<&OsStr>) -> Result<Endpoint> {
    // What is not text is no endpoint either.
    let given = given.map(OsStr::to_string_lossy);
    computenest::endpoint(given.as_deref()).map_err(|error| {
        UsageError::new(
            format!("{ENDPOINT} is no endpoint: {error}"),
            format!("correct or unset {ENDPOINT}"),
        )
        .exits(ExitCode::Config)
        .into()
    })
}

fn service_instance(
    cloud: &Cloud,
    id: &str,
    endpoint: &Endpoint,
) -> std::result::Result<computenest::ServiceInstance, cloud::Error> {
    let region = cloud.client.config().region.clone();
    let client = cloud.client.in_region(region, endpoint.clone())?;
    Ok(computenest::ServiceInstance { id: id.to_owned(), client })
}

/// Whether a URL can be dialled. It is not shown, since it holds a token.
fn check(url: &str) -> Result<()> {
    let get_one = "give the WebSocketUrl of StartTerminalSession, in quotes: wss://…";
    match address(url) {
        Err(DialError::Url(why)) => {
            usage(format!("the value of --wss-url cannot be used: {why}"), get_one)
        }
        _ => Ok(()),
    }
}

/// What finds the instance of a session.
pub(crate) enum InstanceSource {
    Finder(Finder),
    /// That of a URL, of which nothing is known.
    Url(Found),
}

impl Instances for InstanceSource {
    async fn find(&self) -> Result<Found> {
        match self {
            Self::Finder(finder) => finder.find().await,
            Self::Url(found) => Ok(found.clone()),
        }
    }

    async fn again(&self, gone: &Found) -> Result<Option<Found>> {
        match self {
            Self::Finder(finder) => finder.again(gone).await,
            Self::Url(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_of_compute_nest_that_is_none_is_told() {
        let none = OsStr::new("");
        assert!(compute_nest(None).is_ok() && compute_nest(Some(none)).is_ok());
        #[cfg(unix)]
        let no_text = std::os::unix::ffi::OsStrExt::from_bytes(b"example.com\xff");
        #[cfg(not(unix))]
        let no_text = OsStr::new("http://");
        for wrong in [OsStr::new("http://example.com"), no_text] {
            let error = compute_nest(Some(wrong)).unwrap_err();
            assert!(error.to_string().contains(ENDPOINT), "{error}");
            assert_eq!(error.exit_code(), ExitCode::Config);
        }
    }

    #[test]
    fn what_is_no_url_of_a_gateway_is_refused_without_being_shown() {
        let origin = |url: &str, instance| {
            let wss_url = Some(url.to_owned().into());
            Origin::new(&Via { wss_url, service_instance: None }, instance)
        };
        for (url, words) in [
            ("https://gateway.example/x?token=hush", "neither wss:// nor ws://"),
            ("ws://gateway.example/x?token=hush", "without TLS"),
            ("hush", "neither wss:// nor ws://"),
            ("hush hush", "not a URL"),
            ("", "not a URL"),
        ] {
            let error = origin(url, None).unwrap_err();
            let text = format!("{error} {}", error.remedy().unwrap());
            assert!(text.contains(words) && !text.contains("hush"), "{url}: {text}");
        }
        assert!(origin("wss://gateway.example/x?token=hush", None).is_ok());
        assert!(origin("ws://127.0.0.1:1/x", None).is_ok());
        let error = origin("wss://gateway.example", Some("i-1")).unwrap_err();
        assert!(error.to_string().contains("exclude each other"), "{error}");
    }
}
