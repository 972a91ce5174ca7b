//! `ecs-bridge ssh-config`: what OpenSSH is told, printed or put where it is read.

mod exe;

use std::env;
use std::path::{Path, PathBuf};

use super::{Done, Mistake, Plain, Result, home, print};
use crate::cli::{Global, Signature, SshConfig};
use crate::cloud::{Endpoint, Region};
use crate::credentials::in_home;
use crate::explain::{ExitCode, Explain, printable};
use crate::logging;
use crate::replace::{Change, Mode, Place, update};
use crate::ssh_config::blocks::{Blocks, is_host};
use crate::ssh_config::marks::{self, Unpaired};
use crate::ssh_config::quote::{include_word, is_writable};

/// The file of its own, beside OpenSSH's.
const OWN: &str = "ecs-bridge.conf";

/// Runs the command.
pub(super) async fn run(global: &Global, args: &SshConfig) -> Result<Done> {
    if args.uninstall {
        return uninstall(global).await;
    }
    let blocks = blocks(global, args)?;
    match &args.write {
        Some(file) => write(global, file.as_deref(), &blocks.text()).await,
        None => {
            print(&blocks.text().trim_end())?;
            Ok(Done::Normally)
        }
    }
}

/// What the command line asks for.
fn blocks(global: &Global, args: &SshConfig) -> Result<Blocks> {
    // It would be refused by each ssh.
    if let Some(region) = &global.region {
        Region::parse(region)?;
    }
    if let Some(endpoint) = &global.endpoint {
        Endpoint::parse(endpoint)?;
    }
    let mut program = vec![text(&exe::own_path()?)?];
    let mut option = |name: &str, value: Option<String>| {
        program.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
    };
    option("--profile", global.profile.clone());
    option("--region", global.region.clone());
    option("--endpoint", global.endpoint.clone());
    option("--config", global.config.as_deref().map(absolute).transpose()?);
    option("--ca-file", global.ca_file.as_deref().map(absolute).transpose()?);
    let is_old = global.signature_version == Signature::V1;
    option("--signature-version", is_old.then(|| "v1".to_owned()));
    if global.proxy.is_some() && env::var_os("ECS_BRIDGE_PROXY").is_none() {
        note(
            global,
            "--proxy is not written down, for it may hold a password: set ECS_BRIDGE_PROXY or \
             HTTPS_PROXY where ssh runs",
        );
    }
    let send_key = match &args.send_key {
        Some(Some(path)) => {
            let path = in_home(path, home().as_deref());
            if !path.is_file() {
                return Err(usage(
                    format!("there is no key file {}", path.display()),
                    "name the file of a public key, such as ~/.ssh/id_ed25519.pub",
                ));
            }
            Some(Some(absolute(&path)?))
        }
        Some(None) => Some(None),
        None => None,
    };
    if let Some(word) = program.iter().chain(send_key.iter().flatten()).find(|w| !is_writable(w)) {
        return Err(usage(
            format!("{word:?} cannot be written into OpenSSH's configuration"),
            "use names and paths without line breaks",
        ));
    }
    if let Some(host) = args.host.iter().find(|host| !is_host(host)) {
        return Err(usage(
            format!("{host:?} is no host that ecs-bridge is asked for"),
            "give an id, i-… or mi-…, or a name that ends in .ecs",
        ));
    }
    let (control_master, hosts) = (args.control_master, args.host.clone());
    Ok(Blocks { program, send_key, control_master, hosts })
}

async fn write(global: &Global, file: Option<&Path>, text: &str) -> Result<Done> {
    let config = config()?;
    let file = match file {
        Some(file) => PathBuf::from(absolute(&in_home(file, home().as_deref()))?),
        None => config.with_file_name(OWN),
    };
    let path = self::text(&file)?;
    let is_same = Place::of(&file)?.real() == Place::of(&config)?.real();
    if is_same || !is_writable(&path) {
        return Err(usage(
            format!("{path:?} cannot be the file of its own that {} includes", config.display()),
            "leave the name out, or give another one",
        ));
    }
    let include = format!("{}\nInclude {}\n", marks::file_line(&path), include_word(&path));
    can_put(&config, &include)?;
    put(global, &file, Mode::Private, text).await?;
    let before = put(global, &config, Mode::Kept, &include).await?;
    if let Some(before) = before.filter(|before| *before != file) {
        // Nothing leads there any more.
        take_out(global, &before).await?;
    }
    Ok(Done::Normally)
}

