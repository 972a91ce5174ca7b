//! `ecs-bridge ssh-config`: prints OpenSSH's configuration, or installs it.

mod exe;
mod notes;

use std::env;
use std::path::{Path, PathBuf};

use clap::ValueEnum as _;

use crate::app::{Done, Message, Result, UsageError, note, print, usage};
use crate::cli::{Global, Signature, SshConfig};
use crate::cloud::{Endpoint, Region};
use crate::credentials::{HOME_VARIABLE, home, in_home};
use crate::explain::{ExitCode, Explain, printable};
use crate::keys::public_key;
use crate::openssh::ssh_config::blocks::{Blocks, HostKeys, dropped, is_host};
use crate::openssh::ssh_config::marks;
use crate::openssh::ssh_config::quote::{include_word, is_writable};
use crate::openssh::{self, Ssh};
use crate::platform::replace::{self, Change, Destination, Mode, update};

/// The file of its own, beside OpenSSH's.
const OWN: &str = "ecs-bridge.conf";

/// Why connections cannot be shared; `None` if they can.
fn no_control_master(ssh: &Ssh) -> Option<String> {
    if !ssh.shares_connections() {
        return Some(format!("{ssh} has no ControlMaster: each connection would fail with it"));
    }
    // Git's and Cygwin's ssh cannot pass descriptors to another process.
    cfg!(windows).then(|| {
        "ssh on Windows cannot share connections: with ControlMaster, each one after the first \
         would fail"
            .to_owned()
    })
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: &SshConfig) -> Result<Done> {
    if args.uninstall {
        return uninstall(global).await;
    }
    let mut blocks = blocks(global, args)?;
    let ssh = openssh::installed().await;
    if blocks.control_master
        && let Some(what) = no_control_master(&ssh)
    {
        return usage(what, "leave out --control-master");
    }
    blocks.host_keys = host_keys(&ssh);
    blocks.is_git_ssh = ssh.is_gits();
    match &args.write {
        Some(file) => write(global, file.as_deref(), &blocks, &ssh).await,
        None => {
            print(&blocks.text().trim_end())?;
            notes::of_ssh(global, &ssh, &blocks);
            notes::of_key(global, &blocks);
            notes::of_shell(global, &blocks).await;
            Ok(Done::Normally)
        }
    }
}

/// How ssh checks host keys, without a line that would stop it.
fn host_keys(ssh: &Ssh) -> HostKeys {
    if ssh.knows_known_hosts_command() {
        return HostKeys::ByCommand;
    }
    // Of several IgnoreUnknown the first holds: one of the user's own, which comes later, would not.
    let files = [config().ok(), Some(PathBuf::from("/etc/ssh/ssh_config"))];
    let mut texts =
        files.into_iter().flatten().filter_map(|file| Destination::of(&file).ok()?.read().ok()?);
    let is_of_user = |text: Vec<u8>| {
        let text = String::from_utf8_lossy(&text).to_ascii_lowercase();
        text.lines().any(|line| line.trim().starts_with("ignoreunknown"))
    };
    if texts.any(is_of_user) { HostKeys::Unchecked } else { HostKeys::Guarded }
}

/// The blocks that the command line gives.
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
    let config = global.config.as_deref().map(|file| in_home(file, home().as_deref()));
    option("--config", config.as_deref().map(absolute).transpose()?);
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
        Some(Some(path)) => Some(Some(absolute(&public_key_file(path)?)?)),
        Some(None) => Some(None),
        None => None,
    };
    if send_key.iter().flatten().any(|path| path.contains("${")) {
        return usage(
            "the path of a key with '${' cannot be written into OpenSSH's configuration",
            "use another path",
        );
    }
    if let Some(word) = program.iter().chain(send_key.iter().flatten()).find(|w| !is_writable(w)) {
        return usage(
            format!("{word:?} cannot be written into OpenSSH's configuration"),
            "use names and paths without line breaks",
        );
    }
    if let Some(host) = args.host.iter().find(|host| !is_host(host)) {
        return usage(
            format!("--host {host:?} is not an instance id or a name that ends in .ecs"),
            "give an id, i-… or mi-…, or a name with .ecs behind it, such as web-1.ecs",
        );
    }
    let mut proxy_options = Vec::new();
    proxy_options.extend(args.start.then(|| "--start".to_owned()));
    if let Some(kind) = args.connection_type.and_then(|kind| kind.to_possible_value()) {
        proxy_options.extend(["--connection-type".to_owned(), kind.get_name().to_owned()]);
    }
    let regions: Vec<_> = args.regions.iter().map(Region::as_str).collect();
    let look_up = match regions[..] {
        [] => Vec::new(),
        _ => vec!["--regions".to_owned(), regions.join(",")],
    };
    let (control_master, hosts) = (args.control_master, args.host.clone());
    Ok(Blocks {
        program,
        send_key,
        proxy_options,
        look_up,
        control_master,
        hosts,
        ..Blocks::default()
    })
}

