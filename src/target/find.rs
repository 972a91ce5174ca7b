//! Looks the target up by the API: in the profile's region first, and only if there is no such instance
//! in the others, side by side.
//!
//! The service's filters may match more than documented, and `*` is a wildcard to them: their results
//! are compared again, as they are written.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::timeout;
use tracing::debug;

use super::{Selector, Target, is_id};
use crate::app::table::Table;
use crate::cloud::{Client, Error, Instance, InstanceFilter, InstancePage, InstanceState, Region};
use crate::explain::{ExitCode, Explain};

/// Pages that are looked through for one name.
const MAX_PAGES: usize = 50;
/// How long to look for a name that is written in capitals elsewhere: ssh makes small letters of it.
const ANY_CASE_WITHIN: Duration = Duration::from_secs(15);
/// The most instances that a message lists.
const SHOWN: usize = 20;

/// Notes on queries that the API did not answer, each once.
#[derive(Debug, Default)]
struct Notes(RefCell<Vec<String>>);

impl Notes {
    fn add(&self, note: String) {
        let mut notes = self.0.borrow_mut();
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
}

/// Why a target was not resolved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FindError {
    /// The API did not answer.
    #[error("{0}")]
    Call(Error),
    /// The region that stands behind the target is none.
    #[error("{error}")]
    Region {
        /// What the API says.
        error: Error,
        /// The target, with another region behind it: as it has to be written if that was no region.
        spelt_out: String,
    },
    /// There is no such instance.
    #[error("no instance has {selector} ({where_})", where_ = in_regions(.regions))]
    None {
        /// What was looked for.
        selector: Selector,
        /// Where.
        regions: Vec<Region>,
        /// The queries that the API did not answer.
        notes: Vec<String>,
    },
    /// There are several.
    #[error("{} instances have {selector}", .found.len())]
    Several {
        /// What was looked for.
        selector: Selector,
        /// The instances.
        found: Vec<Instance>,
    },
}

impl From<Error> for FindError {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl Explain for FindError {
    fn why(&self) -> Option<String> {
        match self {
            Self::Call(error) | Self::Region { error, .. } => error.why(),
            Self::None { selector, notes, .. } => {
                let mut parts = notes.clone();
                if matches!(selector, Selector::Name(name) if name.contains('*')) {
                    parts.push("a '*' stands for itself here".to_owned());
                }
                if let Selector::Name(name) = selector
                    && let Some((instance, port)) = name.rsplit_once(':')
                    && port.parse::<u16>().is_ok()
                {
                    parts.push(format!("a port is a word of its own: {instance} {port}"));
                }
                if matches!(selector, Selector::Name(name) if is_id(&name.to_ascii_lowercase())) {
                    parts.push("an id is written in small letters".to_owned());
                }
                if matches!(selector, Selector::Tag(..)) {
                    parts.push(
                        "tags are compared as they are written, and ssh writes hosts in small \
                         letters (%h; %n is as it was typed)"
                            .to_owned(),
                    );
                }
                Some(parts.join("; ")).filter(|why| !why.is_empty())
            }
            Self::Several { found, .. } => {
                let shown = &found[..found.len().min(SHOWN)];
                let mut why = format!("they are\n{}", listed(shown));
                if found.len() > SHOWN {
                    why.push_str(&format!("\nand {} more", found.len() - SHOWN));
                }
                Some(why)
            }
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Call(error) => error.remedy(),
            Self::Region { error, spelt_out } => {
                let fix = error.remedy().unwrap_or_default();
                Some(format!("{fix}; or, if it is part of a name, write {spelt_out}"))
            }
            Self::None { regions, .. } => Some(format!(
                "`ecs-bridge list` shows the instances; name more regions with --regions, or one \
                 behind the target, as in NAME.{}",
                match regions.first().map(Region::as_str) {
                    Some("cn-beijing") => "cn-shanghai",
                    _ => "cn-beijing",
                }
            )),
            Self::Several { found, .. } => {
                let first = found.first();
                let differ = first.is_some_and(|f| found.iter().any(|i| i.region != f.region));
                let region = if differ { ", or by its region behind the target" } else { "" };
                Some(format!("name one by its id{region}"))
            }
        }
    }

