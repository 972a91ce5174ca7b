//! Credentials and how long they hold.

use std::time::{Duration, SystemTime};

use super::keys::Credentials;

/// They are renewed when no more than this is left.
pub(super) const MARGIN: Duration = Duration::from_secs(180);
/// No temporary credentials of the service end sooner than this after they were made.
const SHORTEST: Duration = Duration::from_secs(900);
/// What was renewed just now is not renewed again, however soon it ends.
const PAUSE: Duration = Duration::from_secs(1);

/// Credentials and how long they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CachedCredentials {
    pub(super) credentials: Credentials,
    /// When they end, if that was told.
    pub(super) until: Option<SystemTime>,
    /// When to get new ones; never, where there are none to be had.
    renew_at: Option<SystemTime>,
}

impl CachedCredentials {
    /// Of a source that has no others.
    pub(super) fn fixed(credentials: Credentials, until: Option<SystemTime>) -> Self {
        Self { credentials, until, renew_at: None }
    }

    /// Of a source that was asked at a time, and can be asked again.
    pub(super) fn taken(
        credentials: Credentials,
        until: Option<SystemTime>,
        at: SystemTime,
    ) -> Self {
        // Temporary ones that do not tell their end have one all the same.
        let assumed = credentials.security_token().and_then(|_| at.checked_add(SHORTEST));
        let due = until.or(assumed).and_then(|end| end.checked_sub(MARGIN));
        let renew_at = due.map(|due| due.max(at + PAUSE));
        Self { credentials, until, renew_at }
    }

    /// Whether it is time to get new ones.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        self.renew_at.is_some_and(|at| at <= now)
    }

    /// Whether they still hold, as far as is known.
    pub(super) fn is_good(&self, now: SystemTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    fn credentials(token: Option<&str>) -> Credentials {
        let source = Source::Environment { variable: "X".into(), temporary: token.is_some() };
        Credentials::new("id", "secret", token, source).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn they_are_due_when_180_seconds_are_left() {
        let cached = CachedCredentials::taken(credentials(Some("t")), Some(at(3600)), at(0));
        assert!(!cached.is_due(at(3419)) && cached.is_due(at(3420)));
        assert!(cached.is_good(at(3599)) && !cached.is_good(at(3600)));
    }

    #[test]
    fn what_ends_soon_is_not_asked_for_without_a_pause() {
        for end in [181, 100, 0] {
            let cached =
                CachedCredentials::taken(credentials(Some("t")), Some(at(1000 + end)), at(1000));
            assert!(!cached.is_due(at(1000)) && cached.is_due(at(1001)), "{end}");
        }
    }

    #[test]
    fn what_does_not_tell_its_end_is_renewed_if_it_has_one() {
        let temporary = CachedCredentials::taken(credentials(Some("t")), None, at(0));
        assert!(!temporary.is_due(at(719)) && temporary.is_due(at(720)));
        assert!(temporary.is_good(at(1 << 39)), "the service knows better");
        assert!(!CachedCredentials::taken(credentials(None), None, at(0)).is_due(at(1 << 39)));
        assert!(!CachedCredentials::fixed(credentials(Some("t")), Some(at(10))).is_due(at(11)));
    }
}
