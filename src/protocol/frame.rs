//! Frames from the client, parsed once at the edge into types that cannot be wrong.
//!
//! No frame inside names its sender: the wire's `fromId` is compared with the
//! token's subject here, and dropped.

use std::borrow::Cow;

use serde::de::{Deserializer, SeqAccess, Visitor};

use super::Dialect;
use super::extension::Extension;
use super::failure::{Failure, FailureCode};
use super::json::{Member, Members};
use crate::ids::{ID_END, MessageId, UserId};
use crate::message::ClientMsgId;

/// Message ids that one mark-read frame may hold.
pub const READ_LIST_MAX: usize = 1000;

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
    let read = members.read(text).map_err(|malformed| {
        (FailureCode::BadFrame, Cow::Owned(format!("the frame is not readable: {malformed}")))
    });
    let timestamp = members.timestamp.take();
    // Read first, so that the failure of anything else can name the packet too.
    let extension = match (rules.dialect, &members.describe) {
        (Dialect::V2, Some(Member::Text(describe))) => Extension::read(describe),
        _ => Ok(Extension::default()),
    };
    let client_id = extension.as_ref().ok().and_then(|extension| extension.client_id.clone());
    read.and_then(|()| understand(members, timestamp.as_deref().is_some(), extension, rules))
        .map(|asked| asked.with(timestamp.clone().unwrap_or_default()))
        .map_err(|(code, message)| Failure {
            code,
            message,
            timestamp: timestamp.unwrap_or_default().into_owned(),
            client_id,
        })
}

type Refusal = (FailureCode, Cow<'static, str>);

fn refuse<T>(code: FailureCode, message: impl Into<Cow<'static, str>>) -> Result<T, Refusal> {
    Err((code, message.into()))
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
    extension: Result<Extension, &'static str>,
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
            let extension = extension.or_else(|wrong| refuse(FailureCode::BadFrame, wrong))?;
            let (to, content) = send(to, content, rules.content_max)?;
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

fn id(member: Option<Member<'_>>, name: &str) -> Result<u64, Refusal> {
    match member {
        Some(Member::Number(id)) if id < ID_END => Ok(id),
        _ => refuse(
            FailureCode::BadFrame,
            format!("`{name}` must be an integer from 0 to {}", ID_END - 1),
        ),
    }
}

fn recipient(to: u64) -> Result<UserId, Refusal> {
    UserId::new(to)
        .ok_or((FailureCode::BadRecipient, "`toId` must be a user; 0 is the system".into()))
}

fn send(
    to: u64,
    content: Cow<'_, str>,
    content_max: usize,
) -> Result<(UserId, Cow<'_, str>), Refusal> {
    let to = recipient(to)?;
    if content.is_empty() {
        return refuse(FailureCode::EmptyContent, "`content` is empty");
    }
    if content.len() > content_max {
        return refuse(
            FailureCode::ContentTooLarge,
            format!("`content` is over {content_max} bytes of UTF-8"),
        );
    }
    Ok((to, content))
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
    match read_list(content) {
        Some(ids) => Ok(Asked::MarkRead(ids)),
        None => refuse(
            FailureCode::BadReadList,
            format!(
                "`content` must be a JSON array of at most {READ_LIST_MAX} message ids in a string"
            ),
        ),
    }
}

/// Reads `[12,"13"]`: one bad entry spoils the list.
fn read_list(text: &str) -> Option<Vec<MessageId>> {
    struct List;

    impl<'de> Visitor<'de> for List {
        type Value = Vec<MessageId>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array of message ids")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut ids = Vec::new();
            while let Some(Id(id)) = seq.next_element()? {
                if ids.len() == READ_LIST_MAX {
                    return Err(serde::de::Error::custom("too long"));
                }
                ids.push(id);
            }
            Ok(ids)
        }
    }

    let mut json = serde_json::Deserializer::from_str(text);
    let ids = json.deserialize_seq(List).ok()?;
    json.end().ok()?;
    Some(ids)
}

/// A message id as a number or as a string of digits.
struct Id(MessageId);

impl<'de> serde::Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Id;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a message id")
            }

            fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<Id, E> {
                MessageId::new(id).map(Id).ok_or_else(|| E::custom("out of range"))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Id, E> {
                MessageId::parse(text).map(Id).ok_or_else(|| E::custom("not a message id"))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests;
