//! Reading streams: by sequence, by subject, many at once.
//!
//! A *direct* get is answered by any replica, which may lag. Whoever must not miss what
//! was acknowledged asks the leader how far it reaches, and a replica again until it
//! reaches as far.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::response::Response;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::connect::{LONG_ANSWER, Patience};
use super::raw::{FromLeader, Raw, header};
use super::replies::Replies;
use crate::store::StoreError;

/// How long a replica may take before the leader is asked: one that hangs is asked for
/// a third of all gets until its peers notice.
const REPLICA: Duration = Duration::from_millis(300);

/// How long a read may take in all: a new leader is there by then, also after a vote that
/// nobody won.
const READ: Duration = Duration::from_secs(15);

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(20);

/// Gets that are under way at once for one reader.
const AT_ONCE: usize = 50;

/// Subjects that a replica gives the newest messages of at once; the server's bound is 1024.
const SUBJECTS: usize = 512;

/// How JetStream says that there is no such message.
const NO_MESSAGE: u64 = 10037;

/// How the end of a batch is marked.
const NO_CONTENT: u16 = 204;
/// Nothing was found.
const NOT_FOUND: u16 = 404;
/// More was asked for than is given at once.
const TOO_LARGE: u16 = 413;

/// Reads streams.
#[derive(Clone)]
pub(super) struct Reads {
    client: Client,
    pub(super) context: Context,
    replies: Arc<Replies>,
}

/// Several messages out of one answer.
#[derive(Default)]
struct Many {
    found: Vec<Raw>,
    /// How many more there are.
    pending: u64,
    /// How far the replica reached; `None` where it found nothing.
    up_to: Option<u64>,
    /// It was asked for more than it gives.
    too_many: bool,
}

impl Reads {
    pub(super) fn new(client: Client, context: Context, replies: Arc<Replies>) -> Self {
        Self { client, context, replies }
    }

    /// What lies at `seq`, nothing where it is gone: any replica, then the leader.
    pub(super) async fn get(&self, stream: &str, seq: u64) -> Result<Option<Raw>, StoreError> {
        let ask = json!({ "seq": seq }).to_string();
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let answer = timeout(REPLICA, self.client.request(subject, ask.into())).await;
        if let Ok(Ok(message)) = answer
            && message.status.is_none()
            && let Some(raw) = Raw::from_message(message)
            && raw.seq == seq
        {
            return Ok(Some(raw));
        }
        // A replica may lag, or have lost it.
        self.ask_leader(stream, json!({ "seq": seq })).await
    }

