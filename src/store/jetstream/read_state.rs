//! What a reader has read of one peer: ordinals, as ranges. And what is gone of the pair.

use bytes::Bytes;

use super::codec::{Reader, Writer};
use super::trail::Step;
use crate::ids::{ConnectionId, ID_END};
use crate::store::StoreError;

/// The version of this form.
const VERSION: u8 = 1;

/// Ordinals as ranges that neither overlap nor touch, rising.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Whether `ordinal` is in it.
    pub(super) fn contains(&self, ordinal: u64) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < ordinal);
        self.0.get(at).is_some_and(|(first, _)| *first <= ordinal)
    }

    /// How many there are up to and with `ordinal`.
    pub(super) fn count_up_to(&self, ordinal: u64) -> u64 {
        let below = self.0.iter().take_while(|(first, _)| *first <= ordinal);
        below.map(|(first, last)| last.min(&ordinal) - first + 1).sum()
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.count_up_to(u64::MAX)
    }

    /// How many ranges there are.
    pub(super) fn islands(&self) -> usize {
        self.0.len()
    }

    /// Adds `first` to `last`.
    pub(super) fn add(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        // Those that overlap or touch it become one with it.
        let begin = self.0.partition_point(|(_, end)| end.saturating_add(1) < first);
        let end = self.0.partition_point(|(start, _)| *start <= last.saturating_add(1));
        let joined = self.0.get(begin..end).unwrap_or_default();
        let first = joined.first().map_or(first, |(start, _)| first.min(*start));
        let last = joined.last().map_or(last, |(_, stop)| last.max(*stop));
        self.0.splice(begin..end, [(first, last)]);
    }

    /// The ordinals up to and with `last` that are not in it, as ranges.
    pub(super) fn gaps_up_to(&self, last: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut next = 1;
        for (first, end) in self.0.iter().take_while(|(first, _)| *first <= last) {
            if next < *first {
                gaps.push((next, first - 1));
            }
            next = end.saturating_add(1);
        }
        if next <= last {
            gaps.push((next, last));
        }
        gaps
    }
}

/// What a reader has read of a peer, as it lies in its stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ReadState {
    /// Up to this ordinal the pair's messages are gone.
    pub(super) gone: u64,
    /// The sequence of the last one of them.
    pub(super) gone_seq: u64,
    /// The ordinals that were read; what is gone counts as read.
    pub(super) read: Ranges,
    /// The sequences that were marked last, rising: what every node tells those whom it
    /// concerns. No part of the state.
    pub(super) news: Vec<u64>,
    /// The connection on which these were marked.
    pub(super) origin: Option<ConnectionId>,
}

impl ReadState {
    /// How many of the first `newest` are unread.
    pub(super) fn unread(&self, newest: u64) -> u64 {
        newest.saturating_sub(self.read.count_up_to(newest))
    }

    /// Whether a message counts as read.
    pub(super) fn is_read(&self, ordinal: u64) -> bool {
        ordinal <= self.gone || self.read.contains(ordinal)
    }

    /// The same state with the first ones gone, and without news.
    pub(super) fn with_gone(&self, gone: u64, gone_seq: u64) -> Self {
        let mut read = self.read.clone();
        read.add(1, gone);
        let (gone, gone_seq) = (self.gone.max(gone), self.gone_seq.max(gone_seq));
        Self { gone, gone_seq, read, news: Vec::new(), origin: None }
    }

    /// The same state with some messages marked, and news of those that were not; nothing
    /// where all were.
    pub(super) fn marked(&self, steps: &[Step], origin: Option<ConnectionId>) -> Option<Self> {
        let new: Vec<&Step> = steps.iter().filter(|(ordinal, _)| !self.is_read(*ordinal)).collect();
        if new.is_empty() {
            return None;
        }
        let news = new.iter().map(|(_, seq)| *seq).collect();
        let mut state = Self { news, origin, ..self.clone() };
        new.iter().for_each(|(ordinal, _)| state.read.add(*ordinal, *ordinal));
        Some(state)
    }

    pub(super) fn write(&self) -> Bytes {
        let mut to = Writer::default();
        to.0.push(VERSION);
        to.number(self.gone);
        to.number(self.gone_seq);
        to.number(self.read.0.len() as u64);
        let mut last = 0;
        for (first, end) in &self.read.0 {
            to.number(first - last);
            to.number(end - first);
            last = *end;
        }
        to.rising(&self.news);
        to.bytes(self.origin.map(|origin| origin.to_string()).unwrap_or_default().as_bytes());
        to.0.into()
    }

    /// Reads a state.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where it is none.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, StoreError> {
        Self::take(payload).ok_or_else(|| {
            StoreError::Damaged("what was read of a peer is in no form of this version".to_owned())
        })
    }

    fn take(payload: &[u8]) -> Option<Self> {
        let mut bytes = Reader(payload);
        if bytes.byte()? != VERSION {
            return None;
        }
        let (gone, gone_seq) = (bytes.number()?, bytes.number()?);
        let count = usize::try_from(bytes.number()?).ok()?;
        let mut ranges = Vec::new();
        let mut last = 0u64;
        for _ in 0..count {
            let first = last.checked_add(bytes.number()?)?;
            last = first.checked_add(bytes.number()?)?;
            ranges.push((first, last));
        }
        // No pair has more messages than there are ids.
        if last >= ID_END || gone >= ID_END {
            return None;
        }
        let read = Ranges(ranges);
        let news = bytes.rising()?;
        let origin = ConnectionId::parse(bytes.text()?);
        Some(Self { gone, gone_seq, read, news, origin })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinals_that_no_message_can_have_are_damage() {
        let with = |gone, range| {
            let read = Ranges(vec![range]);
            ReadState::parse(&ReadState { gone, read, ..ReadState::default() }.write())
        };
        assert!(with(7, (1, ID_END - 1)).is_ok());
        // They used to be counted beyond what a number holds.
        for (gone, range) in [(7, (0, u64::MAX)), (7, (1, ID_END)), (ID_END, (1, 7))] {
            assert!(matches!(with(gone, range), Err(StoreError::Damaged(_))), "{gone} {range:?}");
        }
    }

    proptest! {
        #[test]
        fn ranges_are_a_set(added in prop::collection::vec((1..60u64, 0..9u64), 0..20)) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (first, more) in added {
                ranges.add(first, first + more);
                model.extend(first..=first + more);
            }
            for ordinal in 0..80 {
                prop_assert_eq!(ranges.contains(ordinal), model.contains(&ordinal));
                let count = model.range(..=ordinal).count() as u64;
                prop_assert_eq!(ranges.count_up_to(ordinal), count);
                let gaps = ranges.gaps_up_to(ordinal);
                let missing: Vec<u64> = gaps.into_iter().flat_map(|(a, b)| a..=b).collect();
                let expected = (1..=ordinal).filter(|at| !model.contains(at));
                prop_assert_eq!(missing, expected.collect::<Vec<_>>());
            }
            prop_assert!(ranges.0.windows(2).all(|two| two[0].1 + 1 < two[1].0));
            let origin = Some(ConnectionId::draw());
            let state = ReadState { gone: 3, gone_seq: 70, read: ranges, news: vec![5, 9], origin };
            prop_assert_eq!(ReadState::parse(&state.write()), Ok(state));
        }
    }
}
