//! What a connection is told, and how much of it waits for one that is slow.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::ids::UserId;
use crate::store::{Cursor, Entry, PAGE_BYTES, ReadReceipt, Stored};

/// Events that a connection may have in hand before it must read the log.
pub(super) const IN_HAND: usize = 64;

/// A committed message on its way to connections, with the frame they share.
#[derive(Debug)]
pub struct Delivery {
    stored: Stored,
    frame: OnceLock<Bytes>,
}

impl Delivery {
    pub(super) fn new(stored: Stored) -> Self {
        Self { stored, frame: OnceLock::new() }
    }

    /// The message.
    pub fn entry(&self) -> &Entry {
        &self.stored.entry
    }

    /// Whether a reader at `cursor` may take it without missing one before it.
    pub fn follows(&self, cursor: Cursor) -> bool {
        self.stored.previous.is_some_and(|previous| previous <= cursor)
    }

    /// The frame of the message, made by the first connection that needs it.
    pub fn frame(&self, make: impl FnOnce(&Entry) -> Bytes) -> Bytes {
        self.frame.get_or_init(|| make(self.entry())).clone()
    }
}

/// One thing that a connection is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message for the user's inbox.
    Message(Arc<Delivery>),
    /// A message that the user sent from another connection.
    Sent(Arc<Delivery>),
    /// Messages that the user wrote were read by somebody, or the user read some elsewhere.
    Read(Arc<ReadReceipt>),
    /// Somebody is typing to the user.
    Typing(UserId),
}

impl Event {
    /// How much of a page of the log it counts for.
    fn bytes(&self) -> usize {
        match self {
            Self::Message(delivery) | Self::Sent(delivery) => {
                delivery.entry().message.content.len()
            }
            Self::Read(receipt) => receipt.ids.len() * size_of::<u64>(),
            Self::Typing(_) => 0,
        }
    }

    /// Whether it lies in no log, where one who missed it could find it.
    fn is_lost_for_good(&self) -> bool {
        matches!(self, Self::Sent(_) | Self::Read(_))
    }
}

/// What a connection finds when it was woken.
#[derive(Debug, Default)]
pub struct News {
    /// In the order of the log.
    pub events: Vec<Event>,
    /// There was more than is kept: read the log.
    pub behind: bool,
    /// Among it was what no log holds.
    pub lost: bool,
}

/// What waits for a connection, within its bounds.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) news: News,
    bytes: usize,
}

impl Waiting {
    /// Adds an event, or gives up on all of them: then the log must be read.
    pub(super) fn put(&mut self, event: Event) {
        if self.news.behind {
            self.news.lost |= event.is_lost_for_good();
            return;
        }
        self.bytes += event.bytes();
        if self.news.events.len() < IN_HAND && self.bytes <= PAGE_BYTES {
            self.news.events.push(event);
        } else if !matches!(event, Event::Typing(_)) {
            // All of it: what is kept must have no gap.
            let dropped = std::mem::take(&mut self.news.events).into_iter().chain([event]);
            let lost = self.news.lost || dropped.into_iter().any(|event| event.is_lost_for_good());
            *self = Self { news: News { events: Vec::new(), behind: true, lost }, bytes: 0 };
        }
    }
}
