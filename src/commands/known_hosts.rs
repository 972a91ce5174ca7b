//! `ecs-bridge known-hosts`: the host keys of an instance, fetched over the control plane.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::OptionFuture;
use tracing::{debug, info};

use crate::app::{Cloud, Done, Result, cache, print, usage};
use crate::cli::{self, Global};
use crate::gateway::endpoint::{self, LocalWrite as _};
use crate::keys::host_key::is_plain_key;
use crate::keys::known_hosts;
use crate::keys::public_key::PublicKey;
use crate::target::SSH_PORT;
use crate::target::finder::{Finder, Found};

/// Runs the command.
pub(crate) async fn run(global: &Global, args: &cli::KnownHosts) -> Result<Done> {
    let (input, port) = split(args.target.as_deref().unwrap_or_default(), args.port)?;
    Finder::check(input)?;
    let name = host_name(input, port)?;
    let cloud = Cloud::open(global)?;
    let finder = Finder::new(&cloud, input, &args.look_up)?;
    let keys = finder.with(async |found| keys(args, port, found).await).await?;
    // Nothing is printed where ssh has gone.
    for key in &keys {
        print(&format_args!("{name} {}", key.line()))?;
    }
    Ok(Done::Normally)
}

/// The host keys of a port of an instance, cached or fetched. None if ssh has gone meanwhile, and if
/// another server of the instance, whose keys it does not report, has the port.
async fn keys(args: &cli::KnownHosts, port: u16, found: &Found) -> Result<Vec<PublicKey>> {
    let (cache, topic) = (cache(&args.look_up), known_hosts::topic(&found.cloud, &found.id));
    // ssh has no key to show before the server has sent one, and a certificate is none of these.
    let is_plain = |key: &&str| STANDARD.decode(key).is_ok_and(|key| is_plain_key(&key));
    let given = args.key.as_deref().filter(is_plain);
    let of_port =
        (port != SSH_PORT).then(|| known_hosts::topic_of_port(&found.cloud, &found.id, port));
    // What the server has shown, and since when it has.
    let shown = match (&of_port, given) {
        (Some(of_port), Some(key)) => {
            Some((key.to_owned(), known_hosts::remember_shown(&cache, of_port, key)))
        }
        (Some(of_port), None) => known_hosts::shown(&cache, of_port),
        (None, given) => given.map(|key| (key.to_owned(), SystemTime::now())),
    };
    let fits = |keys: &[PublicKey]| {
        shown.as_ref().is_none_or(|(shown, _)| keys.iter().any(|key| key.base64() == shown))
    };
    // On its own port ssh is to say that the server has another key than these.
    let of_server = |keys: Vec<PublicKey>| match port == SSH_PORT || fits(&keys) {
        true => keys,
        false => {
            info!("the server on port {port} of {found} is another one than the instance's own");
            Vec::new()
        }
    };
    let known = if args.refresh { None } else { known_hosts::cached(&cache, &topic) };
    if let Some((keys, at)) = known {
        let was_asked = of_port.is_some() && shown.as_ref().is_some_and(|(_, since)| at >= *since);
        if was_asked || fits(&keys) {
            return Ok(of_server(keys));
        }
        debug!("the server's key is not among the cached ones: asking the instance again");
    }
    // ssh may be ended while it waits: then nothing needs the keys.
    let mut stdout = endpoint::stdout().ok();
    let gone = OptionFuture::from(stdout.as_mut().map(|stdout| stdout.closed()));
    let keys = tokio::select! {
        keys = known_hosts::fetch(found) => keys?,
        Some(()) = gone => return Ok(Vec::new()),
    };
    // It blocks again once this is dropped.
    drop(stdout);
    let lines: Vec<_> = keys.iter().map(PublicKey::line).collect();
    cache.put(&topic, &lines, SystemTime::now());
    Ok(of_server(keys))
}

/// What the lines are for, as ssh looks for it.
///
/// # Errors
/// When it would be a pattern, or something else altogether.
fn host_name(input: &str, port: u16) -> Result<String> {
    let odd = |c: char| c.is_whitespace() || "*?!,#|@".contains(c);
    if input.contains(odd) {
        return usage(
            format!("{input:?} cannot be the name of a host in known_hosts"),
            "give the instance's id, and put HostName before it in ssh_config",
        );
    }
    Ok(match port {
        SSH_PORT => input.to_owned(),
        port => format!("[{input}]:{port}"),
    })
}

/// The instance and the port of `i-…` or, as known_hosts writes other ports than 22, `[i-…]:port`.
fn split(target: &str, port: Option<u16>) -> Result<(&str, u16)> {
    let Some((instance, of_name)) =
        target.strip_prefix('[').and_then(|target| target.rsplit_once("]:"))
    else {
        return Ok((target, port.unwrap_or(SSH_PORT)));
    };
    match of_name.parse() {
        Ok(of_name) if of_name > 0 && port.is_none_or(|port| port == of_name) => {
            Ok((instance, of_name))
        }
        _ => usage(
            format!(
                "the port in {target:?} is not a number from 1 to 65535, or differs from --port"
            ),
            "write [i-…]:port with a port from 1 to 65535, and leave --port out",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_pattern_and_no_more_than_a_name() {
        assert_eq!(host_name("web-1.cn-beijing.ecs", 22).ok().unwrap(), "web-1.cn-beijing.ecs");
        assert_eq!(host_name("数据库", 2200).ok().unwrap(), "[数据库]:2200");
        for input in ["*", "web-?", "!web", "a,b", "a b", "#a", "@revoked", "|1|a"] {
            assert!(host_name(input, 22).is_err(), "{input}");
        }
    }

    #[test]
    fn names_are_taken_as_ssh_writes_them() {
        assert_eq!(split("i-1", None).ok(), Some(("i-1", 22)));
        assert_eq!(split("i-1", Some(2200)).ok(), Some(("i-1", 2200)));
        assert_eq!(split("[i-1]:2200", None).ok(), Some(("i-1", 2200)));
        assert_eq!(split("[i-1]:2200", Some(2200)).ok(), Some(("i-1", 2200)));
        for (target, port) in
            [("[i-1]:0", None), ("[i-1]:x", None), ("[i-1]:65536", None), ("[i-1]:22", Some(23))]
        {
            assert!(split(target, port).is_err(), "{target}");
        }
    }
}
