//! The account of one pair: what was sent, acknowledged and delivered.
//!
//! Every message has its own number inside its content, so nothing is inferred
//! from counts: a lost message and a duplicated one do not cancel out.

use serde::{Deserialize, Serialize};

/// What became of the messages of one pair, or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Handed to the socket.
    pub sent: u64,
    /// Answered with success.
    pub acknowledged: u64,
    /// Answered with failure.
    pub failed: u64,
    /// Neither, when the run ended.
    pub unanswered: u64,
    /// Reached the recipient, each counted once.
    pub delivered: u64,
    /// Acknowledged and not delivered: the promise that was broken.
    pub lost: u64,
    /// Deliveries beyond the first of a message, on the same connection.
    pub duplicated: u64,
    /// Deliveries behind a later message, or with an id that did not rise.
    pub out_of_order: u64,
    /// Deliveries whose content is not what was sent, or of a message never sent.
    pub corrupted: u64,
    /// Answers to a message that was answered before, or never sent.
    pub stray_answers: u64,
}

impl Tally {
    /// Adds another pair's.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.failed += other.failed;
        self.unanswered += other.unanswered;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.corrupted += other.corrupted;
        self.stray_answers += other.stray_answers;
    }

    /// Whether the server kept every promise it made.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let broken = self.lost + self.duplicated + self.out_of_order + self.corrupted;
        broken + self.stray_answers == 0
    }
}

/// One message's place in the account. Nanoseconds since the run began.
#[derive(Debug, Clone, Copy)]
struct Entry {
    sent_at: u64,
    answered: bool,
    acknowledged: bool,
    delivered: bool,
}

/// The account of one sender and one recipient.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    tally: Tally,
    /// Acknowledged, not yet delivered.
    owed: u64,
    /// One past the highest sequence delivered, so that 0 means none.
    behind: u64,
    last_id: u64,
}

impl Ledger {
    /// Enters the next message and gives its sequence, counted from 0.
    pub fn send(&mut self, at: u64) -> u64 {
        let sequence = self.tally.sent;
        self.tally.sent += 1;
        self.entries.push(Entry {
            sent_at: at,
            answered: false,
            acknowledged: false,
            delivered: false,
        });
        sequence
    }

    /// Takes note of a success; gives when the message was sent.
    pub fn acknowledge(&mut self, sequence: u64) -> Option<u64> {
        let Some(entry) = self.entry(sequence).filter(|entry| !entry.answered) else {
            self.tally.stray_answers += 1;
            return None;
        };
        entry.answered = true;
        entry.acknowledged = true;
        let (sent_at, delivered) = (entry.sent_at, entry.delivered);
        self.tally.acknowledged += 1;
        self.owed += u64::from(!delivered);
        Some(sent_at)
    }

    /// Takes note of a failure; says whether it answers an open message.
    pub fn fail(&mut self, sequence: u64) -> bool {
        let Some(entry) = self.entry(sequence).filter(|entry| !entry.answered) else {
            self.tally.stray_answers += 1;
            return false;
        };
        entry.answered = true;
        self.tally.failed += 1;
        true
    }

    /// Takes note of a delivery; gives when the message was sent, the first time.
    pub fn deliver(&mut self, sequence: u64, id: u64) -> Option<u64> {
        let Some(entry) = self.entry(sequence) else {
            self.tally.corrupted += 1;
            return None;
        };
        if entry.delivered {
            self.tally.duplicated += 1;
            return None;
        }
        entry.delivered = true;
        let (sent_at, acknowledged) = (entry.sent_at, entry.acknowledged);
        self.tally.delivered += 1;
        self.owed -= u64::from(acknowledged);
        if sequence < self.behind || id <= self.last_id {
            self.tally.out_of_order += 1;
        }
        self.behind = self.behind.max(sequence + 1);
        self.last_id = self.last_id.max(id);
        Some(sent_at)
    }

    /// Takes note of a delivery that holds something else than was sent.
    pub fn corrupt(&mut self) {
        self.tally.corrupted += 1;
    }

