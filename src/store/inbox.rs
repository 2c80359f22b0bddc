//! An inbox as it is read: from a cursor on, a page at a time.

use std::sync::Arc;

use crate::ids::MessageId;
use crate::message::{ClientMsgId, Message, Profile};

/// A resume point: everything up to and with this id has been taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor(pub(super) u64);

impl Cursor {
    /// Before the first message.
    pub const START: Self = Self(0);

    /// The number behind it; 0 at the start.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl From<MessageId> for Cursor {
    fn from(id: MessageId) -> Self {
        Self(id.get())
    }
}

/// The part of an inbox that a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// Only what lies behind this.
    pub after: Cursor,
    /// Only what lies at or before this; `None`: up to the newest.
    pub until: Option<Cursor>,
    /// Leave out what was marked read.
    pub unread_only: bool,
}

/// A stretch of an inbox.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The messages, ids rising.
    pub entries: Vec<Arc<Entry>>,
    /// Nothing that was asked for is missing up to here.
    pub up_to: Cursor,
    /// How far the log reached when the page was read. `up_to` equal to it (or to
    /// the end of the span) means that there is no more.
    pub head: Cursor,
    /// Nothing that lay behind the beginning of the span is gone. Always so where only
    /// unread messages were asked for.
    pub complete: bool,
}

/// A message with what is known of its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The message.
    pub message: Message,
    /// Its sender's name and picture.
    pub sender: Arc<Profile>,
    /// The sender's own name for the packet.
    pub client_id: Option<ClientMsgId>,
}
