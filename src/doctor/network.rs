//! The way to the API: names, the proxy, a connection, TLS, something that answers, and the time there.

use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::context::{DoctorContext, not_known};
use super::outcome::Outcome;
use crate::app::Cloud;
use crate::cloud::{Endpoint, NetworkError};
use crate::explain::{ExitCode, Report, SET_CLOCK, apart};
use crate::net::{self, Destination, encrypt};
use crate::proxy::{Fault, FaultKind, Route, Scheme, SettingError};

/// How long a name server may take.
const NAME_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection may take, as for calls.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How far the service lets clocks be apart.
const TOLERANCE: Duration = Duration::from_secs(15 * 60);

impl DoctorContext<'_> {
    /// The host that has to be connected to has an address.
    pub(crate) async fn dns(&self) -> Outcome {
        let Some(cloud) = self.cloud.get() else { return not_known("the endpoint") };
        let endpoint = &cloud.client.config().endpoint;
        let mut names = Vec::new();
        match route(cloud) {
            Err(error) => return Outcome::failed(&error),
            Ok(Route::Direct) => names.push((endpoint.host().to_owned(), endpoint.port(), None)),
            Ok(Route::Through(proxy)) => {
                names.push((proxy.host.clone(), proxy.port, Some(proxy.clone())));
                if proxy.scheme == Scheme::Socks5 {
                    names.push((endpoint.host().to_owned(), endpoint.port(), None));
                }
            }
        }
        let mut found = Vec::new();
        for (host, port, proxy) in names {
            match addresses(&host, port).await {
                Ok(addresses) if addresses == host => found.push(format!("{host} is an address")),
                Ok(addresses) => found.push(format!("{host} is {addresses}")),
                Err(detail) => {
                    let error = match proxy {
                        Some(proxy) => {
                            let kind = FaultKind::Resolve(detail);
                            let fault = Fault::new(&proxy, endpoint.host(), endpoint.port(), kind);
                            of(cloud, net::Error::Proxy(fault))
                        }
                        None => NetworkError::Dns { host, detail },
                    };
                    return Outcome::failed(&error);
                }
            }
        }
        Outcome::passed(found.join("; "))
    }

    /// The proxy, if there is one, leads to the API.
    pub(crate) async fn proxy(&self) -> Outcome {
        let Some(cloud) = self.cloud.get() else { return not_known("the endpoint") };
        match route(cloud) {
            Err(error) => Outcome::failed(&error),
            Ok(Route::Direct) => Outcome::passed("none: the API is reached directly"),
            Ok(Route::Through(proxy)) => match reach(cloud).await {
                Ok(_) => Outcome::passed(format!("{proxy} ({}) leads to the API", proxy.origin)),
                Err(error) => Outcome::failed(&of(cloud, error)),
            },
        }
    }

    /// There is a connection to the endpoint.
    pub(crate) async fn connection(&self) -> Outcome {
        let Some(cloud) = self.cloud.get() else { return not_known("the endpoint") };
        let endpoint = &cloud.client.config().endpoint;
        match route(cloud) {
            Err(error) => Outcome::failed(&error),
            Ok(Route::Through(_)) => Outcome::passed(format!("{endpoint}, through the proxy")),
            Ok(Route::Direct) => match reach(cloud).await {
                Ok(_) => Outcome::passed(format!("{endpoint} accepts connections")),
                Err(error) => Outcome::failed(&of(cloud, error)),
            },
        }
    }

    /// The endpoint's certificate is good.
    pub(crate) async fn tls(&self) -> Outcome {
        let Some(cloud) = self.cloud.get() else { return not_known("the endpoint") };
        let endpoint = &cloud.client.config().endpoint;
        if !endpoint.uses_tls() {
            return Outcome::skipped("not used on this machine itself: http://");
        }
        let io = match reach(cloud).await {
            Ok(io) => io,
            Err(error) => return Outcome::failed(&of(cloud, error)),
        };
        match timeout(CONNECT_WITHIN, encrypt(io, endpoint.host(), &cloud.net.tls)).await {
            Ok(Ok(_)) => Outcome::passed(format!("the certificate of {} is good", endpoint.host())),
            Ok(Err(net::Error::TlsSetup(error))) => Outcome::failed(&error),
            Ok(Err(error)) => Outcome::failed(&of(cloud, error)),
            Err(_) => Outcome::failed(&of(cloud, net::Error::Timeout)),
        }
    }

    /// It is the API that answers.
    pub(crate) async fn endpoint(&self) -> Outcome {
        let Some(cloud) = self.cloud.get() else { return not_known("the endpoint") };
        let called = SystemTime::now();
        match cloud.client.check_reachable().await {
            Ok(times) => {
                // No other check sets it.
                let _ = self.times.set(times.map(|times| (called, times)));
                Outcome::passed(format!("the API answers at {}", cloud.client.config().endpoint))
            }
            Err(error) => Outcome::failed(&error),
        }
    }

    /// This machine's clock is near enough to the service's.
    pub(crate) async fn clock(&self) -> Outcome {
        let times = self.times.get().copied().flatten();
        let times = times.and_then(|(called, times)| Some((called, times.local, times.service?)));
        let Some((called, local, service)) = times else {
            return not_known("the service's time");
        };
        let (by, word) = apart(local, service);
        let shown = humantime::format_duration(by);
        if by <= TOLERANCE {
            return Outcome::passed(match may_agree(called, local, service) {
                true => "matches the service".to_owned(),
                false => format!("{shown} {word}; the service accepts up to 15 min"),
            });
        }
        let what = format!("this machine's clock is {shown} {word}");
        let why = format!(
            "it shows {}, the service's {}; the service accepts up to 15 min of difference",
            humantime::format_rfc3339_seconds(local),
            humantime::format_rfc3339_seconds(service)
        );
        let report = Report::plain(what, ExitCode::Credentials);
        Outcome::Failed(report.why(why).fix(SET_CLOCK))
    }
}