    fn request_id(&self) -> Option<&str> {
        match self {
            Self::Call(error) | Self::Region { error, .. } => error.request_id(),
            _ => None,
        }
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Call(error) | Self::Region { error, .. } => error.exit_code(),
            _ => ExitCode::Target,
        }
    }
}

fn in_regions(regions: &[Region]) -> String {
    let names: Vec<_> = regions.iter().map(Region::as_str).collect();
    format!("looked for in {}", names.join(", "))
}

/// Instances to choose from.
fn listed(found: &[Instance]) -> Table {
    let mut table = Table::new(&["INSTANCE", "NAME", "ADDRESS", "STATUS", "REGION"]);
    for instance in found {
        let addresses = instance.private_addresses.iter().chain(&instance.public_addresses);
        table.row([
            instance.id.clone(),
            instance.name.clone(),
            addresses.map(String::as_str).collect::<Vec<_>>().join(", "),
            status(instance),
            instance.region.clone(),
        ]);
    }
    table
}

/// A word for how an instance is: of managed ones, what their agents are like.
pub(crate) fn status(instance: &Instance) -> String {
    let word = match &instance.state {
        Some(InstanceState::Pending) => "Pending",
        Some(InstanceState::Starting) => "Starting",
        Some(InstanceState::Running) => "Running",
        Some(InstanceState::Stopping) => "Stopping",
        Some(InstanceState::Stopped) => "Stopped",
        Some(InstanceState::Other(word)) => word,
        None => match instance.agent.as_ref().and_then(|agent| agent.online) {
            Some(true) => "Connected",
            Some(false) => "Disconnected",
            None => "",
        },
    };
    word.to_owned()
}

/// Finds the one instance that is meant, in the region of `home` or, if it has none, in those of the
/// others.
///
/// # Errors
/// When there is none, or more than one; and when the API does not answer.
pub(crate) async fn find(
    target: &Target,
    home: &Client,
    others: &[Client],
) -> Result<Instance, FindError> {
    let selector = &target.selector;
    let notes = Notes::default();
    let mut found = exactly(selector, home, &notes).await?;
    if found.is_empty() {
        found =
            side_by_side(others, async |client| exactly(selector, client, &notes).await).await?;
    }
    if found.is_empty() {
        // Without the permission the answer is an empty list.
        let (permitted, in_any_case) = tokio::join!(
            home.may_describe_instances(),
            in_any_case(selector, home, others, &notes)
        );
        if let Err(error) = permitted
            && error.exit_code() == ExitCode::Permission
        {
            return Err(error.into());
        }
        found = in_any_case?;
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let clients = std::iter::once(home).chain(others);
            let regions = clients.map(|client| client.config().region.clone()).collect();
            let notes = notes.0.into_inner();
            Err(FindError::None { selector: selector.clone(), regions, notes })
        }
        _ => Err(FindError::Several { selector: selector.clone(), found }),
    }
}

async fn side_by_side(
    clients: &[Client],
    search: impl AsyncFn(&Client) -> Result<Vec<Instance>, FindError>,
) -> Result<Vec<Instance>, FindError> {
    Ok(try_join_all(clients.iter().map(|client| search(client))).await?.concat())
}

/// The instances of a region that are called exactly so.
async fn exactly(
    selector: &Selector,
    client: &Client,
    notes: &Notes,
) -> Result<Vec<Instance>, FindError> {
    let queries = queries(selector);
    let found = try_join_all(queries.iter().map(|query| pages(client, query, notes))).await?;
    let found = unique(found.concat());
    let found = keep(found, |instance| fits(selector, instance));
    if !found.is_empty() {
        return Ok(found);
    }
    // Many users lack the permission for these, and have none.
    match managed(selector, client, notes).await {
        Ok(managed) => Ok(keep(managed, |instance| fits(selector, instance))),
        Err(error) if error.is_of_this_action() => {
            debug!("managed instances are left out: {error}");
            notes.add(format!(
                "managed instances could not be looked at ({})",
                error.code().unwrap_or_default()
            ));
            Ok(found)
        }
        Err(error) => Err(error.into()),
    }
}

