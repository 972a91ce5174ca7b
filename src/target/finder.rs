//! From a target to an instance: by its id, from the cache, or by the API.

use std::collections::HashSet;
use std::fmt;
use std::time::SystemTime;

use tracing::{debug, info};

use super::cache::{self as target_cache, CachedTarget};
use super::find::{FindError, find};
use super::{Selector, Target, TargetError};
use crate::app::{Cloud, Result, cache};
use crate::cli::{Global, LookUp};
use crate::cloud::{Client, Kind, Named, Region};
use crate::platform::cache::{Cache, Topic};

/// An instance to work with.
#[derive(Clone)]
pub(crate) struct Found {
    /// The API of its region. Its messages call the instance by the target as it was given, too.
    pub(crate) cloud: Cloud,
    /// The instance's id.
    pub(crate) id: String,
    /// The target as it was given, if it is not the id.
    pub(crate) name: Option<String>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cloud.client.label(&self.id))
    }
}

/// Finds the instance that a target means.
#[derive(Clone)]
pub(crate) struct Finder {
    home: Cloud,
    target: Target,
    others: Vec<Region>,
    cache: Cache,
}

/// What finds an instance, and finds another one in its place.
pub(crate) trait Instances {
    /// Finds the instance.
    ///
    /// # Errors
    /// When there is none, or more than one; and when the API does not answer.
    async fn find(&self) -> Result<Found>;

    /// Looks the instance up again of which the API has said that there is none. `None` if nothing
    /// else is found that it may be.
    ///
    /// # Errors
    /// When there is no such instance any more, or several; and when the API does not answer.
    async fn again(&self, gone: &Found) -> Result<Option<Found>>;
}

impl Instances for Finder {
    /// One that is given by its id need not be looked up.
    async fn find(&self) -> Result<Found> {
        let (topic, now) = (self.topic(), SystemTime::now());
        if let Some((id, region)) = target_cache::get(&self.cache, &topic, &self.target.input, now)
        {
            debug!("{} is known to be {id} in {region}", self.target.input);
            return self.found(&id, &region);
        }
        match &self.target.selector {
            Selector::Id(id) => self.found(id, self.region()),
            _ => self.look_up().await,
        }
    }

    async fn again(&self, gone: &Found) -> Result<Option<Found>> {
        self.cache.forget(&self.topic());
        match self.look_up().await {
            Ok(found) if found.id != gone.id || found.region() != gone.region() => {
                info!("{gone} is gone: {found} is used in its place");
                Ok(Some(found))
            }
            Ok(_) => Ok(None),
            // Another look-up of an id would give the same.
            Err(error) if matches!(self.target.selector, Selector::Id(_)) => {
                debug!("{} is no name either: {error}", self.target.input);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Works with an instance; and once more with another one, should the API not know the first. Both
/// futures have the use of `context`; `cancelled` ends a look-up, and gives the result then.
///
/// # Errors
/// Those of the look-ups and of the work.
pub(crate) async fn with_instance<C, T>(
    instances: &impl Instances,
    context: &mut C,
    cancelled: impl AsyncFn(&mut C) -> T,
    work: impl AsyncFn(&mut C, &Found) -> Result<T>,
) -> Result<T> {
    let found = tokio::select! {
        biased;
        found = instances.find() => found?,
        done = cancelled(context) => return Ok(done),
    };
    let error = match work(context, &found).await {
        Err(error) if error.is_unknown_instance() => error,
        done => return done,
    };
    let again = tokio::select! {
        biased;
        again = instances.again(&found) => again?,
        done = cancelled(context) => return Ok(done),
    };
    match again {
        Some(found) => work(context, &found).await,
        None => Err(error),
    }
}

impl Finder {
    /// Whether words can name an instance, before anything else is looked at.
    ///
    /// # Errors
    /// When they cannot.
    pub(crate) fn check(input: &str) -> Result<()> {
        Ok(Target::parse(input, &[]).map(drop)?)
    }

    pub(crate) fn new(
        home: &Cloud,
        input: &str,
        look_up: &LookUp,
    ) -> std::result::Result<Self, TargetError> {
        let region = &home.client.config().region;
        let mut others = look_up.regions().cloned().collect::<Vec<_>>();
        others.push(region.clone());
        let target = Target::parse(input, &others)?;
        // Whoever is in a region that is named twice would be two.
        let mut seen = HashSet::from([region.clone()]);
        others.retain(|other| seen.insert(other.clone()));
        Ok(Self { home: home.clone(), target, others, cache: cache(look_up) })
    }

    /// Works with the instance; and once more with another one, should the API not know the first.
    ///
    /// # Errors
    /// As [`Instances::find`], and those of the work.
    pub(crate) async fn with<T>(&self, work: impl AsyncFn(&Found) -> Result<T>) -> Result<T> {
        let never = async |_: &mut ()| std::future::pending().await;
        with_instance(self, &mut (), never, async |_, found| work(found).await).await
    }

    /// The same with credentials as they are now.
    ///
    /// # Errors
    /// When there are none any more.
    pub(crate) fn refreshed(&self, global: &Global) -> Result<Self> {
        Ok(Self { home: self.home.refreshed(global)?, ..self.clone() })
    }

    async fn look_up(&self) -> Result<Found> {
        let home = self.home.in_region(self.region())?.client;
        let others: Vec<Client> = match self.target.region {
            Some(_) => Vec::new(),
            None => {
                let clients = self.others.iter().map(|r| Ok(self.home.in_region(r)?.client));
                clients.collect::<Result<_>>()?
            }
        };
        let found = find(&self.target, &home, &others).await.map_err(|error| match error {
            FindError::Call(error)
                if error.kind() == Kind::RegionNotFound && self.target.region.is_some() =>
            {
                let input = self.target.input.strip_suffix(".ecs").unwrap_or(&self.target.input);
                let region = &self.home.client.config().region;
                FindError::Region { error, spelt_out: format!("{input}.{region}") }
            }
            error => error,
        })?;
        info!("{} is {} in {}", self.target.input, found.id, found.region);
        let region = Region::parse(&found.region)?;
        let cached = CachedTarget {
            input: self.target.input.clone(),
            id: found.id.clone(),
            region: found.region,
        };
        self.cache.put(&self.topic(), &cached, SystemTime::now());
        self.found(&found.id, &region)
    }

    /// The region that is looked in first.
    fn region(&self) -> &Region {
        self.target.region.as_ref().unwrap_or(&self.home.client.config().region)
    }

    fn found(&self, id: &str, region: &Region) -> Result<Found> {
        let mut cloud = self.home.in_region(region)?;
        // An id with its region says it all.
        let input = &self.target.input;
        let name = (!input.starts_with(id)).then(|| input.clone());
        if let Some(name) = name.clone() {
            cloud.client = cloud.client.naming(Named { id: id.to_owned(), name });
        }
        Ok(Found { cloud, id: id.to_owned(), name })
    }

    fn topic(&self) -> Topic {
        let others: Vec<_> = self.others.iter().map(Region::as_str).collect();
        let others = others.join(",");
        let place = self.home.place();
        let mut parts: Vec<_> = place.iter().map(String::as_str).collect();
        parts.push(&others);
        target_cache::topic(&parts, &self.target.input)
    }
}

impl Found {
    fn region(&self) -> &Region {
        &self.cloud.client.config().region
    }
}
