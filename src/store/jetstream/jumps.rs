//! Where the ids of a stream go ahead of its sequences.
//!
//! A stream gives its sequences one after the other; a store that was moved in may have
//! passed over ids by the thousand million, as after a restore. There the ids jump, and
//! everything keeps the id that it had.

use std::fmt::Write as _;

/// From the sequence `seq` on, an id is its sequence and `ahead`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Jump {
    seq: u64,
    ahead: u64,
}

/// The jumps of a stream, rising; mostly there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Jumps(Vec<Jump>);

impl Jumps {
    /// Adds that what follows the id `before` is `after`.
    pub(super) fn add(&mut self, before: u64, after: u64) {
        let ahead = self.0.last().map_or(0, |jump| jump.ahead);
        let (Some(seq), Some(width)) =
            ((before + 1).checked_sub(ahead), after.checked_sub(before + 1))
        else {
            return;
        };
        if width > 0 {
            self.0.push(Jump { seq, ahead: ahead + width });
        }
    }

    /// The id at a sequence.
    pub(super) fn id(&self, seq: u64) -> u64 {
        let at = self.0.partition_point(|jump| jump.seq <= seq);
        seq.saturating_add(self.before(at).ahead)
    }

    /// The sequence of an id, nothing where it was jumped over.
    pub(super) fn seq(&self, id: u64) -> Option<u64> {
        let seq = self.seq_up_to(id);
        (self.id(seq) == id).then_some(seq)
    }

    /// The highest sequence whose id is at or below `id`.
    pub(super) fn seq_up_to(&self, id: u64) -> u64 {
        let at = self.0.partition_point(|jump| jump.seq.saturating_add(jump.ahead) <= id);
        let seq = id.saturating_sub(self.before(at).ahead);
        let next = self.0.get(at).map_or(u64::MAX, |jump| jump.seq);
        seq.min(next.saturating_sub(1))
    }

    fn before(&self, at: usize) -> Jump {
        let jump = at.checked_sub(1).and_then(|at| self.0.get(at));
        jump.copied().unwrap_or(Jump { seq: 0, ahead: 0 })
    }

    /// The jumps as text, for a stream's metadata.
    pub(super) fn write(&self) -> String {
        let mut text = String::new();
        for Jump { seq, ahead } in &self.0 {
            let comma = if text.is_empty() { "" } else { "," };
            // Writing to a text cannot fail.
            let _ = write!(text, "{comma}{seq}+{ahead}");
        }
        text
    }

    /// Reads them again; nothing where they are none.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut jumps: Vec<Jump> = Vec::new();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let (seq, ahead) = word.split_once('+')?;
            let jump = Jump { seq: seq.parse().ok()?, ahead: ahead.parse().ok()? };
            let rising =
                jumps.last().is_none_or(|last| last.seq < jump.seq && last.ahead < jump.ahead);
            rising.then(|| jumps.push(jump))?;
        }
        Some(Self(jumps))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_and_sequences_are_one_another(gaps in prop::collection::vec((1..6u64, 1..9u64), 0..6)) {
            // Ids without a gap, then a gap, and so on: as far as the sequences go.
            let (mut jumps, mut ids, mut id) = (Jumps::default(), Vec::new(), 0);
            for (run, width) in gaps {
                ids.extend(id + 1..=id + run);
                jumps.add(id + run, id + run + width);
                id += run + width - 1;
            }
            ids.extend(id + 1..id + 9);
            let places: BTreeMap<u64, u64> = ids.into_iter().zip(1..).collect();
            for (id, seq) in &places {
                prop_assert_eq!((jumps.id(*seq), jumps.seq(*id)), (*id, Some(*seq)));
            }
            for id in 1..id + 9 {
                prop_assert_eq!(jumps.seq(id), places.get(&id).copied());
                let below = places.range(..=id).next_back().map_or(0, |(_, seq)| *seq);
                prop_assert_eq!(jumps.seq_up_to(id), below);
            }
            prop_assert_eq!(Jumps::read(&jumps.write()), Some(jumps));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text: String) {
            let _ = Jumps::read(&text).map(|jumps| (jumps.id(7), jumps.seq(7)));
        }
    }

    #[test]
    fn what_does_not_rise_is_none() {
        assert_eq!(Jumps::read("5+2,5+3"), None);
        assert_eq!(Jumps::read("5+2,6+2"), None);
        assert_eq!(Jumps::read("5"), None);
    }
}
