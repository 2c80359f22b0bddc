//! Writing to a stream until a majority has it.

use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, HeaderMap, Subject};
use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::log::Log;
use super::news;
use super::tries::{Tries, Vain, said};
use crate::store::StoreError;

/// What no message of a stream is named, and no rollup: a write that expects the one and asks
/// for the other is refused for it, unless its name is known.
const NEVER: &str = "never";

/// Something to be written.
#[derive(Clone)]
pub(super) struct Write {
    pub(super) subject: String,
    pub(super) payload: Bytes,
    pub(super) headers: HeaderMap,
    /// Where all nodes are told, where the stream does not do that by itself.
    live: Option<Subject>,
    /// Until when it is tried, where that does not begin with the first try.
    pub(super) end: Option<Instant>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It lies there now.
    At(u64),
    /// A write of the same name lies there, perhaps this one's first try.
    Before(u64),
    /// The subject has another last message than was expected, or it is a probe: nothing was
    /// written.
    Lost,
}

impl Write {
    pub(super) fn new(subject: String, payload: Bytes) -> Self {
        Self { subject, payload, headers: HeaderMap::new(), live: None, end: None }
    }

    /// Told to all nodes on this subject when it is written. Of several in one go the first
    /// says where.
    pub(super) fn told_on(mut self, live: Subject) -> Self {
        self.live = Some(live);
        self
    }

    /// Tried until then, and once in any case.
    pub(super) fn until(mut self, end: Instant) -> Self {
        self.end = Some(end);
        self
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
    pub(super) async fn put(&self, log: &Log) -> Result<Written, StoreError> {
        let mut tries = Tries::of(log, &self.subject, self.end);
        loop {
            match self.once(&log.context, tries.begin()).await {
                Ok(written) => {
                    log.outcomes.succeeded(&self.subject, matches!(written, Written::At(_)));
                    if let Written::At(seq) = written {
                        tell(&log.context.client(), seq, &[self]).await;
                    }
                    return Ok(written);
                }
                Err(error) => tries.failed(Vain::from(&error)).await?,
            }
        }
    }

    /// Whether something of this name was written within the stream's window, and where.
    /// Writes nothing.
    pub(super) async fn find(
        log: &Log,
        subject: &str,
        name: &str,
    ) -> Result<Option<u64>, StoreError> {
        match Self::probe(subject, name).put(log).await? {
            Written::Before(seq) => Ok(Some(seq)),
            Written::Lost => Ok(None),
            Written::At(_) => Err(StoreError::Damaged("a probe was written".to_owned())),
        }
    }

    /// Whether a subject's stream takes writes, asked by one that is none. The answer may take so
    /// long.
    pub(super) async fn knock(context: &Context, subject: &str, answer: Duration) -> Answered {
        match Self::probe(subject, NEVER).once(context, answer).await {
            Ok(_) => Answered::Yes,
            Err(error) if error.kind() == PublishErrorKind::StreamNotFound => Answered::Nobody,
            Err(error) => match said(&error) {
                Some(said) => Answered::Refused(said.to_string()),
                None => Answered::Nothing(error.to_string()),
            },
        }
    }

    /// What is never written, and refused for another reason where its name is not known.
    ///
    /// The leader of a replicated stream looks at the name first. A server that keeps a stream
    /// alone looks at what is expected of the sequence before it, and at these two behind it.
    /// A leader proposes to the others what expects a name, and until then takes this one for
    /// used; the rollup, which it refuses before, keeps it from that.
    fn probe(subject: &str, name: &str) -> Self {
        let mut probe = Self::new(subject.to_owned(), Bytes::new()).named(name);
        probe.headers.insert("Nats-Expected-Last-Msg-Id", NEVER);
        probe.headers.insert("Nats-Rollup", NEVER);
        probe
    }

    /// One try, whose acknowledgement may take so long.
    pub(super) async fn once(
        &self,
        context: &Context,
        answer: Duration,
    ) -> Result<Written, PublishError> {
        let (subject, headers) = (self.subject.clone(), self.headers.clone());
        let sent = context.publish_with_headers(subject, headers, self.payload.clone());
        // Without a connection what is sent waits in a queue, and once that is full for good.
        let acknowledged = timeout(answer, async { sent.await?.await }).await;
        match acknowledged.unwrap_or_else(|_| Err(PublishErrorKind::TimedOut.into())) {
            Ok(ack) if ack.duplicate => Ok(Written::Before(ack.sequence)),
            Ok(ack) => Ok(Written::At(ack.sequence)),
            Err(error) if is_lost(&error) => Ok(Written::Lost),
            // Also where another write is on its way: what comes of that shows later.
            Err(error) => Err(error),
        }
    }
}

/// Whether a write was refused for something else than the servers themselves.
fn is_lost(error: &PublishError) -> bool {
    let code = || Some(said(error)?.error_code());
    match error.kind() {
        PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => true,
        PublishErrorKind::Other => code() == Some(ErrorCode::STREAM_ROLLUP_FAILED),
        _ => false,
    }
}

/// How a stream answers to a write of nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// It would have taken something.
    Yes,
    /// It takes nothing at present.
    Refused(String),
    /// Nobody takes what is published there.
    Nobody,
    /// Nothing came.
    Nothing(String),
}

/// Tells all nodes of writes that lie one behind the other.
pub(super) async fn tell(client: &Client, first: u64, writes: &[&Write]) {
    if let Some(live) = writes.first().and_then(|write| write.live.as_ref()) {
        news::tell(client, live, first, writes).await;
    }
}
