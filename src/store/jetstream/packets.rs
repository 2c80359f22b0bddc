//! Packets as they are written: what is in them, and by which name a stream knows them again.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use super::record::{Body, Chain};
use crate::digest::{digest128, hex};
use crate::message::{ClientMsgId, StoredAt};
use crate::store::{Draft, PacketDigest, ResendKey};

/// Prints of the names that were written last, in their order.
#[derive(Default)]
pub(super) struct NamesOfLate {
    hasher: RandomState,
    known: HashSet<u64>,
    oldest_first: VecDeque<u64>,
}

impl NamesOfLate {
    /// Takes note of a name, of so many at the most; false where it is known.
    pub(super) fn is_new(&mut self, name: &str, bound: usize) -> bool {
        let print = self.hasher.hash_one(name);
        if !self.known.insert(print) {
            return false;
        }
        self.oldest_first.push_back(print);
        if self.oldest_first.len() > bound
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// The message as it is written: by itself, or at this place of a group.
pub(super) fn body(
    draft: &Draft,
    chain: &Chain,
    stored_at: StoredAt,
    place: Option<u64>,
) -> bytes::Bytes {
    let digest = match &draft.resend {
        ResendKey::Packet(digest) => Some(*digest),
        _ => None,
    };
    let body = Body {
        chain,
        stored_at,
        timestamp: &draft.timestamp,
        content: &draft.content,
        client_id: client_id(draft),
        digest,
        origin: draft.origin,
    };
    place.map_or_else(|| body.write(), |place| body.write_grouped(place))
}

pub(super) fn client_id(draft: &Draft) -> Option<&ClientMsgId> {
    match &draft.resend {
        ResendKey::Client { id, .. } => Some(id),
        _ => None,
    }
}

/// The name by which a stream knows every try of a packet again.
pub(super) fn name_of(draft: &Draft) -> String {
    let (to, from) = (draft.to, draft.from.get());
    let digest = match &draft.resend {
        ResendKey::None => return format!("r{}", hex(&fastrand::u128(..).to_le_bytes())),
        ResendKey::Packet(PacketDigest(digest)) => *digest,
        // A client's name may hold what no header can.
        ResendKey::Client { id, .. } => digest128(&[id.as_str().as_bytes()]),
    };
    let kind = if matches!(draft.resend, ResendKey::Packet(_)) { 'p' } else { 'c' };
    format!("{kind}{to}.{from}.{}", hex(&digest))
}

/// The name of the packet that follows one at `seq` whose window is over: the stream may
/// remember for longer than it should.
pub(super) fn successor(name: &str, seq: u64) -> String {
    let first = name.split('~').next().unwrap_or_default();
    format!("{first}~{seq}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_names_are_known() {
        let mut names = NamesOfLate::default();
        assert!(["a", "b", "c"].iter().all(|name| names.is_new(name, 3)));
        assert!(!names.is_new("a", 3));
        assert!(names.is_new("d", 3), "and the first is forgotten");
        assert!(!names.is_new("b", 3) && names.is_new("a", 3));
    }
}
