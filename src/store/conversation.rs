//! A conversation: what two wrote to each other, in one order that never changes.

use std::sync::Arc;

use super::StoreError;
use crate::ids::{ID_END, Sender};
use crate::message::{Message, Profile};

/// A place in a conversation, or in a list of them: two numbers that mean something to
/// the store that made them and to nobody else.
///
/// Two, because a store that spreads inboxes over machines knows no single order of both
/// directions and must remember a place in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryCursor(pub [u64; 2]);

/// For stores that give all inboxes one order: the place is a message id, 0 before all.
impl HistoryCursor {
    pub(super) fn at(id: u64) -> Self {
        Self([id.min(ID_END - 1), 0])
    }

    pub(super) fn id(self) -> Result<u64, StoreError> {
        match self.0 {
            [id, 0] if id < ID_END => Ok(id),
            _ => Err(StoreError::BadCursor),
        }
    }
}

/// Which page of a conversation is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// The newest.
    Newest,
    /// The one that ends right before the cursor.
    Before(HistoryCursor),
    /// The one that begins right behind the cursor.
    After(HistoryCursor),
}

/// A page of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The messages, oldest first.
    pub entries: Vec<HistoryEntry>,
    /// [`Stretch::Before`] this stands what is older; nothing where there is none.
    pub older: Option<HistoryCursor>,
    /// [`Stretch::After`] this stands, or will stand, what is newer.
    pub newer: HistoryCursor,
}

/// A message, and whether its recipient has read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The message.
    pub message: Message,
    /// Marked as read.
    pub read: bool,
}

/// A stretch of the list of a user's conversations, the newest message first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversations {
    /// The conversations.
    pub conversations: Vec<Conversation>,
    /// Unread messages over all of the user's conversations.
    pub unread_total: u64,
    /// Behind this the list goes on; nothing at its end.
    pub next: Option<HistoryCursor>,
}

/// One conversation as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// With whom.
    pub peer: Sender,
    /// What is known of them.
    pub profile: Arc<Profile>,
    /// How many of their messages the user has not read.
    pub unread: u64,
    /// The newest message of either.
    pub last: HistoryEntry,
}
