//! The host keys of an instance: fetched over the control plane, and cached.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;
use tracing::debug;

use super::command::{Step, TIMEOUT, done, run_while_agent_online};
use super::host_key::HostKeyWatch;
use super::public_key::PublicKey;
use crate::app::{Cloud, Result};
use crate::explain::{ExitCode, UsageError, printable};
use crate::platform::cache::{Cache, DAY, Topic};
use crate::target::SSH_PORT;
use crate::target::finder::Found;

/// What the instance runs, always the same. It prints the public halves of the keys that its sshd is
/// configured with: from the private ones, for a .pub file may be stale, or else from the files.
const SCRIPT: &str = r##"#!/bin/sh
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
settings() {
    sshd -T -C user=root,host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22 2>/dev/null ||
        sshd -T 2>/dev/null
}
keys=$(settings | sed -n 's/^hostkey //p')
# sshd tells nothing where the folder is missing that only its running service makes.
[ -n "$keys" ] || keys=$(cat /etc/ssh/sshd_config.d/*.conf /etc/ssh/sshd_config 2>/dev/null |
    sed -n 's/^[[:blank:]]*[Hh][Oo][Ss][Tt][Kk][Ee][Yy][[:blank:]=]\{1,\}"\{0,1\}\([^"#]*[^"#[:blank:]]\).*$/\1/p')
[ -n "$keys" ] || keys=$(ls /etc/ssh/ssh_host_*_key 2>/dev/null)
printf '%s\n' "$keys" | while IFS= read -r key; do
    case $key in
        '') ;;
        *.pub) cat "$key" ;;
        *) ssh-keygen -y -f "$key" </dev/null 2>/dev/null || cat "$key.pub" ;;
    esac
done
exit 0
"##;

/// Where the host keys of an instance are cached.
pub(crate) fn topic(cloud: &Cloud, instance: &str) -> Topic {
    cloud.topic("host-keys", &[instance])
}

/// Where it is cached which key the server on a port other than [`SSH_PORT`] shows: the instance may have
/// another server there than the one whose keys it tells, such as a container's.
pub(crate) fn topic_of_port(cloud: &Cloud, instance: &str, port: u16) -> Topic {
    cloud.topic("shown-host-key", &[instance, &port.to_string()])
}

/// The cached host keys, and when they were asked for.
pub(crate) fn cached(cache: &Cache, topic: &Topic) -> Option<(Vec<PublicKey>, SystemTime)> {
    let (lines, at) = cache.get::<Vec<String>>(topic, DAY, SystemTime::now())?;
    Some((PublicKey::host_keys(&lines.join("\n")), at)).filter(|(keys, _)| !keys.is_empty())
}

/// The key that a port has shown last, and since when it has.
pub(crate) fn shown(cache: &Cache, of_port: &Topic) -> Option<(String, SystemTime)> {
    cache.get(of_port, DAY, SystemTime::now())
}

/// Remembers the key that a port shows, and gives since when it has shown it.
pub(crate) fn remember_shown(cache: &Cache, of_port: &Topic, key: &str) -> SystemTime {
    match shown(cache, of_port) {
        Some((shown, since)) if shown == key => since,
        _ => {
            let now = SystemTime::now();
            cache.put(of_port, &key, now);
            now
        }
    }
}

/// Looks at what an SSH server of an instance sends, and deletes the cached host keys if it shows
/// another one: ssh requests them once the server has shown it, and gets those that the instance has
/// now. For another port, what its server shows is cached.
pub(crate) fn watch(
    found: &Found,
    cache: Cache,
    remote_host: Option<&str>,
    port: u16,
) -> impl FnMut(&[u8]) + use<> {
    let topic = topic(&found.cloud, &found.id);
    let of_port = (port != SSH_PORT).then(|| topic_of_port(&found.cloud, &found.id, port));
    // Another host's keys are its own.
    let mut watch = remote_host.is_none().then(HostKeyWatch::default);
    move |bytes| {
        let Some(key) = watch.as_mut().and_then(|watch| watch.look(bytes)) else { return };
        let key = STANDARD.encode(key);
        if let Some(of_port) = &of_port {
            remember_shown(&cache, of_port, &key);
            return;
        }
        let known = cached(&cache, &topic);
        if known.is_some_and(|(keys, _)| keys.iter().all(|known| known.base64() != key)) {
            debug!("the server shows another host key than the cached ones, which are deleted");
            cache.forget(&topic);
        }
    }
}

/// Fetches the host keys that an instance's sshd is configured with.
///
/// # Errors
/// When the command cannot be run there, or prints no key.
pub(crate) async fn fetch(found: &Found) -> Result<Vec<PublicKey>> {
    let (client, instance, began) = (&found.cloud.client, found.id.as_str(), Instant::now());
    let run = client.run_command(instance, SCRIPT, TIMEOUT);
    let work = done(client, instance, Step::HostKeys, began, run);
    let (result, _) = run_while_agent_online(client, instance, Step::HostKeys, false, work).await?;
    let keys = PublicKey::host_keys(&result.output);
    if keys.is_empty() {
        let output = printable(&result.output.split_whitespace().collect::<Vec<_>>().join(" "));
        let why = match output.chars().take(300).collect::<String>().as_str() {
            "" => "there is no sshd in it, or none that is configured".to_owned(),
            output => format!("the command printed: {output}"),
        };
        let what = format!("{found} has no host keys that its sshd is configured with");
        let fix = "look at the instance: sshd -T | grep hostkey, and ls -l /etc/ssh";
        return Err(UsageError::new(what, fix).because(why).exits(ExitCode::Target).into());
    }
    Ok(keys)
}
