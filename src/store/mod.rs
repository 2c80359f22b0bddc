//! The inbox log: the one place where a message is, or is not.
//!
//! Everything else here may forget. An append returns once the message would
//! survive a power cut, and a read never shows one that would not.
//!
//! The contract is written in the words of the domain and promises only what an
//! embedded store and a replicated one can both keep; `tests/store_contract/`
//! holds every implementation to it:
//!
//! - **Durable on `Ok`.** After [`StoreError::Unavailable`] the message was
//!   *perhaps* written: trying again with the same [`ResendKey`] is safe.
//! - **Once per resend key.** Equal keys of one sender within their window give
//!   the same id, also while the first try is still being written.
//! - **Ids rise strictly per inbox**, with gaps, and two appends of one caller
//!   to one inbox keep their order.
//! - **The store announces.** The [`Tail`] tells who has news; an announcement is
//!   a hint that may be missed, since every reader has a [`Cursor`] to read from.

mod announcement;
mod conversation;
mod copy;
mod draft;
mod inbox;
pub mod jetstream;
pub mod memory;
mod record;
mod rules;
pub mod sled;
mod varint;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use self::announcement::{Announcement, ReadReceipt, Stored, Tail};
pub use self::conversation::{
    Conversation, Conversations, History, HistoryCursor, HistoryEntry, Stretch,
};
pub use self::copy::{Backup, Export, Piece};
pub use self::draft::{Appended, Draft, PacketDigest, ResendKey};
pub use self::inbox::{Cursor, Entry, Page, Span};
pub use self::record::{Digest, Exported, Gone, LINES_VERSION, Line, Record};
use crate::auth::Revocation;
use crate::ids::{ConnectionId, MessageId, Sender, UserId};
use crate::message::Profile;

/// How many messages a page holds at the most.
pub const PAGE_MESSAGES: usize = 256;

/// How many bytes of content a page holds before it is closed.
///
/// Together with one message of the largest size this is all the memory that a
/// reader who has stopped taking can hold.
pub const PAGE_BYTES: usize = 64 * 1024;

/// Where messages are kept.
pub trait Store: Send + Sync + fmt::Debug {
    /// Puts a message in line to be written.
    ///
    /// Waits only for room in the line; the order of the calls is the order of
    /// the messages. The receipt resolves once the message is durable.
    ///
    /// # Errors
    /// [`AppendError::Unavailable`] when nothing can be written any more.
    fn append(&self, draft: Draft) -> BoxFuture<'_, Result<Receipt<Appended>, AppendError>>;

    /// Reads a page of `inbox`, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] to try again later, [`StoreError::Damaged`] when
    /// what should be there is not: then nothing of the page may be shown.
    fn read_inbox(&self, inbox: UserId, span: Span) -> BoxFuture<'_, Result<Page, StoreError>>;

    /// The newest message of `inbox`, read or not, kept or gone; the start where there
    /// never was one.
    ///
    /// # Errors
    /// As [`Store::read_inbox`].
    fn inbox_head(&self, inbox: UserId) -> BoxFuture<'_, Result<Cursor, StoreError>>;

    /// Ids up to this one have lapsed: clients may still know them, but their messages have new
    /// ids or are gone, and no message here has one of them.
    fn lapsed(&self) -> Cursor {
        Cursor::START
    }

    /// Marks those messages of `reader`'s inbox that were `seen` as read; ignores others.
    ///
    /// Idempotent, and durable once the receipt resolves. Whoever wrote them, and the
    /// reader's other connections than `origin`, are told through the [`Tail`].
    fn mark_read(&self, reader: UserId, seen: Seen, origin: Option<ConnectionId>) -> Receipt<()>;

    /// Reads a page of what `user` and `peer` wrote to each other, oldest first; nothing
    /// where they never did.
    ///
    /// # Errors
    /// As [`Store::read_inbox`], and [`StoreError::BadCursor`].
    fn history(
        &self,
        user: UserId,
        peer: Sender,
        stretch: Stretch,
        limit: usize,
    ) -> BoxFuture<'_, Result<Option<History>, StoreError>>;

