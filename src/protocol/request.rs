//! What the HTTPS API is asked in a body: JSON as strict as a frame's, under the same rules.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::checks::{self, Id, READ_LIST_MAX, id, recipient, refuse};
use super::failure::{FailureCode, Refusal};
use super::json::{self, Known, Member, Place};
use crate::ids::{MessageId, Sender, UserId};
use crate::message::{ClientMsgId, TIMESTAMP_MAX};

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send<'a> {
    /// To whom.
    pub to: UserId,
    /// The text: not empty, within the limit.
    pub content: Cow<'a, str>,
    /// The client's mark of time, where it gave one.
    pub timestamp: Option<Cow<'a, str>>,
    /// The client's own name for it.
    pub client_id: Option<ClientMsgId>,
    /// The client says that this is a later try of the message with that name.
    pub resend: bool,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkRead {
    /// These messages.
    Ids(Vec<MessageId>),
    /// All that `peer` wrote, up to and with this one.
    UpTo {
        /// Who wrote.
        peer: Sender,
        /// The last one.
        id: MessageId,
    },
}

/// Checks what the system sends, by the rules for everybody's messages.
///
/// # Errors
/// What is wrong with it.
pub fn notification(
    content: &str,
    timestamp: Option<&str>,
    content_max: usize,
) -> Result<(), Refusal> {
    if timestamp.is_some_and(|timestamp| timestamp.len() > TIMESTAMP_MAX) {
        let message = format!("`timestamp` is over {TIMESTAMP_MAX} bytes");
        return refuse(FailureCode::BadFrame, message);
    }
    checks::content(content, content_max)
}

/// Reads `{"toId","content","timestamp"?,"clientMsgId"?,"resend"?}`.
///
/// # Errors
/// What is wrong with it.
pub fn send(text: &str, content_max: usize) -> Result<Send<'_>, Refusal> {
    let mut members = SendMembers::default();
    read(text, &mut members)?;
    let to = recipient(id(members.to_id, "toId")?)?;
    let Some(Member::Text(content)) = members.content else {
        return refuse(FailureCode::BadFrame, "`content` must be a string");
    };
    checks::content(&content, content_max)?;
    let client_id = checks::client_id(members.client_msg_id)?;
    let resend = checks::resend(members.resend)?;
    Ok(Send { to, content, timestamp: members.timestamp, client_id, resend })
}

/// Reads `{"ids":[…]}` or `{"peerId","upTo"}`.
///
/// # Errors
/// What is wrong with it; nothing is to be marked then.
pub fn mark_read(text: &str) -> Result<MarkRead, Refusal> {
    let mut members = ReadMembers::default();
    read(text, &mut members)?;
    match (members.ids, members.peer_id, members.up_to) {
        (Some(ids), None, None) => match checks::read_list(ids.get()) {
            Some(ids) => Ok(MarkRead::Ids(ids)),
            None => refuse(
                FailureCode::BadReadList,
                format!("`ids` must be an array of at most {READ_LIST_MAX} message ids"),
            ),
        },
        (None, Some(peer), Some(up_to)) => {
            let peer = Sender::new(id(Some(peer), "peerId")?);
            let up_to = serde_json::from_str::<Id>(up_to.get()).ok();
            match (peer, up_to) {
                (Some(peer), Some(Id(id))) => Ok(MarkRead::UpTo { peer, id }),
                _ => refuse(FailureCode::BadFrame, "`upTo` must be a message id"),
            }
        }
        _ => refuse(FailureCode::BadFrame, "give either `ids`, or `peerId` and `upTo`"),
    }
}

fn read<'a>(text: &'a str, members: &mut impl Known<'a>) -> Result<(), Refusal> {
    json::read(text, members).or_else(|malformed| {
        refuse(FailureCode::BadFrame, format!("the body is not readable: {malformed}"))
    })
}

#[derive(Default)]
struct SendMembers<'a> {
    to_id: Option<Member<'a>>,
    content: Option<Member<'a>>,
    timestamp: Option<Cow<'a, str>>,
    client_msg_id: Option<Member<'a>>,
    resend: Option<Member<'a>>,
}

impl<'a> Known<'a> for SendMembers<'a> {
    fn place(&mut self, name: &str) -> Option<Place<'_, 'a>> {
        Some(match name {
            "toId" => Place::Plain(&mut self.to_id),
            "content" => Place::Plain(&mut self.content),
            "timestamp" => Place::Timestamp(&mut self.timestamp),
            "clientMsgId" => Place::Plain(&mut self.client_msg_id),
            "resend" => Place::Plain(&mut self.resend),
            _ => return None,
        })
    }
}

#[derive(Default)]
struct ReadMembers<'a> {
    ids: Option<&'a RawValue>,
    peer_id: Option<Member<'a>>,
    up_to: Option<&'a RawValue>,
}