/// Whether the service's time, in whole seconds, may be this machine's: it was read between a call and its
/// answer.
fn may_agree(called: SystemTime, answered: SystemTime, service: SystemTime) -> bool {
    service <= answered && called < service + Duration::from_secs(1)
}

fn route(cloud: &Cloud) -> Result<Route, SettingError> {
    let endpoint = &cloud.client.config().endpoint;
    let (host, port) = (endpoint.host(), endpoint.port());
    cloud.net.proxies.route("the API", host, port, endpoint.uses_tls())
}

async fn reach(cloud: &Cloud) -> Result<Box<dyn net::Io>, net::Error> {
    let endpoint: &Endpoint = &cloud.client.config().endpoint;
    let to = Destination {
        what: "the API",
        host: endpoint.host(),
        port: endpoint.port(),
        is_tls: endpoint.uses_tls(),
        loopback_only: !endpoint.uses_tls(),
    };
    cloud.net.reach(to, CONNECT_WITHIN).await
}

/// The error as a call would have it.
fn of(cloud: &Cloud, error: net::Error) -> NetworkError {
    NetworkError::of(error.into(), &cloud.client.config().endpoint, CONNECT_WITHIN)
}

/// The addresses of a host, at most three of them in words.
async fn addresses(host: &str, port: u16) -> Result<String, String> {
    let found = timeout(NAME_WITHIN, tokio::net::lookup_host((host, port))).await;
    let found = found.map_err(|_| format!("no answer within {} s", NAME_WITHIN.as_secs()))?;
    let found: Vec<_> = found
        .map_err(|e| net::lookup_error(e).to_string())?
        .map(|found| found.ip().to_string())
        .collect();
    match found.as_slice() {
        [] => Err("it has no address".to_owned()),
        [a, b, c, _, ..] => Ok(format!("{a}, {b}, {c}, …")),
        few => Ok(few.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_may_agree_where_the_service_has_read_its_own_within_the_call() {
        let at =
            |ms| SystemTime::UNIX_EPOCH + Duration::from_secs(1000) + Duration::from_millis(ms);
        // The service says 1002 for all from 1002.000 to 1002.999.
        let service = at(2000);
        for (called, answered, may) in [
            (2000, 2000, true),
            (2990, 3010, true),
            (1200, 5600, true),
            (3000, 3010, false),
            (1900, 1999, false),
        ] {
            assert_eq!(may_agree(at(called), at(answered), service), may, "{called} {answered}");
        }
    }
}
