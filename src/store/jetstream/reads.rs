//! Reading streams: by sequence and by subject. `batch.rs` reads many at once.
//!
//! A *direct* get is answered by any replica, which may lag. Whoever must not miss what
//! was acknowledged asks the leader how far it reaches, and a replica again until it
//! reaches as far.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::response::Response;
use async_nats::{Client, StatusCode};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::connect::{LONG_ANSWER, Patience};
use super::raw::{FromLeader, Raw};
use super::replies::Replies;
use crate::store::StoreError;

/// How long a replica may take before the leader is asked: one that hangs is asked for
/// a third of all gets until its peers notice.
pub(super) const REPLICA: Duration = Duration::from_millis(300);

/// How long a read may take in all: a new leader is there by then, also after a vote that
/// nobody won.
pub(super) const READ: Duration = Duration::from_secs(15);

/// Between two tries.
pub(super) const AGAIN: Duration = Duration::from_millis(20);

/// Gets that are under way at once for one reader.
const AT_ONCE: usize = 50;

/// How JetStream says that there is no such message.
const NO_MESSAGE: u64 = 10037;

/// How many replicas may say of a message that must be there that it is not. Each time any of
/// them answers, by chance: of three one that can read it is not met once in 43 million times.
const LOOKS: usize = 16;

/// Reads streams.
#[derive(Clone)]
pub(super) struct Reads {
    pub(super) client: Client,
    pub(super) context: Context,
    pub(super) replies: Arc<Replies>,
}

impl Reads {
    pub(super) fn new(client: Client, context: Context, replies: Arc<Replies>) -> Self {
        Self { client, context, replies }
    }

    /// What lies at `seq`, nothing where it is gone: any replica, then the leader.
    pub(super) async fn get(&self, stream: &str, seq: u64) -> Result<Option<Raw>, StoreError> {
        let ask = json!({ "seq": seq });
        if let Some(Some(raw)) = self.look(stream, &ask).await {
            return Ok(Some(raw));
        }
        // A replica may lag, or have lost it.
        self.ask_leader(stream, ask).await
    }

    /// What `ask` names and must be there although the leader does not find it: from a replica
    /// that does. A server says of a copy that it cannot read, for a bit of it has changed on its
    /// disk, the same as of what is gone.
    pub(super) async fn elsewhere(
        &self,
        stream: &str,
        ask: &Value,
    ) -> Result<Option<Raw>, StoreError> {
        let end = Instant::now() + READ;
        let mut looks = 0;
        while looks < LOOKS {
            match self.look(stream, ask).await {
                Some(Some(raw)) => {
                    warn!(stream, seq = raw.seq, "its leader cannot read what a replica can");
                    return Ok(Some(raw));
                }
                Some(None) => looks += 1,
                None if Instant::now() > end => return Err(StoreError::Unavailable),
                None => sleep(AGAIN).await,
            }
        }
        Ok(None)
    }

    /// What any replica finds, nothing without an answer.
    async fn look(&self, stream: &str, ask: &Value) -> Option<Option<Raw>> {
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let request = self.client.request(subject, ask.to_string().into());
        let message = timeout(REPLICA, request).await.ok()?.ok()?;
        match message.status {
            None => Raw::from_message(message).map(Some),
            Some(StatusCode::NOT_FOUND) => Some(None),
            Some(_) => None,
        }
    }

    /// What lies at each of `seqs`, in their order, without those that are gone.
    pub(super) async fn get_many(
        &self,
        stream: &str,
        seqs: &[u64],
    ) -> Result<Vec<Raw>, StoreError> {
        let gets: Vec<_> = seqs.iter().map(|seq| self.get(stream, *seq)).collect();
        Ok(few_at_once(gets).await?.into_iter().flatten().collect())
    }

    /// The newest of `subject`, which may have wildcards, as the leader knows it.
    pub(super) async fn last(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<Raw>, StoreError> {
        let ask = json!({ "last_by_subj": subject });
        if let Some(raw) = self.ask_leader(stream, ask.clone()).await? {
            return Ok(Some(raw));
        }
        // Of what there is, the leader knows without reading it.
        if !self.has(stream, subject).await? {
            return Ok(None);
        }
        match self.elsewhere(stream, &ask).await? {
            None if self.has(stream, subject).await? => Err(StoreError::Damaged(format!(
                "no server can read the newest of {subject} in the stream {stream}"
            ))),
            found => Ok(found),
        }
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
        self.ask_for(subject, ask, long, |_: &T| true).await
    }

    /// The same, until there is an answer that counts.
    pub(super) async fn ask_for<T: serde::de::DeserializeOwned>(
        &self,
        subject: String,
        ask: &Value,
        long: Option<Duration>,
        counts: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, StoreError> {
        let end = Instant::now() + READ;
        let mut patience = Patience::default();
        loop {
            let began = Instant::now();
            let request = self.context.request::<_, _, Response<T>>(subject.clone(), ask);
            match timeout(long.unwrap_or_else(|| patience.now()), request).await {
                Ok(Ok(Response::Ok(answer))) if counts(&answer) => return Ok(Some(answer)),
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

/// What comes of these questions of one reader, in their order, as few of them under way at once
/// as leave room for other readers.
pub(super) async fn few_at_once<T>(
    questions: Vec<impl Future<Output = Result<T, StoreError>>>,
) -> Result<Vec<T>, StoreError> {
    stream::iter(questions).buffered(AT_ONCE).try_collect().await
}

fn garbled(stream: &str) -> StoreError {
    StoreError::Damaged(format!("what the stream {stream} gives is no base64"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_reader_asks_few_questions_at_once_and_gets_the_answers_in_order() {
        const ALL: u64 = 3 * AT_ONCE as u64;
        let (asked, most) = (Cell::new(0), Cell::new(0));
        let question = |number| {
            let (asked, most) = (&asked, &most);
            async move {
                asked.set(asked.get() + 1);
                most.set(asked.get().max(most.get()));
                // The later one is asked, the sooner its answer comes.
                sleep(Duration::from_millis(ALL - number)).await;
                asked.set(asked.get() - 1);
                if number == ALL { Err(StoreError::Unavailable) } else { Ok(number) }
            }
        };
        let began = Instant::now();
        let answers = few_at_once((0..ALL).map(question).collect()).await.unwrap();
        assert_eq!(answers, (0..ALL).collect::<Vec<_>>());
        assert_eq!(most.get(), AT_ONCE, "no more, and no fewer");
        assert!(began.elapsed() < Duration::from_millis(ALL * ALL / 2), "{:?}", began.elapsed());
        let failed = few_at_once((0..=ALL).map(question).collect()).await;
        assert!(matches!(failed, Err(StoreError::Unavailable)), "{failed:?}");
    }
}
