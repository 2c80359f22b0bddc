//! Writing to a stream until a majority has it.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::response::Response;
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{Client, HeaderMap, Request, Subject, client};
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};

use super::connect::Patience;
use super::log::Log;
use super::news;
use crate::metrics;
use crate::store::StoreError;

/// How long one write may take: a hung leader has a successor after some seven seconds.
pub(super) const WRITE: Duration = Duration::from_secs(15);

/// Between two tries, doubled up to [`AGAIN_MAX`].
const AGAIN: Duration = Duration::from_millis(10);
const AGAIN_MAX: Duration = Duration::from_millis(250);

/// What no message of a stream is named, and no rollup: a write that expects the one and asks
/// for the other is refused for it, unless its name is known.
const NEVER: &str = "never";

/// What the servers say where a request is at fault, and not they: trying again is no use.
const AT_FAULT: usize = 400;

/// How the servers say that they have no room: of their own, of the account's, for the stream.
const FULL: [u64; 4] = [10002, 10023, 10047, 10077];

/// Something to be written.
#[derive(Clone)]
pub(super) struct Write {
    pub(super) subject: String,
    pub(super) payload: Bytes,
    headers: HeaderMap,
    /// Where all nodes are told, where the stream does not do that by itself.
    live: Option<Subject>,
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
        Self { subject, payload, headers: HeaderMap::new(), live: None }
    }

    /// Told to all nodes on this subject when it is written. Of several in one go the first
    /// says where.
    pub(super) fn told_on(mut self, live: Subject) -> Self {
        self.live = Some(live);
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
        let end = Instant::now() + WRITE;
        let (mut wait, mut patience) = (AGAIN, Patience::default());
        loop {
            let began = Instant::now();
            let why = match self.once(&log.context, patience.now()).await {
                Ok(written) => {
                    log.outcomes.succeeded(&self.subject, matches!(written, Written::At(_)));
                    if let Written::At(seq) = written {
                        tell(&log.context.client(), seq, &[self]).await;
                    }
                    return Ok(written);
                }
                Err(error) => Vain::from(&error),
            };
            log.outcomes.failed(&self.subject, &why);
            if Instant::now() > end {
                metrics::write_given_up();
                tracing::warn!(subject = self.subject, %why, "a write had no outcome");
                return Err(StoreError::Unavailable);
            }
            tracing::debug!(subject = self.subject, %why, "writing again");
            metrics::write_retried();
            patience.tried(began);
            sleep(wait).await;
            wait = (wait * 2).min(AGAIN_MAX);
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

/// What the servers themselves say of a write that they refuse.
fn said(error: &PublishError) -> Option<&jetstream::Error> {
    error.source()?.downcast_ref()
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

/// A try to write that was in vain.
#[derive(Clone, Debug)]
pub(super) struct Vain {
    pub(super) why: String,
    /// The servers have no room for it.
    pub(super) is_full: bool,
}

impl From<&PublishError> for Vain {
    fn from(error: &PublishError) -> Self {
        said(error).map_or_else(|| error.to_string().into(), Self::from)
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

/// What came of several writes in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Together {
    /// They lie there one behind the other, the first of them here.
    From(u64),
    /// None was written by the last try, for one of them that is refused or known; what
    /// came of a try before that is not known where `unsure`.
    Not {
        /// All of them may lie there by an earlier try.
        unsure: bool,
    },
}

/// Writes to one stream in one go, all or none, again and again until it is known what came
/// of it.
///
/// # Errors
/// [`StoreError::Unavailable`]: perhaps all were written.
pub(super) async fn put_together(log: &Log, writes: &[&Write]) -> Result<Together, StoreError> {
    let client = &log.context.client();
    let subject = writes.last().map_or("", |write| write.subject.as_str());
    let end = Instant::now() + WRITE;
    let (mut wait, mut patience) = (AGAIN, Patience::default());
    let mut unsure = false;
    loop {
        let began = Instant::now();
        match together(client, writes, patience.now()).await {
            Ok(Some(first)) => {
                log.outcomes.succeeded(subject, true);
                tell(client, first, writes).await;
                return Ok(Together::From(first));
            }
            Ok(None) => return Ok(Together::Not { unsure }),
            Err(why) => {
                log.outcomes.failed(subject, &why);
                if Instant::now() > end {
                    metrics::write_given_up();
                    tracing::warn!(writes = writes.len(), %why, "writes had no outcome");
                    return Err(StoreError::Unavailable);
                }
                tracing::debug!(writes = writes.len(), %why, "writing again");
            }
        }
        metrics::write_retried();
        unsure = true;
        patience.tried(began);
        sleep(wait).await;
        wait = (wait * 2).min(AGAIN_MAX);
    }
}

/// Tells all nodes of writes that lie one behind the other.
pub(super) async fn tell(client: &Client, first: u64, writes: &[&Write]) {
    if let Some(live) = writes.first().and_then(|write| write.live.as_ref()) {
        news::tell(client, live, first, writes).await;
    }
}

/// The answer to the last of a batch.
#[derive(Deserialize)]
struct Committed {
    /// The sequence of the last.
    seq: u64,
    /// How many there are.
    #[serde(default)]
    count: u64,
}

/// One try, that may take so long to be sent and as long to be acknowledged: where the first
/// lies, or nothing where none was written. An error says that nothing is known.
async fn together(
    client: &Client,
    writes: &[&Write],
    answer: Duration,
) -> Result<Option<u64>, Vain> {
    // It would fill the queue of what waits for a connection, at every try once more.
    if client.connection_state() != State::Connected {
        return Err("there is no connection".to_owned().into());
    }
    // Every try has a name of its own: what is left of one before must not be mixed in.
    let batch = format!("{:x}", fastrand::u64(..));
    let Some((last, others)) = writes.split_last() else { return Ok(None) };
    let headers = |write: &Write, number: usize| {
        let mut headers = write.headers.clone();
        headers.insert("Nats-Batch-Id", batch.as_str());
        headers.insert("Nats-Batch-Sequence", number.to_string());
        headers
    };
    let sending = async {
        for (number, write) in (1..).zip(others) {
            let (subject, payload) = (write.subject.clone(), write.payload.clone());
            client.publish_with_headers(subject, headers(write, number), payload).await?;
        }
        Ok::<_, client::PublishError>(())
    };
    let sent = timeout(answer, sending).await.map_err(|_| "they could not be sent".to_owned())?;
    sent.map_err(|error| error.to_string())?;
    let mut commit = headers(last, writes.len());
    commit.insert("Nats-Batch-Commit", "1");
    let request =
        Request::new().headers(commit).payload(last.payload.clone()).timeout(Some(answer));
    // To be sent may take as long as the answer itself.
    let asked = timeout(2 * answer, client.send_request(last.subject.clone(), request)).await;
    let answer = asked.map_err(|_| "the last could not be sent".to_owned())?;
    let answer = answer.map_err(|error| error.to_string())?;
    match serde_json::from_slice::<Response<Committed>>(&answer.payload) {
        Ok(Response::Ok(Committed { seq, count })) if count == writes.len() as u64 => {
            Ok(Some(seq.saturating_add(1).saturating_sub(count)))
        }
        Ok(Response::Ok(_)) => Err("not all of them were taken".to_owned().into()),
        Ok(Response::Err { error }) if error.code() == AT_FAULT => {
            tracing::debug!(%error, writes = writes.len(), "written apart");
            Ok(None)
        }
        Ok(Response::Err { error }) => Err(Vain::from(&error)),
        Err(error) => Err(error.to_string().into()),
    }
}
