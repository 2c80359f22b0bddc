//! Reading many messages at once, of which nothing may be missing that was acknowledged.
//!
//! An answer of which a part was lost on the way (`answer.rs`) is asked for again.

use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::answer::{Answer, Broken, Coming};
use super::raw::Raw;
use super::reads::{AGAIN, READ, REPLICA, Reads, few_at_once};
use crate::store::StoreError;

/// Subjects that a replica gives the newest messages of at once; the server's bound is 1024.
const SUBJECTS: usize = 512;

/// What lies in a stretch of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Between {
    /// These, rising, and nothing else up to the last of them.
    Some(Vec<Raw>),
    /// Nothing: what the leader has begins behind it.
    Nothing,
    /// The leader has nothing there, nor behind it. It may be gone; or the leader does not know
    /// of it yet.
    NotYet,
}

impl Between {
    /// What was found, where nothing more is to come.
    pub(super) fn found(self) -> Vec<Raw> {
        match self {
            Self::Some(found) => found,
            Self::Nothing | Self::NotYet => Vec::new(),
        }
    }
}

impl Reads {
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
        let filters = [filter.to_owned()];
        if let Some(found) = self.newest(stream, &filters, newest.seq).await? {
            return Ok(found);
        }
        let mut found = Vec::new();
        for subjects in self.subjects(stream, filter).await?.chunks(SUBJECTS) {
            match self.newest(stream, subjects, newest.seq).await? {
                Some(newest) => found.extend(newest),
                None => {
                    for subject in subjects {
                        found.extend(self.last(stream, subject).await?);
                    }
                }
            }
        }
        Ok(found)
    }

    /// The newest of each from a replica that reaches up to `at_least`; nothing where they are
    /// too many for one answer, or it has none of them.
    async fn newest(
        &self,
        stream: &str,
        subjects: &[String],
        at_least: u64,
    ) -> Result<Option<Vec<Raw>>, StoreError> {
        let end = Instant::now() + READ;
        loop {
            match self.many(stream, &json!({ "multi_last": subjects })).await {
                Ok(Answer::Some { found, pending, up_to: Some(up_to) }) if up_to >= at_least => {
                    return Ok((pending == 0).then_some(found));
                }
                Ok(Answer::Nothing | Answer::TooMany) => return Ok(None),
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
        self.batch(stream, &ask).await
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
        let (found, _) = self.batch(stream, &ask).await?;
        Ok(found.first().map(|raw| raw.seq))
    }

    /// Up to `limit` of what lies from `from` up to `until` in a stream of which `filter`
    /// matches everything: nothing is left out that is there, whatever a replica says.
    pub(super) async fn between(
        &self,
        name: &str,
        filter: &str,
        (from, until): (u64, u64),
        limit: usize,
    ) -> Result<Between, StoreError> {
        let (mut found, _) = self.forward(name, filter, from, limit).await?;
        found.retain(|raw| raw.seq <= until);
        // A replica that is being filled may lack some that its leader has.
        let before = std::iter::once(from.saturating_sub(1)).chain(found.iter().map(|raw| raw.seq));
        let gaps = before.zip(&found).enumerate().filter_map(|(at, (before, raw))| {
            let next = before.saturating_add(1);
            (next < raw.seq).then_some((at, next, raw.seq))
        });
        let looks: Vec<_> = gaps
            .map(|(at, next, seq)| async move {
                let known = self.following(name, filter, next).await?;
                Ok::<_, StoreError>(known.filter(|known| known.seq < seq).map(|known| (at, known)))
            })
            .collect();
        if let Some((at, known)) = few_at_once(looks).await?.into_iter().flatten().next() {
            found.truncate(at);
            found.push(known);
        }
        if !found.is_empty() {
            return Ok(Between::Some(found));
        }
        // It may lag: only the leader knows that there is nothing.
        Ok(match self.following(name, filter, from).await? {
            Some(raw) if raw.seq <= until => Between::Some(vec![raw]),
            Some(_) => Between::Nothing,
            None => Between::NotYet,
        })
    }

    /// Up to `limit` messages from `seq` on in a stream in which much is written over; nothing at
    /// its end, as its leader knows it.
    pub(super) async fn from(
        &self,
        stream: &str,
        filter: &str,
        seq: u64,
        limit: usize,
    ) -> Result<Vec<Raw>, StoreError> {
        let (mut found, _) = self.forward(stream, filter, seq, limit).await?;
        if found.is_empty() {
            // A replica may lag.
            found.extend(self.following(stream, filter, seq.max(1)).await?);
        }
        Ok(found)
    }

    /// Asks replicas for one batch until one gives it, and says whether more follows.
    async fn batch(&self, stream: &str, ask: &Value) -> Result<(Vec<Raw>, bool), StoreError> {
        let end = Instant::now() + READ;
        loop {
            match self.many(stream, ask).await {
                Ok(Answer::Some { found, pending, .. }) => return Ok((found, pending > 0)),
                Ok(Answer::Nothing) => return Ok((Vec::new(), false)),
                _ if Instant::now() > end => return Err(StoreError::Unavailable),
                _ => sleep(AGAIN).await,
            }
        }
    }

    /// Asks a replica once for several messages.
    async fn many(&self, stream: &str, ask: &Value) -> Result<Answer, StoreError> {
        let mut answer = self.replies.expect();
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let asked =
            self.client.publish_with_reply(subject, answer.subject.clone(), ask.to_string().into());
        // Without a connection the queue of what is to be sent may be full for as long.
        let asked = timeout(REPLICA, asked).await.map_err(|_| StoreError::Unavailable)?;
        asked.map_err(|_| StoreError::Unavailable)?;
        let mut coming = Coming::default();
        loop {
            let message = timeout(REPLICA, answer.messages.recv()).await;
            let Ok(Some(message)) = message else {
                return Err(StoreError::Unavailable);
            };
            match coming.take(message) {
                Ok(None) => {}
                Ok(Some(answer)) => return Ok(answer),
                Err(Broken::Ended(_)) => return Err(StoreError::Unavailable),
                Err(Broken::Behind(seq)) => {
                    warn!(
                        stream,
                        behind = seq,
                        "part of an answer was lost, and is asked for again"
                    );
                    return Err(StoreError::Unavailable);
                }
            }
        }
    }
}
