//! `ecs-bridge configure`: the profile file of the vendor's tools, changed by its owner.

mod ask;
mod check;
mod profile;
mod set;
mod show;
mod wording;

use self::profile::{open, set_current};
use crate::app::{Done, Result, note, usage};
use crate::cli::{Configure, ConfigureAction, Global};
use crate::credentials::edit::Entry;
use crate::credentials::store;
use crate::explain::printable;

/// Runs the command.
pub(crate) async fn run(global: &Global, args: &Configure) -> Result<Done> {
    if args.action.is_some() && (args.mode.is_some() || args.no_check) {
        return usage(
            "--mode and --no-check apply to the prompts, not to a subcommand",
            "leave them out, or write --mode behind 'set'",
        );
    }
    match &args.action {
        None => ask::run(global, args).await,
        Some(ConfigureAction::Set(args)) => set::run(global, args).await,
        Some(ConfigureAction::Get(args)) => show::get(global, args),
        Some(ConfigureAction::List(args)) => show::list(global, args),
        Some(ConfigureAction::Delete(args)) => {
            delete(global, name_of(global, args.name.as_deref(), "delete")?).await
        }
        Some(ConfigureAction::Switch(args)) => {
            switch(global, name_of(global, args.name.as_deref(), "switch")?).await
        }
    }
}

/// The profile that a command line names: as an argument, or by --profile as for the aliyun CLI. A
/// variable does not name one: it may be set for other commands.
fn name_of<'a>(global: &'a Global, given: Option<&'a str>, word: &str) -> Result<&'a str> {
    let by_flag = global.profile.as_deref().filter(|_| global.given.profile);
    match (given, by_flag) {
        (Some(name), Some(flag)) if name != flag => usage(
            format!("two profiles are named: '{}' and '{}'", printable(name), printable(flag)),
            "name one; nothing was changed",
        ),
        (Some(name), _) | (None, Some(name)) => Ok(name),
        (None, None) => usage(
            "no profile is named",
            format!(
                "name it: ecs-bridge configure {word} PROFILE; ecs-bridge configure list shows them"
            ),
        ),
    }
}

async fn switch(global: &Global, name: &str) -> Result<Done> {
    let store = open(global)?;
    store.need(name)?;
    set_current(&store, name).await?;
    note(global, &format!("profile '{}' is the current one now", printable(name)));
    Ok(Done::Normally)
}

async fn delete(global: &Global, name: &str) -> Result<Done> {
    let store = open(global)?;
    let found = store.need(name)?;
    let others: Vec<_> =
        store.profiles().into_iter().filter(|other| other.entry.name != name).collect();
    let is_current = store.current().as_deref() == Some(name);
    // ali-instance-cli makes the first one the current one then.
    let next = others.first().filter(|_| is_current && global.vendor.is_some());
    if is_current && !others.is_empty() && next.is_none() {
        let names: Vec<_> = others.iter().map(|other| other.entry.name.as_str()).collect();
        return usage(
            format!("profile '{}' is the current one: it was not deleted", printable(name)),
            format!(
                "make another one current first: ecs-bridge configure switch NAME\nthere are: {}",
                names.join(", ")
            ),
        );
    }
    let path = &found.file.path;
    let count = store::change(path, |document| {
        let count = document.delete(name);
        if document.current().as_deref() == Some(name) {
            document.set_current("");
        }
        Ok(count)
    })
    .await?;
    if let Some(next) = next {
        set_current(&store, &next.entry.name).await?;
        let name = printable(&next.entry.name);
        note(global, &format!("profile '{name}' is the current one now"));
    }
    let times = if count > 1 { format!(" ({count} of that name)") } else { String::new() };
    note(
        global,
        &format!("profile '{}' is deleted from {}{times}", printable(name), path.display()),
    );
    let is_user = |entry: &Entry| entry.text("source_profile").as_deref() == Some(name);
    for other in others.iter().filter(|other| is_user(&other.entry)) {
        let (other, name) = (printable(&other.entry.name), printable(name));
        note(
            global,
            &format!(
                "profile '{other}' uses the keys of profile '{name}', and cannot be used any more"
            ),
        );
    }
    Ok(Done::Normally)
}
