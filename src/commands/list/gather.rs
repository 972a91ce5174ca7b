//! The instances of regions, page by page, and meanwhile their agents.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::{self, Stream};
use tokio::sync::Semaphore;

use crate::app::Cloud;
use crate::cloud::{AgentStatus, Client, Error, Instance, InstanceFilter, InstancePage, Kind};
use crate::explain::{ExitCode, Explain as _};
use crate::target::find::{self, patterns};
use crate::target::{Selector, is_id, is_like};

/// The most pages of one query; a page has 100 instances.
const MAX_PAGES: usize = 200;
/// Agents that one call queries, unless the service accepts fewer.
const AGENTS: usize = 50;
/// Calls about agents that are made at the same time.
const AT_ONCE: usize = 4;

/// What is looked for in a region: the instances that one of the filters matches, or all.
pub(crate) struct Search {
    pub(crate) cloud: Cloud,
    pub(crate) selectors: Vec<Option<Selector>>,
}

/// An instance, and its agent.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) instance: Instance,
    pub(crate) agent: Agent,
}

/// What is known of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    /// Nothing: the query failed.
    Unknown,
    /// There is none.
    Missing,
    /// It is so.
    Known(AgentStatus),
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) rows: Vec<Row>,
    /// What could not be found out, each once.
    pub(crate) notes: Vec<String>,
    /// Why it is not all there is.
    pub(crate) error: Option<Error>,
}

/// Looks for instances in all regions side by side.
pub(crate) async fn gather(searches: &[Search]) -> Gathered {
    let all = Gathering {
        gathered: RefCell::default(),
        calls: Semaphore::new(AT_ONCE),
        agents_at_once: Cell::new(AGENTS),
        agents_are_known: Cell::new(true),
        is_whole: Cell::new(true),
    };
    join_all(searches.iter().map(|search| all.region(search))).await;
    let missing = all.missing(searches);
    if !missing.is_empty() {
        join_all(searches.iter().map(|search| all.in_any_case(search, &missing))).await;
    }
    let mut gathered = all.gathered.into_inner();
    let mut seen = std::collections::HashSet::new();
    gathered.rows.retain(|row| seen.insert((row.instance.region.clone(), row.instance.id.clone())));
    gathered.rows.sort_by_cached_key(|row| {
        let instance = &row.instance;
        (instance.region.clone(), instance.name.to_lowercase(), instance.id.clone())
    });
    gathered
}

struct Gathering {
    gathered: RefCell<Gathered>,
    /// Held for each call about agents.
    calls: Semaphore,
    agents_at_once: Cell<usize>,
    agents_are_known: Cell<bool>,
    /// Whether all pages were looked at, so far.
    is_whole: Cell<bool>,
}

impl Gathering {
    async fn region(&self, search: &Search) {
        let client = &search.cloud.client;
        let instances = search.selectors.iter().flat_map(queries);
        let instances = instances.map(|query| self.instances(client, query, &search.selectors));
        let managed = async {
            // One query without a filter covers all others.
            let mut queries: Vec<_> = search.selectors.iter().map(managed_query).collect();
            if queries.contains(&InstanceFilter::default()) {
                queries = vec![InstanceFilter::default()];
            }
            join_all(queries.into_iter().map(|q| self.managed(client, q, &search.selectors))).await
        };
        tokio::join!(join_all(instances), managed);
    }

    /// The names without a match, if all queries succeeded.
    fn missing(&self, searches: &[Search]) -> Vec<Option<Selector>> {
        let gathered = self.gathered.borrow();
        let selectors = searches.iter().flat_map(|search| &search.selectors);
        let names = selectors.filter(|selector| matches!(selector, Some(Selector::Name(_))));
        let found = |selector| gathered.rows.iter().any(|row: &Row| fits(selector, &row.instance));
        let can_be_queried = gathered.error.is_none() && self.is_whole.get();
        names.filter(|selector| can_be_queried && !found(selector)).cloned().collect()
    }

    /// As for targets, capitals do not matter where no name is exactly so. The service's filters are
    /// case-sensitive.
    async fn in_any_case(&self, search: &Search, missing: &[Option<Selector>]) {
        let selectors = search.selectors.iter().filter(|selector| missing.contains(selector));
        let selectors: Vec<_> = selectors.cloned().collect();
        let patterns = selectors.iter().flatten().flat_map(|selector| match selector {
            Selector::Name(name) => patterns(name),
            _ => Vec::new(),
        });
        let queries = patterns
            .map(|pattern| InstanceFilter { name: Some(pattern), ..InstanceFilter::default() });
        let instances = queries.map(|q| self.instances(&search.cloud.client, q, &selectors));
        join_all(instances).await;
    }

    /// The pages of a query, one after the other; the agents of a page are queried while the next pages
    /// are fetched.
    async fn instances(
        &self,
        client: &Client,
        query: InstanceFilter,
        selectors: &[Option<Selector>],
    ) {
        let pages = self
            .pages(async |after: Option<String>| client.instances(&query, after.as_deref()).await);
        let chunks = pages.flat_map(|mut page| {
            page.retain(|instance| selectors.iter().any(|selector| fits(selector, instance)));
            let size = self.agents_at_once.get();
            let chunks: Vec<_> = page.chunks(size).map(<[Instance]>::to_vec).collect();
            stream::iter(chunks)
        });
        let rows = chunks.map(|chunk| self.with_agents(client, chunk)).buffer_unordered(AT_ONCE);
        rows.for_each(async |rows| self.gathered.borrow_mut().rows.extend(rows)).await;
    }

