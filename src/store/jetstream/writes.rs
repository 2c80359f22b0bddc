//! Writing to a stream until a majority has it.

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

use super::connect::{ANSWER, ANSWER_MAX};
use crate::metrics;
use crate::store::StoreError;

/// How long one write may take: a hung leader has a successor after some seven seconds.
pub(super) const WRITE: Duration = Duration::from_secs(15);

/// Between two tries, doubled up to [`AGAIN_MAX`].
const AGAIN: Duration = Duration::from_millis(10);
const AGAIN_MAX: Duration = Duration::from_millis(250);

/// An expectation that holds for no subject: the write is refused, unless it is known.
const NEVER: u64 = 1 << 62;

/// Something to be written.
pub(super) struct Write {
    pub(super) subject: String,
    pub(super) payload: Bytes,
    headers: HeaderMap,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It lies there now.
    At(u64),
    /// A write of the same name lies there, perhaps this one's first try.
    Before(u64),
    /// The subject has another last message than was expected: nothing was written.
    Lost,
}

impl Write {
    pub(super) fn new(subject: String, payload: Bytes) -> Self {
        Self { subject, payload, headers: HeaderMap::new() }
    }

    /// Only where `seq` is the last of the subject; 0: where there is none.
    pub(super) fn after(mut self, seq: u64) -> Self {
        self.headers.insert("Nats-Expected-Last-Subject-Sequence", seq.to_string());
        self
    }

    /// Only where `seq` is the last of the whole stream; 0: where there never was one.
    pub(super) fn at_end(mut self, seq: u64) -> Self {
        self.headers.insert("Nats-Expected-Last-Sequence", seq.to_string());
        self
    }

    /// Only where nothing of this name was written within the stream's window.
    pub(super) fn named(mut self, name: &str) -> Self {
        self.headers.insert("Nats-Msg-Id", name);
        self
    }

    /// Gone by itself after this time.
    pub(super) fn for_seconds(mut self, seconds: u64) -> Self {
        self.headers.insert("Nats-TTL", seconds.to_string());
        self
    }

    /// Writes, again and again until it is known what came of it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: perhaps it was written.
    pub(super) async fn put(&self, context: &Context) -> Result<Written, StoreError> {
        let end = Instant::now() + WRITE;
        let (mut wait, mut answer) = (AGAIN, ANSWER);
        loop {
            match self.once(context, answer).await {
                Ok(written) => return Ok(written),
                Err(error) if Instant::now() > end => {
                    metrics::write_given_up();
                    tracing::warn!(subject = self.subject, %error, "a write had no outcome");
                    return Err(StoreError::Unavailable);
                }
                Err(error) => tracing::debug!(subject = self.subject, %error, "writing again"),
            }
            metrics::write_retried();
            sleep(wait).await;
            wait = (wait * 2).min(AGAIN_MAX);
            answer = (answer * 2).min(ANSWER_MAX);
        }
    }

    /// Whether something of this name was written within the stream's window, and where.
    /// Writes nothing: a name is looked at before any expectation.
    pub(super) async fn find(
        context: &Context,
        subject: &str,
        name: &str,
    ) -> Result<Option<u64>, StoreError> {
        let probe = Self::new(subject.to_owned(), Bytes::new()).after(NEVER).named(name);
        match probe.put(context).await? {
            Written::Before(seq) => Ok(Some(seq)),
            Written::Lost => Ok(None),
            Written::At(_) => Err(StoreError::Damaged("a probe was written".to_owned())),
        }
    }

    /// One try, whose acknowledgement may take so long.
    async fn once(&self, context: &Context, answer: Duration) -> Result<Written, PublishError> {
        let (subject, headers) = (self.subject.clone(), self.headers.clone());
        let sent = context.publish_with_headers(subject, headers, self.payload.clone()).await;
        let acknowledged = timeout(answer, sent?.into_future()).await;
        match acknowledged.unwrap_or_else(|_| Err(PublishErrorKind::TimedOut.into())) {
            Ok(ack) if ack.duplicate => Ok(Written::Before(ack.sequence)),
            Ok(ack) => Ok(Written::At(ack.sequence)),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(Written::Lost),
            // Also where another write is on its way: what comes of that shows later.
            Err(error) => Err(error),
        }
    }
}
