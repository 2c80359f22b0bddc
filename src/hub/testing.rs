//! What tests of the hub announce.

use std::sync::Arc;

use crate::ids::{MessageId, Sender, UserId};
use crate::message::{Message, StoredAt};
use crate::store::{Cursor, Entry, Stored};

/// The message `id`, from user 1 to the user `to`, of so many bytes, behind the one before it.
pub(super) fn stored(to: u64, id: u64, bytes: usize) -> Stored {
    let message = Message {
        id: MessageId::new(id).unwrap(),
        from: Sender::new(1).unwrap(),
        to: UserId::new(to).unwrap(),
        ordinal: id,
        stored_at: StoredAt(0),
        timestamp: String::new(),
        content: "x".repeat(bytes),
    };
    let entry = Arc::new(Entry { message, sender: Arc::default(), client_id: None });
    Stored { entry, previous: MessageId::new(id - 1).map(Cursor::from), origin: None }
}
