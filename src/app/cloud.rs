//! What every command opens: the profile's credentials, region and endpoint, and a client of the API.

use std::cell::RefCell;
use std::env;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use aliyun_client::transport::Transport;
use tracing::{debug, info};

use super::error::Result;
use super::setting::{endpoint_option, invalid, option};
use crate::cli::{Global, LookUp, Signature};
use crate::cloud::{Client, Config, Endpoint, EndpointType, Region, SignatureVersion};
use crate::credentials::host::Program;
use crate::credentials::{
    self, CredentialSource, FetchContext, Provider, Query, Resolved, Source, home,
};
use crate::explain::{ExitCode, UsageError};
use crate::gateway::dial::GatewayAddr;
use crate::http::Http;
use crate::net::Net;
use crate::platform::cache::{Cache, Topic};
use crate::proxy::Proxies;
use crate::tls::Tls;

/// The API, and connections as the API and the gateway both have them.
#[derive(Clone)]
pub(crate) struct Cloud {
    pub(crate) client: Client,
    /// What signs the client's calls.
    pub(crate) provider: Provider,
    pub(crate) net: Net,
    /// Where the last gateway was. All of a region's sessions have the same one.
    pub(crate) gateway: Rc<RefCell<Option<GatewayAddr>>>,
    endpoints: Endpoints,
}

/// Where the APIs of regions are.
#[derive(Clone)]
pub(crate) struct Endpoints {
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

    pub(crate) fn of(&self, region: &Region) -> Endpoint {
        self.explicit.clone().unwrap_or_else(|| Endpoint::for_region(region, self.kind))
    }
}

impl Cloud {
    /// Resolves the source of the credentials, the region and the endpoint. Nothing is sent.
    pub(crate) fn open(global: &Global) -> Result<Self> {
        Self::of(global, || resolve(global, global.profile.as_deref()))
    }

    /// The same with another way to resolve the credentials.
    pub(crate) fn of(
        global: &Global,
        resolve: impl FnOnce() -> std::result::Result<Resolved, credentials::Error>,
    ) -> Result<Self> {
        let proxies = Proxies::new(global.proxy.as_ref(), &|name| env::var_os(name))?;
        let resolved = resolve()?;
        let Some(region) = resolved.region else { return Err(no_region().into()) };
        let region = Region::parse(&region.value).map_err(|error| invalid(&error, &region))?;
        let kind = resolved.endpoint_type.unwrap_or_default();
        let kind = EndpointType::parse(&kind.value).map_err(|error| invalid(&error, &kind))?;
        let explicit = endpoint_option(global).or(resolved.endpoint).unwrap_or_default();
        let endpoint = Endpoint::choose(Some(&explicit.value), &region, kind)
            .map_err(|error| invalid(&error, &explicit))?;
        let endpoints = Endpoints::new(&endpoint, &region, kind);
        let tls = Tls::new(global.ca_file.as_deref())?;
        let net = Net { tls, proxies };
        let signature = match global.signature_version {
            Signature::V3 => SignatureVersion::V3,
            Signature::V1 => SignatureVersion::V1,
        };
        info!("credentials are those of {}", resolved.credential_source);
        let http = Arc::new(Http::new(net.clone()));
        let provider = provider(resolved.credential_source, http.clone(), signature);
        let mut config = Config::new(endpoint, region, Arc::new(provider.clone()), http);
        config.signature = signature;
        let client = Client::new(config)?;
        Ok(Self { client, provider, net, gateway: Rc::default(), endpoints })
    }

    /// The same in another region, where nothing is known of the gateway yet.
    pub(crate) fn in_region(&self, region: &Region) -> Result<Self> {
        if self.client.config().region == *region {
            return Ok(self.clone());
        }
        let client = self.client.in_region(region.clone(), self.endpoints.of(region))?;
        Ok(Self { client, gateway: Rc::default(), ..self.clone() })
    }

    /// What tells one account's instances of a region from others'.
    pub(crate) fn place(&self) -> [String; 3] {
        let config = self.client.config();
        let account = self.provider.credential_source().account();
        [config.endpoint.to_string(), config.region.to_string(), account]
    }

    /// Something to remember of this cloud and region. Ids of other clouds may be alike.
    pub(crate) fn topic(&self, kind: &str, parts: &[&str]) -> Topic {
        let config = self.client.config();
        let endpoint = config.endpoint.to_string();
        let parts: Vec<_> =
            [&endpoint, config.region.as_str()].into_iter().chain(parts.iter().copied()).collect();
        Topic::new(kind, &parts)
    }

    /// The same with credentials from where they were, as it is now. The connections are shared, and
    /// the credentials too, if nothing has changed there.
    pub(crate) fn refreshed(&self, global: &Global) -> Result<Self> {
        let config = self.client.config();
        // A command that runs for days follows neither another `current` profile nor a file that was not
        // there before.
        let (profile, file) = match self.provider.source() {
            Source::Profile { name, file, .. } | Source::Section { name, file, .. } => {
                (Some(name.as_str()), Some(file.clone()))
            }
            // Of no file: nothing of it changes but the credentials, which the provider renews.
            _ if self.provider.had_any() => return Ok(self.clone()),
            // There were none. Whoever has made a profile since then has been told to.
            _ => (global.profile.as_deref(), None),
        };
        let query = Query { file, ..query(global, profile) };
        let credential_source = match credentials::resolve_with(&query, &global.overrides) {
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
        let provider = provider(credential_source, config.http.clone(), config.signature);
        let client = self.client.with_credentials(Arc::new(provider.clone()));
        Ok(Self { client, provider, ..self.clone() })
    }
}

fn provider(
    credential_source: CredentialSource,
    http: Arc<dyn Transport>,
    signature: SignatureVersion,
) -> Provider {
    let context = FetchContext { http, signature, host: Arc::new(Program) };
    Provider::new(credential_source, context)
}

pub(crate) fn resolve(
    global: &Global,
    profile: Option<&str>,
) -> std::result::Result<Resolved, credentials::Error> {
    credentials::resolve_with(&query(global, profile), &global.overrides)
}

pub(crate) fn query(global: &Global, profile: Option<&str>) -> Query<'static> {
    let (region, config) = (global.region.clone(), global.config.clone());
    Query {
        profile: profile.map(|name| option("--profile", "ECS_BRIDGE_PROFILE", name.to_owned())),
        region: region.map(|region| option("--region", "ECS_BRIDGE_REGION", region)),
        config: config.map(|path| option("--config", "ECS_BRIDGE_CONFIG", path)),
        env: &|name| env::var_os(name),
        now: SystemTime::now(),
        home: home(),
        file: None,
        host: &Program,
    }
}

pub(crate) fn no_region() -> UsageError {
    UsageError::new(
        "no region is known",
        "give --region (such as cn-hangzhou), set ALIBABA_CLOUD_REGION_ID, or put \
         region_id into the profile",
    )
    .exits(ExitCode::Config)
}

/// The cache of resolved names, unless `--no-cache` is given.
pub(crate) fn cache(look_up: &LookUp) -> Cache {
    match look_up.no_cache {
        true => Cache::none(),
        false => Cache::of_user(&|name| env::var_os(name), home().as_deref()),
    }
}