async fn uninstall(global: &Global) -> Result<Done> {
    let config = config()?;
    let included = take_out(global, &config).await?;
    take_out(global, &included.unwrap_or_else(|| config.with_file_name(OWN))).await?;
    Ok(Done::Normally)
}

/// Finds out whether its part could be put into a file, so that nothing is begun in vain.
fn can_put(path: &Path, text: &str) -> Result<()> {
    let place = Place::of(path)?;
    let old = place.read()?;
    let new = marks::put(old.as_deref(), text).map_err(|error| damaged(path, error))?;
    // One that is read-only may have it already.
    if old != Some(new) {
        place.probe()?;
    }
    Ok(())
}

/// Puts its part into a file; the file that the part before had included.
async fn put(global: &Global, path: &Path, mode: Mode, text: &str) -> Result<Option<PathBuf>> {
    let place = Place::of(path)?;
    report(global, &place, text)?;
    let (before, is_new) = update(&place, mode, |old| -> Result<_> {
        let part = part(path, old)?;
        let new = marks::put(old, text).map_err(|error| damaged(path, error))?;
        let file = part.and_then(|part| part.file().map(PathBuf::from));
        let is_new = old != Some(&new);
        let change = if is_new { Change::To(new) } else { Change::None };
        Ok((change, (file, is_new)))
    })
    .await?;
    let how = if is_new { "is written" } else { "is as it was" };
    said(global, &format!("{} {how}", path.display()))?;
    Ok(before)
}

/// Takes its part out of a file; the file that it had included.
async fn take_out(global: &Global, path: &Path) -> Result<Option<PathBuf>> {
    let place = Place::of(path)?;
    report(global, &place, "")?;
    let (included, how) = update(&place, Mode::Kept, |old| -> Result<_> {
        let part = part(path, old)?;
        let (Some(old), Some(part)) = (old, part) else {
            return Ok((Change::None, (None, "has nothing of ecs-bridge's in it")));
        };
        let rest = marks::take_out(old).map_err(|error| damaged(path, error))?;
        let (change, how) = match rest {
            Some(rest) => (Change::To(rest), "is as it was without ecs-bridge"),
            None => (Change::Gone, "is removed"),
        };
        Ok((change, (part.file().map(PathBuf::from), how)))
    })
    .await?;
    said(global, &format!("{} {how}", path.display()))?;
    Ok(included)
}

fn part(path: &Path, text: Option<&[u8]>) -> Result<Option<marks::Part>> {
    let parts = marks::take_apart(text.unwrap_or_default());
    Ok(parts.map_err(|error| damaged(path, error))?.part)
}

/// Tells somebody that what he has changed will not be there any more, and what it was.
fn report(global: &Global, place: &Place, new: &str) -> Result<()> {
    let old = place.read()?;
    let part = part(place.path(), old.as_deref())?;
    let lost = part.as_ref().map_or_else(Vec::new, |part| part.lost(new));
    if !lost.is_empty() {
        let lines: Vec<_> = lost.iter().map(|line| format!("  {}", printable(line))).collect();
        let path = place.path().display();
        let what = format!("somebody has changed ecs-bridge's part of {path}; these lines go:");
        note(global, &format!("{what}\n{}", lines.join("\n")));
    }
    Ok(())
}

/// OpenSSH's own file.
fn config() -> Result<PathBuf> {
    match home() {
        Some(home) => Ok(home.join(".ssh").join("config")),
        None => Err(usage("no home folder is known".to_owned(), "set HOME")),
    }
}

fn absolute(path: &Path) -> Result<String> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Plain(format!("{} cannot be made absolute: {error}", path.display())))?;
    text(&absolute)
}

fn text(path: &Path) -> Result<String> {
    let odd = || usage(format!("the path {} is not UTF-8", path.display()), "use another path");
    path.to_str().map(str::to_owned).ok_or_else(odd)
}

fn usage(what: String, remedy: &str) -> Box<dyn Explain> {
    Mistake { what, remedy: remedy.to_owned(), exit_code: ExitCode::Usage }.into()
}

fn damaged(path: &Path, error: Unpaired) -> Box<dyn Explain> {
    Mistake {
        what: format!("{} was left as it is: {error}", path.display()),
        remedy:
            "take the lines from '# >>> ecs-bridge' to '# <<< ecs-bridge' out by hand, and run \
                 this again"
                .to_owned(),
        exit_code: ExitCode::Config,
    }
    .into()
}

fn said(global: &Global, text: &str) -> Result<()> {
    if global.quiet { Ok(()) } else { print(&text) }
}

fn note(global: &Global, text: &str) {
    if !global.quiet {
        logging::tell(&text);
    }
}
