//! Ids from before a move, which clients still hold: as a place to go on from, and to mark
//! what they have seen.
//!
//! Only where several partitions made new ids necessary. Every moved message still names its
//! old one, and in each partition the old ids rise with the sequences: so they are found by
//! halving.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::log::Log;
use crate::store::StoreError;

/// Old ids that are looked for at once.
const AT_ONCE: usize = 16;

impl Log {
    /// The highest sequence of `part` whose id is at or below `id`, be that an old one or not.
    pub(super) async fn reached(&self, part: u64, id: u64) -> Result<u64, StoreError> {
        match self.names.is_old(id) {
            true => Ok(self.old(part, id).await?.0),
            false => Ok(self.names.seq_up_to(part, id)),
        }
    }

    /// The sequences of those messages of `part` that have one of these ids, or had it.
    pub(super) async fn seqs_of(&self, part: u64, ids: &[u64]) -> Result<Vec<u64>, StoreError> {
        let (old, new): (Vec<u64>, Vec<u64>) = ids.iter().partition(|id| self.names.is_old(**id));
        let places = new.into_iter().map(|id| self.names.place(id));
        let mut seqs: Vec<u64> =
            places.filter(|(of, seq)| *of == part && *seq > 0).map(|(_, seq)| seq).collect();
        let looking = old.into_iter().map(async |id| self.old(part, id).await.map(|it| (id, it)));
        let looking: Vec<_> = looking.collect();
        let found: Vec<_> = stream::iter(looking).buffered(AT_ONCE).try_collect().await?;
        seqs.extend(found.into_iter().filter(|(id, (_, old))| old == id).map(|(_, (seq, _))| seq));
        Ok(seqs)
    }

    /// The newest message of `part` whose old id is at or below `id`: its sequence and that
    /// id. Where there is none, the sequence before the first, and 0.
    async fn old(&self, part: u64, id: u64) -> Result<(u64, u64), StoreError> {
        let (stream, filter) = (self.names.messages(part), self.names.all_messages(part));
        let reach = self.reads.reach(&stream).await?;
        let first = self.names.first_new();
        let mut found = (first.saturating_sub(1), 0);
        // The answer lies at or behind `found`, and before `end`.
        let (mut begin, mut end) = (first, reach.last.saturating_add(1).max(first));
        while begin < end {
            let middle = begin + (end - begin) / 2;
            let next = self.reads.following(&stream, &filter, middle).await?;
            let next = next.map(|raw| self.message(part, &raw)).transpose()?;
            match next.and_then(|kept| Some((kept.seq, kept.old?))) {
                Some((seq, old)) if old <= id => {
                    found = (seq, old);
                    begin = seq + 1;
                }
                // A later one, one that came after the move, or none.
                _ => end = middle,
            }
        }
        Ok(found)
    }
}
