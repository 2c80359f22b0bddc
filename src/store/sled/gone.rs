//! What stays of messages that are gone: places and counts, nothing of what they said.
//!
//! Messages go from the oldest on, pair by pair, so that one row tells of any number of
//! them. It is what keeps their ordinals and ids from being given a second time, and what
//! tells a message that went on purpose from one that was lost.

use super::codec::{Decoder, Encoder};

/// The messages of a pair are gone up to here. Its floor of read messages never lies below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    /// The ordinal of the last one that is gone; 0: none is.
    pub(super) ordinal: u64,
    /// Its id.
    pub(super) id: u64,
}

/// Ids that no message ever had: a restored store does not go on where its backup ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Skipped {
    /// How many.
    pub(super) ids: u64,
    /// The last one of them; no id up to it is given any more.
    pub(super) up_to: u64,
    /// The last one that messages had elsewhere before they came here with others; 0: none.
    pub(super) lapsed: u64,
}

const GONE: u8 = 1;
const SKIPPED: u8 = 1;
/// The same, where ids have lapsed.
const LAPSED: u8 = 2;
const ERASURE: u8 = 1;

/// A user is being erased: what was stored for and from them up to here goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Erasure {
    /// The last message that goes.
    pub(super) up_to: u64,
}

/// Some numbers under a key: all that these rows hold.
fn encode<const N: usize>(version: u8, key: &[u8], numbers: [u64; N]) -> Vec<u8> {
    let mut value = Encoder::new(version, 16);
    for number in numbers {
        value.number(number);
    }
    value.seal(key)
}

fn decode<const N: usize>(version: u8, key: &[u8], value: &[u8]) -> Option<[u64; N]> {
    let mut read = Decoder::open(version, key, value)?;
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = read.number()?;
    }
    read.at_end().then_some(numbers)
}

impl Gone {
    pub(super) fn encode(self, key: &[u8]) -> Vec<u8> {
        encode(GONE, key, [self.ordinal, self.id])
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let [ordinal, id] = decode(GONE, key, value)?;
        Some(Self { ordinal, id })
    }
}

impl Skipped {
    pub(super) fn encode(self, key: &[u8]) -> Vec<u8> {
        match self.lapsed {
            0 => encode(SKIPPED, key, [self.ids, self.up_to]),
            lapsed => encode(LAPSED, key, [self.ids, self.up_to, lapsed]),
        }
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        if let Some([ids, up_to]) = decode(SKIPPED, key, value) {
            return Some(Self { ids, up_to, lapsed: 0 });
        }
        let [ids, up_to, lapsed] = decode(LAPSED, key, value)?;
        (lapsed > 0).then_some(Self { ids, up_to, lapsed })
    }
}

impl Erasure {
    pub(super) fn encode(self, key: &[u8]) -> Vec<u8> {
        encode(ERASURE, key, [self.up_to])
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let [up_to] = decode(ERASURE, key, value)?;
        Some(Self { up_to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_come_back(key: Vec<u8>, ordinal: u64, id: u64, lapsed: u64) {
            let gone = Gone { ordinal, id };
            prop_assert_eq!(Gone::decode(&key, &gone.encode(&key)), Some(gone));
            for lapsed in [0, lapsed] {
                let skipped = Skipped { ids: ordinal, up_to: id, lapsed };
                prop_assert_eq!(Skipped::decode(&key, &skipped.encode(&key)), Some(skipped));
            }
            let erasure = Erasure { up_to: id };
            prop_assert_eq!(Erasure::decode(&key, &erasure.encode(&key)), Some(erasure));
        }

        #[test]
        fn no_bytes_make_a_place_of_nothing(value: Vec<u8>) {
            prop_assert_eq!(Gone::decode(b"G", &value), None);
            prop_assert_eq!(Skipped::decode(b"K", &value), None);
            prop_assert_eq!(Erasure::decode(b"E", &value), None);
        }
    }
}
