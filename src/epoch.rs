//! Times as numbers: since the Unix epoch, as tokens, rows and answers have them. A clock that
//! is set before 1970 counts as one at its first moment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
}
