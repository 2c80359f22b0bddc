//! What was said and heard: the senders' acknowledgements, and what recipients saw and marked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::TortureError;
use crate::ids::UserId;

/// Who sends: those with an even number by the document, the others with names (`im.v2`).
pub(super) const SENDERS: [u64; 4] = [1, 2, 3, 4];

/// Who receives.
pub(super) const RECIPIENTS: [u64; 3] = [11, 12, 13];

/// Takes the packets whose success shows that the marks before them were written.
pub(super) const WITNESS: u64 = 99;

/// Everybody who needs a token.
pub(super) const EVERYBODY: [u64; 7] = [1, 2, 3, 4, 11, 12, 13];

/// The user with this number.
pub(super) fn user(id: u64) -> Result<UserId, TortureError> {
    UserId::new(id).ok_or_else(|| TortureError::Broken(format!("{id} is no user")))
}

/// Whether a sender gives its packets names.
pub(super) fn names(sender: u64) -> bool {
    sender % 2 == 1
}

/// Whom the packet `number` of `sender` goes to.
pub(super) fn recipient(sender: u64, number: u64) -> u64 {
    let turn = (sender + number / 3) % RECIPIENTS.len() as u64;
    RECIPIENTS.iter().copied().nth(turn as usize).unwrap_or(WITNESS)
}

/// Whose packets are long now and then.
const LONG_WINDED: u64 = 2;

/// What the packet says, the same whenever it is sent; of many lengths.
pub(super) fn content(sender: u64, number: u64) -> String {
    let mut length = (sender.wrapping_mul(2_654_435_761) ^ number.wrapping_mul(40_503)) % 700;
    if sender == LONG_WINDED && number % 1_000 < 96 {
        // So many in a row that a database may keep them in another way than small ones.
        length += 15_600;
    }
    format!("{sender} {number} {}", "=".repeat(length as usize))
}

/// Which packet of whom a message is; nothing where it is none of ours.
pub(super) fn packet_of(content: &str) -> Option<(u64, u64)> {
    let (sender, rest) = content.split_once(' ')?;
    let (number, _) = rest.split_once(' ')?;
    Some((sender.parse().ok()?, number.parse().ok()?))
}

/// What one sender knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    /// The next packet that was never sent.
    pub(super) next: u64,
    /// Acknowledged, with the id where one was told.
    pub(super) acknowledged: BTreeMap<u64, Option<u64>>,
    /// Sent and not answered, in the order of the first tries.
    pub(super) open: VecDeque<u64>,
}

/// What one recipient knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    /// The packets seen, with their ids.
    pub(super) seen: BTreeMap<(u64, u64), u64>,
    /// Ids that were marked, and are known to be written.
    pub(super) marked: BTreeSet<u64>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) sent: BTreeMap<u64, Sent>,
    pub(super) received: BTreeMap<u64, Received>,
    /// Packets sent again.
    pub(super) resent: u64,
    /// Connections made anew in the middle of it.
    pub(super) reconnects: u64,
}

impl Ledger {
    /// How many packets were acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.sent.values().map(|sent| sent.acknowledged.len() as u64).sum()
    }

    /// How many messages were marked as read.
    pub(super) fn marked(&self) -> u64 {
        self.received.values().map(|received| received.marked.len() as u64).sum()
    }

    /// The packets to `recipient` that must be there, with their ids where they are known.
    pub(super) fn owed(&self, recipient_id: u64) -> BTreeMap<(u64, u64), Option<u64>> {
        let mut owed = BTreeMap::new();
        for (&sender, sent) in &self.sent {
            let to =
                |(number, _): &(&u64, &Option<u64>)| recipient(sender, **number) == recipient_id;
            for (&number, &id) in sent.acknowledged.iter().filter(to) {
                owed.insert((sender, number), id);
            }
        }
        if let Some(received) = self.received.get(&recipient_id) {
            owed.extend(received.seen.iter().map(|(&packet, &id)| (packet, Some(id))));
        }
        owed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_says_which_packet_it_is() {
        for (sender, number) in [(1, 0), (4, 77), (3, 123_456)] {
            assert_eq!(packet_of(&content(sender, number)), Some((sender, number)));
            assert!(RECIPIENTS.contains(&recipient(sender, number)));
        }
        for other in ["", "marked", "1 2", "x 1 =", "1 x ="] {
            assert_eq!(packet_of(other), None);
        }
    }

    #[test]
    fn what_was_seen_is_owed_like_what_was_acknowledged() {
        let mut ledger = Ledger::default();
        let (sender, number) = (2, 5);
        let to = recipient(sender, number);
        ledger.sent.entry(sender).or_default().acknowledged.insert(number, None);
        ledger.received.entry(to).or_default().seen.insert((1, 9), 40);
        assert_eq!(ledger.owed(to), BTreeMap::from([((2, 5), None), ((1, 9), Some(40))]));
    }
}
