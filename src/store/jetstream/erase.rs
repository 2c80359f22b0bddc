//! Erasing a user: every message to and from them, then what is known of them.
//!
//! A pair is told to be gone up to its last message first, and its messages are removed
//! then: whoever sees them no more finds why. What is to be erased is written down before,
//! so that an erasure that is cut short goes on where a node starts next, or at any of the
//! others when they have seen it unchanged for a while. Whoever erases writes it down anew
//! from time to time: what it is doing is taken over by nobody, itself included.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::codec::{Reader, Writer};
use super::log::{Log, Pair};
use super::marking::TRIES;
use super::names::Names;
use super::profiles;
use super::read_state::ReadState;
use super::record::Kept;
use super::upkeep::RESUME;
use super::writes::{Write, Written};
use crate::ids::UserId;
use crate::message::Profile;
use crate::store::{Erased, StoreError};

/// The version of what is written down of an erasure.
const VERSION: u8 = 1;

/// Pairs that are erased together.
const AT_ONCE: usize = 16;

/// How often it is written down anew what is being erased: of three times, two may fail before
/// another node takes it for cut short.
const STILL: Duration = Duration::from_secs(RESUME.as_secs() / 4);

impl Log {
    /// As the contract says.
    pub(super) async fn erase(&self, user: UserId) -> Result<Erased, StoreError> {
        let reaches = self.reaches().await?;
        let limits: Vec<u64> = reaches.iter().map(|reach| reach.last).collect();
        let mark = Write::new(self.names.erasure(user), begun(&limits));
        mark.put(self).await?;
        self.erase_up_to(user, &limits, &mark).await
    }

    /// Goes on with what was cut short, and gives back all that was begun and is not done, by
    /// the sequences of what says so. That is all there is where nobody looked before; later
    /// only what was there at the last look, too: whoever erases writes it down anew meanwhile.
    pub(super) async fn resume_erasures(
        &self,
        before: Option<&BTreeSet<u64>>,
    ) -> Result<BTreeSet<u64>, StoreError> {
        let stream = self.names.profiles();
        let mut begun = BTreeSet::new();
        for subject in self.reads.subjects(&stream, &self.names.all_erasures()).await? {
            let Some(found) = self.reads.last(&stream, &subject).await? else { continue };
            begun.insert(found.seq);
            let is_new = before.is_some_and(|before| !before.contains(&found.seq));
            let (Some(user), Some(limits)) = (Names::user(&subject), limits(&found.payload)) else {
                continue;
            };
            if is_new {
                continue;
            }
            // Of several nodes that see it at once, one takes it.
            let mark = Write::new(subject, found.payload);
            if mark.clone().after(found.seq).put(self).await? == Written::Lost {
                continue;
            }
            let Erased { messages } = self.erase_up_to(user, &limits, &mark).await?;
            tracing::info!(%user, messages, "an erasure that was cut short went on to its end");
        }
        Ok(begun)
    }

    /// Erases what lies at or before `limits`, one for each partition, and writes `mark` again
    /// and again meanwhile.
    async fn erase_up_to(
        &self,
        user: UserId,
        limits: &[u64],
        mark: &Write,
    ) -> Result<Erased, StoreError> {
        let messages = marked(STILL, self.part_all(user, limits), || async {
            // Where it fails there is one more time.
            let _ = mark.put(self).await;
        })
        .await?;
        let stream = self.names.profiles();
        // Nodes hear of what is written and not of what is removed.
        let nothing = profiles::encode(&Profile::default());
        Write::new(self.names.profile(user), nothing).put(self).await?;
        // The mark that it was begun goes last.
        for subject in [self.names.profile(user), self.names.erasure(user)] {
            if let Some(last) = self.reads.last(&stream, &subject).await? {
                self.reads.purge(&stream, &subject, last.seq).await?;
            }
        }
        Ok(Erased { messages })
    }

    /// Removes what lies at or before `limits` to and from a user, and says how many messages
    /// that were.
    async fn part_all(&self, user: UserId, limits: &[u64]) -> Result<u64, StoreError> {
        let pairs = self.pairs(user).await?;
        let limit = |pair: &Pair| limits.get(self.names.part(pair.to) as usize).copied();
        let parting: Vec<_> =
            pairs.iter().map(|pair| self.part(*pair, limit(pair).unwrap_or_default())).collect();
        let counts: Vec<u64> =
            stream::iter(parting).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(counts.iter().sum())
    }

