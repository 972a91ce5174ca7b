//! `ecs-bridge list`: which instances there are, and whether they can be reached.

mod gather;
mod show;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::SystemTime;

use tracing::warn;

use self::gather::{Gathered, Row, Search, gather};
use crate::app::{Cloud, Done, Result, UsageError, cache, note, print};
use crate::cli::{self, Global};
use crate::cloud::Region;
use crate::explain::ExitCode;
use crate::platform::logging;
use crate::target::cache::put_list;
use crate::target::{Target, input_for, is_id};

/// Runs the command. What was found is shown even if something failed.
pub(crate) async fn run(global: &Global, args: &cli::List) -> Result<Done> {
    for filter in &args.filters {
        Target::parse(filter, &[])?;
    }
    let home = Cloud::open(global)?;
    let searches = searches(&home, args)?;
    let Gathered { rows, notes, mut error } = gather(&searches).await;
    if rows.is_empty() && error.is_none() {
        error = not_permitted(&searches).await;
    }
    for note in notes {
        warn!("{note}");
    }
    cache_targets(&home, args, &rows);

    let regions = regions(&searches);
    if args.json {
        if !rows.is_empty() || error.is_none() {
            print(&show::json(&rows))?;
        }
    } else if !rows.is_empty() {
        print(&show::table(&rows, regions.len() > 1))?;
    }
    match error {
        Some(error) => return Err(error.into()),
        None if rows.is_empty() => {
            let regions: Vec<_> = regions.iter().map(Region::as_str).collect();
            let regions = regions.join(", ");
            if !args.filters.is_empty() {
                return Err(UsageError::new(
                    format!("no instance in {regions} fits {}", args.filters.join(" or ")),
                    "without a FILTER all instances are listed; --regions looks in others, \
                     too, and in a name * stands for anything",
                )
                .exits(ExitCode::Failed)
                .into());
            }
            note(global, &format!("there are no instances in {regions}"));
        }
        None if !args.json && !global.quiet => next(&rows),
        None => {}
    }
    Ok(Done::Normally)
}

/// Prints a hint on a terminal: what can be done with the instances that are listed.
fn next(rows: &[Row]) {
    if !std::io::stdout().is_terminal() || !std::io::stderr().is_terminal() {
        return;
    }
    let reachable = rows.iter().find(|row| show::is_reachable(row) && !show::is_windows(row));
    if let Some(row) = reachable {
        let id = &row.instance.id;
        logging::eprint(&format!(
            "next: ssh root@{id} (once before that: ecs-bridge ssh-config --write); if it fails: \
             ecs-bridge doctor {id}"
        ));
    }
}

/// What to look for, and where: each filter in its own region, or else in all of them.
fn searches(home: &Cloud, args: &cli::List) -> Result<Vec<Search>> {
    let mut regions = vec![home.client.config().region.clone()];
    for region in args.look_up.regions() {
        if !regions.contains(region) {
            regions.push(region.clone());
        }
    }
    let mut filters: BTreeMap<String, (Region, Vec<_>)> = BTreeMap::new();
    let mut add = |region: &Region, selector| {
        let there = filters.entry(region.to_string());
        there.or_insert_with(|| (region.clone(), Vec::new())).1.push(selector);
    };
    for filter in &args.filters {
        let target = Target::parse(filter, &regions)?;
        let of_its_own = target.region.as_ref().map(std::slice::from_ref);
        for region in of_its_own.unwrap_or(&regions) {
            add(region, Some(target.selector.clone()));
        }
    }
    if args.filters.is_empty() {
        for region in &regions {
            add(region, None);
        }
    }
    let search = |(region, selectors)| Ok(Search { cloud: home.in_region(&region)?, selectors });
    filters.into_values().map(search).collect()
}

fn regions(searches: &[Search]) -> Vec<Region> {
    searches.iter().map(|search| search.cloud.client.config().region.clone()).collect()
}

/// Without the permission the service's answer is an empty list.
async fn not_permitted(searches: &[Search]) -> Option<crate::cloud::Error> {
    let client = &searches.first()?.cloud.client;
    let error = client.may_describe_instances().await.err()?;
    (crate::explain::Explain::exit_code(&error) == ExitCode::Permission).then_some(error)
}

/// Caches the names that complete in the shell.
fn cache_targets(home: &Cloud, args: &cli::List, rows: &[Row]) {
    let mut named = BTreeMap::new();
    for Row { instance, .. } in rows {
        *named.entry((&instance.region, &instance.name)).or_insert(0) += 1;
    }
    let here = &home.client.config().region;
    let mut targets = Vec::new();
    for Row { instance, .. } in rows {
        let Ok(region) = Region::parse(&instance.region) else { continue };
        let id = input_for(&instance.id, "", &region, here);
        let name = input_for(&instance.id, &instance.name, &region, here);
        // A name of several instances is ambiguous.
        let is_one = named.get(&(&instance.region, &instance.name)) == Some(&1);
        if is_one && !is_id(&name) && name != id {
            targets.push(name);
        }
        targets.push(id);
    }
    let mut place = home.place().to_vec();
    place.extend(args.look_up.regions().map(Region::to_string));
    place.extend(args.filters.clone());
    let place: Vec<_> = place.iter().map(String::as_str).collect();
    put_list(&cache(&args.look_up), &place, targets, SystemTime::now());
}
