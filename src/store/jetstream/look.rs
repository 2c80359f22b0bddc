//! How far the streams reach, asked of their leaders from time to time: what was missed shows
//! so, also where nothing follows it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::extent::Glance;
use super::shared::Shared;
use crate::store::StoreError;
use crate::ticks;

/// How often the leaders are asked how far their streams reach: so soon is noticed what
/// was missed when nothing follows it.
pub(super) const LOOK: Duration = Duration::from_millis(400);

/// The same for the revocations, which are believed at once: what is taken back is in force
/// everywhere within a second, also where its announcement was lost.
pub(super) const LOOK_FOR_REVOCATIONS: Duration = Duration::from_millis(250);

/// The same for streams that no node follows: who looks after them needs to know of each who keeps it.
const LOOK_AT_OTHERS: Duration = Duration::from_secs(5);

/// How long a leader may be missed before that is a fault: a new one takes up to nine seconds,
/// in which what is sent waits.
const SILENT: Duration = Duration::from_secs(10);

/// Leaders that are asked at once.
const AT_ONCE: usize = 16;

/// The number of a stream among those looked at, and the last sequence that it has given.
pub(super) type Seen = (usize, u64);

/// Looks at streams, and says what is wrong where one of them is silent for long.
pub(super) async fn look_at(
    shared: &Shared,
    streams: &[String],
    every: Duration,
    mut made: watch::Receiver<u64>,
    tell: mpsc::Sender<Seen>,
    trouble: impl Fn(Option<String>),
) {
    let mut times = ticks::every(every);
    let mut silent: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = times.tick() => {}
            changed = made.changed() => if changed.is_err() { return },
        }
        let mut quiet = None;
        // Several at once: streams that do not answer are waited for together.
        let asked = streams
            .iter()
            .enumerate()
            .map(|(number, name)| async move { (number, name, glance(shared, name).await) });
        let mut glances = stream::iter(asked.collect::<Vec<_>>()).buffered(AT_ONCE);
        while let Some((number, name, glance)) = glances.next().await {
            match glance {
                Ok(glance) => {
                    if tell.send((number, glance.last)).await.is_err() {
                        return;
                    }
                    if !glance.is_led {
                        quiet = Some(name);
                    }
                }
                Err(_) => quiet = Some(name),
            }
        }
        silent = quiet.map(|_| silent.unwrap_or_else(Instant::now));
        let for_long = silent.is_some_and(|since| since.elapsed() >= SILENT);
        let why = |name| format!("the stream {name} has no leader with a majority");
        trouble(quiet.filter(|_| for_long).map(why));
    }
}

/// Looks at those streams that no node follows. Whether they are led makes no node unready: who needs
/// them is told so.
pub(super) async fn look_at_others(shared: Arc<Shared>) {
    let names = &shared.log.names;
    let streams = [names.tickets(), names.audit()];
    let mut times = ticks::every(LOOK_AT_OTHERS);
    loop {
        times.tick().await;
        // What it finds is in the metrics.
        join_all(streams.iter().map(|name| glance(&shared, name))).await;
    }
}

/// Looks at a stream, and notes how many servers have it.
async fn glance(shared: &Shared, stream: &str) -> Result<Glance, StoreError> {
    let glance = shared.log.reads.glance(stream).await;
    let metrics = &shared.metrics.cluster;
    metrics.copies(stream, glance.as_ref().map_or(0, |glance| glance.copies));
    if let Ok(glance) = &glance {
        metrics.copies_wanted(stream, glance.wanted);
        if let Some(seconds) = glance.ahead {
            metrics.clock_ahead(seconds);
        }
    }
    glance
}
