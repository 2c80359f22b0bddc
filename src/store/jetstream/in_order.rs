//! Reading all messages of several partitions in the order of their timeline.
//!
//! They are read twice: once to be put in order, of which no more is kept than where each lies,
//! and once more when their turn has come.

use std::collections::BTreeMap;

use super::export::Source;
use super::extent::Reach;
use super::log::{Log, Pair};
use super::record::Kept;
use super::timeline::Timeline;
use crate::store::StoreError;

/// Messages that are read together to be put in order.
const PIECE: usize = 256;

/// All messages up to where their partitions reached.
pub(super) struct InOrder {
    coming: Vec<Source>,
    timeline: Timeline,
    again: Vec<Again>,
}

impl InOrder {
    /// Keeps `ahead` messages of each partition at hand.
    pub(super) fn new(log: &Log, reaches: &[Reach], ahead: usize) -> Self {
        let sources = |batch| {
            let parts = (0..).zip(reaches);
            parts.map(move |(part, reach)| Source::new(part, *reach, batch))
        };
        let again = sources(ahead).map(|source| Again { source, aside: BTreeMap::new(), ahead });
        Self {
            coming: sources(PIECE).collect(),
            timeline: Timeline::new(&log.names),
            again: again.collect(),
        }
    }

    /// The next one; nothing at the end.
    pub(super) async fn next(&mut self, log: &Log) -> Result<Option<Kept>, StoreError> {
        loop {
            for (part, source) in (0..).zip(&mut self.coming) {
                while self.timeline.wants(part) {
                    source.fill(log).await?;
                    if source.ahead.is_empty() {
                        break;
                    }
                    source.ahead.drain(..).for_each(|kept| self.timeline.add(&kept));
                }
            }
            let Some((pair, seq)) = self.timeline.next() else { return Ok(None) };
            let part = log.names.part(pair.to) as usize;
            let Some(again) = self.again.get_mut(part) else { continue };
            // What is not there any more went meanwhile.
            if let Some(kept) = again.take(log, pair, seq).await? {
                return Ok(Some(kept));
            }
        }
    }
}

/// The messages of a partition once more, nearly in the order in which they lie there.
struct Again {
    source: Source,
    /// Those that came by before their turn.
    aside: BTreeMap<u64, Kept>,
    /// How many these may be.
    ahead: usize,
}

impl Again {
    async fn take(&mut self, log: &Log, pair: Pair, seq: u64) -> Result<Option<Kept>, StoreError> {
        if let Some(kept) = self.aside.remove(&seq) {
            return Ok(Some(kept));
        }
        loop {
            self.source.fill(log).await?;
            if self.source.ahead.front().is_none_or(|kept| kept.seq > seq) {
                // It has come by, and waited for longer than others.
                return Ok(log.chained(pair, &[seq]).await?.pop());
            }
            match self.source.ahead.pop_front() {
                Some(kept) if kept.seq == seq => return Ok(Some(kept)),
                Some(kept) => self.aside.insert(kept.seq, kept),
                None => None,
            };
            if self.aside.len() > self.ahead {
                self.aside.pop_first();
            }
        }
    }
}
