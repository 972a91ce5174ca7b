//! Quotas that are full only because the service still counts sessions that were just ended.

use std::cell::Cell;
use std::error::Error as StdError;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::cmd::broken::Broken;
use crate::explain::Explain;

/// For how long after its end a session may still be counted.
const COUNTED_FOR: Duration = Duration::from_secs(5);
/// How long to wait before each further try: about 2 s in all.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(500), Duration::from_millis(1200)];
/// How long after the API has ended a session its place is taken to be free.
const FREE_AFTER: Duration = Duration::from_millis(100);

/// The ends of sessions that were connected.
#[derive(Default)]
pub(super) struct Endings {
    under_way: Cell<usize>,
    last: Cell<Option<Instant>>,
    /// One was ended.
    ended: Notify,
}

impl Endings {
    /// A session is closed, and the API is asked to end it.
    pub(super) fn begun(&self) {
        self.under_way.set(self.under_way.get() + 1);
    }

    /// The API has answered, or has not in time.
    pub(super) fn over(&self) {
        self.under_way.set(self.under_way.get().saturating_sub(1));
        self.last.set(Some(Instant::now()));
        self.ended.notify_one();
    }

    /// Whether a session that was refused may find a place in a moment. If so, and unless it was
    /// tried too often, gives how long to wait for it.
    pub(super) fn pause(&self, error: &(dyn Explain + 'static), tries: usize) -> Option<Duration> {
        let lately = self.last.get().is_some_and(|last| last.elapsed() < COUNTED_FOR);
        let is_ours = lately || self.under_way.get() > 0;
        PAUSES.get(tries).copied().filter(|_| is_ours && is_quota(error))
    }

    /// Waits for a place: until another session was ended, but no longer than that.
    pub(super) async fn wait(&self, pause: Duration) {
        if self.under_way.get() == 0 {
            return tokio::time::sleep(pause).await;
        }
        let freed = async {
            self.ended.notified().await;
            tokio::time::sleep(FREE_AFTER).await;
        };
        // What is waited for may take longer than another try is worth waiting for.
        let _ = timeout(pause, freed).await;
    }
}

fn is_quota(error: &(dyn Explain + 'static)) -> bool {
    let error: &(dyn StdError + 'static) = error;
    error.downcast_ref().is_some_and(Broken::is_quota)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use http::StatusCode;

    use super::*;
    use crate::tunnel::dial::DialError;
    use crate::tunnel::error::NotDialled;

    #[derive(Debug, thiserror::Error)]
    #[error("something else")]
    struct Else;

    impl Explain for Else {}

    fn refused(status: u16) -> Broken {
        let status = StatusCode::from_u16(status).unwrap();
        let error = DialError::Refused { host: "h".into(), status, text: String::new() };
        NotDialled { error, request_id: None }.into()
    }

    #[test]
    fn only_a_quota_after_an_end_of_ours_is_tried_again_and_not_for_ever() {
        let endings = Endings::default();
        assert_eq!(endings.pause(&refused(429), 0), None, "nothing has ended");
        endings.begun();
        assert_eq!(endings.pause(&refused(429), 0), Some(PAUSES[0]));
        endings.over();
        let pauses: Vec<_> =
            (0..9).map_while(|tries| endings.pause(&refused(429), tries)).collect();
        assert_eq!(pauses, PAUSES);
        assert_eq!(endings.pause(&refused(403), 0), None);
        assert_eq!(endings.pause(&Else, 0), None);
        endings.last.set(Instant::now().checked_sub(COUNTED_FOR));
        assert_eq!(endings.pause(&refused(429), 0), None, "that was long ago");
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_is_waited_for_and_no_longer_than_it_is_worth() {
        let endings = Endings::default();
        let waited = RefCell::new(Vec::new());
        let wait = async || {
            let begin = tokio::time::Instant::now();
            endings.wait(PAUSES[2]).await;
            waited.borrow_mut().push(begin.elapsed());
        };
        wait().await;
        endings.begun();
        wait().await;
        tokio::join!(wait(), wait(), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            endings.over();
        });
        let free = Duration::from_millis(300) + FREE_AFTER;
        assert_eq!(*waited.borrow(), [PAUSES[2], PAUSES[2], free, PAUSES[2]], "one place for one");
    }
}
