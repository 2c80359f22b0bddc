//! The log as those read it who look at whole pairs: heads, read state, and the way back
//! along the chain.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_nats::jetstream::Context;
use bytes::Bytes;
use futures_util::future::try_join;
use serde_json::json;

use super::names::Names;
use super::outcomes::Outcomes;
use super::raw::Raw;
use super::read_state::ReadState;
use super::reads::Reads;
use super::record::Kept;
use super::writes::Write;
use crate::ids::{Sender, UserId};
use crate::store::StoreError;

/// Who wrote to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pair {
    pub(super) to: UserId,
    pub(super) from: Sender,
}

impl Pair {
    /// What the recipient wrote to the sender; nothing where that is the system.
    pub(super) fn answers(self) -> Option<Self> {
        match self.from {
            Sender::User(from) => Some(Self { to: from, from: self.to.into() }),
            Sender::System => None,
        }
    }
}

impl From<&Kept> for Pair {
    fn from(kept: &Kept) -> Self {
        Self { to: kept.message.to, from: kept.message.from }
    }
}

/// Reads all that is kept.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) names: Names,
    pub(super) reads: Reads,
    pub(super) context: Context,
    /// What came of the writes.
    pub(super) outcomes: Arc<Outcomes>,
}

impl Log {
    /// The write of a message, of which all nodes are told.
    pub(super) fn message_write(&self, pair: Pair, payload: Bytes) -> Write {
        let live = self.names.live_messages(self.names.part(pair.to));
        let write = Write::new(self.names.message(pair.to, pair.from), payload);
        match live {
            Some(live) => write.told_on(live),
            None => write,
        }
    }

    /// The write of what the recipient of a pair has read of it, where that now lies `at`, of
    /// which all nodes are told.
    pub(super) fn state_write(&self, pair: Pair, at: u64, state: &ReadState) -> Write {
        let stream = self.names.reads(self.names.part(pair.to));
        let subject = self.names.read(pair.to, pair.from);
        Write::new(subject, state.write()).after(at).told_on(self.names.live(&stream).into())
    }

    /// The newest message of a pair, as its leader knows it.
    pub(super) async fn head(&self, pair: Pair) -> Result<Option<Kept>, StoreError> {
        let part = self.names.part(pair.to);
        let subject = self.names.message(pair.to, pair.from);
        let newest = self.reads.last(&self.names.messages(part), &subject).await?;
        newest.map(|raw| self.message(part, &raw)).transpose()
    }

    /// What the recipient of a pair has read of it, as its leader knows it.
    pub(super) async fn state(&self, pair: Pair) -> Result<ReadState, StoreError> {
        let part = self.names.part(pair.to);
        let subject = self.names.read(pair.to, pair.from);
        let state = self.reads.last(&self.names.reads(part), &subject).await?;
        state.map_or(Ok(ReadState::default()), |raw| ReadState::parse(&raw.payload))
    }

    /// The newest message of everybody who wrote to `inbox`, as of now.
    pub(super) async fn heads(&self, inbox: UserId) -> Result<BTreeMap<Sender, Kept>, StoreError> {
        let part = self.names.part(inbox);
        let stream = self.names.messages(part);
        let heads = self.reads.last_of_each(&stream, &self.names.inbox(inbox)).await?;
        heads
            .iter()
            .map(|raw| self.message(part, raw).map(|kept| (kept.message.from, kept)))
            .collect()
    }

    /// What `reader` has read of each peer, as of now; also of those to whom they only wrote.
    pub(super) async fn states(
        &self,
        reader: UserId,
    ) -> Result<BTreeMap<Sender, ReadState>, StoreError> {
        let stream = self.names.reads(self.names.part(reader));
        let states = self.reads.last_of_each(&stream, &self.names.read_by(reader)).await?;
        states
            .iter()
            .filter_map(|raw| Some((Names::pair(&raw.subject)?.1, &raw.payload)))
            .map(|(peer, payload)| Ok((peer, ReadState::parse(payload)?)))
            .collect()
    }

    /// Heads and read state of an inbox at once.
    pub(super) async fn inbox(
        &self,
        of: UserId,
    ) -> Result<(BTreeMap<Sender, Kept>, BTreeMap<Sender, ReadState>), StoreError> {
        try_join(self.heads(of), self.states(of)).await
    }

    /// The messages at these sequences, in their order, without those that are gone.
    pub(super) async fn messages(&self, part: u64, seqs: &[u64]) -> Result<Vec<Kept>, StoreError> {
        let found = self.reads.get_many(&self.names.messages(part), seqs).await?;
        found.iter().map(|raw| self.message(part, raw)).collect()
    }