    /// Lists whom `user` wrote with, the newest message first, behind `after`.
    ///
    /// # Errors
    /// As [`Store::history`].
    fn conversations(
        &self,
        user: UserId,
        after: Option<HistoryCursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Conversations, StoreError>>;

    /// Tells those who follow the [`Tail`] at other nodes that `from` is typing to `to`: kept
    /// nowhere, and perhaps lost. Where there is one node it is nobody's business but the hub's.
    fn typing(&self, from: UserId, to: UserId) {
        let _ = (from, to);
    }

    /// What is known of a user; empty for a stranger.
    ///
    /// # Errors
    /// As [`Store::read_inbox`].
    fn profile(&self, user: UserId) -> BoxFuture<'_, Result<Arc<Profile>, StoreError>>;

    /// Up to `limit` users behind `after`, ids rising: everybody with a profile or a
    /// conversation.
    ///
    /// # Errors
    /// As [`Store::read_inbox`].
    fn users(
        &self,
        after: Option<UserId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<UserId>, StoreError>>;

    /// Remembers what a user's token says of them; a `None` leaves what is known.
    fn set_profile(&self, user: UserId, claimed: ClaimedProfile) -> Receipt<()>;

    /// Erases a user: every message to and from them, their read flags, what is known of
    /// them. Their peers are left with nothing of it.
    ///
    /// What is under way meanwhile is erased too or comes wholly after. Once the receipt
    /// resolves all of it is durable; an erasure that is cut short goes on when the store
    /// is opened again, and asking again is safe.
    fn erase(&self, user: UserId) -> Receipt<Erased>;

    /// Keeps a revocation until it is over, and announces it; keeping it again changes
    /// nothing. It is in force everywhere once those who follow a [`Tail`] have heard of it.
    fn revoke(&self, revocation: Revocation) -> Receipt<()>;

    /// How long, once a receipt has resolved, what it is about takes to be in force at every
    /// node that can be reached.
    fn spreads_within(&self) -> Duration {
        Duration::ZERO
    }

    /// Takes back that a user is disabled, and announces it; nothing where they are not.
    fn enable(&self, user: UserId) -> Receipt<()>;

    /// All revocations in force. Those that are over are forgotten by themselves.
    ///
    /// # Errors
    /// As [`Store::read_inbox`].
    fn revocations(&self) -> BoxFuture<'_, Result<Vec<Revocation>, StoreError>>;

    /// Begins a consistent copy of everything, while writing goes on: all that was
    /// acknowledged before is in it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] also from a store that keeps nothing beyond its process.
    fn backup(&self) -> BoxFuture<'_, Result<Backup, StoreError>>;

    /// Begins to give all that is kept, or all that concerns one user: profiles first, then
    /// messages by id, up to the newest at this moment.
    ///
    /// Where ids of different inboxes do not tell which message came first, messages come in
    /// the order of their conversations: all of them with new ids, which tell it and lie
    /// behind those that were given; those of one user with the ids that they have.
    ///
    /// Read flags may be newer than that.
    ///
    /// # Errors
    /// As [`Store::read_inbox`].
    fn export(&self, whose: Option<UserId>) -> BoxFuture<'_, Result<Export, StoreError>>;

    /// Whether messages can be written.
    fn health(&self) -> Health;

    /// Writes what is in line, then closes. Later calls fail as unavailable.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the last writes could not be made durable;
    /// what was acknowledged before is safe all the same.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// The outcome of something put in line, to be waited for apart from the line itself.
pub type Receipt<T> = BoxFuture<'static, Result<T, AppendError>>;

/// What an erasure came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// How many messages went.
    pub messages: u64,
}

/// What a reader has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// These messages.
    Ids(Vec<MessageId>),
    /// All that `peer` wrote, up to and with this one.
    UpTo {
        /// Who wrote.
        peer: Sender,
        /// The last one.
        id: MessageId,
    },
}

/// What a token says of its bearer; `None` where it is silent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimedProfile {
    /// The name.
    pub name: Option<String>,
    /// The address of the picture.
    pub picture: Option<String>,
}

impl ClaimedProfile {
    /// What is known of the user after this claim, where `known` was known before.
    pub(crate) fn over(&self, known: &Profile) -> Profile {
        let claimed = |claimed: &Option<String>, known: &str| {
            claimed.clone().unwrap_or_else(|| known.to_owned())
        };
        Profile {
            name: claimed(&self.name, &known.name),
            picture: claimed(&self.picture, &known.picture),
        }
    }
}

/// Whether the store can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Ready,
    /// Writing has stopped, for good in this process or until there is room again; reading
    /// goes on.
    ReadOnly {
        /// What happened and what helps, for the operator.
        why: String,
    },
    /// It was closed.
    Closed,
}

/// Why an append or a mark has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The recipient holds as many unread messages as they may.
    #[error("the inbox is full")]
    InboxFull,
    /// The client used one name for two different packets.
    #[error("the clientMsgId was used for another message")]
    IdReused,
    /// Perhaps written, perhaps not: try again with the same resend key.
    #[error("the store is unavailable")]
    Unavailable,
}

/// Why a read gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not now.
    #[error("the store is unavailable")]
    Unavailable,
    /// Something that was acknowledged is not there or not whole.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The cursor is none that this store made for this reading.
    #[error("the cursor is not valid here")]
    BadCursor,
}
