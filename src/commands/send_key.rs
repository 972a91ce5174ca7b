//! `ecs-bridge send-key`: a public key, registered for a minute.

use std::path::Path;
use std::time::SystemTime;

use serde_json::json;

use crate::app::{Cloud, Done, Result, cache, print};
use crate::cli::{self, Global};
use crate::credentials::home;
use crate::explain::printable;
use crate::keys::public_key;
use crate::keys::registration::{Registration, VALID, check_user};
use crate::target::finder::{Finder, Found};

/// Runs the command: everything that can be wrong here is found before anything is sent.
pub(crate) async fn run(global: &Global, args: &cli::SendKey) -> Result<Done> {
    let input = args.target.as_deref().unwrap_or_default();
    Finder::check(input)?;
    check_user(&args.user_name)?;
    let loaded = public_key::load(args.public_key.as_deref(), home().as_deref())?;
    let cloud = Cloud::open(global)?;
    let (cache, user, key) = (cache(&args.look_up), &args.user_name, &loaded.key);
    let finder = Finder::new(&cloud, input, &args.look_up)?;
    let register = async |found: &Found| {
        let (cloud, instance) = (&found.cloud, found.id.as_str());
        let registration = Registration { cloud, cache: &cache, instance, user, key };
        Ok((registration.register(args.reinstall, || {}).await?, found.clone()))
    };
    let (registered, found) = finder.with(register).await?;

    let until = registered.until();
    let left = until.duration_since(SystemTime::now()).unwrap_or_default().min(VALID).as_secs();
    let shown_until = humantime::format_rfc3339_seconds(until);
    if args.json {
        print(&json!({
            "instance": found.id,
            "region": found.cloud.client.config().region.as_str(),
            "user": user,
            "type": key.algorithm(),
            "fingerprint": key.fingerprint(),
            "comment": key.comment(),
            "valid_until": shown_until.to_string(),
            "valid_seconds": left,
            "plugin": if registered.installed { "installed" } else { "cached" },
            "request_id": registered.request_id,
        }))?;
    } else if !global.quiet {
        let comment = match key.comment() {
            "" => String::new(),
            comment => format!(", {}", printable(comment)),
        };
        print(&format_args!(
            "{} ({}{comment}) is registered for {user} on {found} until {shown_until} ({left} s)",
            key.fingerprint(),
            key.algorithm(),
        ))?;
        if let Some(private) = loaded.path.as_deref().and_then(private_half) {
            let host = Some(input).filter(|input| is_plain(input));
            let host = host.unwrap_or(&found.id);
            print(&format_args!("now: ssh -i {private} {user}@{host}"))?;
        }
    }
    if global.vendor.is_some() {
        // The last line of ali-instance-cli, which scripts may look for.
        print(&"The temporary ssh_public_key has been registered")?;
    }
    Ok(Done::Normally)
}

/// The file of the private half, where it can be shown as a word that needs no quotes.
fn private_half(public: &Path) -> Option<&str> {
    let path = public.to_str()?.strip_suffix(".pub")?;
    (is_plain(path) && Path::new(path).is_file()).then_some(path)
}

/// Whether a word needs no quotes in a shell.
fn is_plain(word: &str) -> bool {
    word.chars().all(|c| c.is_alphanumeric() || "/._-+~@:\\".contains(c))
}