    /// The messages of a pair at these sequences, which those behind them name: in their order,
    /// without those that are gone.
    pub(super) async fn chained(&self, pair: Pair, seqs: &[u64]) -> Result<Vec<Kept>, StoreError> {
        let found = self.messages(self.names.part(pair.to), seqs).await?;
        if found.len() == seqs.len() {
            return Ok(found);
        }
        // What is gone was put down as gone before it was removed.
        let gone = self.state(pair).await?.gone_seq;
        let (mut found, mut all) = (found.into_iter().peekable(), Vec::new());
        for seq in seqs {
            match found.next_if(|kept| kept.seq == *seq) {
                Some(kept) => all.push(kept),
                None if *seq <= gone => {}
                None => all.push(self.unread_by_leader(pair, *seq).await?),
            }
        }
        Ok(all)
    }

    /// A message of a pair that is not gone, and that its leader does not find.
    async fn unread_by_leader(&self, pair: Pair, seq: u64) -> Result<Kept, StoreError> {
        let part = self.names.part(pair.to);
        let stream = self.names.messages(part);
        match self.reads.elsewhere(&stream, &json!({ "seq": seq })).await? {
            Some(raw) => self.message(part, &raw),
            None => Err(StoreError::Damaged(format!(
                "no server can read {seq} of the stream {stream}, which is not gone"
            ))),
        }
    }

    pub(super) fn message(&self, part: u64, raw: &Raw) -> Result<Kept, StoreError> {
        Kept::parse(&self.names, part, raw)
    }

    pub(super) async fn at(&self, part: u64, seq: u64) -> Result<Option<Kept>, StoreError> {
        let found = self.reads.get(&self.names.messages(part), seq).await?;
        found.map(|raw| self.message(part, &raw)).transpose()
    }

    /// The newest `limit` messages of a pair up to and with the sequence `until`, rising.
    /// `head` is its newest one.
    pub(super) async fn newest(
        &self,
        head: &Kept,
        until: u64,
        limit: usize,
    ) -> Result<Vec<Kept>, StoreError> {
        // A message at that place knows those before it; else it is looked for from the end.
        let there = match until {
            0 => return Ok(Vec::new()),
            until if until >= head.seq => None,
            until => self.at(head.part, until).await?,
        };
        let there = there.filter(|kept| Pair::from(kept) == Pair::from(head));
        let mut way = Way::back(there.unwrap_or_else(|| head.clone()));
        let mut found = VecDeque::new();
        while let Some(seq) = way.next(self).await? {
            if seq <= until {
                found.push_front(seq);
            }
            if found.len() >= limit {
                break;
            }
        }
        self.chained(head.into(), found.make_contiguous()).await
    }

    /// The oldest `limit` messages of a pair behind the sequence `after`, rising.
    pub(super) async fn following(
        &self,
        head: &Kept,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Kept>, StoreError> {
        let mut way = Way::back(head.clone());
        let mut found = VecDeque::new();
        while let Some(seq) = way.next(self).await?.filter(|seq| *seq > after) {
            found.push_front(seq);
            found.truncate(limit);
        }
        self.chained(head.into(), found.make_contiguous()).await
    }

    /// The sequences of all that is left of a pair, rising.
    pub(super) async fn all(&self, head: &Kept) -> Result<Vec<u64>, StoreError> {
        let mut way = Way::back(head.clone());
        let mut found = Vec::new();
        while let Some(seq) = way.next(self).await? {
            found.push(seq);
        }
        found.reverse();
        Ok(found)
    }
}

/// The way from a message back to the first one of its pair that is left.
struct Way {
    pair: Pair,
    /// Sequences to be given, the next one last.
    page: Vec<u64>,
    /// The message that knows of those before them.
    before: u64,
}

impl Way {
    fn back(from: Kept) -> Self {
        let pair = Pair::from(&from);
        let mut page = from.chain.page;
        page.push(from.seq);
        Self { pair, page, before: from.chain.before }
    }

    /// The next sequence on the way back.
    async fn next(&mut self, log: &Log) -> Result<Option<u64>, StoreError> {
        if self.page.is_empty() {
            if self.before == 0 {
                return Ok(None);
            }
            match log.chained(self.pair, &[self.before]).await?.pop() {
                Some(kept) => *self = Self::back(kept),
                // What is gone took all before it along.
                None => return Ok(None),
            }
        }
        Ok(self.page.pop())
    }
}
