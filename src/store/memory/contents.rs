//! Everything that a store on a disk would have on the disk, and what changes it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::super::{
    Announcement, AppendError, Appended, ClaimedProfile, Cursor, Draft, Entry, Erased, Exported,
    PAGE_BYTES, PAGE_MESSAGES, PacketDigest, Page, ReadReceipt, Record, ResendKey, Seen, Span,
    Stored,
};
use super::Rules;
use crate::auth::Revocation;
use crate::ids::{ConnectionId, MessageId, Sender, UserId};
use crate::message::{ClientMsgId, Message, Profile, StoredAt};

/// Ids that a read receipt names at the most.
const RECEIPT_IDS: usize = 1000;

/// What the store holds.
#[derive(Default)]
pub(super) struct Contents {
    /// The highest id given; 0: none.
    head: u64,
    pub(super) inboxes: HashMap<UserId, Inbox>,
    ordinals: HashMap<(UserId, Sender), u64>,
    profiles: HashMap<UserId, Arc<Profile>>,
    /// The highest id of an inbox that was erased.
    gone: HashMap<UserId, Cursor>,
    packets: HashMap<PacketDigest, FirstTry>,
    names: HashMap<(Sender, ClientMsgId), FirstTry>,
    revocations: BTreeSet<Revocation>,
}

/// One user's messages, ids rising.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) messages: Vec<Held>,
    pub(super) unread: BTreeSet<MessageId>,
}

/// A message with its sender's name for it.
pub(super) struct Held {
    pub(super) message: Message,
    client_id: Option<ClientMsgId>,
}

/// The message that a packet became, and when.
#[derive(Clone, Copy)]
struct FirstTry {
    to: UserId,
    id: MessageId,
    at: Instant,
}

type News = Vec<Announcement>;

impl Contents {
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    pub(super) fn revoke(&mut self, revocation: Revocation) -> News {
        let now = SystemTime::now();
        self.revocations.retain(|known| !known.is_over(now));
        if revocation.is_over(now) {
            return News::new();
        }
        self.revocations.insert(revocation.clone());
        vec![Announcement::Revoked(revocation)]
    }

    pub(super) fn enable(&mut self, user: UserId) -> News {
        self.revocations.remove(&Revocation::Disabled { user });
        vec![Announcement::Enabled(user)]
    }

    pub(super) fn revocations(&self) -> Vec<Revocation> {
        let now = SystemTime::now();
        self.revocations.iter().filter(|known| !known.is_over(now)).cloned().collect()
    }

    pub(super) fn append(
        &mut self,
        draft: Draft,
        rules: Rules,
    ) -> Result<(Appended, News), AppendError> {
        if let Some(id) = self.first_try(&draft, rules)? {
            return Ok((Appended { id, duplicate: true }, News::new()));
        }
        let inbox = self.inboxes.entry(draft.to).or_default();
        if inbox.unread.len() as u64 >= rules.unread_max {
            return Err(AppendError::InboxFull);
        }
        let id = MessageId::new(self.head + 1).ok_or(AppendError::Unavailable)?;
        self.head = id.get();
        let ordinal = self.ordinals.entry((draft.to, draft.from)).or_default();
        *ordinal += 1;
        let message = Message {
            id,
            from: draft.from,
            to: draft.to,
            ordinal: *ordinal,
            stored_at: StoredAt::now(),
            timestamp: draft.timestamp,
            content: draft.content,
        };
        let first = FirstTry { to: draft.to, id, at: Instant::now() };
        let client_id = match draft.resend {
            ResendKey::None => None,
            ResendKey::Packet(digest) => {
                self.packets.insert(digest, first);
                None
            }
            ResendKey::Client { id, .. } => {
                self.names.insert((draft.from, id.clone()), first);
                Some(id)
            }
        };
        let previous = inbox.messages.last().map(|last| Cursor::from(last.message.id));
        let held = Held { message, client_id };
        let entry = entry(&self.profiles, &held);
        inbox.messages.push(held);
        inbox.unread.insert(id);
        let previous = Some(previous.unwrap_or(Cursor::START));
        let news = Announcement::Stored(Stored { entry, previous, origin: draft.origin });
        Ok((Appended { id, duplicate: false }, vec![news]))
    }

