//! Frees the thread that settles when sled has failed without telling it.
//!
//! A write that fails on one of sled's own threads is not always told to whoever waits for
//! it in `flush`: `Log::exit_reservation` of 0.34.7 notes the failure and wakes nobody. But
//! who calls `flush` after that meets the failure and wakes all who wait.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::shared::Shared;
use crate::store::Health;

/// How often it is looked after.
const EVERY: Duration = Duration::from_secs(1);

/// Looks after that thread until the store is closed.
pub(super) fn run(shared: &Arc<Shared>) {
    let (mut seen, mut looks) = (0, 0_u32);
    while shared.health() != Health::Closed {
        thread::sleep(EVERY);
        let flushes = shared.flushes();
        let overdue = flushes % 2 == 1 && flushes == seen;
        (seen, looks) = (flushes, if overdue { looks.saturating_add(1) } else { 0 });
        // Ever more seldom: on a disk that is only slow each of them waits too.
        if looks.is_power_of_two() {
            let shared = Arc::clone(shared);
            let flush = move || shared.log().map(|log| log.flush().is_ok());
            // Without a thread now: in a while.
            let _ = thread::Builder::new().name("store-flush".to_owned()).spawn(flush);
        }
    }
}
