//! Tries to write, until it is known what came of them or there were enough.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::{RequestError, RequestErrorKind};
use tokio::time::{Instant, sleep};

use super::connect::Patience;
use super::log::Log;
use crate::metrics;
use crate::store::StoreError;

/// How long one write may take: a hung leader has a successor after some seven seconds.
pub(super) const WRITE: Duration = Duration::from_secs(15);

/// Between two tries, doubled up to [`AGAIN_MAX`].
const AGAIN: Duration = Duration::from_millis(10);
const AGAIN_MAX: Duration = Duration::from_millis(250);

/// How the servers say that they have no room: of their own, of the account's, for the stream.
const FULL: [u64; 4] = [10002, 10023, 10047, 10077];

/// The tries of one write, or of several in one go.
pub(super) struct Tries<'a> {
    log: &'a Log,
    /// Where the last of them goes.
    subject: &'a str,
    end: Instant,
    /// When the one that is under way began.
    began: Instant,
    patience: Patience,
    /// Until the next one.
    wait: Duration,
}

impl<'a> Tries<'a> {
    /// For as long as a write may take, or until `end`.
    pub(super) fn of(log: &'a Log, subject: &'a str, end: Option<Instant>) -> Self {
        let (began, patience) = (Instant::now(), Patience::default());
        let end = end.unwrap_or(began + WRITE);
        Self { log, subject, end, began, patience, wait: AGAIN }
    }

    /// One begins; how long its answer may take.
    pub(super) fn begin(&mut self) -> Duration {
        self.began = Instant::now();
        self.patience.now()
    }

    /// It was in vain: waits until the next one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: there were enough.
    pub(super) async fn failed(&mut self, why: Vain) -> Result<(), StoreError> {
        let subject = self.subject;
        self.log.outcomes.failed(subject, &why);
        if Instant::now() > self.end {
            metrics::write_given_up();
            tracing::warn!(subject, %why, "a write had no outcome");
            return Err(StoreError::Unavailable);
        }
        tracing::debug!(subject, %why, "writing again");
        metrics::write_retried();
        self.patience.tried(self.began);
        sleep(self.wait).await;
        self.wait = (self.wait * 2).min(AGAIN_MAX);
        Ok(())
    }
}

/// A try to write that was in vain.
#[derive(Clone, Debug)]
pub(super) struct Vain {
    pub(super) why: String,
    /// The servers have no room for it.
    pub(super) is_full: bool,
}

/// Where nobody answers to a subject. Called "no stream found" by the library, though it is there.
const UNLED: &str = "nobody takes it: its stream has no leader at present";

impl From<&PublishError> for Vain {
    fn from(error: &PublishError) -> Self {
        match error.kind() {
            PublishErrorKind::StreamNotFound => UNLED.to_owned().into(),
            _ => said(error).map_or_else(|| error.to_string().into(), Self::from),
        }
    }
}

impl From<&RequestError> for Vain {
    fn from(error: &RequestError) -> Self {
        match error.kind() {
            RequestErrorKind::NoResponders => UNLED.to_owned().into(),
            _ => error.to_string().into(),
        }
    }
}

impl From<&jetstream::Error> for Vain {
    fn from(error: &jetstream::Error) -> Self {
        Self { why: error.to_string(), is_full: FULL.contains(&error.error_code().0) }
    }
}

impl From<String> for Vain {
    fn from(why: String) -> Self {
        Self { why, is_full: false }
    }
}

impl fmt::Display for Vain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// What the servers themselves say of a write that they refuse.
pub(super) fn said(error: &PublishError) -> Option<&jetstream::Error> {
    error.source()?.downcast_ref()
}
