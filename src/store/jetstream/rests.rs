//! What is left of an inbox of which a page was read: so the next page need not ask everybody's
//! newest message again for where the others lie.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::log::Pair;
use crate::ids::UserId;
use crate::store::Span;

/// Messages that are kept in mind, of all inboxes, at some 40 bytes; past it all are forgotten,
/// and found anew by those who read on.
const MESSAGES: usize = 1 << 20;

/// What an inbox counts for beside its messages.
const INBOX: usize = 16;

/// Where a message lies, and the how-manieth of its pair it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stop {
    pub(super) seq: u64,
    pub(super) pair: Pair,
    pub(super) ordinal: u64,
}

/// What is to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rest {
    /// Where it lies, rising.
    pub(super) stops: Vec<Stop>,
    /// What a message weighs on average; 0: nobody knows.
    pub(super) each: usize,
}

/// By who reads, and what is asked for next.
#[derive(Default)]
pub(super) struct Rests(Mutex<Held>);

#[derive(Default)]
struct Held {
    rests: HashMap<(UserId, Span), Rest>,
    weight: usize,
}

impl Rests {
    /// What of this inbox lies in a span, as it was when the page before was read. Since then
    /// some of it may have been marked or gone, and nothing is new.
    pub(super) fn take(&self, inbox: UserId, span: Span) -> Option<Rest> {
        let mut held = self.held();
        let rest = held.rests.remove(&(inbox, span))?;
        held.weight = held.weight.saturating_sub(weight(&rest));
        Some(rest)
    }

    /// A page was read, and of what was looked for this is left, which lies in the next span.
    pub(super) fn keep(&self, inbox: UserId, span: Span, rest: Rest) {
        self.take(inbox, span);
        let mut held = self.held();
        let sum = held.weight.saturating_add(weight(&rest));
        if sum <= MESSAGES {
            held.weight = sum;
            held.rests.insert((inbox, span), rest);
        } else {
            *held = Held::default();
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn weight(rest: &Rest) -> usize {
    rest.stops.len().saturating_add(INBOX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Sender;
    use crate::store::Cursor;

    #[test]
    fn a_rest_is_taken_once_and_where_there_are_too_many_all_are_forgotten() {
        let inbox = |id| UserId::new(id).unwrap();
        let span = |after| Span { after: Cursor(after), until: None, unread_only: true };
        let rest = |count| {
            let pair = Pair { to: inbox(1), from: Sender::System };
            let stops = (0..count).map(|seq| Stop { seq, pair, ordinal: seq }).collect();
            Rest { stops, each: 1 }
        };
        let rests = Rests::default();
        rests.keep(inbox(1), span(7), rest(3));
        rests.keep(inbox(1), span(7), rest(2));
        rests.keep(inbox(2), span(7), rest(5));
        assert_eq!(rests.take(inbox(1), span(8)), None);
        assert_eq!(rests.take(inbox(1), span(7)), Some(rest(2)));
        assert_eq!(rests.take(inbox(1), span(7)), None);
        assert_eq!(rests.held().weight, INBOX + 5);
        rests.keep(inbox(3), span(7), rest((MESSAGES - INBOX) as u64));
        assert_eq!(rests.held().weight, 0);
        rests.keep(inbox(3), span(7), rest((MESSAGES - INBOX) as u64));
        assert!(rests.take(inbox(2), span(7)).is_none());
        assert!(rests.take(inbox(3), span(7)).is_some());
    }
}
