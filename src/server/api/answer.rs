//! What a call is answered with: JSON, as the contract writes it.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use super::cursor::List;
use crate::auth::Ticket;
use crate::ids::UserId;
use crate::message::Profile;
use crate::server::refusal::mark;
use crate::server::routes::Answer;
use crate::store::{Appended, Conversation, Conversations, History, HistoryEntry};

/// A message in a conversation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    message_id: String,
    from_id: u64,
    to_id: u64,
    content: &'a str,
    timestamp: &'a str,
    stored_at: u64,
    read: bool,
}

impl<'a> From<&'a HistoryEntry> for Message<'a> {
    fn from(entry: &'a HistoryEntry) -> Self {
        let message = &entry.message;
        Self {
            message_id: message.id.to_string(),
            from_id: message.from.get(),
            to_id: message.to.get(),
            content: &message.content,
            timestamp: &message.timestamp,
            stored_at: message.stored_at.0,
            read: entry.read,
        }
    }
}

/// How large a message is, written out.
pub(super) fn size(entry: &HistoryEntry) -> usize {
    text(&Message::from(entry)).len()
}

/// Who the caller is.
pub(super) fn me(user: UserId, profile: &Profile, expires_at: u64) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Me<'a> {
        user_id: u64,
        user_name: &'a str,
        #[serde(rename = "headURL")]
        head_url: &'a str,
        expires_at: u64,
    }
    let (user_name, head_url) = (profile.name.as_str(), profile.picture.as_str());
    json(&Me { user_id: user.get(), user_name, head_url, expires_at })
}

/// A conversation in the list of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    peer_id: u64,
    user_name: &'a str,
    #[serde(rename = "headURL")]
    head_url: &'a str,
    unread: u64,
    last_message: Message<'a>,
}

impl<'a> From<&'a Conversation> for Item<'a> {
    fn from(conversation: &'a Conversation) -> Self {
        let Conversation { peer, profile, unread, last } = conversation;
        Self {
            peer_id: peer.get(),
            user_name: &profile.name,
            head_url: &profile.picture,
            unread: *unread,
            last_message: last.into(),
        }
    }
}

/// The caller's conversations.
pub(super) fn conversations(list: List, page: &Conversations) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Page<'a> {
        conversations: Vec<Item<'a>>,
        unread_total: u64,
        next: Option<String>,
    }
    json(&Page {
        conversations: page.conversations.iter().map(Item::from).collect(),
        unread_total: page.unread_total,
        next: page.next.map(|cursor| list.encode(cursor)),
    })
}

/// A stretch of one conversation.
pub(super) fn messages(list: List, page: &History) -> Answer {
    #[derive(Serialize)]
    struct Page<'a> {
        messages: Vec<Message<'a>>,
        older: Option<String>,
        newer: String,
    }
    json(&Page {
        messages: page.entries.iter().map(Message::from).collect(),
        older: page.older.map(|cursor| list.encode(cursor)),
        newer: list.encode(page.newer),
    })
}

/// A message is stored.
pub(super) fn stored(appended: Appended) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Stored {
        message_id: String,
        duplicate: bool,
    }
    json(&Stored { message_id: appended.id.to_string(), duplicate: appended.duplicate })
}

/// A ticket, and for how many seconds it is one.
pub(super) fn ticket(ticket: &Ticket) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire<'a> {
        ticket: &'a str,
        expires_in: u64,
    }
    json(&Wire { ticket: &ticket.text, expires_in: ticket.life.as_secs() })
}

/// 204: done, and nothing to say.
pub(super) fn empty() -> Answer {
    let mut answer = with_common(String::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// 200.
fn json(value: &impl Serialize) -> Answer {
    let mut answer = with_common(text(value));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Texts, numbers and lists always have a JSON form, so there is nothing to fail.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn with_common(body: String) -> Answer {
    let mut answer = Response::new(body.into());
    mark(answer.headers_mut());
    answer
}
