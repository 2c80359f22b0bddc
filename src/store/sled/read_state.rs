//! Which messages of a pair were read, by ordinal.
//!
//! People read from the top, so nearly always this is one number, the *floor*:
//! everything up to it was read. What was read beyond lies as *islands* in chunks
//! of [`CHUNK`] ordinals, so that no pattern of marks makes a value large. An
//! island remembers the id of its last message: a replay jumps over it in one
//! seek. Unread messages are counted (last ordinal − floor − beyond), never kept.

use std::collections::BTreeMap;

use super::codec::{Decoder, Encoder};

/// Ordinals a chunk covers: 512 islands at the most, some 6 KiB.
pub(super) const CHUNK: u64 = 1024;

/// Everything up to here was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Floor {
    /// The last ordinal of the unbroken start; 0: nothing.
    pub(super) ordinal: u64,
    /// The id of that message.
    pub(super) id: u64,
    /// How many messages were read beyond it.
    pub(super) beyond: u64,
}

/// An unbroken stretch of read messages beyond the floor, within one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Island {
    pub(super) first: u64,
    pub(super) last: u64,
    /// The id of the message with the ordinal `last`.
    pub(super) last_id: u64,
}

pub(super) fn chunk_of(ordinal: u64) -> u64 {
    ordinal.saturating_sub(1) / CHUNK
}

/// The read state of a pair, its chunks loaded when they are touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ReadState {
    pub(super) floor: Floor,
    pub(super) chunks: BTreeMap<u64, Vec<Island>>,
    /// The chunks that differ from what is stored; an empty one is to be removed.
    pub(super) touched: std::collections::BTreeSet<u64>,
}

impl ReadState {
    /// Adds one message and says whether it was unread before.
    ///
    /// `load` fetches a chunk that was not touched yet.
    pub(super) fn mark<E>(
        &mut self,
        ordinal: u64,
        id: u64,
        mut load: impl FnMut(u64) -> Result<Vec<Island>, E>,
    ) -> Result<bool, E> {
        if ordinal <= self.floor.ordinal {
            return Ok(false);
        }
        if self.floor.beyond == 0 {
            // Nothing lies beyond the floor: there is no chunk to look at.
            if ordinal == self.floor.ordinal + 1 {
                self.floor = Floor { ordinal, id, beyond: 0 };
                return Ok(true);
            }
        } else if self.chunk(chunk_of(ordinal), &mut load)?.iter().any(|i| i.holds(ordinal)) {
            return Ok(false);
        }
        let chunk = chunk_of(ordinal);
        insert(self.chunk(chunk, &mut load)?, ordinal, id);
        self.touched.insert(chunk);
        self.floor.beyond += 1;
        self.raise(load)?;
        Ok(true)
    }

    /// Raises the floor to a message, and says how many were unread up to it.
    pub(super) fn raise_to<E>(
        &mut self,
        ordinal: u64,
        id: u64,
        mut load: impl FnMut(u64) -> Result<Vec<Island>, E>,
    ) -> Result<u64, E> {
        let Some(mut unread) = ordinal.checked_sub(self.floor.ordinal) else {
            return Ok(0);
        };
        let mut floor = Floor { ordinal, id, ..self.floor };
        if self.floor.beyond > 0 {
            for chunk in chunk_of(self.floor.ordinal + 1)..=chunk_of(ordinal) {
                let islands = self.chunk(chunk, &mut load)?;
                let swallowed = islands.partition_point(|island| island.first <= ordinal);
                for island in islands.drain(..swallowed) {
                    let below = ordinal.min(island.last) - island.first + 1;
                    unread = unread.saturating_sub(below);
                    floor.beyond = floor.beyond.saturating_sub(island.last - island.first + 1);
                    if island.last > ordinal {
                        (floor.ordinal, floor.id) = (island.last, island.last_id);
                    }
                }
                self.touched.insert(chunk);
            }
        }
        self.floor = floor;
        self.raise(load)?;
        Ok(unread)
    }

