//! When those may come back who are sent away: not all at once.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The least time that they are spread over.
const SPREAD: Duration = Duration::from_secs(5);

/// What everybody adds to it: a thousand a second is what two busy cores shake hands with
/// (`docs/durability.md`), and leaves room for those who are back already.
const EACH: Duration = Duration::from_millis(1);

/// Over how long clients are spread; shared by all sessions.
#[derive(Clone, Debug, Default)]
pub struct Retry(Arc<OnceLock<usize>>);

impl Retry {
    /// The spread where there are so many `connections`.
    pub(super) fn spread(&self, connections: usize) -> Duration {
        SPREAD.max(EACH.saturating_mul(u32::try_from(connections).unwrap_or(u32::MAX)))
    }

    /// How many there were when the first one was sent away for good: the later ones must
    /// not take the house for an empty one.
    pub(super) fn together(&self, connections: usize) -> usize {
        *self.0.get_or_init(|| connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_spread_over_longer_and_to_its_last_member() {
        let retry = Retry::default();
        assert_eq!(retry.spread(12), SPREAD);
        assert_eq!(retry.spread(5_000), SPREAD);
        assert_eq!(retry.spread(100_000), Duration::from_secs(100));
        assert_eq!(retry.together(100_000), 100_000);
        assert_eq!(retry.together(1), 100_000);
    }
}
