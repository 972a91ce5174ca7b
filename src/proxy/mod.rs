//! Which proxy leads to which host.
//!
//! `--proxy` (or `ECS_BRIDGE_PROXY`) comes before the environment, and its value `none` switches the
//! environment off. Else it is as with curl: `HTTPS_PROXY`, then `ALL_PROXY`, in lower case first;
//! a variable that is empty counts as one that is not set. `HTTP_PROXY` has no say: what is not
//! encrypted never leaves this machine. `NO_PROXY` holds whichever the proxy is, `--proxy` included.
//!
//! This machine's own addresses are reached directly, whatever the environment says, as with most
//! programs other than curl. They are reached through the proxy of `--proxy` if that is on this machine
//! too: to any other proxy they would mean itself, and it would see what is not encrypted.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use tracing::info;

pub(crate) use aliyun_client::endpoint::{authority, is_loopback};

mod fault;
mod handshake;
mod url;

pub use fault::{Fault, FaultKind};
pub(crate) use handshake::tunnel;

/// The variable of `--proxy`.
pub const ECS_BRIDGE_PROXY: &str = "ECS_BRIDGE_PROXY";

/// The value of `--proxy` that switches proxies off.
const NONE: &str = "none";

/// The variables that name a proxy, the first that is set.
const VARIABLES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The variables that say what is reached without one.
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP CONNECT.
    Http,
    /// HTTP CONNECT, over TLS to the proxy.
    Https,
    /// SOCKS5, and names are resolved here.
    Socks5,
    /// SOCKS5, and names are resolved by the proxy.
    Socks5h,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Http, Self::Https, Self::Socks5, Self::Socks5h];

    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    /// Whether it is HTTP, with TLS or without.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

/// Where a setting was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On the command line, by `--proxy`.
    Flag,
    /// In the environment, by the variable of this name.
    Variable(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "--proxy",
            Self::Variable(name) => name,
        })
    }
}

/// The user name and password for a proxy.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) user: SecretString,
    pub(crate) password: SecretString,
}

/// A proxy. Neither `Debug` nor `Display` shows user name or password.
#[derive(Clone)]
pub struct Proxy {
    scheme: Scheme,
    /// A name or an address, an IPv6 address without brackets.
    host: String,
    port: u16,
    login: Option<Login>,
    origin: Origin,
}

impl Proxy {
    /// What it speaks.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its host, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The setting that names it.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    pub(crate) fn has_login(&self) -> bool {
        self.login.is_some()
    }

    /// What it has said, without its login.
    pub(crate) fn scrub(&self, text: &str) -> String {
        handshake::scrub(text, self.login.as_ref())
    }

    /// Its URL as HTTP clients take it, with the login. Never to be shown.
    pub(crate) fn url_with_login(&self) -> String {
        let encode = |secret: &SecretString| {
            utf8_percent_encode(secret.expose_secret(), NON_ALPHANUMERIC).to_string()
        };
        let login = self.login.as_ref().map(|login| (encode(&login.user), encode(&login.password)));
        let login = login.map(|(user, password)| format!("{user}:{password}@")).unwrap_or_default();
        format!("{}://{login}{}", self.scheme.as_str(), authority(&self.host, self.port))
    }

    fn is_explicit(&self) -> bool {
        matches!(self.origin, Origin::Flag | Origin::Variable(ECS_BRIDGE_PROXY))
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), authority(&self.host, self.port))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("url", &self.to_string())
            .field("has_login", &self.login.is_some())
            .field("origin", &self.origin)
            .finish()
    }
}

/// An invalid setting. Nothing was sent. Its value is not shown, since it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proxy of {origin} cannot be used: {problem}")]
pub struct SettingError {
    pub(crate) origin: Origin,
    problem: String,
}

/// How a host is reached.
#[derive(Clone, Debug)]
pub enum Route {
    /// Directly: there is no proxy, or it does not hold for this host.
    Direct,
    /// Through a proxy.
    Through(Arc<Proxy>),
}

/// Why a host is reached as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// There is no proxy.
    NoProxy,
    /// `--proxy none`.
    SwitchedOff(Origin),
    /// It is on this machine.
    Loopback,
    /// A variable excepts it.
    Excepted(&'static str),
    /// The proxy holds for it.
    Holds,
}

/// The settings of proxies. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Proxies {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    proxy: Option<Arc<Proxy>>,
    /// What has switched proxies off.
    off: Option<Origin>,
    except: Option<(&'static str, String)>,
    /// Of what the user has been told.
    told: Mutex<BTreeSet<String>>,
}

impl Proxies {
    /// No proxy for anything.
    pub fn none() -> Self {
        Self::with(None, None, None)
    }