    /// Lets the floor swallow the islands that it touches.
    fn raise<E>(&mut self, mut load: impl FnMut(u64) -> Result<Vec<Island>, E>) -> Result<(), E> {
        while self.floor.beyond > 0 {
            let next = self.floor.ordinal + 1;
            let chunk = chunk_of(next);
            let islands = self.chunk(chunk, &mut load)?;
            let Some(&first) = islands.first().filter(|island| island.first == next) else {
                return Ok(());
            };
            islands.remove(0);
            self.touched.insert(chunk);
            let beyond = self.floor.beyond.saturating_sub(first.last - first.first + 1);
            self.floor = Floor { ordinal: first.last, id: first.last_id, beyond };
        }
        Ok(())
    }

    fn chunk<E>(
        &mut self,
        chunk: u64,
        load: &mut impl FnMut(u64) -> Result<Vec<Island>, E>,
    ) -> Result<&mut Vec<Island>, E> {
        use std::collections::btree_map::Entry;
        Ok(match self.chunks.entry(chunk) {
            Entry::Occupied(there) => there.into_mut(),
            // Below the floor's own count there is nothing stored to fetch.
            Entry::Vacant(room) if self.floor.beyond == 0 => room.insert(Vec::new()),
            Entry::Vacant(room) => room.insert(load(chunk)?),
        })
    }

    /// Whether the message was read, where its chunk is at hand.
    pub(super) fn holds(&self, ordinal: u64) -> bool {
        ordinal <= self.floor.ordinal || self.island(ordinal).is_some()
    }

    /// The island that holds `ordinal`, for a reader that wants to jump over it.
    pub(super) fn island(&self, ordinal: u64) -> Option<Island> {
        self.chunks.get(&chunk_of(ordinal))?.iter().find(|i| i.holds(ordinal)).copied()
    }
}

impl Island {
    fn holds(&self, ordinal: u64) -> bool {
        (self.first..=self.last).contains(&ordinal)
    }
}

/// Adds an ordinal that no island holds, joining its neighbours.
fn insert(islands: &mut Vec<Island>, ordinal: u64, id: u64) {
    let at = islands.partition_point(|island| island.last < ordinal);
    let mut new = Island { first: ordinal, last: ordinal, last_id: id };
    if let Some(right) = islands.get(at).copied().filter(|right| right.first == ordinal + 1) {
        new = Island { first: ordinal, ..right };
        islands.remove(at);
    }
    match at.checked_sub(1).and_then(|left| islands.get_mut(left)) {
        Some(left) if left.last + 1 == ordinal => {
            left.last = new.last;
            left.last_id = new.last_id;
        }
        _ => islands.insert(at, new),
    }
}

const FLOOR: u8 = 1;
const ISLANDS: u8 = 1;

pub(super) fn encode_floor(key: &[u8], floor: Floor) -> Vec<u8> {
    let mut value = Encoder::new(FLOOR, 24);
    value.number(floor.ordinal).number(floor.id).number(floor.beyond);
    value.seal(key)
}

pub(super) fn decode_floor(key: &[u8], value: &[u8]) -> Option<Floor> {
    let mut read = Decoder::open(FLOOR, key, value)?;
    let floor = Floor { ordinal: read.number()?, id: read.number()?, beyond: read.number()? };
    read.at_end().then_some(floor)
}

/// Islands of a chunk, each as the distance from the one before, its length and id.
pub(super) fn encode_islands(key: &[u8], chunk: u64, islands: &[Island]) -> Vec<u8> {
    let mut value = Encoder::new(ISLANDS, islands.len() * 10);
    let mut before = chunk * CHUNK;
    for island in islands {
        value.number(island.first - before).number(island.last - island.first);
        value.number(island.last_id);
        before = island.last;
    }
    value.seal(key)
}

