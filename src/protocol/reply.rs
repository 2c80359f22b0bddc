//! Frames to the client, byte for byte as the document writes them, and those of `im.v2`.

use std::fmt::Write as _;

use serde::Serialize;

use super::failure::Failure;
use crate::ids::{MessageId, UserId};
use crate::message::{ClientMsgId, Message, Profile};

/// The six members, in the document's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    from_id: u64,
    to_id: u64,
    r#type: u8,
    content: &'a str,
    timestamp: &'a str,
    #[serde(rename = "Describe")]
    describe: &'a str,
}

const SUCCESS: u8 = 0;
const FAILURE: u8 = 1;
const MESSAGE: u8 = 2;
const READ: u8 = 3;
const TYPING: u8 = 4;
const UP_TO_DATE: u8 = 6;

/// "Your message is stored": the document's success, with the frame's own timestamp.
pub fn success(to: UserId, timestamp: &str) -> String {
    from_system(to, SUCCESS, "", timestamp, "")
}

/// The success of `im.v2`: it names the message that is stored.
pub fn stored(
    to: UserId,
    timestamp: &str,
    id: MessageId,
    client_id: Option<&ClientMsgId>,
) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Describe<'a> {
        message_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_msg_id: Option<&'a str>,
    }
    let client_msg_id = client_id.map(ClientMsgId::as_str);
    let describe = Describe { message_id: &id.to_string(), client_msg_id };
    from_system(to, SUCCESS, "", timestamp, &json(&describe))
}

/// "Your frame failed", and why.
pub fn failure(to: UserId, failure: &Failure) -> String {
    #[derive(Serialize)]
    struct Describe<'a> {
        code: &'a str,
        message: &'a str,
        #[serde(rename = "clientMsgId", skip_serializing_if = "Option::is_none")]
        client_msg_id: Option<&'a str>,
    }
    let describe = Describe {
        code: failure.code.as_str(),
        message: &failure.message,
        client_msg_id: failure.client_id.as_ref().map(ClientMsgId::as_str),
    };
    from_system(to, FAILURE, "", &failure.timestamp, &json(&describe))
}

/// A message. What its sender called it stands there for the sender's own connections alone.
pub fn message(message: &Message, sender: &Profile, client_id: Option<&ClientMsgId>) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Describe<'a> {
        user_name: &'a str,
        #[serde(rename = "headURL")]
        head_url: &'a str,
        message_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_msg_id: Option<&'a str>,
    }
    let describe = json(&Describe {
        user_name: &sender.name,
        head_url: &sender.picture,
        message_id: &message.id.to_string(),
        client_msg_id: client_id.map(ClientMsgId::as_str),
    });
    json(&Wire {
        from_id: message.from.get(),
        to_id: message.to.get(),
        r#type: MESSAGE,
        content: &message.content,
        timestamp: &message.timestamp,
        describe: &describe,
    })
}

/// "`reader` has read these messages of yours", or you have, on another device.
pub fn read(to: UserId, reader: UserId, ids: &[MessageId]) -> String {
    let mut list = String::with_capacity(2 + ids.len() * 9);
    for id in ids {
        // Writing to a `String` cannot fail.
        let _ = write!(list, "{}{id}", if list.is_empty() { '[' } else { ',' });
    }
    list.push_str(if ids.is_empty() { "[]" } else { "]" });
    from_user(reader, to, READ, &list)
}

/// "`from` is typing to you."
pub fn typing(to: UserId, from: UserId) -> String {
    from_user(from, to, TYPING, "")
}

/// "You have everything up to `head`", the highest message id of the inbox, 0 where it is
/// empty; not `complete` where something is missing that only the history has.
pub fn up_to_date(to: UserId, head: u64, complete: bool) -> String {
    #[derive(Serialize)]
    struct Describe {
        complete: bool,
    }
    from_system(to, UP_TO_DATE, &head.to_string(), "", &json(&Describe { complete }))
}

fn from_system(to: UserId, r#type: u8, content: &str, timestamp: &str, describe: &str) -> String {
    json(&Wire { from_id: 0, to_id: to.get(), r#type, content, timestamp, describe })
}

fn from_user(from: UserId, to: UserId, r#type: u8, content: &str) -> String {
    let (from_id, to_id) = (from.get(), to.get());
    json(&Wire { from_id, to_id, r#type, content, timestamp: "", describe: "" })
}

/// Text and numbers always have a JSON form, so there is nothing to fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
