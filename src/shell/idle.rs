//! The values of `session --idle-timeout`, in seconds.

/// The shortest, if not 0: the service takes no shorter one either.
pub(crate) const LEAST: u64 = 60;
/// The longest: a year.
pub(crate) const MOST: u64 = 31_536_000;

/// Whether a shell may have it. 0 is for never.
pub(crate) fn is_allowed(seconds: u64) -> bool {
    seconds == 0 || (LEAST..=MOST).contains(&seconds)
}
