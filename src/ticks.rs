//! Times that come again and again.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Ticks at once and then every `period`, which is above zero. After a tick that came late,
/// be it that the process was stopped or that the work of the one before took longer, the next
/// one is a whole period away: what was missed is not made up for.
pub(crate) fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_missed_is_not_made_up_for() {
        let period = Duration::from_secs(1);
        let began = Instant::now();
        let mut ticks = every(period);
        ticks.tick().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        ticks.tick().await;
        assert_eq!(began.elapsed(), period);
        advance(period * 5 / 2).await;
        ticks.tick().await;
        let late = Instant::now();
        ticks.tick().await;
        assert_eq!(late.elapsed(), period);
    }
}
