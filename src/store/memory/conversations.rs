//! Conversations, found by looking at every message.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::super::{
    Conversation, Conversations, History, HistoryCursor, HistoryEntry, StoreError, Stretch,
};
use super::contents::Contents;
use crate::ids::{Sender, UserId};
use crate::message::Message;

impl Contents {
    pub(super) fn history(
        &self,
        user: UserId,
        peer: Sender,
        stretch: Stretch,
        limit: usize,
    ) -> Result<Option<History>, StoreError> {
        let edge = match stretch {
            Stretch::Newest => None,
            Stretch::Before(cursor) | Stretch::After(cursor) => Some(cursor.id()?),
        };
        let messages = self.between(user, peer);
        if messages.is_empty() {
            return Ok(None);
        }
        let behind = |id: u64| messages.partition_point(|message| message.id.get() <= id);
        // A page lies from one index to another, and its edges are ids where it is empty.
        let (begin, end, older, newer) = match (stretch, edge.unwrap_or_default()) {
            (Stretch::Newest, _) => (messages.len().saturating_sub(limit), messages.len(), 0, 0),
            (Stretch::Before(_), id) => {
                let end = behind(id.saturating_sub(1));
                (end.saturating_sub(limit), end, id, id.saturating_sub(1))
            }
            (Stretch::After(_), id) => {
                let begin = behind(id);
                (begin, begin.saturating_add(limit).min(messages.len()), id + 1, id)
            }
        };
        let page = messages.get(begin..end).unwrap_or_default();
        let older = page.first().map_or(older, |first| first.id.get());
        let newer = page.last().map_or(newer, |last| last.id.get());
        Ok(Some(History {
            entries: page.iter().map(|message| self.shown(message)).collect(),
            older: (begin > 0).then(|| HistoryCursor::at(older)),
            newer: HistoryCursor::at(newer),
        }))
    }

    pub(super) fn conversations(
        &self,
        user: UserId,
        after: Option<HistoryCursor>,
        limit: usize,
    ) -> Result<Conversations, StoreError> {
        let before = after.map(HistoryCursor::id).transpose()?;
        let mut page = Conversations::default();
        let mut list: Vec<(Sender, &Message)> = self.newest(user).into_iter().collect();
        list.sort_unstable_by_key(|(_, last)| Reverse(last.id));
        page.unread_total = list.iter().map(|(peer, _)| self.unread(user, *peer)).sum();
        list.retain(|(_, last)| before.is_none_or(|before| last.id.get() < before));
        let more = list.len() > limit;
        list.truncate(limit);
        page.next = list.last().filter(|_| more).map(|(_, last)| HistoryCursor::at(last.id.get()));
        page.conversations = list
            .into_iter()
            .map(|(peer, last)| Conversation {
                peer,
                profile: self.profile(peer),
                unread: self.unread(user, peer),
                last: self.shown(last),
            })
            .collect();
        Ok(page)
    }

    fn messages(&self) -> impl Iterator<Item = &Message> {
        self.inboxes.values().flat_map(|inbox| inbox.messages.iter().map(|held| &held.message))
    }

    /// What two wrote to each other, ids rising.
    fn between(&self, user: UserId, peer: Sender) -> Vec<&Message> {
        let own = Sender::from(user);
        let mut messages: Vec<&Message> = self
            .messages()
            .filter(|message| {
                let to = Sender::from(message.to);
                (to, message.from) == (own, peer) || (to, message.from) == (peer, own)
            })
            .collect();
        messages.sort_unstable_by_key(|message| message.id);
        messages
    }

    /// The newest message with everybody that `user` wrote with.
    fn newest(&self, user: UserId) -> BTreeMap<Sender, &Message> {
        let own = Sender::from(user);
        let mut newest: BTreeMap<Sender, &Message> = BTreeMap::new();
        for message in self.messages() {
            let peer = match (message.from, Sender::from(message.to)) {
                (from, to) if to == own => from,
                (from, to) if from == own => to,
                _ => continue,
            };
            let last = newest.entry(peer).or_insert(message);
            if last.id < message.id {
                *last = message;
            }
        }
        newest
    }

    fn unread(&self, user: UserId, peer: Sender) -> u64 {
        let messages = self.held(user).iter().map(|held| &held.message);
        messages.filter(|message| message.from == peer && !self.is_read(message)).count() as u64
    }

    fn shown(&self, message: &Message) -> HistoryEntry {
        HistoryEntry { message: message.clone(), read: self.is_read(message) }
    }
}