    /// Everybody that a user wrote to or got something from, as pairs with messages.
    pub(super) async fn pairs(&self, user: UserId) -> Result<BTreeSet<Pair>, StoreError> {
        let part = self.names.part(user);
        let inbox = self.names.inbox(user);
        let mut subjects = self.reads.subjects(&self.names.messages(part), &inbox).await?;
        for part in 0..self.names.partitions() {
            let sent = self.names.sent(part, user);
            subjects.extend(self.reads.subjects(&self.names.messages(part), &sent).await?);
        }
        let pairs = subjects.iter().filter_map(|subject| Names::pair(subject));
        Ok(pairs.map(|(to, from)| Pair { to, from }).collect())
    }

    /// Removes a pair's messages up to a sequence, and says how many they were.
    async fn part(&self, pair: Pair, limit: u64) -> Result<u64, StoreError> {
        let Some(head) = self.head(pair).await? else { return Ok(0) };
        let Some(last) = self.newest(&head, limit, 1).await?.pop() else { return Ok(0) };
        self.part_at(pair, &last).await
    }

    /// Removes a pair's messages up to and with `last`.
    pub(super) async fn part_at(&self, pair: Pair, last: &Kept) -> Result<u64, StoreError> {
        self.change_state(pair, |state| state.with_gone(last.chain.ordinal, last.seq)).await?;
        let stream = self.names.messages(last.part);
        self.reads.purge(&stream, &self.names.message(pair.to, pair.from), last.seq).await
    }

    /// Changes what is known of a pair's reading, whoever else does so at once.
    async fn change_state(
        &self,
        pair: Pair,
        change: impl Fn(&ReadState) -> ReadState,
    ) -> Result<(), StoreError> {
        let stream = self.names.reads(self.names.part(pair.to));
        let subject = self.names.read(pair.to, pair.from);
        for _ in 0..TRIES {
            let before = self.reads.last(&stream, &subject).await?;
            let (state, at) = match &before {
                Some(raw) => (ReadState::parse(&raw.payload)?, raw.seq),
                None => (ReadState::default(), 0),
            };
            let write = self.state_write(pair, at, &change(&state));
            if write.put(self).await? != Written::Lost {
                return Ok(());
            }
        }
        // Nobody is that busy: the leader refuses to write before what it cannot read.
        Err(StoreError::Unavailable)
    }
}

/// Does some work, and marks again and again meanwhile that it is being done. When it is done,
/// no mark is on its way any more.
async fn marked<T, F: Future<Output = ()>>(
    every: Duration,
    work: impl Future<Output = T>,
    mark: impl Fn() -> F,
) -> T {
    let (done, mut is_done) = watch::channel(());
    let working = async {
        let outcome = work.await;
        drop(done);
        outcome
    };
    let marking = async {
        while timeout(every, is_done.changed()).await.is_err() {
            mark().await;
        }
    };
    tokio::join!(working, marking).0
}

/// What is written down when an erasure begins: up to where it goes in each partition.
pub(super) fn begun(limits: &[u64]) -> Bytes {
    let mut to = Writer(vec![VERSION]);
    to.number(limits.len() as u64);
    limits.iter().for_each(|limit| to.number(*limit));
    to.0.into()
}

fn limits(payload: &[u8]) -> Option<Vec<u64>> {
    let mut bytes = Reader(payload);
    if bytes.byte()? != VERSION {
        return None;
    }
    let count = bytes.number()?;
    (0..count).map(|_| bytes.number()).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_is_marked_until_it_is_done_and_not_behind_that() {
        let (begun, ended) = (Cell::new(0), Cell::new(0));
        let begin = Instant::now();
        let outcome = marked(STILL, sleep(STILL * 7 / 2), || async {
            begun.set(begun.get() + 1);
            // The last one is on its way when the work ends.
            sleep(STILL / 5).await;
            ended.set(ended.get() + 1);
        });
        outcome.await;
        assert_eq!((begun.get(), ended.get()), (3, 3));
        assert!(begin.elapsed() < STILL * 4, "it waited for one more: {:?}", begin.elapsed());
        // Between two looks of another node at least two of them find their time.
        assert!(STILL * 3 < RESUME);
    }
}