async fn managed(
    selector: &Selector,
    client: &Client,
    notes: &Notes,
) -> Result<Vec<Instance>, Error> {
    let filter = match selector {
        Selector::Id(id) if id.starts_with("mi-") => {
            let ids = vec![id.clone()];
            InstanceFilter { ids, ..InstanceFilter::default() }
        }
        Selector::Id(name) | Selector::Name(name) => of_name(name),
        Selector::Tag(..) => InstanceFilter::default(),
        Selector::Address(_) => return Ok(Vec::new()),
    };
    let page =
        async |after: Option<String>| client.managed_instances(&filter, after.as_deref()).await;
    all_pages(page, client, notes).await
}

/// The instances of all regions whose name is this one but for capitals, those of the first region
/// that has any. It is not known to the service, so all names are looked through that may be it.
async fn in_any_case(
    selector: &Selector,
    home: &Client,
    others: &[Client],
    notes: &Notes,
) -> Result<Vec<Instance>, FindError> {
    let Selector::Name(name) = selector else { return Ok(Vec::new()) };
    let patterns = patterns(name);
    let search = async |client: &Client| {
        let looks =
            patterns.iter().map(|pattern| async { pages(client, &of_name(pattern), notes).await });
        let instances = try_join_all(looks).await?.concat();
        let fits = |instance: &Instance| instance.name.eq_ignore_ascii_case(name);
        Ok(keep(unique(instances), fits))
    };
    let looked = timeout(ANY_CASE_WITHIN, async {
        match search(home).await? {
            found if found.is_empty() => side_by_side(others, search).await,
            found => Ok(found),
        }
    });
    looked.await.unwrap_or_else(|_| {
        let seconds = ANY_CASE_WITHIN.as_secs();
        notes.add(format!("within {seconds} s, not all names could be compared but for capitals"));
        Ok(Vec::new())
    })
}

/// Patterns that together fit a name in any mixture of capitals. The first letter tells most of a
/// fleet's names apart; none if there are no letters.
pub(crate) fn patterns(name: &str) -> Vec<String> {
    let Some(first) = name.find(|c: char| c.is_ascii_alphabetic()) else { return Vec::new() };
    let (head, tail) = (&name[..first], &name[first + 1..]);
    let mut rest = String::new();
    for c in tail.chars() {
        match c {
            c if !c.is_ascii_alphabetic() => rest.push(c),
            _ if !rest.ends_with('*') => rest.push('*'),
            _ => {}
        }
    }
    let letter = &name[first..=first];
    let letters = [letter.to_ascii_lowercase(), letter.to_ascii_uppercase()];
    letters.map(|letter| format!("{head}{letter}{rest}")).to_vec()
}

fn of_name(name: &str) -> InstanceFilter {
    InstanceFilter { name: Some(name.to_owned()), ..InstanceFilter::default() }
}

/// The queries for instances that are not managed: the service's filters that together match.
pub(crate) fn queries(selector: &Selector) -> Vec<InstanceFilter> {
    let none = InstanceFilter::default;
    match selector {
        // A name may look like an id, and managed instances are queried elsewhere.
        Selector::Id(id) if id.starts_with("mi-") => vec![of_name(id)],
        Selector::Id(id) => vec![InstanceFilter { ids: vec![id.clone()], ..none() }, of_name(id)],
        Selector::Name(name) => vec![of_name(name)],
        Selector::Tag(key, value) => {
            vec![InstanceFilter { tag: Some((key.clone(), value.clone())), ..none() }]
        }
        // An address may be of each kind: a VPC may have any, and it is not seen of a public one
        // whether it was bound later.
        Selector::Address(address) => {
            let address = || Some(address.to_string());
            vec![
                InstanceFilter { private_address: address(), ..none() },
                InstanceFilter { public_address: address(), ..none() },
                InstanceFilter { elastic_address: address(), ..none() },
            ]
        }
    }
}

