//! Frames from the client, parsed once at the edge into types that cannot be wrong.
//!
//! No frame inside names its sender: the wire's `fromId` is compared with the
//! token's subject here, and dropped.

use std::borrow::Cow;

use serde::de::{Deserializer, SeqAccess, Visitor};

use super::failure::{Failure, FailureCode};
use super::json::{Member, Members};
use crate::ids::{ID_END, MessageId, UserId};

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
}

impl ClientFrame<'_> {
    /// The frame's own timestamp.
    pub fn timestamp(&self) -> &str {
        match self {
            Self::Send(send) => &send.timestamp,
            Self::MarkRead { timestamp, .. } => timestamp,
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
}

const SEND: u64 = 0;
const MARK_READ: u64 = 1;

/// Reads a frame that `sender` sent; `content_max` is the limit of a content in bytes.
///
/// # Errors
/// The failure to answer with.
pub fn parse(text: &str, sender: UserId, content_max: usize) -> Result<ClientFrame<'_>, Failure> {
    let mut members = Members::default();
    let read = members.read(text).map_err(|malformed| {
        (FailureCode::BadFrame, Cow::Owned(format!("the frame is not readable: {malformed}")))
    });
    let timestamp = members.timestamp.take();
    read.and_then(|()| understand(members, timestamp.as_deref().is_some(), sender, content_max))
        .map(|asked| asked.with(timestamp.clone().unwrap_or_default()))
        .map_err(|(code, message)| Failure {
            code,
            message,
            timestamp: timestamp.unwrap_or_default().into_owned(),
        })
}

type Refusal = (FailureCode, Cow<'static, str>);

fn refuse<T>(code: FailureCode, message: impl Into<Cow<'static, str>>) -> Result<T, Refusal> {
    Err((code, message.into()))
}

/// A frame that lacks only its timestamp.
enum Asked<'a> {
    Send { to: UserId, content: Cow<'a, str>, describe: Cow<'a, str> },
    MarkRead(Vec<MessageId>),
}

impl<'a> Asked<'a> {
    fn with(self, timestamp: Cow<'a, str>) -> ClientFrame<'a> {
        match self {
            Self::Send { to, content, describe } => {
                ClientFrame::Send(Send { to, content, timestamp, describe })
            }
            Self::MarkRead(ids) => ClientFrame::MarkRead { timestamp, ids },
        }
    }
}

fn understand(
    members: Members<'_>,
    has_timestamp: bool,
    sender: UserId,
    content_max: usize,
) -> Result<Asked<'_>, Refusal> {
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
    if from != sender.get() {
        return refuse(FailureCode::FromMismatch, "`fromId` must be the user of the token");
    }
    match kind {
        SEND => send(to, content, describe, content_max),
        MARK_READ => mark_read(to, &content),
        _ => refuse(FailureCode::UnsupportedType, "`type` must be 0 (send) or 1 (mark read)"),
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

fn send<'a>(
    to: u64,
    content: Cow<'a, str>,
    describe: Cow<'a, str>,
    content_max: usize,
) -> Result<Asked<'a>, Refusal> {
    let Some(to) = UserId::new(to) else {
        return refuse(FailureCode::BadRecipient, "`toId` must be a user; 0 is the system");
    };
    if content.is_empty() {
        return refuse(FailureCode::EmptyContent, "`content` is empty");
    }
    if content.len() > content_max {
        return refuse(
            FailureCode::ContentTooLarge,
            format!("`content` is over {content_max} bytes of UTF-8"),
        );
    }
    Ok(Asked::Send { to, content, describe })
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
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                let id = digits.then(|| text.parse().ok()).flatten();
                id.map_or_else(|| Err(E::custom("not digits")), |id| self.visit_u64(id))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests;
