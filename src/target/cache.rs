//! The cache of resolved targets, for an hour, and of names for completion.
//!
//! An entry may be stale: an instance may be gone, or the credentials be of another account. A call then
//! fails, and the target is looked up again.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::is_id;
use crate::cloud::Region;
use crate::platform::cache::{Cache, DAY, Topic};

/// How long a resolved target is cached.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Entries of targets that were looked up.
const LOOKED_UP: &str = "target";
/// Entries of lists.
const LISTED: &str = "list";
/// Bytes of all targets of one list: an entry may not have more than twice as many.
const MAX_LISTED: usize = 1 << 20;

/// A resolved target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CachedTarget {
    /// The target as it was given.
    pub input: String,
    /// The instance's id.
    pub id: String,
    /// The instance's region.
    pub region: String,
}

/// The topic of a target, for a cloud, an account and the regions to look in.
pub(crate) fn topic(place: &[&str], input: &str) -> Topic {
    let parts: Vec<_> = place.iter().copied().chain([input]).collect();
    Topic::new(LOOKED_UP, &parts)
}

/// The instance and the region of a target that was resolved less than an hour ago.
pub(crate) fn get(
    cache: &Cache,
    topic: &Topic,
    input: &str,
    now: SystemTime,
) -> Option<(String, Region)> {
    let (found, _) = cache.get::<CachedTarget>(topic, HOUR, now)?;
    // What is no id, or no region, would only fail until the hour is over.
    let region = Region::parse(&found.region).ok()?;
    (found.input == input && is_id(&found.id)).then_some((found.id, region))
}

/// Stores the targets of instances that were listed.
pub(crate) fn put_list(cache: &Cache, place: &[&str], mut targets: Vec<String>, now: SystemTime) {
    let mut bytes = 0;
    targets.retain(|target| {
        bytes += target.len() + 3;
        bytes <= MAX_LISTED
    });
    cache.put(&Topic::new(LISTED, place), &targets, now);
}

/// The words for instances that were looked up or listed within a day and begin so, in order. Ids are
/// among them once there is a beginning: they say little to people.
pub(crate) fn beginning_with(cache: &Cache, prefix: &str, now: SystemTime) -> Vec<String> {
    let looked_up = cache.all::<CachedTarget>(LOOKED_UP, DAY, now).into_iter();
    let listed = cache.all::<Vec<String>>(LISTED, DAY, now).into_iter().flatten();
    let mut input: Vec<_> = looked_up
        .map(|found| found.input)
        .chain(listed)
        .filter(|input| input.starts_with(prefix) && !input.chars().any(char::is_control))
        .filter(|input| !prefix.is_empty() || !input.split('.').next().is_some_and(is_id))
        .collect();
    input.sort_unstable();
    input.dedup();
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_completed_from_what_was_looked_up_and_listed() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().as_os_str().to_owned();
        let cache = Cache::of_user(&|name| (name == "XDG_CACHE_HOME").then(|| home.clone()), None);
        let (stored, now) = (SystemTime::now(), SystemTime::now() + Duration::from_secs(1));
        assert_eq!(beginning_with(&cache, "", now), [""; 0]);
        for (input, id) in [("web-2", "i-2"), ("数据库", "i-3"), ("web-2.cn-beijing", "i-4")] {
            let found =
                CachedTarget { input: input.into(), id: id.into(), region: "cn-test".into() };
            let topic = topic(&["ecs.example"], input);
            cache.put(&topic, &found, stored);
            let region = Region::parse("cn-test").unwrap();
            assert_eq!(get(&cache, &topic, input, now), Some((found.id, region)));
            assert_eq!(get(&cache, &topic, input, now + HOUR), None);
        }
        let listed = ["web-1", "web-2", "a b", "a\nb", "i-5"].map(str::to_owned).to_vec();
        put_list(&cache, &["ecs.example", "cn-test"], listed, stored);
        let all = ["a b", "web-1", "web-2", "web-2.cn-beijing", "数据库"];
        assert_eq!(beginning_with(&cache, "", now), all);
        assert_eq!(beginning_with(&cache, "web-2", now + HOUR), all[2..4]);
        assert_eq!(beginning_with(&cache, "i", now), ["i-5"]);
        assert_eq!(beginning_with(&cache, "web-2", now + DAY), [""; 0]);
    }
}