/// The file of a public key that can be registered, found out now rather than at each login.
fn public_key_file(path: &Path) -> Result<PathBuf> {
    let path = in_home(path, home().as_deref());
    if !path.is_file() {
        return usage(
            format!("there is no key file {}", path.display()),
            "name the file of a public key, such as ~/.ssh/id_ed25519.pub",
        );
    }
    public_key::from_file(path.clone())?;
    Ok(path)
}

async fn write(global: &Global, file: Option<&Path>, blocks: &Blocks, ssh: &Ssh) -> Result<Done> {
    let text = &blocks.text();
    if !ssh.knows_include() {
        return Err(UsageError::new(
            format!("nothing was written: {ssh} does not know Include"),
            "put what `ecs-bridge ssh-config` prints into ~/.ssh/config by hand, or install \
             OpenSSH 7.3 or newer",
        )
        .exits(ExitCode::Config)
        .into());
    }
    let config = config()?;
    let file = match file {
        Some(file) => PathBuf::from(absolute(&in_home(file, home().as_deref()))?),
        None => config.with_file_name(OWN),
    };
    let path = self::text(&file)?;
    let is_same = Destination::of(&file)?.real() == Destination::of(&config)?.real();
    if is_same || !is_writable(&path) {
        return usage(
            format!("{path:?} cannot be the file of its own that {} includes", config.display()),
            "leave the name out, or give another one",
        );
    }
    let line = format!("Include {}", include_word(&path, &config.to_string_lossy()));
    let include = format!("{}\n{line}\n", marks::file_line(&path));
    let made_elsewhere = can_put(&config, &include, &line)?;
    report_dropped(global, &file, text)?;
    put(global, &file, Mode::Private, text).await?;
    let remark = match made_elsewhere {
        Some(MadeElsewhere::WithInclude) => {
            print_unless_quiet(global, &format!("{} includes it already", config.display()))?;
            None
        }
        Some(MadeElsewhere::WithoutInclude(error)) => Some(error),
        None => {
            let before = put(global, &config, Mode::Kept, &include).await?;
            if let Some(before) = before.filter(|before| *before != file) {
                // Nothing leads there any more.
                remove(global, &before).await?;
            }
            None
        }
    };
    notes::of_ssh(global, ssh, blocks);
    notes::of_key(global, blocks);
    notes::of_clashes(global, &config, blocks);
    notes::of_shell(global, blocks).await;
    let next = notes::next(global);
    match remark {
        Some(error) => Err(error),
        None => print_unless_quiet(global, next).map(|()| Done::Normally),
    }
}

/// Prints which options the file was written with before, and is written without now.
fn report_dropped(global: &Global, file: &Path, text: &str) -> Result<()> {
    let old = Destination::of(file)?.read()?;
    let lines = part(file, old.as_deref())?.map(|part| part.lines).unwrap_or_default();
    let dropped = dropped(&lines, text);
    if !dropped.is_empty() {
        let options: Vec<_> = dropped.iter().map(|option| printable(option)).collect();
        note(
            global,
            &format!(
                "{} is written without options that it had before: {}; give them again to keep them",
                file.display(),
                options.join(", ")
            ),
        );
    }
    Ok(())
}