    /// Sent and not answered.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.tally.sent - self.tally.acknowledged - self.tally.failed
    }

    /// Acknowledged and not delivered so far.
    #[must_use]
    pub fn owed(&self) -> u64 {
        self.owed
    }

    /// The account as it stands; final once the pair has been drained.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally { unanswered: self.in_flight(), lost: self.owed, ..self.tally }
    }

    fn entry(&mut self, sequence: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(sequence).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger with `n` messages, all sent and acknowledged.
    fn acknowledged(n: u64) -> Ledger {
        let mut ledger = Ledger::default();
        for at in 0..n {
            let sequence = ledger.send(at);
            assert_eq!(ledger.acknowledge(sequence), Some(at));
        }
        ledger
    }

    #[test]
    fn everything_delivered_once_and_in_order_is_clean() {
        let mut ledger = acknowledged(3);
        for sequence in 0..3 {
            assert_eq!(ledger.deliver(sequence, 10 + sequence), Some(sequence));
        }
        let tally = ledger.tally();
        assert!(tally.is_clean());
        assert_eq!((tally.sent, tally.acknowledged, tally.delivered), (3, 3, 3));
    }

    #[test]
    fn a_gap_is_one_lost_message() {
        let mut ledger = acknowledged(3);
        ledger.deliver(0, 10);
        ledger.deliver(2, 12);
        let tally = ledger.tally();
        assert_eq!((tally.lost, tally.duplicated, tally.out_of_order), (1, 0, 0));
        assert!(!tally.is_clean());
    }

    #[test]
    fn a_lost_and_a_duplicated_message_do_not_cancel_out() {
        let mut ledger = acknowledged(2);
        assert_eq!(ledger.deliver(0, 10), Some(0));
        assert_eq!(ledger.deliver(0, 10), None);
        let tally = ledger.tally();
        assert_eq!((tally.lost, tally.duplicated, tally.delivered), (1, 1, 1));
    }

    #[test]
    fn swapped_deliveries_and_falling_ids_are_out_of_order() {
        let mut ledger = acknowledged(4);
        ledger.deliver(1, 10);
        ledger.deliver(0, 11);
        ledger.deliver(2, 9);
        ledger.deliver(3, 12);
        assert_eq!(ledger.tally().out_of_order, 2);
        assert_eq!(ledger.tally().lost, 0);
    }

    #[test]
    fn a_message_never_answered_is_not_lost_and_not_acknowledged() {
        let mut ledger = Ledger::default();
        let delivered = ledger.send(5);
        let _swallowed = ledger.send(6);
        assert_eq!(ledger.deliver(delivered, 1), Some(5));
        let tally = ledger.tally();
        assert_eq!((tally.unanswered, tally.lost, tally.acknowledged), (2, 0, 0));
    }

    #[test]
    fn a_delivery_before_its_success_owes_nothing() {
        let mut ledger = Ledger::default();
        let sequence = ledger.send(1);
        ledger.deliver(sequence, 1);
        ledger.acknowledge(sequence);
        assert_eq!(ledger.owed(), 0);
        assert!(ledger.tally().is_clean());
    }

    #[test]
    fn answers_and_deliveries_out_of_nowhere_are_seen() {
        let mut ledger = acknowledged(1);
        assert_eq!(ledger.acknowledge(0), None);
        assert!(!ledger.fail(7));
        assert_eq!(ledger.deliver(7, 1), None);
        let tally = ledger.tally();
        assert_eq!((tally.stray_answers, tally.corrupted, tally.lost), (2, 1, 1));
    }

    #[test]
    fn a_failed_message_is_neither_in_flight_nor_lost() {
        let mut ledger = Ledger::default();
        let sequence = ledger.send(1);
        assert!(ledger.fail(sequence));
        let tally = ledger.tally();
        assert_eq!((ledger.in_flight(), tally.failed, tally.lost), (0, 1, 0));
    }
}