    /// The message that an earlier try of the same packet became.
    fn first_try(&self, draft: &Draft, rules: Rules) -> Result<Option<MessageId>, AppendError> {
        let (id, again) = match &draft.resend {
            ResendKey::None => return Ok(None),
            ResendKey::Packet(digest) => {
                let first = self.packets.get(digest);
                let known = first.filter(|first| first.at.elapsed() < rules.resend_window);
                return Ok(known.map(|first| first.id));
            }
            ResendKey::Client { id, again } => (id, *again),
        };
        let first = self.names.get(&(draft.from, id.clone()));
        let first = match first.filter(|first| first.at.elapsed() < rules.dedup_window) {
            Some(first) if first.to != draft.to => return Err(AppendError::IdReused),
            Some(first) => {
                match self.held(draft.to).iter().find(|held| held.message.id == first.id) {
                    // Of a message that is gone nobody knows any more what it said.
                    None => return Ok(Some(first.id)),
                    found => found,
                }
            }
            None if again => self.held(draft.to).iter().rfind(|held| {
                held.message.from == draft.from && held.client_id.as_ref() == Some(id)
            }),
            None => None,
        };
        match first {
            Some(first) if first.message.content != draft.content => Err(AppendError::IdReused),
            first => Ok(first.map(|first| first.message.id)),
        }
    }

    /// The messages of an inbox.
    pub(super) fn held(&self, inbox: UserId) -> &[Held] {
        self.inboxes.get(&inbox).map_or(&[], |inbox| &inbox.messages)
    }

    pub(super) fn page(&self, inbox: UserId, span: Span) -> Page {
        let head = Cursor(self.head);
        let end = span.until.map_or(head, |until| until.min(head));
        let up_to = end.max(span.after);
        let complete = span.unread_only || self.gone_of(inbox) <= span.after;
        let mut page = Page { entries: Vec::new(), up_to, head, complete };
        let mut bytes = 0;
        for held in self.held(inbox) {
            let message = &held.message;
            let at = Cursor::from(message.id);
            let wanted = !span.unread_only || !self.is_read(message);
            if at <= span.after || at > end || !wanted {
                continue;
            }
            if page.entries.len() == PAGE_MESSAGES || bytes >= PAGE_BYTES {
                page.up_to = Cursor(message.id.get() - 1);
                break;
            }
            bytes += message.content.len();
            page.entries.push(entry(&self.profiles, held));
        }
        page
    }

    pub(super) fn inbox_head(&self, inbox: UserId) -> Cursor {
        let newest = self.held(inbox).last().map(|last| Cursor::from(last.message.id));
        newest.unwrap_or_default().max(self.gone_of(inbox))
    }

    fn gone_of(&self, inbox: UserId) -> Cursor {
        self.gone.get(&inbox).copied().unwrap_or_default()
    }

    /// Takes away all that concerns a user but for the ordinals, which go on.
    pub(super) fn erase(&mut self, user: UserId) -> Erased {
        let mut erased = Erased::default();
        for (&inbox, contents) in &mut self.inboxes {
            contents.messages.retain(|held| {
                let message = &held.message;
                let stays = inbox != user && message.from != user.into();
                if !stays {
                    contents.unread.remove(&message.id);
                    let gone = self.gone.entry(inbox).or_default();
                    *gone = (*gone).max(message.id.into());
                    erased.messages += 1;
                }
                stays
            });
        }
        self.profiles.remove(&user);
        erased
    }

    pub(super) fn is_read(&self, message: &Message) -> bool {
        let inbox = self.inboxes.get(&message.to);
        inbox.is_some_and(|inbox| !inbox.unread.contains(&message.id))
    }

