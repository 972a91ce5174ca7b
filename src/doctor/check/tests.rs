//! Tests of `check`.

use std::cell::{Cell, RefCell};

use tokio::sync::Notify;
use tokio::time::sleep;

use super::*;
use crate::doctor::outcome::exit_code;

const LIMIT: Duration = Duration::from_secs(8);

fn check<'a>(
    id: &'static str,
    needs: &'static [&'static str],
    work: impl Future<Output = Outcome> + 'a,
) -> Check<'a> {
    Check { id, title: id, needs, after: &[], within: LIMIT, work: work.boxed_local() }
}

fn bad() -> Outcome {
    Outcome::Failed(Report::plain("bad", ExitCode::Target))
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3_600)
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_failed_one_is_skipped_and_says_whose_fault_it_is() {
    let good = || async { Outcome::passed("good") };
    let checks = vec![
        check("a", &[], async { bad() }),
        check("b", &[], good()),
        check("c", &["a", "b"], async { panic!("it needs a") }),
        check("d", &["c"], async { panic!("it needs c, which needs a") }),
        check("e", &["b"], async { Outcome::skipped("no need") }),
        check("f", &["e"], async { Outcome::Unknown(Report::plain("?", ExitCode::Network)) }),
        check("g", &["f"], good()),
    ];
    let mut told = Vec::new();
    let checked = run_checks(checks, far(), |one| told.push(one.id)).await;
    assert_eq!(told, ["a", "b", "c", "d", "e", "f", "g"]);
    let because = |at: usize| match &checked[at].outcome {
        Outcome::Skipped { because, .. } => *because,
        other => panic!("{other:?}"),
    };
    assert_eq!((because(2), because(3), because(4)), (Some("a"), Some("a"), None));
    assert_eq!(checked[6].outcome, Outcome::passed("good"));
    assert_eq!(exit_code(&checked), ExitCode::Target);
    assert_eq!(exit_code(&checked[4..]), ExitCode::Ok);
}

#[tokio::test(start_paused = true)]
async fn those_that_do_not_need_each_other_are_made_side_by_side_and_told_in_order() {
    let (second, told) = (Notify::new(), RefCell::new(Vec::new()));
    let checks = vec![
        check("a", &[], async {
            // It ends only if the other one is under way.
            second.notified().await;
            Outcome::passed("")
        }),
        check("b", &[], async {
            second.notify_one();
            assert!(told.borrow().is_empty());
            Outcome::passed("")
        }),
    ];
    run_checks(checks, far(), |one| told.borrow_mut().push(one.id)).await;
    assert_eq!(*told.borrow(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_only_waited_for_may_fail() {
    let is_over = Cell::new(false);
    let slow = async {
        sleep(Duration::from_secs(5)).await;
        is_over.set(true);
        bad()
    };
    let later = check("b", &[], async { Outcome::passed(is_over.get().to_string()) });
    let checks = vec![check("a", &[], slow), Check { after: &["a"], ..later }];
    let checked = run_checks(checks, far(), |_| {}).await;
    assert_eq!(checked[1].outcome, Outcome::passed("true"));
}

#[tokio::test(start_paused = true)]
async fn each_has_its_limit_and_all_of_them_theirs() {
    let never = || async { std::future::pending().await };
    let began = Instant::now();
    let checked = run_checks(vec![check("a", &[], never())], far(), |_| {}).await;
    assert_eq!(began.elapsed(), LIMIT);
    assert_eq!(exit_code(&checked), ExitCode::Network);

    let began = Instant::now();
    let quick = check("b", &["a"], async { panic!("it needs a") });
    let deadline = began + Duration::from_secs(3);
    let checked = run_checks(vec![check("a", &[], never()), quick], deadline, |_| {}).await;
    assert_eq!((began.elapsed().as_secs(), checked.len()), (3, 2));
}
