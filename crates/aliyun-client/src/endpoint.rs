//! Where the API of a region is: the vendor's naming, its exceptions, and endpoints given by hand.

use std::fmt;
use std::net::IpAddr;

/// Regions whose API lives at `ecs-cn-hangzhou.aliyuncs.com`.
const AT_HANGZHOU: [&str; 4] =
    ["cn-hangzhou", "cn-shanghai-finance-1", "cn-shenzhen-finance-1", "cn-fujian"];

/// Regions whose API lives at `ecs.aliyuncs.com`.
const AT_CENTRE: [&str; 5] =
    ["cn-north-2-gov-1", "cn-beijing-gov-1", "cn-hangzhou-finance", "cn-wuhan", "cn-zhangbei"];

/// Why a region or an endpoint cannot be used. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The region's name is not one.
    #[error("'{0}' is not a region id")]
    Region(String),
    /// The endpoint's type is neither of the two.
    #[error("'{0}' is not an endpoint type")]
    Type(String),
    /// The endpoint is not a host, or has more than scheme, host and port.
    #[error("'{endpoint}' is not an endpoint: {problem}")]
    Malformed {
        /// As it was given, without user name and password.
        endpoint: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The endpoint is `http://` and not on this machine.
    #[error("the endpoint '{0}' is not encrypted")]
    Plaintext(String),
}

/// A region's id, such as `cn-hangzhou`: checked for its form, since it becomes part of a host name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Region(String);

impl Region {
    /// Takes 2 to 64 lower-case letters, digits and hyphens, a letter first and no hyphen last.
    ///
    /// # Errors
    /// [`EndpointError::Region`] for anything else.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let name = text.trim();
        let good = (2..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-');
        if good { Ok(Self(name.to_owned())) } else { Err(EndpointError::Region(text.to_owned())) }
    }

    /// The one of the endpoints that have no region in their names.
    pub fn central() -> Self {
        Self(AT_HANGZHOU[0].to_owned())
    }

    /// The id as the API takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// From where the API is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointType {
    /// From anywhere.
    #[default]
    Internet,
    /// From inside a VPC of the region.
    Vpc,
}

impl EndpointType {
    /// Reads a profile's `endpoint_type`: `vpc`, or `internet`, `public` or nothing.
    ///
    /// # Errors
    /// [`EndpointError::Type`] for anything else.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "internet" | "public" => Ok(Self::Internet),
            "vpc" => Ok(Self::Vpc),
            _ => Err(EndpointError::Type(text.to_owned())),
        }
    }
}

/// Scheme, host and port of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) tls: bool,
    /// Lower-case; an IPv6 address stands in brackets.
    pub(crate) host: String,
    /// Only where it is not the scheme's own.
    pub(crate) port: Option<u16>,
}

impl Endpoint {
    /// The region's own endpoint.
    pub fn for_region(region: &Region, kind: EndpointType) -> Self {
        let name = region.as_str();
        let host = match kind {
            EndpointType::Vpc => format!("ecs-vpc.{name}.aliyuncs.com"),
            EndpointType::Internet if AT_HANGZHOU.contains(&name) => {
                "ecs-cn-hangzhou.aliyuncs.com".into()
            }
            EndpointType::Internet if AT_CENTRE.contains(&name) => "ecs.aliyuncs.com".into(),
            EndpointType::Internet => format!("ecs.{name}.aliyuncs.com"),
        };
        Self { tls: true, host, port: None }
    }

    /// The endpoint of STS in a region, or the one for all regions.
    pub fn of_sts(region: Option<&Region>, kind: EndpointType) -> Self {
        let host = match (region, kind) {
            (Some(region), EndpointType::Vpc) => format!("sts-vpc.{region}.aliyuncs.com"),
            (Some(region), EndpointType::Internet) => format!("sts.{region}.aliyuncs.com"),
            // A VPC is of a region: without one there is no other.
            (None, _) => "sts.aliyuncs.com".to_owned(),
        };
        Self { tls: true, host, port: None }
    }