/// Whether an instance is called exactly so.
pub(crate) fn fits(selector: &Selector, instance: &Instance) -> bool {
    match selector {
        Selector::Id(word) => instance.id == *word || instance.name == *word,
        Selector::Name(name) => instance.name == *name,
        Selector::Address(address) => {
            let addresses = instance.private_addresses.iter().chain(&instance.public_addresses);
            let address = address.to_string();
            addresses.into_iter().any(|has| *has == address)
        }
        Selector::Tag(key, value) => {
            let same =
                |(k, v): &(String, String)| k == key && value.as_ref().is_none_or(|w| w == v);
            instance.tags.iter().any(same)
        }
    }
}

fn keep(mut instances: Vec<Instance>, fits: impl Fn(&Instance) -> bool) -> Vec<Instance> {
    instances.retain(fits);
    instances
}

/// Each instance once.
pub(crate) fn unique(mut instances: Vec<Instance>) -> Vec<Instance> {
    let mut seen = std::collections::HashSet::new();
    instances.retain(|instance| seen.insert((instance.region.clone(), instance.id.clone())));
    instances
}

async fn pages(
    client: &Client,
    filter: &InstanceFilter,
    notes: &Notes,
) -> Result<Vec<Instance>, Error> {
    let page = async |after: Option<String>| client.instances(filter, after.as_deref()).await;
    all_pages(page, client, notes).await
}

async fn all_pages(
    page: impl AsyncFn(Option<String>) -> Result<InstancePage, Error>,
    client: &Client,
    notes: &Notes,
) -> Result<Vec<Instance>, Error> {
    let (mut instances, mut after) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let InstancePage { instances: more, next } = page(after).await?;
        instances.extend(more);
        if next.is_none() {
            return Ok(instances);
        }
        after = next;
    }
    let region = &client.config().region;
    notes.add(format!(
        "{region} has more instances than were looked at: the first {MAX_PAGES} pages"
    ));
    Ok(instances)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_a_name_in_any_capitals() {
        for (name, wanted) in [
            ("web-1", &["w*-1", "W*-1"][..]),
            ("01-Prod-db", &["01-p*-*", "01-P*-*"]),
            ("数据A库b", &["数据a库*", "数据A库*"]),
            ("x", &["x", "X"]),
            ("a*b", &["a*", "A*"]),
            ("10-1", &[]),
            ("数据", &[]),
        ] {
            assert_eq!(patterns(name), wanted, "{name}");
        }
    }

    #[test]
    fn many_are_listed_in_part() {
        let instance = |number: usize| Instance {
            id: format!("i-{number}"),
            name: "web".to_owned(),
            region: "cn-test".to_owned(),
            private_addresses: vec!["10.0.0.1".to_owned()],
            state: Some(InstanceState::Stopped),
            ..Instance::default()
        };
        let selector = Selector::Name("web".to_owned());
        let several = |count| FindError::Several {
            selector: selector.clone(),
            found: (0..count).map(instance).collect(),
        };
        let error = several(25);
        assert_eq!(error.to_string(), "25 instances have the name 'web'");
        let why = error.why().unwrap();
        let lines: Vec<_> = why.lines().collect();
        assert_eq!(lines.len(), 1 + 1 + 20 + 1);
        assert_eq!(lines[2], "i-0       web   10.0.0.1  Stopped  cn-test");
        assert_eq!(lines[22], "and 5 more");
        assert!(!several(20).why().unwrap().contains("more"));
        assert_eq!(error.remedy().unwrap(), "name one by its id");
    }
}