    /// What lies at each of `seqs`, in their order, without those that are gone.
    pub(super) async fn get_many(
        &self,
        stream: &str,
        seqs: &[u64],
    ) -> Result<Vec<Raw>, StoreError> {
        let gets: Vec<_> = seqs.iter().map(|seq| self.get(stream, *seq)).collect();
        let found = stream::iter(gets).buffered(AT_ONCE).try_collect::<Vec<_>>().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The newest of `subject`, which may have wildcards, as the leader knows it.
    pub(super) async fn last(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<Raw>, StoreError> {
        self.ask_leader(stream, json!({ "last_by_subj": subject })).await
    }

    /// The first at or behind `seq` that `filter` matches, as the leader knows it.
    pub(super) async fn following(
        &self,
        stream: &str,
        filter: &str,
        seq: u64,
    ) -> Result<Option<Raw>, StoreError> {
        self.ask_leader(stream, json!({ "seq": seq, "next_by_subj": filter })).await
    }

    /// The newest of every subject that `filter` matches, as of now: nothing that was
    /// acknowledged before the call is missed.
    pub(super) async fn last_of_each(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<Vec<Raw>, StoreError> {
        let Some(newest) = self.last(stream, filter).await? else {
            return Ok(Vec::new());
        };
        let many = self.newest(stream, &[filter.to_owned()], newest.seq).await?;
        if !many.too_many && many.pending == 0 {
            return Ok(many.found);
        }
        let mut found = Vec::new();
        for subjects in self.subjects(stream, filter).await?.chunks(SUBJECTS) {
            // Of a list that was cut off for its bytes, each by itself.
            let many = self.newest(stream, subjects, 0).await?;
            match many.pending {
                0 => found.extend(many.found),
                _ => {
                    for subject in subjects {
                        found.extend(self.last(stream, subject).await?);
                    }
                }
            }
        }
        Ok(found)
    }

    /// The newest of each from a replica that reaches up to `at_least`.
    async fn newest(
        &self,
        stream: &str,
        subjects: &[String],
        at_least: u64,
    ) -> Result<Many, StoreError> {
        let end = Instant::now() + READ;
        loop {
            let many = self.many(stream, &json!({ "multi_last": subjects })).await;
            match many {
                Ok(many) if many.too_many => return Ok(many),
                Ok(many) if at_least == 0 || many.up_to.is_some_and(|up_to| up_to >= at_least) => {
                    return Ok(many);
                }
                _ if Instant::now() > end => return Err(StoreError::Unavailable),
                _ => sleep(AGAIN).await,
            }
        }
    }

    /// Up to `limit` messages from `seq` on that `filter` matches, and whether more follow;
    /// as far as a replica knows.
    pub(super) async fn forward(
        &self,
        stream: &str,
        filter: &str,
        seq: u64,
        limit: usize,
    ) -> Result<(Vec<Raw>, bool), StoreError> {
        let ask =
            json!({ "seq": seq.max(1), "batch": limit.clamp(1, 1000), "next_by_subj": filter });
        let end = Instant::now() + READ;
        loop {
            match self.many(stream, &ask).await {
                Ok(many) => return Ok((many.found, many.pending > 0)),
                Err(error) if Instant::now() > end => return Err(error),
                Err(_) => sleep(AGAIN).await,
            }
        }
    }

    /// The sequence of the first message at or behind a time that `filter` matches; as far as
    /// a replica knows.
    pub(super) async fn first_since(
        &self,
        stream: &str,
        filter: &str,
        time: SystemTime,
    ) -> Result<Option<u64>, StoreError> {
        let time = humantime::format_rfc3339_millis(time).to_string();
        let ask = json!({ "start_time": time, "batch": 1, "next_by_subj": filter });
        let end = Instant::now() + READ;
        loop {
            match self.many(stream, &ask).await {
                Ok(many) => return Ok(many.found.first().map(|raw| raw.seq)),
                Err(error) if Instant::now() > end => return Err(error),
                Err(_) => sleep(AGAIN).await,
            }
        }
    }

    /// Asks a replica once for several messages.
    async fn many(&self, stream: &str, ask: &Value) -> Result<Many, StoreError> {
        let mut answer = self.replies.expect();
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let asked =
            self.client.publish_with_reply(subject, answer.subject.clone(), ask.to_string().into());
        // Without a connection the queue of what is to be sent may be full for as long.
        let asked = timeout(REPLICA, asked).await.map_err(|_| StoreError::Unavailable)?;
        asked.map_err(|_| StoreError::Unavailable)?;
        let mut many = Many::default();
        loop {
            let message = timeout(REPLICA, answer.messages.recv()).await;
            let Ok(Some(message)) = message else {
                return Err(StoreError::Unavailable);
            };
            let Some(status) = message.status else {
                many.found.extend(Raw::from_message(message));
                continue;
            };
            let number = |name: &str| {
                let headers = message.headers.as_ref()?;
                header(headers, name)?.parse::<u64>().ok()
            };
            match status.as_u16() {
                // The end of the batch.
                NO_CONTENT => {
                    many.pending = number("Nats-Num-Pending").unwrap_or_default();
                    many.up_to = number("Nats-UpTo-Sequence");
                    return Ok(many);
                }
                NOT_FOUND => return Ok(many),
                TOO_LARGE => {
                    many.too_many = true;
                    return Ok(many);
                }
                _ => return Err(StoreError::Unavailable),
            }
        }
    }

    /// Takes all of `subject` up to and with `seq` out of a stream, and says how many
    /// they were.
    pub(super) async fn purge(
        &self,
        stream: &str,
        subject: &str,
        seq: u64,
    ) -> Result<u64, StoreError> {
        #[derive(Deserialize)]
        struct Purged {
            purged: u64,
        }
        let ask = json!({ "filter": subject, "seq": seq.saturating_add(1) });
        let purged: Option<Purged> =
            self.ask(format!("STREAM.PURGE.{stream}"), &ask, Some(LONG_ANSWER)).await?;
        purged.map(|purged| purged.purged).ok_or(StoreError::Unavailable)
    }

    async fn ask_leader(&self, stream: &str, ask: Value) -> Result<Option<Raw>, StoreError> {
        let found: Option<FromLeader> =
            self.ask(format!("STREAM.MSG.GET.{stream}"), &ask, None).await?;
        found.map(|found| found.raw().ok_or_else(|| garbled(stream))).transpose()
    }

    /// Asks until there is an answer: a leader that dies has a successor. An answer that takes
    /// its time is waited for as `long` as that may be.
    pub(super) async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        subject: String,
        ask: &Value,
        long: Option<Duration>,
    ) -> Result<Option<T>, StoreError> {
        let end = Instant::now() + READ;
        let mut patience = Patience::default();
        loop {
            let began = Instant::now();
            let request = self.context.request::<_, _, Response<T>>(subject.clone(), ask);
            match timeout(long.unwrap_or_else(|| patience.now()), request).await {
                Ok(Ok(Response::Ok(answer))) => return Ok(Some(answer)),
                Ok(Ok(Response::Err { error })) if error.error_code().0 == NO_MESSAGE => {
                    return Ok(None);
                }
                _ if Instant::now() > end => return Err(StoreError::Unavailable),
                _ => {}
            }
            patience.tried(began);
            sleep(AGAIN).await;
        }
    }
}

fn garbled(stream: &str) -> StoreError {
    StoreError::Damaged(format!("what the stream {stream} gives is no base64"))
}
