//! A door for fuzzers to what reads calls. Nothing else uses it.

use super::cursor::List;
use super::query::Query;
use crate::ids::{Sender, UserId};

/// Reads a cursor of `user`, into the conversation with `peer` or else into the list of
/// conversations, and writes it again.
pub fn cursor(user: UserId, peer: Option<Sender>, text: &str) -> Option<String> {
    let list = peer.map_or(List::Conversations(user), |peer| List::Messages(user, peer));
    list.decode(text).ok().map(|cursor| list.encode(cursor))
}

/// Reads a query: the value of one parameter, and the limit where one is given.
pub fn query(text: &str, name: &str) -> Option<(Option<String>, Option<usize>)> {
    let query = Query::parse(Some(text)).ok()?;
    let value = query.get(name).ok()?.map(str::to_owned);
    let limit = query.get("limit").ok()?.and_then(|_| query.limit(1).ok());
    Some((value, limit))
}
