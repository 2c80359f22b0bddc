//! Which names lie in a stretch of a pair, so that an old one is found without reading
//! every message.
//!
//! A row for every name would double what a message costs to write. So a stretch of
//! [`BLOCK`] messages gets one row once it is full: 64 bits of each name in it. To look
//! for a name is to read these rows, and the messages of a stretch where the bits agree.

use super::codec::{Decoder, Encoder};
use crate::digest::digest128;
use crate::ids::MessageId;

/// Messages that a row covers: some 2 KiB, and as many messages are read behind the last
/// full stretch.
pub(super) const BLOCK: u64 = 256;

/// The names of the messages with the ordinals of one stretch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// The first message of the stretch.
    pub(super) first: MessageId,
    /// Its last one.
    pub(super) last: MessageId,
    /// Prints of those that have a name, rising.
    prints: Vec<u64>,
}

/// The stretch that is full with `ordinal`, where one is.
pub(super) fn full_with(ordinal: u64) -> Option<u64> {
    ordinal.is_multiple_of(BLOCK).then_some(ordinal / BLOCK)
}

/// What stands for a name in its row.
pub(super) fn print(name: &str) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = digest128(&[name.as_bytes()]);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Collects the names of a stretch, message by message.
#[derive(Debug, Default)]
pub(super) struct Collector {
    ids: Option<(MessageId, MessageId)>,
    prints: Vec<u64>,
}

impl Collector {
    /// Adds a message; its name is empty where it has none.
    pub(super) fn add(&mut self, id: MessageId, name: &str) {
        let (first, last) = self.ids.unwrap_or((id, id));
        self.ids = Some((first.min(id), last.max(id)));
        if !name.is_empty() {
            self.prints.push(print(name));
        }
    }

    /// The names of the stretch; nothing where no message of it has one.
    pub(super) fn finish(mut self) -> Option<Names> {
        let (first, last) = self.ids?;
        self.prints.sort_unstable();
        (!self.prints.is_empty()).then_some(Names { first, last, prints: self.prints })
    }
}

const NAMES: u8 = 1;

impl Names {
    /// Whether the name may be that of a message of the stretch.
    pub(super) fn may_hold(&self, print: u64) -> bool {
        self.prints.binary_search(&print).is_ok()
    }

    /// Whether it holds at least what `others` do, and ends where they end.
    pub(super) fn covers(&self, others: &Self) -> bool {
        self.first <= others.first
            && self.last == others.last
            && others.prints.iter().all(|&print| self.may_hold(print))
    }

    pub(super) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut value = Encoder::new(NAMES, 16 + self.prints.len() * 8);
        value.number(self.first.get()).number(self.last.get() - self.first.get());
        for print in &self.prints {
            value.bytes(&print.to_be_bytes());
        }
        value.seal(key)
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let mut read = Decoder::open(NAMES, key, value)?;
        let first = read.number()?;
        let last = first.checked_add(read.number()?)?;
        let mut prints = Vec::new();
        while !read.at_end() {
            prints.push(u64::from_be_bytes(read.array()?));
        }
        Some(Self { first: MessageId::new(first)?, last: MessageId::new(last)?, prints })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_come_back(names in prop::collection::vec("[a-z]{0,3}", 1..300), first in 1..1u64 << 50) {
            let mut collector = Collector::default();
            let ids = (first..).map(|id| MessageId::new(id).unwrap());
            // Newest first, as the writer meets them.
            for (name, id) in names.iter().zip(ids).collect::<Vec<_>>().into_iter().rev() {
                collector.add(id, name);
            }
            let Some(found) = collector.finish() else {
                prop_assert!(names.iter().all(String::is_empty));
                return Ok(());
            };
            prop_assert_eq!(found.first.get(), first);
            prop_assert_eq!(found.last.get(), first + names.len() as u64 - 1);
            let found = Names::decode(b"k", &found.encode(b"k")).unwrap();
            for name in names.iter().filter(|name| !name.is_empty()) {
                prop_assert!(found.may_hold(print(name)));
            }
            prop_assert!(!found.may_hold(print("not among them")));
        }
    }
}