impl<'a> Known<'a> for ReadMembers<'a> {
    fn place(&mut self, name: &str) -> Option<Place<'_, 'a>> {
        Some(match name {
            "ids" => Place::Raw(&mut self.ids),
            "peerId" => Place::Plain(&mut self.peer_id),
            "upTo" => Place::Raw(&mut self.up_to),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(outcome: Result<T, Refusal>) -> &'static str {
        outcome.map_or_else(|(code, _)| code.as_str(), |_| "ok")
    }

    #[test]
    fn a_message_is_held_to_the_rules_of_frames() {
        let long = format!(r#"{{"toId":2,"content":"a","clientMsgId":"{}"}}"#, "x".repeat(65));
        let late = format!(r#"{{"toId":2,"content":"a","timestamp":"{}"}}"#, "1".repeat(33));
        for (text, expected) in [
            (r#"{"toId":2,"content":"a"}"#, "ok"),
            (r#"{"toId":2,"content":"a","x":[{}],"timestamp":1e3,"resend":false}"#, "ok"),
            (r#"{"toId":0,"content":"a"}"#, "bad_recipient"),
            (r#"{"toId":2,"content":""}"#, "empty_content"),
            (r#"{"toId":2,"content":"12345"}"#, "content_too_large"),
            (r#"{"toId":2}"#, "bad_frame"),
            (r#"{"content":"a"}"#, "bad_frame"),
            (r#"{"toId":"2","content":"a"}"#, "bad_frame"),
            (r#"{"toId":2.0,"content":"a"}"#, "bad_frame"),
            (r#"{"toId":9007199254740992,"content":"a"}"#, "bad_frame"),
            (r#"{"toId":2,"content":7}"#, "bad_frame"),
            (r#"{"toId":2,"toId":2,"content":"a"}"#, "bad_frame"),
            (r#"{"toId":2,"content":"a","x":1,"x":1}"#, "bad_frame"),
            (r#"{"toId":2,"content":"a","x":{"y":1,"y":1}}"#, "bad_frame"),
            (r#"{"toId":2,"content":"\ud800"}"#, "bad_frame"),
            (r#"{"toId":2,"content":"a","resend":"true"}"#, "bad_frame"),
            (r#"{"toId":2,"content":"a","clientMsgId":""}"#, "bad_frame"),
            (r#"{"toId":2,"content":"a","clientMsgId":null}"#, "bad_frame"),
            (r#"{"toId":2,"content":"a","timestamp":null}"#, "bad_frame"),
            (r#"[2,"a"]"#, "bad_frame"),
            (r#"{"toId":2,"content":"a"}{}"#, "bad_frame"),
            ("", "bad_frame"),
            (&long, "bad_frame"),
            (&late, "bad_frame"),
        ] {
            assert_eq!(code(send(text, 4)), expected, "{text}");
        }
        let text = r#"{"toId":2,"content":"a","timestamp":1.50,"clientMsgId":"x","resend":true}"#;
        let message = send(text, 4).unwrap();
        assert_eq!(message.timestamp.as_deref(), Some("1.50"), "by its literal text");
        assert_eq!((message.client_id, message.resend), (ClientMsgId::new("x"), true));
    }

    #[test]
    fn what_was_read_is_a_list_or_a_place_in_a_conversation() {
        let many = |n| format!("{{\"ids\":[{}]}}", vec!["1"; n].join(","));
        for (text, expected) in [
            (r#"{"ids":[]}"#, "ok"),
            (r#"{"ids":[12,"13"],"x":0}"#, "ok"),
            (r#"{"peerId":0,"upTo":"7"}"#, "ok"),
            (r#"{"upTo":7,"peerId":3}"#, "ok"),
            (r#"{"ids":[12,0]}"#, "bad_read_list"),
            (r#"{"ids":[12,"x"]}"#, "bad_read_list"),
            (r#"{"ids":"[12]"}"#, "bad_read_list"),
            (r#"{"ids":null}"#, "bad_read_list"),
            (r#"{"ids":[1.0]}"#, "bad_read_list"),
            (r#"{"ids":[],"ids":[]}"#, "bad_frame"),
            (r#"{"ids":[1],"upTo":7}"#, "bad_frame"),
            (r#"{"ids":[1],"peerId":3,"upTo":7}"#, "bad_frame"),
            (r#"{"peerId":3}"#, "bad_frame"),
            (r#"{"upTo":3}"#, "bad_frame"),
            (r#"{"peerId":"3","upTo":7}"#, "bad_frame"),
            (r#"{"peerId":9007199254740992,"upTo":7}"#, "bad_frame"),
            (r#"{"peerId":3,"upTo":0}"#, "bad_frame"),
            (r#"{"peerId":3,"upTo":-1}"#, "bad_frame"),
            ("{}", "bad_frame"),
            ("[1]", "bad_frame"),
            (&many(1000), "ok"),
            (&many(1001), "bad_read_list"),
        ] {
            assert_eq!(code(mark_read(text)), expected, "{text}");
        }
        let id = MessageId::new(7).unwrap();
        let up_to = MarkRead::UpTo { peer: Sender::System, id };
        assert_eq!(mark_read(r#"{"peerId":0,"upTo":"7"}"#), Ok(up_to));
    }
}