    /// The endpoint given by hand if there is one, else the region's own.
    ///
    /// # Errors
    /// As [`Endpoint::parse`].
    pub fn choose(
        explicit: Option<&str>,
        region: &Region,
        kind: EndpointType,
    ) -> Result<Self, EndpointError> {
        match explicit.map(str::trim).filter(|e| !e.is_empty()) {
            Some(explicit) => Self::parse(explicit),
            None => Ok(Self::for_region(region, kind)),
        }
    }

    /// Reads `[https://]host[:port][/]`, or `http://` with a loopback address or `localhost`.
    ///
    /// # Errors
    /// [`EndpointError::Malformed`], [`EndpointError::Plaintext`].
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let text = text.trim();
        // What an error shows may not hold a password.
        let shown = match text.rsplit_once('@') {
            Some((_, rest)) => rest.to_owned(),
            None => text.to_owned(),
        };
        let malformed = |problem| EndpointError::Malformed { endpoint: shown.clone(), problem };

        let (tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some(_) => return Err(malformed("the scheme is neither https nor http")),
            None => (true, text),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err(malformed("a user name has no place in it"));
        }
        if authority.contains(['/', '?', '#', '\\']) {
            return Err(malformed("it may not have a path or a query"));
        }

        let (host, port) = split_port(authority).ok_or_else(|| malformed("the port is not one"))?;
        let host = host.to_ascii_lowercase();
        let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        match literal {
            Some(address) => {
                let parsed: Result<std::net::Ipv6Addr, _> = address.parse();
                parsed.map_err(|_| malformed("what stands in brackets is no IPv6 address"))?;
            }
            None => check_name(&host).map_err(malformed)?,
        }

        let port = port.filter(|port| *port != if tls { 443 } else { 80 });
        let endpoint = Self { tls, host, port };
        if !tls && !is_loopback(endpoint.host()) {
            return Err(EndpointError::Plaintext(shown));
        }
        Ok(endpoint)
    }

    /// Whether calls are encrypted. Only an endpoint on this machine may be without.
    pub fn uses_tls(&self) -> bool {
        self.tls
    }

    /// The host's name, or its address without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The TCP port, 1 to 65535.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls { 443 } else { 80 })
    }

    /// What the `host` header holds: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

/// Splits `host:port`; `None` if what follows the colon is not a port from 1 to 65535.
pub fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let after_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority[after_host..].split_once(':') {
        None => Some((authority, None)),
        Some((before, port)) => {
            let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            let port = digits.then(|| port.parse().ok()).flatten().filter(|port| *port != 0)?;
            Some((&authority[..after_host + before.len()], Some(port)))
        }
    }
}

/// A host name as DNS has it, or an IPv4 address.
fn check_name(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("it has no host");
    }
    if host.len() > 253 {
        return Err("the host name is longer than 253 characters");
    }
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !host.split('.').all(label_is_good) {
        return Err("the host name has characters or dots where none belong");
    }
    // `1.2.3` or `0x7f.1` would be read as an address by some and as a name by others.
    let last = host.rsplit('.').next().unwrap_or_default();
    let looks_numeric = last.starts_with(|c: char| c.is_ascii_digit())
        && last.bytes().all(|b| b.is_ascii_hexdigit() || b == b'x');
    if looks_numeric && host.parse::<std::net::Ipv4Addr>().is_err() {
        return Err("the address is not one");
    }
    Ok(())
}

