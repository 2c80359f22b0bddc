//! The golden frames of `tests/vectors/`, which the JavaScript client reads too.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::failure::{Failure, FailureCode};
use super::frame::{ClientFrame, Rules, parse};
use super::{Dialect, reply};
use crate::ids::{MessageId, Sender, UserId};
use crate::message::{ClientMsgId, Message, Profile, StoredAt};

const SERVER: &str = include_str!("../../tests/vectors/server.json");
const CLIENT: &str = include_str!("../../tests/vectors/client.json");

fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

fn ids(ids: &[u64]) -> Vec<MessageId> {
    ids.iter().map(|id| MessageId::new(*id).unwrap()).collect()
}

fn failure(code: FailureCode, timestamp: &str, name: Option<&str>) -> String {
    let failure = Failure {
        code,
        message: "say something".into(),
        timestamp: timestamp.to_owned(),
        client_id: name.and_then(ClientMsgId::new),
    };
    reply::failure(user(1), &failure)
}

fn message(content: &str, name: &str, picture: &str, client_id: Option<&str>) -> String {
    let message = Message {
        id: MessageId::new(2323).unwrap(),
        from: Sender::new(1).unwrap(),
        to: user(2),
        ordinal: 1,
        stored_at: StoredAt(0),
        timestamp: "1589790567".to_owned(),
        content: content.to_owned(),
    };
    let sender = Profile { name: name.to_owned(), picture: picture.to_owned() };
    reply::message(&message, &sender, client_id.and_then(ClientMsgId::new).as_ref())
}

#[test]
fn the_server_writes_them() {
    let me = user(1);
    let stored = |name: Option<&str>| {
        let name = name.and_then(ClientMsgId::new);
        reply::stored(me, "5", MessageId::new(12).unwrap(), name.as_ref())
    };
    let written = BTreeMap::from([
        ("success", reply::success(me, "1589790567")),
        ("success of v2", stored(None)),
        ("success of a named packet", stored(Some("a\"b"))),
        ("failure", failure(FailureCode::EmptyContent, "", None)),
        ("failure of a named packet", failure(FailureCode::IdReused, "5", Some("n"))),
        ("message", message("你好", "小明", "www.example.com/a.png", None)),
        ("message of one's own", message("<b>\"\\\u{7}😀", "", "", Some("n"))),
        ("read receipt", reply::read(me, user(2), &ids(&[12, 13]))),
        ("typing", reply::typing(me, user(2))),
        ("up to date", reply::up_to_date(me, crate::ids::ID_END - 1, true)),
        ("not all of it", reply::up_to_date(me, 0, false)),
    ]);
    let vectors: Vec<Value> = serde_json::from_str(SERVER).unwrap();
    assert_eq!(vectors.len(), written.len());
    for vector in vectors {
        let name = vector["name"].as_str().unwrap();
        assert_eq!(written[name], vector["frame"].as_str().unwrap(), "{name}");
    }
}

/// What a frame says, in the words of the vectors.
fn meaning(frame: &ClientFrame<'_>) -> Value {
    match frame {
        ClientFrame::Send(send) => {
            let mut means = json!({
                "kind": "send", "toId": send.to.get(), "content": send.content,
                "timestamp": send.timestamp,
            });
            if let Some(name) = &send.client_id {
                means["clientMsgId"] = name.as_str().into();
                means["resend"] = send.resend.into();
            }
            means
        }
        ClientFrame::MarkRead { timestamp, ids } => {
            let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
            json!({ "kind": "markRead", "messageIds": ids, "timestamp": timestamp })
        }
        ClientFrame::Typing { timestamp, to } => {
            json!({ "kind": "typing", "toId": to.get(), "timestamp": timestamp })
        }
        ClientFrame::Refresh { timestamp, token } => {
            json!({ "kind": "refresh", "token": token, "timestamp": timestamp })
        }
    }
}

#[test]
fn the_server_understands_the_clients_where_they_belong() {
    let vectors: Vec<Value> = serde_json::from_str(CLIENT).unwrap();
    for vector in vectors {
        let text = vector["frame"].as_str().unwrap();
        let name = &vector["name"];
        for (word, dialect) in [("document", Dialect::Document), ("v2", Dialect::V2)] {
            let rules = Rules { sender: user(1), content_max: 100, dialect };
            let understood =
                parse(text, rules).is_ok_and(|frame| meaning(&frame) == vector["means"]);
            let belongs = vector["dialects"].as_array().unwrap().contains(&word.into());
            assert_eq!(understood, belongs, "{name} in {word}");
        }
    }
}
