//! What goes by age: messages that were read, from the beginning of a pair, so that
//! nothing unread goes and nothing before what is older than it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::log::{Log, Pair};
use super::names::Names;
use super::record::Kept;
use crate::message::StoredAt;
use crate::store::StoreError;

/// Messages that are looked at together.
const BATCH: usize = 256;

impl Log {
    /// Removes what was read and is older than `age`. Several nodes may do so at once.
    pub(super) async fn sweep(&self, age: Duration) -> Result<u64, StoreError> {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let before = StoredAt(StoredAt::now().0.saturating_sub(age));
        let mut removed = 0;
        for part in 0..self.names.partitions() {
            let (pairs, last) = self.older(part, before).await?;
            for pair in pairs {
                removed += self.part_with_read(pair, last).await?;
            }
        }
        Ok(removed)
    }

    /// The pairs with something older at the beginning of a partition, and the last
    /// sequence there.
    async fn older(
        &self,
        part: u64,
        before: StoredAt,
    ) -> Result<(BTreeSet<Pair>, u64), StoreError> {
        let (stream, filter) = (self.names.messages(part), self.names.all_messages(part));
        let (mut pairs, mut last) = (BTreeSet::new(), 0);
        loop {
            let (found, more) = self.reads.forward(&stream, &filter, last + 1, BATCH).await?;
            for raw in &found {
                let kept = self.message(part, raw)?;
                if kept.message.stored_at >= before {
                    return Ok((pairs, last));
                }
                last = raw.seq;
                pairs.extend(Names::pair(&raw.subject).map(|(to, from)| Pair { to, from }));
            }
            if !more || found.is_empty() {
                return Ok((pairs, last));
            }
        }
    }

    /// Removes a pair's messages up to a sequence, as far as all of them were read.
    async fn part_with_read(&self, pair: Pair, limit: u64) -> Result<u64, StoreError> {
        let Some(head) = self.head(pair).await? else { return Ok(0) };
        let Some(last) = self.newest(&head, limit, 1).await?.pop() else { return Ok(0) };
        let state = self.state(pair).await?;
        let read = match state.read.gaps_up_to(last.chain.ordinal).first() {
            Some((unread, _)) => unread - 1,
            None => last.chain.ordinal,
        };
        if read <= state.gone {
            return Ok(0);
        }
        match self.by_ordinal(last, read).await? {
            Some(last) => self.part_at(pair, &last).await,
            None => Ok(0),
        }
    }

    /// The message of this ordinal, at or before one of its pair.
    async fn by_ordinal(&self, from: Kept, ordinal: u64) -> Result<Option<Kept>, StoreError> {
        let mut at = from;
        while at.chain.ordinal > ordinal {
            let back = usize::try_from(at.chain.ordinal - ordinal).unwrap_or(usize::MAX);
            let within = at.chain.page.len().checked_sub(back);
            let seq = within.and_then(|within| at.chain.page.get(within).copied());
            let Some(seq) = seq.or(Some(at.chain.before).filter(|seq| *seq > 0)) else {
                return Ok(None);
            };
            match self.chained(Pair::from(&at), &[seq]).await?.pop() {
                Some(before) => at = before,
                None => return Ok(None),
            }
        }
        Ok((at.chain.ordinal == ordinal).then_some(at))
    }
}
