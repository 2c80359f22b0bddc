//! Marking messages as read: ordinals added to what was read of each sender.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::log::Pair;
use super::shared::Shared;
use super::trail::Step;
use super::writes::Written;
use crate::ids::{ConnectionId, MessageId, Sender, UserId};
use crate::store::{Seen, StoreError};

/// Messages that are marked by one write: as many as one receipt names.
pub(super) const PIECE: usize = 1000;

/// How often others may get in between before it is given up.
pub(super) const TRIES: usize = 1000;

impl Shared {
    /// As the contract says.
    pub(super) async fn mark_read(
        self: &Arc<Self>,
        reader: UserId,
        seen: Seen,
        origin: Option<ConnectionId>,
    ) -> Result<(), StoreError> {
        let marks = match seen {
            Seen::Ids(ids) => self.named(reader, ids).await?,
            Seen::UpTo { peer, id } => self.up_to(Pair { to: reader, from: peer }, id).await?,
        };
        let pairs = marks.into_iter().map(|(from, steps)| (Pair { to: reader, from }, steps));
        try_join_all(pairs.map(|(pair, steps)| self.mark_soon((pair, origin), steps))).await?;
        Ok(())
    }

    /// Those messages of a reader's inbox that are among `ids`, by their senders.
    async fn named(
        &self,
        reader: UserId,
        ids: Vec<MessageId>,
    ) -> Result<BTreeMap<Sender, Vec<Step>>, StoreError> {
        let names = &self.log.names;
        let part = names.part(reader);
        let ids: Vec<u64> = ids.into_iter().map(MessageId::get).collect();
        let mut seqs = self.log.seqs_of(part, &ids).await?;
        seqs.sort_unstable();
        seqs.dedup();
        let mut marks: BTreeMap<Sender, Vec<Step>> = BTreeMap::new();
        // Mostly they were shown a moment ago.
        seqs.retain(|seq| {
            let Some((pair, ordinal)) = self.lately.find(part, *seq) else { return true };
            if pair.to == reader {
                marks.entry(pair.from).or_default().push((ordinal, *seq));
            }
            false
        });
        if seqs.is_empty() {
            return Ok(marks);
        }
        // What was never given is not looked for one by one.
        let newest = self.log.reads.last(&names.messages(part), &names.inbox(reader)).await?;
        let newest = newest.map_or(0, |raw| raw.seq);
        seqs.retain(|seq| *seq <= newest);
        for kept in self.log.messages(part, &seqs).await? {
            if kept.message.to == reader {
                let step = (kept.chain.ordinal, kept.seq);
                marks.entry(kept.message.from).or_default().push(step);
            }
        }
        Ok(marks)
    }

    /// The unread messages of a pair up to and with `id`.
    async fn up_to(
        &self,
        pair: Pair,
        id: MessageId,
    ) -> Result<BTreeMap<Sender, Vec<Step>>, StoreError> {
        let names = &self.log.names;
        let until = self.log.reached(names.part(pair.to), id.get()).await?;
        let Some(head) = self.log.head(pair).await? else { return Ok(BTreeMap::new()) };
        let state = self.log.state(pair).await?;
        let unread = state.read.gaps_up_to(head.chain.ordinal);
        let Some((first, _)) = unread.first() else { return Ok(BTreeMap::new()) };
        let mut steps = self.log.trail(&head, (*first).max(state.gone + 1), 0).await?;
        steps.retain(|(ordinal, seq)| *seq <= until && !state.is_read(*ordinal));
        Ok(BTreeMap::from([(pair.from, steps)]))
    }

    /// Adds some to what was read of a pair, and tells those that were not.
    pub(super) async fn mark(
        &self,
        pair: Pair,
        steps: &[Step],
        origin: Option<ConnectionId>,
    ) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let (at, state) = self.state(pair).await?;
            let Some(state) = state.marked(steps, origin) else { return Ok(()) };
            let write = self.log.state_write(pair, at, &state);
            if let Written::At(seq) = write.put(&self.log).await? {
                self.marked(pair, self.log.names.part(pair.to), seq, &state);
                return Ok(());
            }
            // Another node was faster.
            self.states.forget(pair);
        }
        Err(StoreError::Unavailable)
    }
}
