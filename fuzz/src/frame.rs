//! Frames from a client, of the document and of `im.v2`.
//!
//! The first byte is the dialect (`1` and every other odd one: `im.v2`), the rest the
//! frame. User 1 sends.

use imserver::ids::{ID_END, MessageId, UserId};
use imserver::message::{ClientMsgId, TIMESTAMP_MAX};
use imserver::protocol::failure::Failure;
use imserver::protocol::frame::{ClientFrame, READ_LIST_MAX, Rules, Send, parse};
use imserver::protocol::{Dialect, reply};
use serde_json::{Map, Value, json};

use crate::strict;

/// Small, so that a fuzzer gets past it.
const CONTENT_MAX: usize = 64;

/// Reads a frame, and holds what came of it against a second reading.
pub fn check(data: &[u8]) {
    let Some((first, text)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    let dialect = if first % 2 == 1 { Dialect::V2 } else { Dialect::Document };
    let Some(sender) = UserId::new(1) else { return };
    let rules = Rules { sender, content_max: CONTENT_MAX, dialect };
    let second = strict::object(text);
    match parse(text, rules) {
        Ok(frame) => {
            match second {
                Some(members) => says_what_stands_there(&frame, &members),
                None => assert!(is_out_of_range(frame.timestamp()), "{text:?} is no JSON object"),
            }
            reads_back(&frame, rules);
            if dialect == Dialect::V2 {
                means_the_same_in_the_document(&frame, text, rules);
            }
        }
        Err(failure) => {
            is_told(sender, &failure);
            if let Some(sent) = second.as_ref().and_then(plain_message) {
                panic!("{sent:?} is a message, and failed: {failure:?}");
            }
        }
    }
}

/// A number that is kept by its literal text may be one that no other reader can hold.
pub(crate) fn is_out_of_range(timestamp: &str) -> bool {
    timestamp.parse().is_ok_and(f64::is_infinite)
}

/// The frame as the document writes it.
fn written(frame: &ClientFrame<'_>) -> String {
    let id = |id: UserId| id.get();
    let (to, kind, content, describe) = match frame {
        ClientFrame::Send(send) => (id(send.to), 0, send.content.to_string(), &*send.describe),
        ClientFrame::MarkRead { ids, .. } => {
            let ids: Vec<u64> = ids.iter().map(|id| id.get()).collect();
            (0, 1, json!(ids).to_string(), "")
        }
        ClientFrame::Typing { to, .. } => (id(*to), 4, String::new(), ""),
        ClientFrame::Refresh { token, .. } => (0, 5, token.to_string(), ""),
    };
    json!({
        "fromId": 1, "toId": to, "type": kind, "content": content,
        "timestamp": frame.timestamp(), "Describe": describe,
    })
    .to_string()
}

fn reads_back(frame: &ClientFrame<'_>, rules: Rules) {
    let again = written(frame);
    assert_eq!(parse(&again, rules).as_ref(), Ok(frame), "written as {again}");
}

/// What a dialect adds takes nothing away: messages and read lists are the same in both,
/// but for the name that only `im.v2` looks for.
fn means_the_same_in_the_document(frame: &ClientFrame<'_>, text: &str, rules: Rules) {
    let plain = parse(text, Rules { dialect: Dialect::Document, ..rules });
    match frame {
        ClientFrame::Send(send) => {
            let plain_send = Send { client_id: None, resend: false, ..send.clone() };
            assert_eq!(plain, Ok(ClientFrame::Send(plain_send)));
        }
        ClientFrame::MarkRead { .. } => assert_eq!(plain.as_ref(), Ok(frame)),
        ClientFrame::Typing { .. } | ClientFrame::Refresh { .. } => assert!(plain.is_err()),
    }
}

/// Holds a frame against its members as another reader found them.
fn says_what_stands_there(frame: &ClientFrame<'_>, members: &Map<String, Value>) {
    let number = |name: &str| members.get(name).and_then(Value::as_u64);
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    assert_eq!(number("fromId"), Some(1));
    assert!(number("toId").is_some_and(|id| id < ID_END));
    assert!(frame.timestamp().len() <= TIMESTAMP_MAX);
    match members.get("timestamp") {
        Some(Value::String(timestamp)) => assert_eq!(frame.timestamp(), timestamp),
        // By its literal text, which a number is not.
        Some(Value::Number(_)) => {
            assert!(strict::value(frame.timestamp()).is_some_and(|again| again.is_number()));
        }
        other => panic!("{other:?} was taken for a timestamp"),
    }
    match frame {
        ClientFrame::Send(send) => {
            assert_eq!(number("type"), Some(0));
            assert_eq!(number("toId"), Some(send.to.get()));
            assert_eq!(text("content"), Some(&*send.content));
            assert!((1..=CONTENT_MAX).contains(&send.content.len()));
            assert_eq!(text("Describe").unwrap_or_default(), send.describe);
            let described = strict::object(&send.describe);
            let name = described.as_ref().and_then(|d| d.get("clientMsgId")?.as_str());
            if let Some(client_id) = &send.client_id {
                assert_eq!(Some(client_id.as_str()), name);
                assert!((1..=ClientMsgId::MAX).contains(&client_id.as_str().len()));
            }
        }
        ClientFrame::MarkRead { ids, .. } => {
            assert_eq!((number("type"), number("toId")), (Some(1), Some(0)));
            assert!(ids.len() <= READ_LIST_MAX);
            let list = text("content").and_then(strict::value);
            let list = list.as_ref().and_then(Value::as_array).map(|list| list.iter().map(id));
            let list: Option<Vec<MessageId>> = list.and_then(Iterator::collect);
            assert_eq!(list.as_ref(), Some(ids));
        }
        ClientFrame::Typing { to, .. } => {
            assert_eq!((number("type"), number("toId")), (Some(4), Some(to.get())));
        }
        ClientFrame::Refresh { token, .. } => {
            assert_eq!((number("type"), number("toId")), (Some(5), Some(0)));
            assert_eq!(text("content"), Some(&**token));
        }
    }
}

fn id(value: &Value) -> Option<MessageId> {
    match value {
        Value::String(digits) => {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            MessageId::new(digits.parse().ok().filter(|_| plain)?)
        }
        number => MessageId::new(number.as_u64()?),
    }
}

/// A message that no rule speaks against: six members and nothing else.
fn plain_message(members: &Map<String, Value>) -> Option<&str> {
    let number = |name: &str| members.get(name).and_then(Value::as_u64);
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let good = members.len() == 6
        && number("fromId") == Some(1)
        && number("type") == Some(0)
        && number("toId").is_some_and(|id| (1..ID_END).contains(&id))
        && text("timestamp").is_some_and(|timestamp| timestamp.len() <= TIMESTAMP_MAX)
        && text("Describe") == Some("");
    text("content").filter(|content| good && (1..=CONTENT_MAX).contains(&content.len()))
}

/// A failure is a frame too, short, and holds nothing of the input but its marks.
fn is_told(sender: UserId, failure: &Failure) {
    let frame = reply::failure(sender, failure);
    let members = strict::object(&frame).unwrap_or_else(|| panic!("{frame} is no frame"));
    assert_eq!(members.len(), 6);
    assert_eq!(members.get("type"), Some(&json!(1)));
    assert_eq!(members.get("timestamp"), Some(&json!(failure.timestamp)));
    assert!(failure.timestamp.len() <= TIMESTAMP_MAX);
    assert!(failure.message.len() < 200, "{}", failure.message);
    assert!(failure.code.is_clients_fault());
    let describe = members.get("Describe").and_then(Value::as_str).and_then(strict::object);
    let describe = describe.unwrap_or_else(|| panic!("{frame} does not say why"));
    assert_eq!(describe.get("code"), Some(&json!(failure.code.as_str())));
    let name = failure.client_id.as_ref().map(|name| json!(name.as_str()));
    assert_eq!(describe.get("clientMsgId"), name.as_ref());
}
