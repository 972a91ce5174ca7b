//! What the command line asks `forward` for: the instance, the forwards, and where they listen.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::cli;
use crate::cmd::{Result, UsageError};
use crate::explain::ExitCode;
use crate::spec::{self, Bind, Forward, Listen, ListenSpec};
use crate::tunnel::error::Target;

/// The most bytes that the path of a unix socket may have: sun_path, without the zero byte at its end.
const MOST_PATH_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The port that `--local-port` leads to without `--remote-port`.
const SSH_PORT: u16 = 22;

/// Ports that other services than sshd are known by.
const WELL_KNOWN: [u16; 36] = [
    21, 23, 25, 53, 80, 110, 143, 389, 443, 445, 465, 587, 636, 993, 995, 1433, 1521, 2375, 2379,
    3306, 3389, 5432, 5672, 5900, 6379, 6443, 8000, 8080, 8443, 8888, 9000, 9090, 9092, 9200,
    11211, 27017,
];

/// What is asked for.
pub(super) struct Request {
    /// The target's words.
    pub(super) instance: String,
    /// The forwards, with `--local-port` first.
    pub(super) forwards: Vec<Forward>,
}

impl Request {
    /// Reads the instance and the forwards, which options and words name alike.
    ///
    /// # Errors
    /// When one of them is missing, or a word is no forward.
    pub(super) fn new(args: &cli::Forward) -> Result<Self> {
        let of_environment = std::env::var("ECS_BRIDGE_INSTANCE").ok();
        let (instance, specs) = input(args, of_environment.as_deref())?;
        let mut forwards = Vec::new();
        if let Some(port) = args.local_port {
            let host = args.remote_host.clone();
            // What is no host is told with the plan.
            let host = host.and_then(|host| spec::host(&host).unwrap_or(Some(host)));
            let remote = args.remote_port.unwrap_or(SSH_PORT);
            forwards.push(Forward { listen: ListenSpec::Tcp(None, port), host, port: remote });
        }
        forwards.extend(args.forwards.iter().cloned());
        for spec in specs {
            let forward = spec.parse::<Forward>().map_err(|error| {
                let what = format!("'{spec}' cannot be forwarded: {error}");
                mistake(
                    what,
                    &format!(
                        "the instance is '{instance}'; after it come ports, as in 5432 or 8080:80"
                    ),
                )
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
        Err(mistake("nothing to forward".to_owned(), &remedy))
    }

    /// What to know about `--local-port` where it is another service's: it leads to sshd all the same.
    pub(super) fn hint(args: &cli::Forward, target: &Target) -> Option<String> {
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
    match (args.instance.as_deref(), input.split_first()) {
        (Some(instance), Some((first, rest)))
            if Some(instance) == of_environment && first.parse::<Forward>().is_err() =>
        {
            Ok((first, rest.to_vec()))
        }
        (Some(instance), _) => Ok((instance, input)),
        (None, Some((first, rest))) => Ok((first, rest.to_vec())),
        (None, None) => Err(mistake(
            "no instance is named".to_owned(),
            "give it first, as in `ecs-bridge forward web-1 5432`, or by --instance",
        )),
    }
}

/// The places where the forwards listen, before anything is bound.
///
/// # Errors
/// When a place is given twice, or cannot be one.
pub(super) fn places(forwards: &[Forward], bind: Bind) -> Result<Vec<Listen>> {
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
            return Err(mistake(
                format!("{place} is given twice, as the place where a forward listens"),
                "leave one of the two forwards out, or give it another local port or path",
            ));
        }
    }
    Ok(places)
}

fn check_length(path: &Path) -> Result<()> {
    let bytes = path.as_os_str().len();
    if bytes <= MOST_PATH_BYTES {
        return Ok(());
    }
    Err(mistake(
        format!(
            "cannot listen on {}: the path has {bytes} bytes, and the path of a unix socket may have \
             {MOST_PATH_BYTES}",
            path.display()
        ),
        "take a shorter path, or one that is relative to the current folder",
    ))
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

fn mistake(what: String, remedy: &str) -> Box<dyn crate::explain::Explain> {
    UsageError { what, remedy: remedy.to_owned(), exit_code: ExitCode::Usage }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &[&str]) -> Result<Request> {
        use clap::Parser as _;

        let line = [&["ecs-bridge", "forward"], line].concat();
        let cli::Command::Forward(args) = cli::Cli::try_parse_from(line).unwrap().command else {
            panic!("another command");
        };
        Request::new(&args)
    }

    #[test]
    fn the_instance_and_the_forwards_are_words_or_options() {
        for line in [
            &["i-a", "5432:5432"][..],
            &["i-a", "5432"],
            &["-i", "i-a", "5432"],
            &["5432", "-i", "i-a"],
            &["i-a", "-L", "5432"],
            &["i-a", "5432:localhost:5432"],
            &["-i", "i-a", "-L", "5432:5432"],
            &["i-a", "--local-port", "5432", "--remote-port", "5432"],
            &["i-a", "5432", "--", "psql"],
        ] {
            let request = request(line).unwrap();
            assert_eq!(request.instance, "i-a", "{line:?}");
            assert_eq!(request.forwards, ["5432:localhost:5432".parse().unwrap()], "{line:?}");
        }
        let several = request(&["i-a", "5432", "-L", "80", "8080:80"]).unwrap().forwards;
        assert_eq!(several.iter().map(|forward| forward.port).collect::<Vec<_>>(), [80, 5432, 80]);
        let port = |line| request(line).unwrap().forwards[0].port;
        assert_eq!(port(&["i-a", "--local-port", "80"]), 22);
        for (line, what, fix) in [
            (&[][..], "no instance", "forward web-1 5432"),
            (&["5432"], "nothing to forward", "forward TARGET 5432"),
            (&["i-a"], "nothing to forward", "forward i-a 5432"),
            (&["-i", "i-a", "i-b", "80"], "'i-b' cannot be forwarded", "the instance is 'i-a'"),
            (&["i-a", "ssh"], "\"ssh\" is not a port", "after it come ports"),
        ] {
            let Err(error) = request(line) else { panic!("{line:?}") };
            assert!(error.to_string().contains(what), "{error}");
            assert!(error.remedy().unwrap().contains(fix), "{:?}", error.remedy());
        }
    }

    fn places(specs: &[&str]) -> Result<Vec<Listen>> {
        let forwards: Vec<_> = specs.iter().map(|spec| spec.parse().unwrap()).collect();
        super::places(&forwards, Bind::Loopbacks)
    }

    #[test]
    fn a_place_that_is_given_twice_is_told() {
        for specs in [
            &["8080:a:80", "9090:a:80", "8080:b:80"][..],
            &["8080:a:80", "127.0.0.1:8080:a:80"],
            &["127.0.0.1:8080:a:80", "localhost:8080:a:80"],
            &["[::1]:8080:a:80", "[::1]:8080:b:80"],
            &["./s:a:80", "././s:b:80"],
        ] {
            let error = places(specs).unwrap_err().to_string();
            assert!(error.contains("is given twice"), "{specs:?}: {error}");
        }
        for specs in [
            &["0:a:80", "0:b:80"][..],
            &["127.0.0.1:0:a:80", "127.0.0.1:0:b:80", "0:c:80"],
            &["8080:a:80", "127.0.0.2:8080:a:80"],
            &["./s:a:80", "./t:a:80"],
        ] {
            assert_eq!(places(specs).unwrap().len(), specs.len(), "{specs:?}");
        }
    }

    #[test]
    fn a_forward_that_names_ipv6_has_it_for_itself() {
        for specs in [["80:a:80", "[::1]:80:b:80"], ["[::1]:80:b:80", "80:a:80"]] {
            let places = places(&specs).unwrap();
            let has = |text: &str| places.contains(&Listen::Tcp(text.parse().unwrap()));
            assert!(has("127.0.0.1:80") && has("[::1]:80"), "{places:?}");
        }
    }

    #[test]
    fn the_bytes_of_a_path_are_counted() {
        let spec = |bytes: usize| format!("/{}:a:80", "x".repeat(bytes - 1));
        assert!(places(&[&spec(MOST_PATH_BYTES)]).is_ok());
        let error = places(&[&spec(MOST_PATH_BYTES + 1)]).unwrap_err().to_string();
        let (has, may) = (MOST_PATH_BYTES + 1, MOST_PATH_BYTES);
        assert!(error.contains(&format!("has {has} bytes")), "{error}");
        assert!(error.ends_with(&format!("may have {may}")), "{error}");
    }
}
