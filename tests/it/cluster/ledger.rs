//! What was acknowledged and what was seen, to be held against what is there in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::described;

/// Those who send under names of their own for each packet.
pub const SENDERS: u64 = 6;

/// Who sends what the document of 2020 knows: packets without a name, told by themselves alone.
pub const PLAIN: u64 = 7;

/// Their recipients have numbers of their own. Of three partitions each has one of them.
pub const RECIPIENTS: [u64; 3] = [91, 92, 95];

/// The recipient who marks what they are shown as read; the others mark nothing.
pub const READER: u64 = RECIPIENTS[1];

/// Of whom the reader marks every packet with an even number, and up to whose newest one they
/// mark all at once. What others send stays unread.
const MARKED: u64 = 3;
const MARKED_UP_TO: u64 = 4;

/// A packet: its sender and its number there.
pub type Packet = (u64, u64);

pub fn recipient((sender, number): Packet) -> u64 {
    RECIPIENTS[((sender + number) % 3) as usize]
}

pub fn packet(text: &str) -> Packet {
    let (sender, number) = text.split_once(' ').unwrap();
    (sender.parse().unwrap(), number.parse().unwrap())
}

/// A message that was delivered: its id and the packet that it was.
pub fn told(message: &Value) -> (u64, Packet) {
    let id = described(message)["messageId"].as_str().unwrap().parse().unwrap();
    (id, packet(message["content"].as_str().unwrap()))
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub acknowledged: BTreeMap<Packet, u64>,
    /// The document's packets: their success names no id.
    pub plain: BTreeSet<Packet>,
    /// What each recipient was shown, in that order.
    pub seen: BTreeMap<u64, Vec<(u64, Packet)>>,
    /// The ids that the reader has marked, and up to which one they have marked somebody's all.
    pub marked: BTreeSet<u64>,
    pub marked_up_to: u64,
    /// By sender: when their last packet was acknowledged, or they began.
    served: BTreeMap<u64, Instant>,
    /// Whose acknowledgement came when, and how long they had been without one.
    pub gaps: Vec<(u64, Instant, Duration)>,
}

impl Ledger {
    pub fn acknowledge(&mut self, sent: Packet, id: u64) {
        self.acknowledged.insert(sent, id);
        let now = Instant::now();
        if let Some(before) = self.served.insert(sent.0, now) {
            self.gaps.push((sent.0, now, now - before));
        }
    }

    /// What the reader is to mark of what they were shown behind the first `taken`: one by one,
    /// and up to which of one sender's all.
    pub fn to_mark(&self, taken: usize) -> (usize, Vec<u64>, Option<u64>) {
        let seen = self.seen.get(&READER).map_or(&[][..], |seen| seen);
        let new = &seen[taken..];
        let is_marked =
            |(_, (sender, number)): &&(u64, Packet)| *sender <= MARKED && number % 2 == 0;
        let up_to = new.iter().rfind(|(_, (sender, _))| *sender == MARKED_UP_TO);
        let ids = new.iter().filter(is_marked).map(|(id, _)| *id).collect();
        (seen.len(), ids, up_to.map(|(id, _)| *id))
    }

    /// Whether a message must be read in the end; the others must not.
    pub fn is_read(&self, to: u64, id: u64, (sender, _): Packet) -> bool {
        to == READER
            && (self.marked.contains(&id) || sender == MARKED_UP_TO && id <= self.marked_up_to)
    }

    /// Whose all are marked at once.
    pub fn marked_up_to() -> u64 {
        MARKED_UP_TO
    }

    /// What was acknowledged and not shown to its recipient.
    pub fn unseen(&self) -> BTreeSet<Packet> {
        let mut shown = BTreeSet::new();
        let mut shown_as = BTreeSet::new();
        for (to, seen) in &self.seen {
            shown.extend(seen.iter().map(|(_, packet)| (*to, *packet)));
            shown_as.extend(seen.iter().map(|(id, _)| (*to, *id)));
        }
        let named = self.acknowledged.iter();
        let named = named.filter(|(sent, id)| !shown_as.contains(&(recipient(**sent), **id)));
        let plain = self.plain.iter().filter(|sent| !shown.contains(&(recipient(**sent), **sent)));
        named.map(|(sent, _)| *sent).chain(plain.copied()).collect()
    }

    /// Holds it against what is in an inbox.
    pub fn check(&self, to: u64, there: &[(u64, Packet)]) {
        assert!(there.is_sorted_by(|one, other| one.0 < other.0), "ids fall");
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for (_, (sender, number)) in there {
            // Also: nothing is there twice.
            let before = last.insert(*sender, *number);
            assert!(before < Some(*number), "{sender} {number} comes behind {before:?}");
        }
        let there: BTreeMap<Packet, u64> =
            there.iter().map(|(id, packet)| (*packet, *id)).collect();
        for (sent, id) in self.acknowledged.iter().filter(|(sent, _)| recipient(**sent) == to) {
            assert_eq!(there.get(sent), Some(id), "{sent:?} was acknowledged");
        }
        for sent in self.plain.iter().filter(|sent| recipient(**sent) == to) {
            assert!(there.contains_key(sent), "{sent:?} was acknowledged");
        }
        let seen = self.seen.get(&to).map_or(&[][..], |seen| seen);
        assert!(
            seen.is_sorted_by(|one, other| one.0 < other.0),
            "{to} was shown one twice, or late"
        );
        for (id, packet) in seen {
            assert_eq!(there.get(packet), Some(id), "{packet:?} was shown");
        }
    }
}
