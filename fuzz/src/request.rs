//! What the HTTPS API is asked: bodies, queries and cursors.
//!
//! The first byte chooses: `s` a message, `r` a read list or place, `c` a cursor,
//! anything else a query.

use imserver::ids::{ID_END, UserId};
use imserver::message::TIMESTAMP_MAX;
use imserver::protocol::frame::READ_LIST_MAX;
use imserver::protocol::request::{MarkRead, mark_read, send};
use imserver::server::fuzzing::{cursor, query};
use serde_json::{Value, json};

use crate::frame::is_out_of_range;
use crate::strict;

const CONTENT_MAX: usize = 64;

/// Reads one of them; what can be read is written and read again.
pub fn check(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    match kind {
        b's' => message(text),
        b'r' => read(text),
        b'c' => place(text),
        _ => parameters(text),
    }
}

fn message(text: &str) {
    let Ok(message) = send(text, CONTENT_MAX) else { return };
    let Some(members) = strict::object(text) else {
        let timestamp = message.timestamp.as_deref().unwrap_or_default();
        assert!(is_out_of_range(timestamp), "{text:?} is no JSON object");
        return;
    };
    let says = |name: &str| members.get(name);
    assert_eq!(says("toId").and_then(Value::as_u64), Some(message.to.get()));
    assert_eq!(says("content").and_then(Value::as_str), Some(&*message.content));
    assert!((1..=CONTENT_MAX).contains(&message.content.len()));
    assert!(message.timestamp.as_deref().is_none_or(|text| text.len() <= TIMESTAMP_MAX));
    let name = message.client_id.as_ref().map(|name| name.as_str());
    assert_eq!(says("clientMsgId").and_then(Value::as_str), name);
    assert_eq!(says("resend").and_then(Value::as_bool).unwrap_or_default(), message.resend);

    let mut again = json!({ "toId": message.to.get(), "content": message.content });
    for (member, value) in [
        ("timestamp", message.timestamp.as_deref().map(Value::from)),
        ("clientMsgId", name.map(Value::from)),
        ("resend", message.resend.then_some(Value::Bool(true))),
    ] {
        if let (Some(value), Some(members)) = (value, again.as_object_mut()) {
            members.insert(member.to_owned(), value);
        }
    }
    assert_eq!(send(&again.to_string(), CONTENT_MAX), Ok(message));
}

fn read(text: &str) {
    let Ok(marked) = mark_read(text) else { return };
    assert!(strict::object(text).is_some(), "{text:?} is no JSON object");
    let again = match &marked {
        MarkRead::Ids(ids) => {
            assert!(ids.len() <= READ_LIST_MAX);
            let ids: Vec<u64> = ids.iter().map(|id| id.get()).collect();
            assert!(ids.iter().all(|id| (1..ID_END).contains(id)));
            json!({ "ids": ids })
        }
        MarkRead::UpTo { peer, id } => json!({ "peerId": peer.get(), "upTo": id.to_string() }),
    };
    assert_eq!(mark_read(&again.to_string()), Ok(marked));
}

/// A cursor has one spelling, and is good in one list of one user.
fn place(text: &str) {
    let (Some(me), Some(other)) = (UserId::new(1), UserId::new(2)) else { return };
    let lists = [(me, None), (other, None), (me, Some(other.into())), (other, Some(me.into()))];
    let good: Vec<_> =
        lists.into_iter().filter_map(|(user, peer)| cursor(user, peer, text)).collect();
    assert!(good.len() <= 1);
    assert!(good.iter().all(|again| again == text));
}

fn parameters(text: &str) {
    let Some((value, limit)) = query(text, "cursor") else { return };
    assert!(limit.is_none_or(|limit| (1..=100).contains(&limit)));
    let Some(value) = value else { return };
    let escaped: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let again = query(&format!("x=1&cursor={escaped}"), "cursor");
    assert_eq!(again.and_then(|(again, _)| again), Some(value));
}
