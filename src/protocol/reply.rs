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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Sender;
    use crate::message::StoredAt;
    use crate::protocol::failure::FailureCode;

    #[test]
    fn frames_are_the_documents_to_the_byte() {
        let user = UserId::new(1).unwrap();
        assert_eq!(
            success(user, "1589790567"),
            r#"{"fromId":0,"toId":1,"type":0,"content":"","timestamp":"1589790567","Describe":""}"#
        );
        let failed = Failure {
            code: FailureCode::EmptyContent,
            message: "say something".into(),
            timestamp: String::new(),
            client_id: None,
        };
        assert_eq!(
            failure(user, &failed),
            concat!(
                r#"{"fromId":0,"toId":1,"type":1,"content":"","timestamp":"","#,
                r#""Describe":"{\"code\":\"empty_content\",\"message\":\"say something\"}"}"#
            )
        );
        let stored = Message {
            id: MessageId::new(2323).unwrap(),
            from: Sender::new(1).unwrap(),
            to: UserId::new(2).unwrap(),
            ordinal: 1,
            stored_at: StoredAt(0),
            timestamp: "1589790567".to_owned(),
            content: "你好".to_owned(),
        };
        let sender =
            Profile { name: "小明".to_owned(), picture: "www.example.com/a.png".to_owned() };
        assert_eq!(
            message(&stored, &sender, None),
            concat!(
                r#"{"fromId":1,"toId":2,"type":2,"content":"你好","timestamp":"1589790567","#,
                r#""Describe":"{\"userName\":\"小明\",\"headURL\":\"www.example.com/a.png\","#,
                r#"\"messageId\":\"2323\"}"}"#
            )
        );
    }

    #[test]
    fn frames_of_v2_are_the_contracts_to_the_byte() {
        let (me, other) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
        let id = |id| MessageId::new(id).unwrap();
        let name = ClientMsgId::new("a\"b").unwrap();
        assert_eq!(
            stored(me, "5", id(12), None),
            concat!(
                r#"{"fromId":0,"toId":1,"type":0,"content":"","timestamp":"5","#,
                r#""Describe":"{\"messageId\":\"12\"}"}"#
            )
        );
        assert_eq!(
            stored(me, "5", id(12), Some(&name)),
            concat!(
                r#"{"fromId":0,"toId":1,"type":0,"content":"","timestamp":"5","#,
                r#""Describe":"{\"messageId\":\"12\",\"clientMsgId\":\"a\\\"b\"}"}"#
            )
        );
        assert_eq!(
            read(me, other, &[id(12), id(13)]),
            r#"{"fromId":2,"toId":1,"type":3,"content":"[12,13]","timestamp":"","Describe":""}"#
        );
        assert_eq!(
            typing(me, other),
            r#"{"fromId":2,"toId":1,"type":4,"content":"","timestamp":"","Describe":""}"#
        );
        assert_eq!(
            up_to_date(me, 13, true),
            concat!(
                r#"{"fromId":0,"toId":1,"type":6,"content":"13","timestamp":"","#,
                r#""Describe":"{\"complete\":true}"}"#
            )
        );
    }
}
