//! The order of checks: each begins once those that it needs are done, and all are reported in order.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, Shared, join, join_all};
use tokio::time::{Instant, timeout_at};

use super::outcome::{Checked, Outcome};
use crate::explain::{ExitCode, Report};

/// A check to be made.
pub(crate) struct Check<'a> {
    /// Its id, for scripts.
    pub id: &'static str,
    /// Its title, for people.
    pub title: &'static str,
    /// The ids of those without which it makes no sense. They come before it.
    pub needs: &'static [&'static str],
    /// The ids of those that it only waits for, since their results may be of use.
    pub after: &'static [&'static str],
    /// How long it may take.
    pub within: Duration,
    /// The check itself.
    pub work: LocalBoxFuture<'a, Outcome>,
}

/// Makes checks until `deadline`, and reports each as soon as it and all before it are done.
pub(crate) async fn run_checks(
    checks: Vec<Check<'_>>,
    deadline: Instant,
    mut tell: impl FnMut(&Checked),
) -> Vec<Checked> {
    let mut begun: Vec<(&'static str, &'static str, Shared<LocalBoxFuture<'_, Outcome>>)> =
        Vec::with_capacity(checks.len());
    for Check { id, title, needs, after, within, work } in checks {
        let among = |ids: &'static [&'static str]| {
            let those = begun.iter().filter(|(id, ..)| ids.contains(id));
            those.map(|(id, _, done)| (*id, done.clone())).collect::<Vec<_>>()
        };
        let (needed, before) = (among(needs), among(after));
        let titles: Vec<_> = begun.iter().map(|(id, title, _)| (*id, *title)).collect();
        let checks = async move {
            for (id, done) in needed {
                if let Some(because) = done.await.blocking_check(id) {
                    // The one that is wrong, not one that was left out for it.
                    let title = titles.iter().find(|(id, _)| *id == because);
                    let why = format!("{} failed", title.map_or(because, |(_, title)| title));
                    return Outcome::Skipped { why, because: Some(because) };
                }
            }
            for (_, done) in before {
                done.await;
            }
            let end = deadline.min(Instant::now() + within);
            timeout_at(end, work).await.unwrap_or_else(|_| late(within)).naming_limits()
        };
        begun.push((id, title, checks.boxed_local().shared()));
    }
    let all = join_all(begun.iter().map(|(.., done)| done.clone()));
    let told = async {
        let mut checked = Vec::with_capacity(begun.len());
        for (id, title, done) in &begun {
            let one = Checked { id, title, outcome: done.clone().await };
            tell(&one);
            checked.push(one);
        }
        checked
    };
    join(all, told).await.1
}

fn late(within: Duration) -> Outcome {
    let report =
        Report::plain(format!("no answer within {} s", within.as_secs()), ExitCode::Network);
    Outcome::Failed(report.fix("try again; with -vv the log says what was waited for"))
}

#[cfg(test)]
mod tests;