    /// From the value of `--proxy`, or of its variable, and the environment.
    ///
    /// # Errors
    /// When the setting that counts is invalid.
    pub fn new(
        explicit: Option<&SecretString>,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, SettingError> {
        let set = |name: &&'static str| {
            let value = env(name).filter(|value| !value.is_empty())?;
            Some((*name, value))
        };
        let except = NO_PROXY.iter().find_map(set);
        let except = except.map(|(name, value)| (name, value.to_string_lossy().into_owned()));
        if let Some(explicit) = explicit {
            let text = explicit.expose_secret();
            // The command line does not tell an option from its variable.
            let is_variable = env(ECS_BRIDGE_PROXY).is_some_and(|value| value == text);
            let origin =
                if is_variable { Origin::Variable(ECS_BRIDGE_PROXY) } else { Origin::Flag };
            if text.trim().eq_ignore_ascii_case(NONE) {
                return Ok(Self::with(None, Some(origin), None));
            }
            return Ok(Self::with(Some(url::parse(text, origin)?), None, except));
        }
        let Some((name, value)) = VARIABLES.iter().find_map(set) else { return Ok(Self::none()) };
        let origin = Origin::Variable(name);
        let unreadable = || SettingError { origin, problem: "it is not text".to_owned() };
        let text = value.to_str().ok_or_else(unreadable)?;
        Ok(Self::with(Some(url::parse(text, origin)?), None, except))
    }

    fn with(
        proxy: Option<Proxy>,
        off: Option<Origin>,
        except: Option<(&'static str, String)>,
    ) -> Self {
        let proxy = proxy.map(Arc::new);
        Self { inner: Arc::new(Inner { proxy, off, except, told: Mutex::default() }) }
    }

    /// How `host` is reached, a name or an address. With `-v` the user is told, once for each `what`
    /// (such as "the API") and host.
    pub fn route(&self, what: &str, host: &str, port: u16) -> Route {
        let (route, reason) = self.decide(host, port);
        let there = authority(host, port);
        let told = || {
            let mut told = self.inner.told.lock().unwrap_or_else(PoisonError::into_inner);
            !told.insert(format!("{what} {there}"))
        };
        // Most have no proxy and nothing to be told.
        if reason != Reason::NoProxy && !told() {
            match (&route, reason) {
                (Route::Through(proxy), _) => {
                    info!(
                        "{what} at {there} is reached through the proxy {proxy}, as {} says",
                        proxy.origin
                    );
                }
                (Route::Direct, Reason::SwitchedOff(origin)) => {
                    info!("{what} at {there} is reached without a proxy: {origin} is 'none'");
                }
                (Route::Direct, Reason::Excepted(variable)) => {
                    info!("{what} at {there} is reached without the proxy: {variable} has it");
                }
                (Route::Direct, _) => {
                    info!("{what} at {there} is reached without the proxy: it is on this machine");
                }
            }
        }
        route
    }

    /// How a URL is reached. The user is not told.
    pub(crate) fn route_of(&self, url: &reqwest::Url) -> Route {
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.decide(host, url.port_or_known_default().unwrap_or_default()).0
    }

    fn decide(&self, host: &str, port: u16) -> (Route, Reason) {
        let Some(proxy) = &self.inner.proxy else {
            return (Route::Direct, self.inner.off.map_or(Reason::NoProxy, Reason::SwitchedOff));
        };
        if let Some((variable, list)) = &self.inner.except
            && excepts(list, host, port)
        {
            return (Route::Direct, Reason::Excepted(variable));
        }
        if is_loopback(host) && !(proxy.is_explicit() && is_loopback(&proxy.host)) {
            return (Route::Direct, Reason::Loopback);
        }
        (Route::Through(proxy.clone()), Reason::Holds)
    }

    /// Whether a proxy is spoken to over TLS.
    pub(crate) fn needs_tls(&self) -> bool {
        self.inner.proxy.as_ref().is_some_and(|proxy| proxy.scheme == Scheme::Https)
    }
}

/// Whether a list such as that of `NO_PROXY` has a host.
fn excepts(list: &str, host: &str, port: u16) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let entries = list.split(|c: char| c == ',' || c.is_whitespace());
    let fitting: Vec<&str> = entries.filter_map(|entry| fitting(entry, port)).collect();
    // To the library a '*' means names alone, to curl everything.
    if fitting.contains(&"*") {
        return true;
    }
    let uri = format!("http://{}/", authority(host, port)).parse::<Uri>();
    let any = Matcher::builder().all("http://proxy.invalid").no(fitting.join(",")).build();
    uri.is_ok_and(|uri| any.intercept(&uri).is_none())
}

/// An entry of such a list as the library takes it; `None` if it is for another port.
fn fitting(entry: &str, port: u16) -> Option<&str> {
    // What is written for other programs: `*.example.com` is `.example.com`.
    let entry = entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry);
    let (host, of_port) = match entry.rsplit_once(':') {
        Some((host, digits)) if host.ends_with(']') || !host.contains(':') => (host, Some(digits)),
        _ => (entry, None),
    };
    let fits = of_port.is_none_or(|digits| digits.parse() == Ok(port));
    fits.then(|| host.trim_start_matches('[').trim_end_matches(']'))
}

#[cfg(test)]
mod tests;