    async fn managed(
        &self,
        client: &Client,
        query: InstanceFilter,
        selectors: &[Option<Selector>],
    ) {
        let mut after = None;
        for _ in 0..MAX_PAGES {
            let InstancePage { mut instances, next } =
                match client.managed_instances(&query, after.as_deref()).await {
                    Ok(page) => page,
                    Err(error) if error.kind() == Kind::PermissionMissing => {
                        return self
                            .note(format!("managed instances (mi-…) are left out: {error}"));
                    }
                    // Not every region and every cloud has any.
                    Err(error) if error.is_of_this_action() => return,
                    Err(error) => return self.failed(error),
                };
            instances.retain(|instance| selectors.iter().any(|selector| fits(selector, instance)));
            let rows = instances.into_iter().map(|instance| {
                let agent = instance.agent.clone().map_or(Agent::Missing, Agent::Known);
                Row { instance, agent }
            });
            self.gathered.borrow_mut().rows.extend(rows);
            after = next;
            if after.is_none() {
                return;
            }
        }
        self.note(format!(
            "only the first {MAX_PAGES} pages of a region's managed instances are listed"
        ));
    }

    fn pages(
        &self,
        page: impl AsyncFn(Option<String>) -> Result<InstancePage, Error>,
    ) -> impl Stream<Item = Vec<Instance>> {
        let first = Some((0, None));
        stream::unfold((first, page), async |(place, page)| {
            let (number, after) = place?;
            match page(after).await {
                Ok(InstancePage { instances, next }) => {
                    let next = next.map(|token| (number + 1, Some(token)));
                    let more = next.filter(|(number, _)| *number < MAX_PAGES || self.too_many());
                    Some((instances, (more, page)))
                }
                Err(error) => {
                    self.failed(error);
                    None
                }
            }
        })
    }

    /// Notes that not all instances are listed.
    fn too_many(&self) -> bool {
        self.is_whole.set(false);
        self.note(format!("only the first {MAX_PAGES} pages of a region's instances are listed"));
        false
    }

    async fn with_agents(&self, client: &Client, instances: Vec<Instance>) -> Vec<Row> {
        let ids: Vec<_> = instances.iter().map(|instance| instance.id.clone()).collect();
        let mut agents = self.agents(client, &ids).await;
        let rows = instances.into_iter().map(|instance| {
            let agent = match &mut agents {
                None => Agent::Unknown,
                Some(agents) => agents.remove(&instance.id).map_or(Agent::Missing, Agent::Known),
            };
            Row { instance, agent }
        });
        rows.collect()
    }

    /// The state of the agents; `None` if the query failed.
    async fn agents(
        &self,
        client: &Client,
        ids: &[String],
    ) -> Option<HashMap<String, AgentStatus>> {
        let mut agents = HashMap::new();
        let mut rest = ids;
        while !rest.is_empty() {
            let _call = self.calls.acquire().await.ok()?;
            if !self.agents_are_known.get() {
                return None;
            }
            let (now, later) = rest.split_at(self.agents_at_once.get().min(rest.len()));
            match client.agent_statuses(now).await {
                Ok(statuses) => {
                    agents.extend(statuses);
                    rest = later;
                }
                Err(error) if error.kind() == Kind::TooManyInstances && now.len() > 1 => {
                    self.agents_at_once.set(self.agents_at_once.get().min(now.len() / 2));
                }
                Err(error) => {
                    if error.exit_code() == ExitCode::Permission {
                        self.agents_are_known.set(false);
                    }
                    self.note(format!("'?' is what could not be found out of agents: {error}"));
                    return None;
                }
            }
        }
        Some(agents)
    }

    fn note(&self, note: String) {
        let notes = &mut self.gathered.borrow_mut().notes;
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    fn failed(&self, error: Error) {
        self.gathered.borrow_mut().error.get_or_insert(error);
    }
}

/// The query for instances.
fn queries(selector: &Option<Selector>) -> Vec<InstanceFilter> {
    selector.as_ref().map_or_else(|| vec![InstanceFilter::default()], find::queries)
}

/// The query for managed instances: for all of them where the service has no filter.
fn managed_query(selector: &Option<Selector>) -> InstanceFilter {
    let none = InstanceFilter::default();
    match selector {
        Some(Selector::Id(id)) if id.starts_with("mi-") => {
            InstanceFilter { ids: vec![id.clone()], ..none }
        }
        _ => none,
    }
}

fn fits(selector: &Option<Selector>, instance: &Instance) -> bool {
    match selector {
        None => true,
        Some(Selector::Id(word)) => {
            is_id(&instance.id) && instance.id == *word || is_like(word, &instance.name)
        }
        Some(Selector::Name(pattern)) => is_like(pattern, &instance.name),
        Some(selector) => find::fits(selector, instance),
    }
}
