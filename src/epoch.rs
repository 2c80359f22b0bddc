//! Times as numbers: since the Unix epoch, as tokens, rows and answers have them. A clock that
//! is set before 1970 counts as one at its first moment.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// When it was asked first, by the clock that can be set and by the one that cannot.
static BEGAN: LazyLock<(SystemTime, Instant)> =
    LazyLock::new(|| (SystemTime::now(), Instant::now()));

/// How long after the epoch it is.
pub(crate) fn since(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The same in whole seconds: what has begun of the next one is left off.
pub(crate) fn seconds(at: SystemTime) -> u64 {
    since(at).as_secs()
}

/// The same in whole milliseconds.
pub(crate) fn milliseconds(at: SystemTime) -> u64 {
    u64::try_from(since(at).as_millis()).unwrap_or(u64::MAX)
}

/// The time by which something may be forgotten for good: now, or sooner where somebody has set the
/// clock ahead since this was asked first. They may set it back.
pub(crate) fn sober_now() -> SystemTime {
    let (began, at) = *BEGAN;
    sober(SystemTime::now(), began, at.elapsed())
}

fn sober(now: SystemTime, began: SystemTime, since: Duration) -> SystemTime {
    began.checked_add(since).map_or(now, |passed| passed.min(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_begun_is_left_off_and_nothing_lies_before_the_epoch() {
        let at = UNIX_EPOCH + Duration::from_micros(1_999_999);
        assert_eq!((seconds(at), milliseconds(at)), (1, 1999));
        let before = UNIX_EPOCH - Duration::from_secs(7);
        assert_eq!((since(before), seconds(before), milliseconds(before)), (Duration::ZERO, 0, 0));
    }

    #[test]
    fn a_clock_that_is_set_ahead_makes_nothing_older() {
        let began = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let [minute, year] = [60, 365 * 24 * 60 * 60].map(Duration::from_secs);
        assert_eq!(sober(began + minute, began, minute), began + minute);
        assert_eq!(sober(began + year, began, minute), began + minute);
        assert_eq!(sober(began - minute, began, minute), began - minute);
        assert_eq!(sober(began, began, Duration::MAX), began);
    }
}
