//! The messages of several partitions in one order: that in which their conversations are shown.
//!
//! Ids of different partitions say nothing of time, and within one the times do not quite rise:
//! the clocks of nodes differ, and who writes waits behind others. So some messages of each
//! partition are held, and the first one of all that are goes. That is exact unless one lies
//! further behind its place than so many messages of its partition. What is held is bounded,
//! however wrong a clock was.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::log::Pair;
use super::names::Names;
use super::record::Kept;
use crate::ids::{ID_END, Sender, UserId};

/// Messages that are held over all partitions, fifty to a hundred bytes of each: ten seconds of
/// the most that can be stored, and minutes of what mostly is. Clocks may differ by five.
const HELD: usize = 1 << 18;

/// Where a message stands among all: what was moved in by the id that it had, before all that
/// came since, by the time at which it was stored; of one millisecond by its id.
pub(super) type Moment = [u64; 2];

/// Two of whose conversation both directions lie in one partition, the lower one first.
type Two = (UserId, UserId);

impl Kept {
    /// Where it stands where there are several partitions.
    pub(super) fn moment(&self) -> Moment {
        match self.old {
            Some(old) => [0, old],
            None => [self.message.stored_at.0.clamp(1, ID_END - 1), self.message.id.get()],
        }
    }
}

/// A message that waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    moment: Moment,
    seq: u64,
    pair: Pair,
}

/// What is held of a partition.
#[derive(Default)]
struct Part {
    held: BinaryHeap<Reverse<Held>>,
    /// Of each conversation that lies here in both directions the last message that is held,
    /// and where it stands: they have the order of their places, whatever the clocks said.
    last: HashMap<Two, (Moment, u64)>,
}

/// Puts messages in order that come partition by partition.
pub(super) struct Timeline {
    names: Names,
    parts: Vec<Part>,
    /// How many are held of each.
    width: usize,
}

impl Timeline {
    pub(super) fn new(names: &Names) -> Self {
        let parts = names.partitions() as usize;
        Self::of_width(names, HELD / parts.max(1))
    }

    fn of_width(names: &Names, width: usize) -> Self {
        let parts = (0..names.partitions()).map(|_| Part::default()).collect();
        Self { names: names.clone(), parts, width }
    }

    /// Whether more of a partition must come, if there is any, before one is taken.
    pub(super) fn wants(&self, part: u64) -> bool {
        self.parts.get(part as usize).is_some_and(|part| part.held.len() < self.width)
    }

    /// Adds the next message of its partition.
    pub(super) fn add(&mut self, kept: &Kept) {
        let (mut moment, seq) = (kept.moment(), kept.seq);
        let pair = Pair { to: kept.message.to, from: kept.message.from };
        let two = self.two(pair);
        let Some(part) = self.parts.get_mut(kept.part as usize) else { return };
        if let Some(two) = two {
            let last = part.last.entry(two).or_insert((moment, seq));
            moment = moment.max(last.0);
            *last = (moment, seq);
        }
        part.held.push(Reverse(Held { moment, seq, pair }));
    }

    /// Takes the first of all: its pair, and its sequence.
    pub(super) fn next(&mut self) -> Option<(Pair, u64)> {
        // No two of different partitions stand at the same place: ids tell them apart.
        let fronts = self.parts.iter().enumerate();
        let fronts = fronts.filter_map(|(at, part)| Some((part.held.peek()?.0.moment, at)));
        let (_, at) = fronts.min()?;
        let Reverse(Held { seq, pair, .. }) = self.parts.get_mut(at)?.held.pop()?;
        if let Some(two) = self.two(pair)
            && let Some(part) = self.parts.get_mut(at)
            && part.last.get(&two).is_some_and(|(_, last)| *last == seq)
        {
            // Whatever follows it comes behind it anyway.
            part.last.remove(&two);
        }
        Some((pair, seq))
    }

