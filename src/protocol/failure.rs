//! Failures: this frame was not done, the connection goes on.

use std::borrow::Cow;

use crate::message::ClientMsgId;

/// Why a frame failed, as the contract names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureCode {
    /// Not a frame.
    BadFrame,
    /// A `type` that clients may not send.
    UnsupportedType,
    /// `fromId` is not the token's subject.
    FromMismatch,
    /// `toId` cannot be written to.
    BadRecipient,
    /// Nothing in `content`.
    EmptyContent,
    /// `content` over the limit.
    ContentTooLarge,
    /// Not a list of message ids.
    BadReadList,
    /// One `clientMsgId` for two packets.
    IdReused,
    /// A refresh with a token that is not believed, or is another user's.
    BadToken,
    /// Faster than the limit.
    RateLimited,
    /// The recipient has too many unread messages.
    InboxFull,
    /// Nothing can be stored now.
    StoreUnavailable,
}

impl FailureCode {
    /// The code on the wire, and the label of its metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::UnsupportedType => "unsupported_type",
            Self::FromMismatch => "from_mismatch",
            Self::BadRecipient => "bad_recipient",
            Self::EmptyContent => "empty_content",
            Self::ContentTooLarge => "content_too_large",
            Self::BadReadList => "bad_read_list",
            Self::IdReused => "id_reused",
            Self::BadToken => "bad_token",
            Self::RateLimited => "rate_limited",
            Self::InboxFull => "inbox_full",
            Self::StoreUnavailable => "store_unavailable",
        }
    }

    /// Whether the client could have known better: such failures are counted against it.
    pub fn is_clients_fault(self) -> bool {
        !matches!(self, Self::RateLimited | Self::InboxFull | Self::StoreUnavailable)
    }
}

/// Why something that was asked is not done, in a code and in words; the words never hold
/// what the client sent.
pub type Refusal = (FailureCode, Cow<'static, str>);

/// A failed frame: what the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub code: FailureCode,
    /// The same for people; never holds what the client sent.
    pub message: Cow<'static, str>,
    /// The frame's own timestamp, empty where none could be read.
    pub timestamp: String,
    /// The client's own name for the packet, where `im.v2` gave one.
    pub client_id: Option<ClientMsgId>,
}
