//! The request of `forward`'s command line: the instance, the forwards, and where they listen.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::spec::{self, Bind, Forward, Listen, ListenSpec};
use crate::app::{Result, UsageError, usage};
use crate::cli;
use crate::session::target::Target;
use crate::target::SSH_PORT;

/// The most bytes that the path of a unix socket may have: sun_path, without the zero byte at its end.
const MOST_PATH_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Ports that other services than sshd are known by.
const WELL_KNOWN: [u16; 36] = [
    21, 23, 25, 53, 80, 110, 143, 389, 443, 445, 465, 587, 636, 993, 995, 1433, 1521, 2375, 2379,
    3306, 3389, 5432, 5672, 5900, 6379, 6443, 8000, 8080, 8443, 8888, 9000, 9090, 9092, 9200,
    11211, 27017,
];

/// The request of the command line.
pub(crate) struct Request {
    /// The target as it was given.
    pub(crate) instance: String,
    /// The forwards, with `--local-port` first.
    pub(crate) forwards: Vec<Forward>,
}

impl Request {
    /// Reads the instance and the forwards, which options and words name alike.
    ///
    /// # Errors
    /// When one of them is missing, or a word is no forward.
    pub(crate) fn new(args: &cli::Forward) -> Result<Self> {
        let of_environment = std::env::var("ECS_BRIDGE_INSTANCE").ok();
        let (instance, specs) = input(args, of_environment.as_deref())?;
        let mut forwards = Vec::new();
        if let Some(port) = args.local_port {
            let host = args.remote_host.clone();
            // An invalid host is reported with the plan.
            let host = host.and_then(|host| spec::host(&host).unwrap_or(Some(host)));
            let remote = args.remote_port.unwrap_or(SSH_PORT);
            forwards.push(Forward { listen: ListenSpec::Tcp(None, port), host, port: remote });
        }
        forwards.extend(args.forwards.iter().cloned());
        for spec in specs {
            let forward = spec.parse::<Forward>().map_err(|error| {
                let what = format!("'{spec}' cannot be forwarded: {error}");
                let fix = format!(
                    "the instance is '{instance}'; after it come ports, as in 5432 or 8080:80"
                );
                UsageError::new(what, fix)
            });
            forwards.push(forward?);
        }
        if !forwards.is_empty() {
            return Ok(Self { instance: instance.to_owned(), forwards });
        }
        let remedy = if instance.parse::<Forward>().is_ok() {
            format!("'{instance}' is taken for the instance: give `forward TARGET {instance}`")
        } else {
            format!("give --local-port 2222, or -L 8080:localhost:80, or `forward {instance} 5432`")
        };
        usage("nothing to forward", remedy)
    }

    /// The note on `--local-port` where it is another service's: it leads to sshd all the same.
    pub(crate) fn hint(args: &cli::Forward, target: &Target) -> Option<String> {
        let port = args.local_port.filter(|port| WELL_KNOWN.contains(port))?;
        if args.remote_port.is_some() {
            return None;
        }
        let (of, forward) = match &target.remote_host {
            Some(host) => (host.as_str(), format!("-L {port}:{host}:{port}")),
            None => (target.name.as_deref().unwrap_or(&target.instance), format!("-L {port}")),
        };
        Some(format!(
            "note: --local-port {port} leads to port {SSH_PORT} of {of}; for port {port} there: {forward} \
             or --remote-port {port}"
        ))
    }
}

/// The instance, and the words that are forwards. The first word is the instance, unless `--instance`
/// names it; it goes before ECS_BRIDGE_INSTANCE, unless it is a forward.
fn input<'a>(
    args: &'a cli::Forward,
    of_environment: Option<&str>,
) -> Result<(&'a str, Vec<&'a str>)> {
    let input: Vec<_> = args.target.iter().chain(&args.specs).map(String::as_str).collect();
    if args.via.wss_url.is_some() {
        // A URL has its instance, and the words are forwards.
        return Ok(match (args.instance.as_deref(), input.split_first()) {
            (Some(instance), _) if Some(instance) != of_environment => (instance, input),
            (_, Some((first, rest))) if first.parse::<Forward>().is_err() => (first, rest.to_vec()),
            _ => ("", input),
        });
    }
    match (args.instance.as_deref(), input.split_first()) {
        (Some(instance), Some((first, rest)))
            if Some(instance) == of_environment && first.parse::<Forward>().is_err() =>
        {
            Ok((first, rest.to_vec()))
        }
        (Some(instance), _) => Ok((instance, input)),
        (None, Some((first, rest))) => Ok((first, rest.to_vec())),
        (None, None) => usage(
            "no instance is named",
            "give it first, as in `ecs-bridge forward web-1 5432`, or by --instance",
        ),
    }
}

/// The places where the forwards listen, before anything is bound.
///
/// # Errors
/// When a place is given twice, or cannot be one.
pub(crate) fn places(forwards: &[Forward], bind: Bind) -> Result<Vec<Listen>> {
    let mut places: Vec<_> = forwards.iter().map(|forward| forward.listen.at(bind)).collect();
    // A forward that names ::1 has it; the one beside it has 127.0.0.1.
    for index in 0..places.len() {
        if let Listen::Loopbacks(port @ 1..) = places[index]
            && places.contains(&Listen::Tcp(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port)))
        {
            places[index] = Listen::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        }
    }
    for (index, place) in places.iter().enumerate() {
        if let Listen::Unix(path) = place {
            check_length(path)?;
        }
        if places[..index].iter().any(|other| is_same(other, place)) {
            return usage(
                format!("{place} is given twice, as the place where a forward listens"),
                "leave one of the two forwards out, or give it another local port or path",
            );
        }
    }
    Ok(places)
}

fn check_length(path: &Path) -> Result<()> {
    let bytes = path.as_os_str().len();
    if bytes <= MOST_PATH_BYTES {
        return Ok(());
    }
    usage(
        format!(
            "cannot listen on {}: the path has {bytes} bytes, and the path of a unix socket may have \
             {MOST_PATH_BYTES}",
            path.display()
        ),
        "take a shorter path, or one that is relative to the current folder",
    )
}

/// Whether the second of two forwards could not listen because of the first.
fn is_same(one: &Listen, other: &Listen) -> bool {
    let v4 = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    match (one, other) {
        (Listen::Unix(one), Listen::Unix(other)) => {
            let absolute = |path: &Path| std::path::absolute(path).unwrap_or(path.to_owned());
            absolute(one) == absolute(other)
        }
        (Listen::Tcp(address), _) | (_, Listen::Tcp(address)) if address.port() == 0 => false,
        (Listen::Tcp(one), Listen::Tcp(other)) => one == other,
        (Listen::Loopbacks(one), Listen::Loopbacks(other)) => one == other && *one != 0,
        (Listen::Tcp(address), Listen::Loopbacks(port))
        | (Listen::Loopbacks(port), Listen::Tcp(address)) => *address == v4(*port),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