    fn two(&self, Pair { to, from }: Pair) -> Option<Two> {
        let Sender::User(from) = from else { return None };
        let both_here = from != to && self.names.part(from) == self.names.part(to);
        both_here.then(|| (to.min(from), to.max(from)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::history::merge;
    use super::super::record::Chain;
    use super::*;
    use crate::message::{Message, StoredAt};

    /// A message that somebody writes at a node.
    #[derive(Clone, Copy, Debug)]
    struct Written {
        from: u64,
        to: u64,
        /// How much time passes before.
        passes: u64,
        /// By how much the clock of its node is ahead.
        ahead: u64,
    }

    fn written(users: u64, ahead: u64) -> impl Strategy<Value = Written> {
        (0..=users, 1..=users, 0..4u64, 0..=ahead).prop_map(|(from, to, passes, ahead)| Written {
            from,
            to,
            passes,
            ahead,
        })
    }

    /// What lies in each partition then. The first `moved` were moved in, with a clock that had
    /// been set back on the way.
    fn stored(names: &Names, all: &[Written], moved: usize) -> Vec<Vec<Kept>> {
        let mut parts = vec![Vec::new(); names.partitions() as usize];
        let (mut last, mut now) = (BTreeMap::new(), 1000);
        for (number, written) in all.iter().enumerate() {
            now += written.passes;
            let to = UserId::new(written.to).unwrap();
            let from = Sender::new(written.from).unwrap();
            let part = names.part(to);
            let old = (number < moved).then_some(number as u64 + 1);
            // Nobody has heard of the other direction; in its own no time is earlier.
            let last = last.entry(Pair { to, from }).or_insert((0, 0));
            let stored_at = match old {
                Some(_) => 500 - number as u64,
                None => (now + written.ahead).max(last.1),
            };
            *last = (last.0 + 1, stored_at);
            let of = &mut parts[part as usize];
            let seq = 10 + 3 * of.len() as u64;
            let message = Message {
                id: names.id(part, seq).unwrap(),
                from,
                to,
                ordinal: last.0,
                stored_at: StoredAt(stored_at),
                timestamp: String::new(),
                content: number.to_string(),
            };
            let chain = Chain::first(last.0);
            let (client_id, digest, origin) = (None, None, None);
            of.push(Kept { part, seq, message, client_id, digest, origin, chain, old });
        }
        parts
    }

    /// All of them, as a timeline of such a width gives them.
    fn ordered(names: &Names, parts: &[Vec<Kept>], width: usize) -> Vec<Kept> {
        let mut timeline = Timeline::of_width(names, width);
        let mut coming: Vec<_> = parts.iter().map(|part| part.iter()).collect();
        let mut found = Vec::new();
        loop {
            for (part, coming) in (0..).zip(&mut coming) {
                while timeline.wants(part) {
                    let Some(kept) = coming.next() else { break };
                    timeline.add(kept);
                }
            }
            let Some((pair, seq)) = timeline.next() else { break };
            let kept = parts[names.part(pair.to) as usize].iter().find(|kept| kept.seq == seq);
            found.push(kept.unwrap().clone());
        }
        assert!(timeline.parts.iter().all(|part| part.last.is_empty()));
        found
    }

    /// Each conversation as it is shown, and as it is in `all`.
    fn conversations(parts: &[Vec<Kept>], all: &[Kept]) -> Vec<[Vec<String>; 2]> {
        let texts = |found: &mut dyn Iterator<Item = &Kept>| -> Vec<String> {
            found.map(|kept| kept.message.content.clone()).collect()
        };
        let pair = |kept: &Kept| Pair { to: kept.message.to, from: kept.message.from };
        let mut pairs: Vec<Pair> = all.iter().map(pair).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let of = pairs.iter().map(|own| {
            let answers = own.answers().filter(|answers| answers != own);
            let directions: Vec<Pair> = std::iter::once(*own).chain(answers).collect();
            let of = |direction: &Pair| -> Vec<Kept> {
                parts.iter().flatten().filter(|kept| pair(kept) == *direction).cloned().collect()
            };
            let shown = merge(directions.iter().map(of).collect());
            let mut here = all.iter().filter(|kept| directions.contains(&pair(kept)));
            [texts(&mut shown.iter().map(|(_, kept)| kept)), texts(&mut here)]
        });
        of.collect()
    }

    proptest! {
        #[test]
        fn every_conversation_keeps_the_order_in_which_it_is_shown(
            all in prop::collection::vec(written(6, 40), 0..200),
            partitions in 2..5u16,
            moved in 0..40usize,
        ) {
            let names = Names::new("im", partitions);
            let parts = stored(&names, &all, moved);
            let found = ordered(&names, &parts, 200);
            prop_assert_eq!(found.len(), all.len());
            for [shown, here] in conversations(&parts, &found) {
                prop_assert_eq!(shown, here);
            }
        }

        #[test]
        fn what_lies_within_reach_of_its_place_comes_to_it(
            all in prop::collection::vec(written(6, 3), 200),
            partitions in 2..5u16,
        ) {
            // At least one unit of time passes between two of them: no more than three lie
            // before one of which the time is earlier.
            let all: Vec<Written> =
                all.into_iter().map(|it| Written { passes: it.passes.max(1), ..it }).collect();
            let names = Names::new("im", partitions);
            let parts = stored(&names, &all, 0);
            let found = ordered(&names, &parts, 8);
            for [shown, here] in conversations(&parts, &found) {
                prop_assert_eq!(shown, here);
            }
        }
    }

    #[test]
    fn however_many_lie_in_a_partition_a_few_are_held() {
        let names = Names::new("im", 2);
        let written = Written { from: 1, to: 2, passes: 1, ahead: 0 };
        let mut all = vec![written; 1000];
        // A clock that was wrong by a year, and an answer that could not wait for it.
        all[100].ahead = 1 << 35;
        all[500] = Written { from: 2, to: 1, ..written };
        let parts = stored(&names, &all, 0);
        let mut timeline = Timeline::of_width(&names, 64);
        for kept in parts.iter().flatten() {
            if timeline.wants(kept.part) {
                timeline.add(kept);
            }
        }
        assert!(timeline.parts.iter().all(|part| part.held.len() <= 64));
        assert_eq!(ordered(&names, &parts, 64).len(), 1000);
    }
}
