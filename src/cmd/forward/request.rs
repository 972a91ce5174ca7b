//! What the command line asks `forward` for: the forwards, and the places where they listen.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::cli;
use crate::cmd::{Mistake, Result};
use crate::explain::ExitCode;
use crate::spec::{self, Bind, Forward, Listen, ListenSpec};

/// The most bytes that the path of a unix socket may have: sun_path, without the zero byte at its end.
const MOST_PATH_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The forwards that are asked for, with `--local-port` first.
pub(super) fn forwards(args: &cli::Forward) -> Result<Vec<Forward>> {
    let mut forwards = args.forwards.clone();
    if let Some(port) = args.local_port {
        let host = args.remote_host.clone();
        // What is no host is told with the plan.
        let host = host.and_then(|host| spec::host(&host).unwrap_or(Some(host)));
        forwards.insert(
            0,
            Forward { listen: ListenSpec::Tcp(None, port), host, port: args.remote_port },
        );
    }
    if forwards.is_empty() {
        return Err(mistake(
            "nothing to forward".to_owned(),
            "give --local-port 2222, or -L 8080:localhost:80",
        ));
    }
    Ok(forwards)
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
    Mistake { what, remedy: remedy.to_owned(), exit_code: ExitCode::Usage }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
