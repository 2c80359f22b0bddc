//! How far the streams reach, asked of their leaders from time to time: what was missed shows
//! so, also where nothing follows it.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::shared::Shared;
use crate::ticks;

/// How often the leaders are asked how far their streams reach: so soon is noticed what
/// was missed when nothing follows it.
pub(super) const LOOK: Duration = Duration::from_millis(400);

/// The same for the revocations, which are believed at once: what is taken back is in force
/// everywhere within a second, also where its announcement was lost.
pub(super) const LOOK_FOR_REVOCATIONS: Duration = Duration::from_millis(250);

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
        let reads = &shared.log.reads;
        let asked = streams
            .iter()
            .enumerate()
            .map(|(number, name)| async move { (number, name, reads.glance(name).await) });
        let mut glances = stream::iter(asked.collect::<Vec<_>>()).buffered(AT_ONCE);
        while let Some((number, name, glance)) = glances.next().await {
            let metrics = &shared.metrics.cluster;
            metrics.copies(name, glance.as_ref().map_or(0, |glance| glance.copies));
            match glance {
                Ok(glance) => {
                    metrics.copies_wanted(name, glance.wanted);
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
