//! Frames from the client, parsed once at the edge into types that cannot be wrong.
//!
//! No frame inside names its sender: the wire's `fromId` is compared with the
//! token's subject here, and dropped.

use std::borrow::Cow;

use super::Dialect;
use super::checks::{self, id, recipient, refuse};
use super::extension::Extension;
use super::failure::{Failure, FailureCode, Refusal};
use super::json::{self, Known, Member, Place};
use crate::ids::{MessageId, UserId};
use crate::message::ClientMsgId;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// Type 0: a message.
    Send(Send<'a>),
    /// Type 1: these were read.
    MarkRead {
        /// The frame's own timestamp.
        timestamp: Cow<'a, str>,
        /// The messages, as the client listed them.
        ids: Vec<MessageId>,
    },
    /// Type 4 of `im.v2`: the user is typing to somebody.
    Typing {
        /// The frame's own timestamp.
        timestamp: Cow<'a, str>,
        /// To whom.
        to: UserId,
    },
    /// Type 5 of `im.v2`: go on with this token.
    Refresh {
        /// The frame's own timestamp.
        timestamp: Cow<'a, str>,
        /// The token; not believed yet.
        token: Cow<'a, str>,
    },
}

impl ClientFrame<'_> {
    /// The frame's own timestamp.
    pub fn timestamp(&self) -> &str {
        match self {
            Self::Send(send) => &send.timestamp,
            Self::MarkRead { timestamp, .. }
            | Self::Typing { timestamp, .. }
            | Self::Refresh { timestamp, .. } => timestamp,
        }
    }
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send<'a> {
    /// To whom.
    pub to: UserId,
    /// The text: not empty, within the limit.
    pub content: Cow<'a, str>,
    /// The client's mark of time.
    pub timestamp: Cow<'a, str>,
    /// The extension field.
    pub describe: Cow<'a, str>,
    /// The client's own name for the packet, where `im.v2` gave one.
    pub client_id: Option<ClientMsgId>,
    /// The client says that this is a later try of the packet with that name.
    pub resend: bool,
}

pub use super::checks::READ_LIST_MAX;

const SEND: u64 = 0;
const MARK_READ: u64 = 1;
const TYPING: u64 = 4;
const REFRESH: u64 = 5;

/// What a frame is held against.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Who sends on this connection.
    pub sender: UserId,
    /// The limit of a content in bytes.
    pub content_max: usize,
    /// What was agreed on at the handshake.
    pub dialect: Dialect,
}

/// Reads a frame.
///
/// # Errors
/// The failure to answer with.
pub fn parse(text: &str, rules: Rules) -> Result<ClientFrame<'_>, Failure> {
    let mut members = Members::default();
    let read = json::read(text, &mut members).map_err(|malformed| {
        (FailureCode::BadFrame, Cow::Owned(format!("the frame is not readable: {malformed}")))
    });
    let timestamp = members.timestamp.take();
    // Read first, so that the failure of anything else can name the packet too.
    let (extension, wrong) = match (rules.dialect, &members.describe) {
        (Dialect::V2, Some(Member::Text(describe))) => Extension::read(describe),
        _ => (Extension::default(), Ok(())),
    };
    let client_id = extension.client_id.clone();
    let extension = wrong.map(|()| extension);
    read.and_then(|()| understand(members, timestamp.as_deref().is_some(), extension, rules))
        .map(|asked| asked.with(timestamp.clone().unwrap_or_default()))
        .map_err(|(code, message)| Failure {
            code,
            message,
            timestamp: timestamp.unwrap_or_default().into_owned(),
            client_id,
        })
}

/// The six members as far as they were read.
#[derive(Debug, Default)]
struct Members<'a> {
    from_id: Option<Member<'a>>,
    to_id: Option<Member<'a>>,
    r#type: Option<Member<'a>>,
    content: Option<Member<'a>>,
    timestamp: Option<Cow<'a, str>>,
    describe: Option<Member<'a>>,
}

