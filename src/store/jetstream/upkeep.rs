//! What is done from time to time, by every node and harmlessly at once: erasures that were
//! cut short go on, and what was read goes by age.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::log::Log;
use crate::metrics::StoreMetrics;

/// How often it is looked for what is old enough to go, at the least.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// The part of its age by which a message may outstay it, where ages are short.
const OUTSTAY: u32 = 16;

/// Between two looks, at the least.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(log: Log, retention: Duration, metrics: StoreMetrics) {
    let every = if retention.is_zero() { EVERY } else { (retention / OUTSTAY).min(EVERY) };
    let mut times = interval(every.max(PAUSE));
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        times.tick().await;
        if let Err(error) = log.resume_erasures().await {
            warn!(%error, "an erasure that was cut short could not go on");
        }
        if retention.is_zero() {
            continue;
        }
        match log.sweep(retention).await {
            Ok(0) => {}
            Ok(messages) => {
                metrics.removed.inc_by(messages);
                info!(messages, "messages that were read went by age");
            }
            Err(error) => warn!(%error, "what is old could not be removed"),
        }
    }
}
