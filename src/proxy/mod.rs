//! Which proxy leads to which host.
//!
//! `--proxy` (or `ECS_BRIDGE_PROXY`) comes before the environment, and its value `none` switches the
//! environment off. Else it is as with curl: `HTTPS_PROXY`, then `ALL_PROXY`, in lower case first;
//! a variable that is empty counts as one that is not set. What is not encrypted, such as a credentials
//! URI with `http://`, goes through no proxy of `HTTPS_PROXY`. `HTTP_PROXY` is ignored, unlike with curl:
//! a proxy of it would see the keys. `NO_PROXY` holds whichever the proxy is, `--proxy` included.
//!
//! This machine's own addresses are reached directly, whatever the environment says, as with most
//! programs other than curl. They are reached through the proxy of `--proxy` if that is on this machine
//! too: to any other proxy they would mean itself, and it would see what is not encrypted.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use secrecy::{ExposeSecret, SecretString};
use tracing::info;

pub(crate) use aliyun_client::endpoint::{authority, is_loopback};

mod fault;
mod handshake;
mod server;
mod url;

pub(crate) use fault::{Fault, FaultKind};
pub(crate) use handshake::tunnel;
pub(crate) use server::{ECS_BRIDGE_PROXY, Origin, Proxy, Scheme, SettingError, scrub};

/// The value of `--proxy` that switches proxies off.
const NONE: &str = "none";

/// The variables that name a proxy for what is encrypted, the first that is set.
const HTTPS_PROXY: [&str; 2] = ["https_proxy", "HTTPS_PROXY"];

/// The variables that name a proxy for everything else, the first that is set.
const ALL_PROXY: [&str; 2] = ["all_proxy", "ALL_PROXY"];

/// The variables that say what is reached without one.
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// How a host is reached.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// Directly: there is no proxy, or it does not hold for this host.
    Direct,
    /// Through a proxy.
    Through(Arc<Proxy>),
}

/// The settings of proxies. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct Proxies {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The proxy for TLS.
    encrypted: Option<Arc<Proxy>>,
    /// The proxy for what is not encrypted. A setting that cannot be used is an error where it counts.
    plain: Option<Result<Arc<Proxy>, SettingError>>,
    /// What has switched proxies off.
    off: Option<Origin>,
    except: Option<(&'static str, String)>,
    /// The notes that were printed already.
    reported: Mutex<BTreeSet<String>>,
}

impl Proxies {
    /// No proxy for anything.
    pub(crate) fn none() -> Self {
        Self::with(None, None, None, None)
    }

    /// From the value of `--proxy`, or of its variable, and the environment.
    ///
    /// # Errors
    /// When the setting that counts for TLS is invalid.
    pub(crate) fn new(
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
                return Ok(Self::with(None, None, Some(origin), None));
            }
            let proxy = Arc::new(url::parse(text, origin)?);
            return Ok(Self::with(Some(proxy.clone()), Some(Ok(proxy)), None, except));
        }
        let named = |variables: &[&'static str]| {
            let (name, value) = variables.iter().find_map(set)?;
            let origin = Origin::Variable(name);
            let unreadable = || SettingError { origin, problem: "it is not text".to_owned() };
            let text = value.to_str().ok_or_else(unreadable);
            Some(text.and_then(|text| url::parse(text, origin)).map(Arc::new))
        };
        let all = named(&ALL_PROXY);
        let encrypted = named(&HTTPS_PROXY).or_else(|| all.clone()).transpose()?;
        Ok(Self::with(encrypted, all, None, except))
    }

    fn with(
        encrypted: Option<Arc<Proxy>>,
        plain: Option<Result<Arc<Proxy>, SettingError>>,
        off: Option<Origin>,
        except: Option<(&'static str, String)>,
    ) -> Self {
        let reported = Mutex::default();
        Self { inner: Arc::new(Inner { encrypted, plain, off, except, reported }) }
    }

    /// How `host` is reached, a name or an address, with TLS or without. With `-v` the user is told, once
    /// for each `what` (such as "the API") and host.
    ///
    /// # Errors
    /// When the setting that counts for what is not encrypted is invalid.
    pub(crate) fn route(
        &self,
        what: &str,
        host: &str,
        port: u16,
        is_tls: bool,
    ) -> Result<Route, SettingError> {
        let (route, note) = self.decide(host, port, is_tls)?;
        // Most have no proxy and need no note.
        if let Some(note) = note {
            let there = authority(host, port);
            let mut reported = self.inner.reported.lock().unwrap_or_else(PoisonError::into_inner);
            if reported.insert(format!("{what} {there}")) {
                info!("{what} at {there} is reached {note}");
            }
        }
        Ok(route)
    }

    /// How a URL is reached, without a note to the user.
    pub(crate) fn route_of(&self, url: &reqwest::Url) -> Result<Route, SettingError> {
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or_default();
        Ok(self.decide(host, port, url.scheme() == "https")?.0)
    }

    /// How a host is reached, and the note to the user.
    fn decide(
        &self,
        host: &str,
        port: u16,
        is_tls: bool,
    ) -> Result<(Route, Option<String>), SettingError> {
        let Inner { encrypted, plain, off, except, .. } = &*self.inner;
        let proxy = if is_tls { encrypted.clone().map(Ok) } else { plain.clone() };
        let direct = |note: Option<String>| Ok((Route::Direct, note));
        let Some(proxy) = proxy else {
            let off = off.map(|origin| format!("without a proxy: {origin} is 'none'"));
            let other = encrypted.as_ref().map(|proxy| proxy.origin);
            let other = other.map(|origin| format!("without a proxy: {origin} is for https://"));
            return direct(off.or(other));
        };
        if let Some((variable, list)) = except
            && excepts(list, host, port)
        {
            return direct(Some(format!("without the proxy: {variable} has it")));
        }
        let is_for_loopback = proxy.as_ref().is_ok_and(|proxy| {
            matches!(proxy.origin, Origin::Flag | Origin::Variable(ECS_BRIDGE_PROXY))
                && is_loopback(&proxy.host)
        });
        if is_loopback(host) && !is_for_loopback {
            return direct(Some("without the proxy: it is on this machine".to_owned()));
        }
        let proxy = proxy?;
        let note = format!("through the proxy {proxy}, as {} says", proxy.origin);
        Ok((Route::Through(proxy), Some(note)))
    }

    /// Whether a proxy is spoken to over TLS.
    pub(crate) fn needs_tls(&self) -> bool {
        let Inner { encrypted, plain, .. } = &*self.inner;
        let plain = plain.iter().flatten();
        encrypted.iter().chain(plain).any(|proxy| proxy.scheme == Scheme::Https)
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
