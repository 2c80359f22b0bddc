//! A message that is to be stored, and what makes a second try of it known.

use crate::ids::{ConnectionId, MessageId, Sender, UserId};
use crate::message::ClientMsgId;

/// A message that wants to be stored.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Who sends it.
    pub from: Sender,
    /// Whose inbox it goes to.
    pub to: UserId,
    /// The client's mark of time.
    pub timestamp: String,
    /// The text, within the limits.
    pub content: String,
    /// What makes a second try of the same packet known.
    pub resend: ResendKey,
    /// The connection it came in on, which is not told of it; kept by nobody.
    pub origin: Option<ConnectionId>,
}

/// What two tries of the same packet have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResendKey {
    /// Every append is a message of its own.
    None,
    /// The digest of the whole packet, remembered for `store.resend_window`.
    Packet(PacketDigest),
    /// The client's own name for the packet, remembered for `store.dedup_window`.
    Client {
        /// The name.
        id: ClientMsgId,
        /// The client says that this is a later try: look through the whole conversation.
        again: bool,
    },
}

/// 128 bits that stand for a packet and its turn among equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PacketDigest(pub [u8; 16]);

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The message's place in the recipient's inbox.
    pub id: MessageId,
    /// It was there already: an earlier try of the same packet had stored it.
    pub duplicate: bool,
}
