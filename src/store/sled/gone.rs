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
}

const GONE: u8 = 1;
const SKIPPED: u8 = 1;

/// Two numbers under a key: all that these rows hold.
fn encode(version: u8, key: &[u8], numbers: [u64; 2]) -> Vec<u8> {
    let mut value = Encoder::new(version, 16);
    for number in numbers {
        value.number(number);
    }
    value.seal(key)
}

fn decode(version: u8, key: &[u8], value: &[u8]) -> Option<[u64; 2]> {
    let mut read = Decoder::open(version, key, value)?;
    let numbers = [read.number()?, read.number()?];
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
        encode(SKIPPED, key, [self.ids, self.up_to])
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let [ids, up_to] = decode(SKIPPED, key, value)?;
        Some(Self { ids, up_to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_come_back(key: Vec<u8>, ordinal: u64, id: u64) {
            let gone = Gone { ordinal, id };
            prop_assert_eq!(Gone::decode(&key, &gone.encode(&key)), Some(gone));
            let skipped = Skipped { ids: ordinal, up_to: id };
            prop_assert_eq!(Skipped::decode(&key, &skipped.encode(&key)), Some(skipped));
        }

        #[test]
        fn no_bytes_make_a_place_of_nothing(value: Vec<u8>) {
            prop_assert_eq!(Gone::decode(b"G", &value), None);
            prop_assert_eq!(Skipped::decode(b"K", &value), None);
        }
    }
}