/// A configuration that is a link to a file that another program makes.
enum MadeElsewhere {
    /// It has the Include line.
    WithInclude,
    /// It has none: what to do.
    WithoutInclude(Box<dyn Explain>),
}

async fn uninstall(global: &Global) -> Result<Done> {
    let config = config()?;
    let included = remove(global, &config).await?;
    remove(global, &included.unwrap_or_else(|| config.with_file_name(OWN))).await?;
    Ok(Done::Normally)
}

/// Checks that its part could be put into a file, before anything is written.
fn can_put(path: &Path, text: &str, include: &str) -> Result<Option<MadeElsewhere>> {
    let place = Destination::of(path)?;
    let old = place.read()?;
    let new = marks::put(old.as_deref(), text).map_err(|error| damaged(path, error))?;
    // One that is read-only may have it already.
    if old.as_ref() == Some(&new) {
        return Ok(None);
    }
    let Err(error) = place.probe() else { return Ok(None) };
    let is_link = place.real() != place.path();
    if !is_link || !matches!(error, replace::Error::ReadOnly { .. } | replace::Error::Write { .. })
    {
        return Err(error.into());
    }
    let old = String::from_utf8_lossy(old.as_deref().unwrap_or_default()).into_owned();
    let default = path.with_file_name(OWN);
    let is_default = text.lines().any(|line| line == marks::file_line(&default.to_string_lossy()));
    let short = is_default.then(|| format!("Include ~/.ssh/{OWN}"));
    let is_include = |line: &str| line.trim() == include || short.as_deref() == Some(line.trim());
    if old.lines().any(is_include) {
        return Ok(Some(MadeElsewhere::WithInclude));
    }
    let what = format!(
        "the Include line was not written: {} is a link to {}, which cannot be written",
        path.display(),
        place.real().display()
    );
    let fix = format!(
        "add this line at the top where that file is made, before any Host line:\n{include}\n\
         (home-manager: programs.ssh.includes; all else is written)"
    );
    let error = UsageError::new(what, fix).exits(ExitCode::Config);
    Ok(Some(MadeElsewhere::WithoutInclude(error.into())))
}

/// Puts its part into a file; the file that the part before had included.
async fn put(global: &Global, path: &Path, mode: Mode, text: &str) -> Result<Option<PathBuf>> {
    let place = Destination::of(path)?;
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
    print_unless_quiet(global, &format!("{} {how}", path.display()))?;
    Ok(before)
}

/// Removes ecs-bridge's part from a file, and returns the file that the part included.
async fn remove(global: &Global, path: &Path) -> Result<Option<PathBuf>> {
    let place = Destination::of(path)?;
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
    print_unless_quiet(global, &format!("{} {how}", path.display()))?;
    Ok(included)
}

fn part(path: &Path, text: Option<&[u8]>) -> Result<Option<marks::Part>> {
    let parts = marks::take_apart(text.unwrap_or_default());
    Ok(parts.map_err(|error| damaged(path, error))?.part)
}

/// Warns that lines which somebody has changed are removed, and prints them.
fn report(global: &Global, place: &Destination, new: &str) -> Result<()> {
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
        None => usage("no home folder is known", format!("set {HOME_VARIABLE}")),
    }
}

fn absolute(path: &Path) -> Result<String> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Message(format!("{} cannot be made absolute: {error}", path.display())))?;
    text(&absolute)
}

fn text(path: &Path) -> Result<String> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => usage(format!("the path {} is not UTF-8", path.display()), "use another path"),
    }
}

fn damaged(path: &Path, error: marks::Error) -> Box<dyn Explain> {
    let fix = match error {
        marks::Error::Unpaired => {
            "delete the lines from '# >>> ecs-bridge' to '# <<< ecs-bridge', and run this again"
        }
        marks::Error::Utf16 => {
            "save it as UTF-8, for ssh cannot read it either, and run this again"
        }
    };
    UsageError::new(format!("{} was left as it is: {error}", path.display()), fix)
        .exits(ExitCode::Config)
        .into()
}

fn print_unless_quiet(global: &Global, text: &str) -> Result<()> {
    if global.quiet { Ok(()) } else { print(&text) }
}
