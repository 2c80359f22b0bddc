//! Single things: who wrote with whom, what is known of somebody, where a message lies.

use std::sync::Arc;

use sled::Tree;

use super::super::keys;
use super::super::record::{CommitRecord, MessageRecord, MessageView, decode_profile};
use super::{Result, not_whole, unreadable};
use crate::ids::{MessageId, Sender, UserId};
use crate::message::Profile;

/// Everybody who has a conversation with `user`.
pub(in super::super) fn peers(tree: &Tree, user: UserId) -> impl Iterator<Item = Result<Sender>> {
    tree.scan_prefix(keys::peers_of(user)).map(|row| {
        let (key, _) = row.map_err(unreadable)?;
        keys::parse_peer(&key).map(|(_, peer)| peer).ok_or_else(|| not_whole("peer", &key))
    })
}

/// What is known of a sender; empty for the system and for strangers.
pub(in super::super) fn profile(tree: &Tree, sender: Sender) -> Result<Arc<Profile>> {
    let Sender::User(user) = sender else {
        return Ok(Arc::default());
    };
    let key = keys::profile(user);
    match tree.get(&key).map_err(unreadable)? {
        Some(value) => {
            let profile = decode_profile(&key, &value).ok_or_else(|| not_whole("profile", &key))?;
            Ok(Arc::new(profile))
        }
        None => Ok(Arc::default()),
    }
}

/// The commits from that of the message `first` on, oldest first.
pub(in super::super) fn commits(
    tree: &Tree,
    first: u64,
) -> impl DoubleEndedIterator<Item = Result<CommitRecord>> + use<> {
    tree.range(keys::commit(first)..=keys::commit(u64::MAX)).map(|row| {
        let (key, value) = row.map_err(unreadable)?;
        CommitRecord::decode(&key, &value).ok_or_else(|| not_whole("commit", &key))
    })
}

/// The commit that may hold `id`.
pub(in super::super) fn commit(tree: &Tree, id: MessageId) -> Result<Option<CommitRecord>> {
    let Some(row) = tree.range(keys::commit(0)..=keys::commit(id.get())).next_back() else {
        return Ok(None);
    };
    let (key, value) = row.map_err(unreadable)?;
    CommitRecord::decode(&key, &value).map(Some).ok_or_else(|| not_whole("commit", &key))
}

/// The message `id`, wherever it lies; nothing where it is gone.
pub(in super::super) fn message(tree: &Tree, id: MessageId) -> Result<Option<MessageRecord>> {
    let commit = commit(tree, id)?;
    let Some(entry) = commit.as_ref().and_then(|commit| commit.entry(id)) else {
        return Ok(None);
    };
    let key = keys::message(entry.pair, id.get());
    let Some(value) = tree.get(&key).map_err(unreadable)? else {
        return Ok(None);
    };
    let view = MessageView::decode(&key, &value).ok_or_else(|| not_whole("message", &key))?;
    Ok(Some(view.to_record()))
}