    /// Marks what was seen, and gives a receipt to each whose messages were unread.
    pub(super) fn mark_read(
        &mut self,
        reader: UserId,
        seen: Seen,
        origin: Option<ConnectionId>,
    ) -> News {
        let Some(inbox) = self.inboxes.get_mut(&reader) else {
            return News::new();
        };
        let wanted: Box<dyn Fn(&Message) -> bool> = match seen {
            Seen::Ids(ids) => {
                let ids: BTreeSet<MessageId> = ids.into_iter().collect();
                Box::new(move |message| ids.contains(&message.id))
            }
            Seen::UpTo { peer, id } => {
                Box::new(move |message| message.from == peer && message.id <= id)
            }
        };
        let mut newly: BTreeMap<Sender, Vec<MessageId>> = BTreeMap::new();
        for Held { message, .. } in &inbox.messages {
            if wanted(message) && inbox.unread.remove(&message.id) {
                newly.entry(message.from).or_default().push(message.id);
            }
        }
        let mut news = News::new();
        for (from, ids) in newly {
            for ids in ids.chunks(RECEIPT_IDS) {
                let ids = ids.to_vec();
                news.push(Announcement::Read(ReadReceipt { reader, from, ids, origin }));
            }
        }
        news
    }

    pub(super) fn profile(&self, of: Sender) -> Arc<Profile> {
        profile(&self.profiles, of)
    }

    /// Everybody with a profile or a conversation, behind `after`.
    pub(super) fn users(&self, after: Option<UserId>, limit: usize) -> Vec<UserId> {
        let mut users: BTreeSet<UserId> = self.profiles.keys().copied().collect();
        for message in self.inboxes.values().flat_map(|inbox| &inbox.messages) {
            users.insert(message.message.to);
            if let Sender::User(from) = message.message.from {
                users.insert(from);
            }
        }
        let behind = users.into_iter().filter(|user| after.is_none_or(|after| after < *user));
        behind.take(limit).collect()
    }

    /// All that is kept, or all that concerns one user: profiles, then messages by id.
    pub(super) fn records(&self, whose: Option<UserId>) -> Vec<Record> {
        let concerns = |user: UserId| whose.is_none_or(|whose| whose == user);
        let profiles: BTreeMap<_, _> =
            self.profiles.iter().filter(|(user, _)| concerns(**user)).collect();
        let mut messages = Vec::new();
        for Held { message, client_id } in self.inboxes.values().flat_map(|inbox| &inbox.messages) {
            let sent = match message.from {
                Sender::User(from) => concerns(from),
                Sender::System => false,
            };
            if sent || concerns(message.to) {
                let (message, client_id) = (message.clone(), client_id.clone());
                let read = self.is_read(&message);
                messages.push(Exported { message, client_id, read });
            }
        }
        messages.sort_by_key(|held| held.message.id);
        let profiles =
            profiles.into_iter().map(|(user, known)| Record::Profile(*user, (**known).clone()));
        let revocations = match whose {
            None => self.revocations().into_iter().map(Record::Revocation).collect(),
            Some(_) => Vec::new(),
        };
        profiles.chain(revocations).chain(messages.into_iter().map(Record::Message)).collect()
    }

    pub(super) fn set_profile(&mut self, user: UserId, claimed: &ClaimedProfile) {
        let profile = self.profiles.entry(user).or_default();
        *profile = Arc::new(claimed.over(profile));
    }
}

fn profile(profiles: &HashMap<UserId, Arc<Profile>>, of: Sender) -> Arc<Profile> {
    match of {
        Sender::User(user) => profiles.get(&user).cloned().unwrap_or_default(),
        Sender::System => Arc::default(),
    }
}

fn entry(profiles: &HashMap<UserId, Arc<Profile>>, held: &Held) -> Arc<Entry> {
    let Held { message, client_id } = held;
    let sender = profile(profiles, message.from);
    Arc::new(Entry { message: message.clone(), sender, client_id: client_id.clone() })
}