/// `host:port`, with brackets where they are due.
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Whether a host is this machine.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_region(name: &str, kind: EndpointType) -> String {
        Endpoint::for_region(&Region::parse(name).unwrap(), kind).to_string()
    }

    #[test]
    fn regions_have_their_endpoints() {
        use EndpointType::{Internet, Vpc};
        assert_eq!(of_region("cn-beijing", Internet), "https://ecs.cn-beijing.aliyuncs.com");
        assert_eq!(of_region("cn-beijing", Vpc), "https://ecs-vpc.cn-beijing.aliyuncs.com");
        assert_eq!(of_region("cn-hangzhou", Vpc), "https://ecs-vpc.cn-hangzhou.aliyuncs.com");
        for name in AT_HANGZHOU {
            assert_eq!(of_region(name, Internet), "https://ecs-cn-hangzhou.aliyuncs.com");
        }
        for name in AT_CENTRE {
            assert_eq!(of_region(name, Internet), "https://ecs.aliyuncs.com");
        }
    }

    #[test]
    fn sts_is_in_a_region_or_in_all_of_them() {
        use EndpointType::{Internet, Vpc};
        let region = Region::parse("cn-beijing").unwrap();
        for (region, kind, host) in [
            (Some(&region), Internet, "sts.cn-beijing.aliyuncs.com"),
            (Some(&region), Vpc, "sts-vpc.cn-beijing.aliyuncs.com"),
            (None, Internet, "sts.aliyuncs.com"),
            (None, Vpc, "sts.aliyuncs.com"),
        ] {
            assert_eq!(Endpoint::of_sts(region, kind).to_string(), format!("https://{host}"));
        }
    }

    #[test]
    fn an_explicit_endpoint_wins_and_an_empty_one_is_none() {
        let region = Region::parse("cn-beijing").unwrap();
        let choose =
            |explicit| Endpoint::choose(explicit, &region, EndpointType::Vpc).unwrap().to_string();
        assert_eq!(choose(Some("ecs.example.com")), "https://ecs.example.com");
        assert_eq!(choose(Some("  ")), "https://ecs-vpc.cn-beijing.aliyuncs.com");
        assert_eq!(choose(None), "https://ecs-vpc.cn-beijing.aliyuncs.com");
    }

    #[test]
    fn endpoints_are_read_with_and_without_scheme_and_port() {
        for (text, shown, authority, host, port) in [
            (
                "ECS.example.com",
                "https://ecs.example.com",
                "ecs.example.com",
                "ecs.example.com",
                443,
            ),
            ("https://a.b:443/", "https://a.b", "a.b", "a.b", 443),
            ("a.b:8443", "https://a.b:8443", "a.b:8443", "a.b", 8443),
            ("HTTP://127.0.0.1:80", "http://127.0.0.1", "127.0.0.1", "127.0.0.1", 80),
            ("http://127.9.9.9:1", "http://127.9.9.9:1", "127.9.9.9:1", "127.9.9.9", 1),
            ("http://[::1]:8080", "http://[::1]:8080", "[::1]:8080", "::1", 8080),
            ("http://localhost:9", "http://localhost:9", "localhost:9", "localhost", 9),
            ("[2001:db8::1]", "https://[2001:db8::1]", "[2001:db8::1]", "2001:db8::1", 443),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(endpoint.authority(), authority);
            assert_eq!((endpoint.host(), endpoint.port()), (host, port));
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for text in ["http://ecs.aliyuncs.com", "http://10.0.0.1", "http://localhost.evil.com"] {
            assert!(matches!(Endpoint::parse(text), Err(EndpointError::Plaintext(_))), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let words = "https:// ftp://a.b a..b a.b. .a -a.b a.b:0 a.b: a.b:99999 \
                     a.b:+1 a.b/path a.b?q=1 a.b#f u:p@a.b [::1 [x] ::1 [::1]x \
                     1.2.3 256.1.1.1 0x7f.1 中.com https://https://a.b";
        for text in words.split(' ').chain(["", "a b", "a\nb"]) {
            let error = Endpoint::parse(text).expect_err(text);
            assert!(matches!(error, EndpointError::Malformed { .. }), "{text}: {error}");
        }
        let error = Endpoint::parse("https://user:hunter2@a.b").unwrap_err();
        assert!(!format!("{error:?}{error}").contains("hunter2"));
    }

    #[test]
    fn regions_are_checked() {
        for name in ["", "a", "cn hangzhou", "cn-hangzhou.evil.com", "cn-", "-cn", "1cn", "cn_x"] {
            assert!(Region::parse(name).is_err(), "{name}");
        }
        assert_eq!(Region::parse(" us-west-1\n").unwrap().as_str(), "us-west-1");
        assert!(EndpointType::parse("VPC").is_ok_and(|kind| kind == EndpointType::Vpc));
        assert!(EndpointType::parse("intranet").is_err());
    }
}