impl<'a> Known<'a> for Members<'a> {
    fn place(&mut self, name: &str) -> Option<Place<'_, 'a>> {
        Some(match name {
            "fromId" => Place::Plain(&mut self.from_id),
            "toId" => Place::Plain(&mut self.to_id),
            "type" => Place::Plain(&mut self.r#type),
            "content" => Place::Plain(&mut self.content),
            "timestamp" => Place::Timestamp(&mut self.timestamp),
            "Describe" => Place::Plain(&mut self.describe),
            _ => return None,
        })
    }
}

/// A frame that lacks only its timestamp.
enum Asked<'a> {
    Send { to: UserId, content: Cow<'a, str>, describe: Cow<'a, str>, extension: Extension },
    MarkRead(Vec<MessageId>),
    Typing(UserId),
    Refresh(Cow<'a, str>),
}

impl<'a> Asked<'a> {
    fn with(self, timestamp: Cow<'a, str>) -> ClientFrame<'a> {
        match self {
            Self::Send { to, content, describe, extension } => {
                let Extension { client_id, resend } = extension;
                ClientFrame::Send(Send { to, content, timestamp, describe, client_id, resend })
            }
            Self::MarkRead(ids) => ClientFrame::MarkRead { timestamp, ids },
            Self::Typing(to) => ClientFrame::Typing { timestamp, to },
            Self::Refresh(token) => ClientFrame::Refresh { timestamp, token },
        }
    }
}

fn understand<'a>(
    members: Members<'a>,
    has_timestamp: bool,
    extension: Result<Extension, Refusal>,
    rules: Rules,
) -> Result<Asked<'a>, Refusal> {
    let from = id(members.from_id, "fromId")?;
    let to = id(members.to_id, "toId")?;
    let kind = match members.r#type {
        Some(Member::Number(kind)) => kind,
        _ => return refuse(FailureCode::BadFrame, "`type` must be an integer"),
    };
    let content = match members.content {
        Some(Member::Text(content)) => content,
        _ => return refuse(FailureCode::BadFrame, "`content` must be a string"),
    };
    let describe = match members.describe {
        Some(Member::Text(describe)) => describe,
        None => Cow::Borrowed(""),
        Some(_) => return refuse(FailureCode::BadFrame, "`Describe` must be a string"),
    };
    if !has_timestamp {
        return refuse(FailureCode::BadFrame, "`timestamp` is missing");
    }
    if from != rules.sender.get() {
        return refuse(FailureCode::FromMismatch, "`fromId` must be the user of the token");
    }
    match (kind, rules.dialect) {
        (SEND, _) => {
            let extension = extension?;
            let to = recipient(to)?;
            checks::content(&content, rules.content_max)?;
            Ok(Asked::Send { to, content, describe, extension })
        }
        (MARK_READ, _) => mark_read(to, &content),
        (TYPING, Dialect::V2) => recipient(to).map(Asked::Typing),
        (REFRESH, Dialect::V2) => refresh(to, content),
        (_, Dialect::Document) => {
            refuse(FailureCode::UnsupportedType, "`type` must be 0 (send) or 1 (mark read)")
        }
        (_, Dialect::V2) => refuse(
            FailureCode::UnsupportedType,
            "`type` must be 0 (send), 1 (mark read), 4 (typing) or 5 (refresh)",
        ),
    }
}

fn refresh(to: u64, content: Cow<'_, str>) -> Result<Asked<'_>, Refusal> {
    if to != 0 {
        return refuse(FailureCode::BadRecipient, "`toId` of a refresh frame must be 0");
    }
    Ok(Asked::Refresh(content))
}

fn mark_read(to: u64, content: &str) -> Result<Asked<'static>, Refusal> {
    if to != 0 {
        return refuse(FailureCode::BadRecipient, "`toId` of a mark-read frame must be 0");
    }
    match checks::read_list(content) {
        Some(ids) => Ok(Asked::MarkRead(ids)),
        None => refuse(
            FailureCode::BadReadList,
            format!(
                "`content` must be a JSON array of at most {READ_LIST_MAX} message ids in a string"
            ),
        ),
    }
}

#[cfg(test)]
mod tests;
