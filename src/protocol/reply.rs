//! Frames to the client, byte for byte as the document writes them.

use serde::Serialize;

use super::failure::Failure;
use crate::ids::UserId;
use crate::message::{Message, Profile};

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

/// "Your message is stored": the document's success, with the frame's own timestamp.
pub fn success(to: UserId, timestamp: &str) -> String {
    from_system(to, SUCCESS, timestamp, "")
}

/// "Your frame failed", and why.
pub fn failure(to: UserId, failure: &Failure) -> String {
    #[derive(Serialize)]
    struct Describe<'a> {
        code: &'a str,
        message: &'a str,
    }
    let describe = Describe { code: failure.code.as_str(), message: &failure.message };
    from_system(to, FAILURE, &failure.timestamp, &json(&describe))
}

/// A message for its recipient.
pub fn message(message: &Message, sender: &Profile) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Describe<'a> {
        user_name: &'a str,
        #[serde(rename = "headURL")]
        head_url: &'a str,
        message_id: &'a str,
    }
    let describe = json(&Describe {
        user_name: &sender.name,
        head_url: &sender.picture,
        message_id: &message.id.to_string(),
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

fn from_system(to: UserId, r#type: u8, timestamp: &str, describe: &str) -> String {
    json(&Wire { from_id: 0, to_id: to.get(), r#type, content: "", timestamp, describe })
}

/// Text and numbers always have a JSON form, so there is nothing to fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{MessageId, Sender};
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
            message(&stored, &sender),
            concat!(
                r#"{"fromId":1,"toId":2,"type":2,"content":"你好","timestamp":"1589790567","#,
                r#""Describe":"{\"userName\":\"小明\",\"headURL\":\"www.example.com/a.png\","#,
                r#"\"messageId\":\"2323\"}"}"#
            )
        );
    }
}
