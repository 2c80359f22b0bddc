//! What all parts of the store use.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_nats::Client;
use async_nats::connection::State;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::claims::Claims;
use super::clock::Clock;
use super::distance::Why;
use super::lately::{Lately, States};
use super::log::Log;
use super::marks::Marks;
use super::profiles::Profiles;
use super::rests::Rests;
use super::tally::Tallies;
use crate::metrics::StoreMetrics;
use crate::store::rules::Rules;
use crate::store::{Health, StoreError};

pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) log: Log,
    pub(super) rules: Rules,
    pub(super) metrics: StoreMetrics,
    pub(super) claims: Claims,
    pub(super) clock: Clock,
    pub(super) tallies: Tallies,
    pub(super) profiles: Profiles,
    pub(super) lately: Lately,
    pub(super) states: States,
    pub(super) marks: Marks,
    pub(super) rests: Rests,
    /// All that runs for the store.
    pub(super) tasks: TaskTracker,
    /// Nothing is taken any more.
    pub(super) closing: CancellationToken,
    /// Up to where this node has written, by stream: what must be announced before the end.
    written: Mutex<HashMap<String, u64>>,
    /// Why nothing can be written.
    trouble: Mutex<Option<String>>,
    /// Why there is no connection.
    why_not: Why,
}

impl Shared {
    pub(super) fn new(
        client: Client,
        why_not: Why,
        log: Log,
        rules: Rules,
        metrics: StoreMetrics,
    ) -> Self {
        Self {
            lately: Lately::new(log.names.partitions()),
            marks: Marks::new(log.names.partitions()),
            client,
            log,
            rules,
            metrics,
            clock: Clock::default(),
            claims: Claims::new(rules.dedup_window),
            tallies: Tallies::default(),
            profiles: Profiles::default(),
            states: States::default(),
            rests: Rests::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            written: Mutex::default(),
            trouble: Mutex::default(),
            why_not,
        }
    }

    /// Something of this node lies at `seq` of a stream.
    pub(super) fn wrote(&self, stream: &str, seq: u64) {
        let mut written = locked(&self.written);
        match written.get_mut(stream) {
            Some(last) => *last = seq.max(*last),
            None => drop(written.insert(stream.to_owned(), seq)),
        }
    }

    /// Up to where this node wrote to a stream.
    pub(super) fn written(&self, stream: &str) -> u64 {
        locked(&self.written).get(stream).copied().unwrap_or_default()
    }

    /// Fails once the store is closed.
    pub(super) fn open(&self) -> Result<(), StoreError> {
        if self.closing.is_cancelled() { Err(StoreError::Unavailable) } else { Ok(()) }
    }

    /// Takes note of whether the streams answer.
    pub(super) fn trouble(&self, why: Option<String>) {
        let before = std::mem::replace(&mut *locked(&self.trouble), why.clone());
        match (before, why) {
            (None, Some(why)) => warn!(why, "nothing can be stored at present"),
            (Some(_), None) => info!("all streams are led again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    pub(super) fn health(&self) -> Health {
        if self.closing.is_cancelled() {
            return Health::Closed;
        }
        let why = match self.client.connection_state() {
            State::Connected => {
                let led = locked(&self.trouble).clone();
                led.or_else(|| self.log.outcomes.trouble())
            }
            _ => {
                let why = self.why_not.borrow();
                let why = why.as_deref().unwrap_or("look whether they run");
                Some(format!("no NATS server can be reached: {why}"))
            }
        };
        why.map_or(Health::Ready, |why| Health::ReadOnly { why })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
