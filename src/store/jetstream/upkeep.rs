//! What is done from time to time, by every node and harmlessly at once: erasures that were
//! cut short go on, and what was read goes by age.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::log::Log;

/// How often it is looked for what is old enough to go.
const EVERY: Duration = Duration::from_secs(60 * 60);

pub(super) async fn run(log: Log, retention: Duration) {
    let mut times = interval(EVERY);
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
            Ok(messages) => info!(messages, "messages that were read went by age"),
            Err(error) => warn!(%error, "what is old could not be removed"),
        }
    }
}
