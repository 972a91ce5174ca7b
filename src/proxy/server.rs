//! A proxy, and the setting that names it.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Uri;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use aliyun_client::endpoint::authority;
use aliyun_client::scrub::Scrub;

/// The variable of `--proxy`.
pub(crate) const ECS_BRIDGE_PROXY: &str = "ECS_BRIDGE_PROXY";

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
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
    pub(super) const ALL: [Self; 4] = [Self::Http, Self::Https, Self::Socks5, Self::Socks5h];

    /// As it stands in a URL.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    /// Whether it is HTTP, with TLS or without.
    pub(crate) fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

/// Where a setting was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
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
pub(crate) struct Proxy {
    /// What it speaks.
    pub(crate) scheme: Scheme,
    /// A name or an address, an IPv6 address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) login: Option<Login>,
    /// The setting that names it.
    pub(crate) origin: Origin,
    url_with_login: Url,
}

impl Proxy {
    /// A proxy that HTTP clients take: one that they do not take would be none to them.
    pub(super) fn new(
        scheme: Scheme,
        host: String,
        port: u16,
        login: Option<Login>,
        origin: Origin,
    ) -> Result<Self, &'static str> {
        let encode = |secret: &SecretString| {
            utf8_percent_encode(secret.expose_secret(), NON_ALPHANUMERIC).to_string()
        };
        let encoded = login.as_ref().map(|login| (encode(&login.user), encode(&login.password)));
        let encoded = encoded.map(|(user, password)| format!("{user}:{password}@"));
        let encoded = encoded.unwrap_or_default();
        let url = format!("{}://{encoded}{}", scheme.as_str(), authority(&host, port));
        let url_with_login =
            Url::parse(&url).map_err(|_| "its host is not a name or an address")?;
        // reqwest makes one of the other.
        let uri = url_with_login.as_str().parse::<Uri>();
        uri.map_err(|_| "its user name or password is too long")?;
        Ok(Self { scheme, host, port, login, origin, url_with_login })
    }

    /// Its URL as HTTP clients take it, with the login. Never to be shown.
    pub(crate) fn url_with_login(&self) -> &Url {
        &self.url_with_login
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

/// A proxy's answer without the user name and the password, if it repeats them.
pub(crate) fn scrub(text: &str, login: Option<&Login>) -> String {
    let Some(Login { user, password }) = login else { return text.to_owned() };
    let (user, password) = (user.expose_secret(), password.expose_secret());
    let both = BASE64_STANDARD.encode(format!("{user}:{password}"));
    Scrub::new([both.as_str(), password, user]).clean(text)
}

/// An invalid setting. Nothing was sent. Its value is not shown, since it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proxy of {origin} cannot be used: {problem}")]
pub(crate) struct SettingError {
    pub(crate) origin: Origin,
    pub(super) problem: String,
}
