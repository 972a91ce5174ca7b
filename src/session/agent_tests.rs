use std::cell::Cell;
use std::path::Path;

use futures_util::poll;
use tokio::sync::oneshot;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const A: &str = "2.2.3.578";
const D: &str = "2.2.4.1065";

fn cache(folder: &Path) -> Cache {
    let folder = folder.to_owned().into_os_string();
    Cache::of_user(&|name| (name == "XDG_CACHE_HOME").then(|| folder.clone()), None)
}

fn topic() -> Topic {
    Topic::new("agent", &["i-1"])
}

fn version(text: &str) -> Option<AgentVersion> {
    Some(AgentVersion::parse(text).unwrap())
}

fn ago(time: Duration) -> SystemTime {
    SystemTime::now() - time
}

/// One that was told a version at that time.
fn with(cache: Cache, text: &str, at: SystemTime) -> AgentVersions {
    let versions = AgentVersions::new(cache, false);
    versions.take(&topic(), &Answer::of(Some(text.to_owned())), at);
    versions
}

fn known(versions: &AgentVersions) -> Option<AgentVersion> {
    versions.known(&topic()).map(|(version, _)| version)
}

/// What a query tells that gets this answer; `None` if none is made.
async fn told(versions: &AgentVersions, answer: Answer) -> Option<Option<AgentVersion>> {
    let is_made = Cell::new(false);
    let ask = || {
        is_made.set(true);
        ready(answer).boxed_local()
    };
    let told = versions.query(&topic(), ask).await;
    is_made.get().then_some(told)
}

/// As if so much time had passed since the last query.
fn pass(versions: &AgentVersions, time: Duration) {
    let mut agents = versions.agents.borrow_mut();
    match &mut agents.get_mut(&topic()).unwrap().query {
        Query::Done => panic!("nothing depends on the time"),
        Query::Running(_, at) | Query::Failed(at, _) => *at -= time,
    }
}

#[tokio::test]
async fn a_version_is_queried_again_after_ten_minutes_and_counts_until_then() {
    let dir = tempfile::tempdir().unwrap();
    for cache in [cache(dir.path()), Cache::none()] {
        let a = || Answer::of(Some(A.to_owned()));
        let versions = with(cache.clone(), D, ago(9 * MINUTE));
        assert_eq!(told(&versions, a()).await, None);
        assert_eq!(known(&versions), version(D));
        let versions = with(cache, D, ago(11 * MINUTE));
        assert_eq!(known(&versions), version(D));
        assert_eq!(told(&versions, a()).await, Some(version(A)));
        assert_eq!(known(&versions), version(A), "it replaces the other one");
        assert_eq!(told(&versions, a()).await, None);
        let versions = with(Cache::none(), D, ago(DAY));
        assert_eq!(known(&versions), None);
    }
}

#[tokio::test]
async fn a_query_that_fails_changes_nothing_and_is_made_again_in_a_while() {
    let dir = tempfile::tempdir().unwrap();
    for cache in [cache(dir.path()), Cache::none()] {
        for (may_pass, pause) in [(true, 10), (false, 300)] {
            let failed = || Answer::Failed { may_pass };
            let versions = with(cache.clone(), D, ago(60 * MINUTE));
            assert_eq!(told(&versions, failed()).await, Some(None));
            assert_eq!(known(&versions), version(D));
            pass(&versions, Duration::from_secs(pause - 2));
            assert_eq!(told(&versions, failed()).await, None);
            pass(&versions, Duration::from_secs(2));
            assert_eq!(told(&versions, Answer::of(Some(A.to_owned()))).await, Some(version(A)));
            assert_eq!(known(&versions), version(A));
        }
    }
}

#[tokio::test]
async fn a_version_that_cannot_be_read_replaces_what_is_known() {
    let dir = tempfile::tempdir().unwrap();
    for cache in [cache(dir.path()), Cache::none()] {
        let versions = with(cache, D, ago(60 * MINUTE));
        assert_eq!(told(&versions, Answer::of(Some("new".to_owned()))).await, Some(None));
        assert_eq!(known(&versions), None);
        pass(&versions, Duration::from_secs(298));
        assert_eq!(told(&versions, Answer::of(None)).await, None);
        pass(&versions, Duration::from_secs(2));
        assert_eq!(told(&versions, Answer::of(None)).await, Some(None));
    }
}

#[tokio::test]
async fn those_who_look_it_up_at_once_share_a_query_whoever_of_them_goes() {
    let versions = AgentVersions::new(Cache::none(), false);
    let (answer, answered) = oneshot::channel();
    let ask = || answered.map(|text| Answer::of(text.ok())).boxed_local();
    let again = || panic!("one is under way");
    let topic = topic();
    let mut first = Box::pin(versions.query(&topic, ask));
    let mut second = Box::pin(versions.query(&topic, again));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    drop(first);
    let mut third = Box::pin(versions.query(&topic, again));
    assert!(poll!(&mut third).is_pending());
    answer.send(D.to_owned()).unwrap();
    assert_eq!((second.await, third.await), (version(D), version(D)));
    assert_eq!(versions.query(&topic, again).await, version(D), "it was told just now");
}

/// Its connection may be dead by now.
#[tokio::test]
async fn a_query_that_nobody_has_polled_for_long_is_not_waited_for() {
    let versions = AgentVersions::new(Cache::none(), false);
    let topic = topic();
    let (answer, answered) = oneshot::channel();
    let ask = || answered.map(|text| Answer::of(text.ok())).boxed_local();
    let mut first = Box::pin(versions.query(&topic, ask));
    assert!(poll!(&mut first).is_pending());
    pass(&versions, Duration::from_secs(10));
    assert_eq!(told(&versions, Answer::of(Some(A.to_owned()))).await, Some(version(A)));
    answer.send(D.to_owned()).unwrap();
    assert_eq!(first.await, version(D));
    assert_eq!(known(&versions), version(A), "the older answer does not replace the newer one");
}

#[tokio::test]
async fn an_entry_that_others_have_written_or_deleted_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (cache(dir.path()), cache(dir.path()));
    let versions = with(here, D, ago(MINUTE));
    there.put(&topic(), &A, SystemTime::now());
    assert_eq!(known(&versions), version(A));
    assert_eq!(there.clear().unwrap(), 1);
    assert_eq!(known(&versions), None);
    assert_eq!(told(&versions, Answer::of(Some(A.to_owned()))).await, Some(version(A)));
}

/// A newer version that could not be written goes before the one that is there.
#[cfg(unix)]
#[tokio::test]
async fn a_cache_that_cannot_be_written_holds_no_older_version_against_a_newer_one() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let versions = with(cache(dir.path()), D, ago(60 * MINUTE));
    // Others could write to it, so it is not used.
    let folder = dir.path().join("ecs-bridge");
    set_permissions(&folder, Permissions::from_mode(0o770)).unwrap();
    assert_eq!(told(&versions, Answer::of(Some(A.to_owned()))).await, Some(version(A)));
    set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    assert_eq!(known(&versions), version(A));
}

#[test]
fn idle_ends_are_reported_once_a_day_and_not_counted_where_nothing_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    for (is_quiet, is_new) in [(true, true), (true, true), (false, true), (false, false)] {
        let versions = AgentVersions::new(cache(dir.path()), is_quiet);
        assert_eq!(versions.is_to_be_reported(&topic()), is_new, "quiet: {is_quiet}");
        assert!(!versions.is_to_be_reported(&topic()), "once for a process");
    }
}