pub(super) fn decode_islands(key: &[u8], chunk: u64, value: &[u8]) -> Option<Vec<Island>> {
    let mut read = Decoder::open(ISLANDS, key, value)?;
    let mut before = chunk.checked_mul(CHUNK)?;
    let mut islands = Vec::new();
    while !read.at_end() {
        let first = before.checked_add(read.number()?)?;
        let last = first.checked_add(read.number()?)?;
        islands.push(Island { first, last, last_id: read.number()? });
        before = last;
    }
    Some(islands)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    fn none(_: u64) -> Result<Vec<Island>, Infallible> {
        Ok(Vec::new())
    }

    /// What is stored, as the writer would have stored it after every mark.
    #[derive(Default)]
    struct Stored {
        floor: Floor,
        chunks: BTreeMap<u64, Vec<u8>>,
    }

    impl Stored {
        fn mark(&mut self, ordinal: u64) -> bool {
            self.change(|state, load| state.mark(ordinal, ordinal * 10, load))
        }

        fn change<T>(
            &mut self,
            change: impl FnOnce(
                &mut ReadState,
                &dyn Fn(u64) -> Result<Vec<Island>, Infallible>,
            ) -> Result<T, Infallible>,
        ) -> T {
            let mut state = ReadState { floor: self.floor, ..ReadState::default() };
            let stored = &self.chunks;
            let load = |chunk| {
                let stored = stored.get(&chunk);
                Ok(stored.map_or(Vec::new(), |v: &Vec<u8>| decode_islands(b"k", chunk, v).unwrap()))
            };
            let new = change(&mut state, &load).unwrap();
            for chunk in state.touched {
                let islands = &state.chunks[&chunk];
                if islands.is_empty() {
                    self.chunks.remove(&chunk);
                } else {
                    self.chunks.insert(chunk, encode_islands(b"k", chunk, islands));
                }
            }
            self.floor = decode_floor(b"k", &encode_floor(b"k", state.floor)).unwrap();
            new
        }

        /// The ordinals that count as read: an island counts in its own chunk alone.
        fn read(&self) -> BTreeSet<u64> {
            let islands = self.chunks.iter().flat_map(|(&chunk, value)| {
                let islands = decode_islands(b"k", chunk, value).unwrap();
                let ordinals = islands.into_iter().flat_map(|i| i.first..=i.last);
                ordinals.filter(move |ordinal| chunk_of(*ordinal) == chunk)
            });
            (1..=self.floor.ordinal).chain(islands).collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

        #[test]
        fn a_raised_floor_swallows_what_lies_below(
            marks in prop::collection::vec(1u64..2200, 0..400), to in 1u64..2300,
        ) {
            let mut stored = Stored::default();
            let mut set: BTreeSet<u64> = marks.iter().copied().collect();
            for &ordinal in &marks {
                stored.mark(ordinal);
            }
            let unread = (1..=to).filter(|ordinal| !set.contains(ordinal)).count() as u64;
            prop_assert_eq!(stored.change(|state, load| state.raise_to(to, to * 10, load)), unread);
            set.extend(1..=to);
            prop_assert_eq!(stored.floor.ordinal + stored.floor.beyond, set.len() as u64);
            let floor = (1..).take_while(|o| set.contains(o)).last().unwrap_or(0);
            prop_assert_eq!((stored.floor.ordinal, stored.floor.id), (floor, floor * 10));
            prop_assert_eq!(stored.read(), set);
        }

        #[test]
        fn it_is_a_set(marks in prop::collection::vec(1u64..2200, 1..400), dense in 1u64..2200) {
            let mut stored = Stored::default();
            let mut set = BTreeSet::new();
            for ordinal in marks.into_iter().chain(1..dense) {
                prop_assert_eq!(stored.mark(ordinal), set.insert(ordinal));
                prop_assert_eq!(stored.floor.ordinal + stored.floor.beyond, set.len() as u64);
            }
            let floor = (1..).take_while(|o| set.contains(o)).last().unwrap_or(0);
            prop_assert_eq!(stored.floor.ordinal, floor);
            prop_assert_eq!(stored.floor.id, floor * 10);
            prop_assert_eq!(stored.read(), set);
        }
    }

    #[test]
    fn every_second_message_fills_no_large_value() {
        let mut stored = Stored::default();
        for ordinal in (2..=3 * CHUNK).step_by(2) {
            stored.mark(ordinal);
        }
        assert!(stored.chunks.values().all(|value| value.len() < 8 * 1024));
        for ordinal in (1..=3 * CHUNK).step_by(2) {
            stored.mark(ordinal);
        }
        assert!(stored.chunks.is_empty());
        assert_eq!(stored.floor.ordinal, 3 * CHUNK);
    }

    #[test]
    fn an_island_knows_the_id_of_its_last_message() {
        let mut state = ReadState::default();
        for ordinal in [5, 7, 6] {
            state.mark(ordinal, ordinal * 100, none).unwrap();
        }
        assert_eq!(state.island(6), Some(Island { first: 5, last: 7, last_id: 700 }));
        assert_eq!(state.island(4), None);
    }
}
