//! What frames and the API's requests are both held to.

use std::borrow::Cow;

use serde::de::{Deserializer, SeqAccess, Visitor};

use super::failure::{FailureCode, Refusal};
use super::json::Member;
use crate::ids::{ID_END, MessageId, UserId};
use crate::message::ClientMsgId;

/// Message ids that can be marked read at once.
pub const READ_LIST_MAX: usize = 1000;

pub(super) fn refuse<T>(
    code: FailureCode,
    message: impl Into<Cow<'static, str>>,
) -> Result<T, Refusal> {
    Err((code, message.into()))
}

pub(super) fn id(member: Option<Member<'_>>, name: &str) -> Result<u64, Refusal> {
    match member {
        Some(Member::Number(id)) if id < ID_END => Ok(id),
        _ => refuse(
            FailureCode::BadFrame,
            format!("`{name}` must be an integer from 0 to {}", ID_END - 1),
        ),
    }
}

pub(super) fn recipient(to: u64) -> Result<UserId, Refusal> {
    UserId::new(to)
        .ok_or((FailureCode::BadRecipient, "`toId` must be a user; 0 is the system".into()))
}

pub(super) fn content(content: &str, max: usize) -> Result<(), Refusal> {
    if content.is_empty() {
        return refuse(FailureCode::EmptyContent, "`content` is empty");
    }
    if content.len() > max {
        let message = format!("`content` is over {max} bytes of UTF-8");
        return refuse(FailureCode::ContentTooLarge, message);
    }
    Ok(())
}

/// The client's own name for a packet, where it gives one.
///
/// One that cannot be used must fail the packet: ignored, it would let a resend be stored twice.
pub(super) fn client_id(member: Option<Member<'_>>) -> Result<Option<ClientMsgId>, Refusal> {
    let name = match member {
        None => return Ok(None),
        Some(Member::Text(name)) => ClientMsgId::new(&name),
        Some(_) => None,
    };
    let wrong = "`clientMsgId` must be a string of 1 to 64 bytes";
    name.map_or_else(|| refuse(FailureCode::BadFrame, wrong), |name| Ok(Some(name)))
}

/// Whether the client says that this is a later try of the packet with that name.
pub(super) fn resend(member: Option<Member<'_>>) -> Result<bool, Refusal> {
    match member {
        None => Ok(false),
        Some(Member::Flag(resend)) => Ok(resend),
        Some(_) => refuse(FailureCode::BadFrame, "`resend` must be true or false"),
    }
}

/// Reads `[12,"13"]`: one bad entry spoils the list.
pub(super) fn read_list(text: &str) -> Option<Vec<MessageId>> {
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
pub(super) struct Id(pub(super) MessageId);

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
