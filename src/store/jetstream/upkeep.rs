//! What is done from time to time, by every node and harmlessly at once: erasures that were
//! cut short go on, and what was read goes by age.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::{info, warn};

use super::log::Log;
use crate::metrics::StoreMetrics;
use crate::ticks::every;

/// How often it is looked for erasures whose node is no more.
pub(super) const RESUME: Duration = Duration::from_secs(60);

/// How often it is looked for what is old enough to go, at the least.
const SWEEP: Duration = Duration::from_secs(60 * 60);

/// The part of its age by which a message may outstay it, where ages are short.
const OUTSTAY: u32 = 16;

/// Between two looks, at the least.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(log: Log, retention: Duration, metrics: StoreMetrics) {
    let mut resumes = every(RESUME);
    let mut sweeps = every((retention / OUTSTAY).clamp(PAUSE, SWEEP));
    let mut begun = None;
    loop {
        tokio::select! {
            _ = resumes.tick() => resume(&log, &mut begun).await,
            _ = sweeps.tick(), if !retention.is_zero() => sweep(&log, retention, &metrics).await,
        }
    }
}

/// Goes on with erasures; `begun` are those that were there at the last look.
async fn resume(log: &Log, begun: &mut Option<BTreeSet<u64>>) {
    match log.resume_erasures(begun.as_ref()).await {
        Ok(now) => *begun = Some(now),
        Err(error) => {
            warn!(%error, "could not look for erasures that were cut short, or not go on with one")
        }
    }
}

async fn sweep(log: &Log, retention: Duration, metrics: &StoreMetrics) {
    match log.sweep(retention).await {
        Ok(0) => {}
        Ok(messages) => {
            metrics.removed.inc_by(messages);
            info!(messages, "messages that were read went by age");
        }
        Err(error) => warn!(%error, "what is old could not be removed"),
    }
}
