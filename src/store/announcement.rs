//! What a store announces: a hint that may be missed, since every reader has a [`Cursor`] to
//! read from.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Cursor, Entry};
use crate::auth::Revocation;
use crate::ids::{ConnectionId, MessageId, Sender, UserId};

/// Announcements in the order of the log, one batch per commit: the ids of each inbox
/// rise, and a read receipt comes behind its messages.
pub type Tail = mpsc::Receiver<Vec<Announcement>>;

/// Something that has become durable, for those whom it concerns.
#[derive(Clone, Debug)]
pub enum Announcement {
    /// A message.
    Stored(Stored),
    /// Read flags.
    Read(ReadReceipt),
    /// Tokens, or a user, that are believed no more.
    Revoked(Revocation),
    /// A user who is let in again.
    Enabled(UserId),
    /// A user is typing, at another node. Nothing has become durable by it.
    Typing {
        /// Who.
        from: UserId,
        /// To whom.
        to: UserId,
    },
}

/// "Inbox X now reaches id N", with the message for those who stand right before it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The message that was committed.
    pub entry: Arc<Entry>,
    /// The last message of that inbox before it, where the store knows: a reader
    /// whose cursor is at or behind it may take `entry` without reading the log.
    pub previous: Option<Cursor>,
    /// The connection it came in on.
    pub origin: Option<ConnectionId>,
}

/// Messages of one sender that their recipient has read now, and not before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadReceipt {
    /// Who read them.
    pub reader: UserId,
    /// Who wrote them.
    pub from: Sender,
    /// Their ids in the reader's inbox, rising.
    pub ids: Vec<MessageId>,
    /// The connection on which they were marked.
    pub origin: Option<ConnectionId>,
}
