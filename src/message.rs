//! What a message is, once it has passed the edge.

use std::time::SystemTime;

use crate::epoch::milliseconds;
use crate::ids::{MessageId, Sender, UserId};

/// How long a client's timestamp may be, in bytes.
pub const TIMESTAMP_MAX: usize = 32;

/// Milliseconds since the Unix epoch, by the server's clock, when a message was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredAt(pub u64);

impl StoredAt {
    /// The time now; 0 on a clock set before 1970.
    pub fn now() -> Self {
        Self(milliseconds(SystemTime::now()))
    }
}

/// A client's own name for a packet: 1 to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientMsgId(String);

impl ClientMsgId {
    /// The longest name, in bytes.
    pub const MAX: usize = 64;

    /// Makes a name, or nothing when it is empty or too long.
    pub fn new(text: &str) -> Option<Self> {
        (1..=Self::MAX).contains(&text.len()).then(|| Self(text.to_owned()))
    }

    /// The name as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the sender's token says of them beyond their id: shown with every message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The sender's name; empty when unknown.
    pub name: String,
    /// The address of the sender's picture; empty when unknown.
    pub picture: String,
}

/// A message as it lies in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its place in the recipient's inbox.
    pub id: MessageId,
    /// Who sent it.
    pub from: Sender,
    /// Whose inbox it is in.
    pub to: UserId,
    /// The how-manieth message from `from` to `to` it is, counted from 1.
    pub ordinal: u64,
    /// When the server stored it.
    pub stored_at: StoredAt,
    /// The client's own mark of time, never interpreted.
    pub timestamp: String,
    /// The text.
    pub content: String,
}
