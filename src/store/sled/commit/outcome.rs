//! What a commit comes to, told once it is durable.

use super::Reply;
use crate::store::sled::keys::Pair;
use crate::store::sled::volume::Held;
use crate::store::{Announcement, AppendError, Appended, ReadReceipt, Stored};

/// An outcome that may be told once the batch is durable.
#[derive(Debug)]
pub(super) enum Answer {
    Appended(Reply<Appended>, Result<Appended, AppendError>),
    Known(Reply<Option<Appended>>, Result<Option<Appended>, AppendError>),
    Done(Reply<()>),
}

/// What a batch comes to once it is durable.
#[derive(Debug)]
pub(in super::super) struct Outcome {
    /// The last id in it, where it holds messages.
    pub(in super::super) last_id: Option<u64>,
    /// How many messages it marks, or takes away unread.
    pub(in super::super) newly_read: u64,
    /// How many messages it takes away.
    pub(in super::super) gone: u64,
    /// The messages that it adds to the log.
    pub(in super::super) logged: Vec<Held>,
    /// The places of those that it takes out of it.
    pub(in super::super) taken: Vec<(Pair, u64)>,
    pub(super) stored: Vec<Stored>,
    pub(super) receipts: Vec<ReadReceipt>,
    pub(super) decrees: Vec<Announcement>,
    pub(super) answers: Vec<Answer>,
}

impl Outcome {
    /// How many messages were new.
    pub(in super::super) fn messages(&self) -> u64 {
        self.stored.len() as u64
    }

    /// The first id in it, where it holds messages.
    pub(in super::super) fn first_id(&self) -> Option<u64> {
        self.stored.first().map(|first| first.entry.message.id.get())
    }

    /// The pair and ordinal of each of its messages, ids rising without a gap.
    pub(in super::super) fn places(&self) -> impl Iterator<Item = (Pair, u64)> {
        let messages = self.stored.iter().map(|stored| &stored.entry.message);
        messages.map(|message| (Pair::of(message), message.ordinal))
    }

    /// How many revocations and their contraries there are in it.
    pub(in super::super) fn decrees(&self) -> u64 {
        self.decrees.len() as u64
    }

    /// Tells everybody what came of their request, and gives what is to be announced.
    pub(in super::super) fn tell(self) -> Vec<Announcement> {
        for answer in self.answers {
            // A session that has ended meanwhile needs no answer.
            match answer {
                Answer::Appended(reply, outcome) => drop(reply.send(outcome)),
                Answer::Known(reply, outcome) => drop(reply.send(outcome)),
                Answer::Done(reply) => drop(reply.send(Ok(()))),
            }
        }
        let stored = self.stored.into_iter().map(Announcement::Stored);
        let receipts = self.receipts.into_iter().map(Announcement::Read);
        stored.chain(receipts).chain(self.decrees).collect()
    }
}
