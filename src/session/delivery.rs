//! A connection's place in its user's inbox, and what comes next from there.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::auth::TokenRef;
use crate::hub::{Delivery, Event, News, Subscription};
use crate::ids::{ConnectionId, MessageId, Sender, UserId};
use crate::protocol::{Dialect, reply};
use crate::store::{Cursor, Entry, Page, Span, Store, StoreError};

/// The cursor and what is known to lie behind it.
#[derive(Debug)]
pub(super) struct Inbox {
    user: UserId,
    subscription: Subscription,
    dialect: Dialect,
    cursor: Cursor,
    stage: Stage,
    /// The newest message of the inbox that is known of.
    head: Cursor,
    /// Notes that this very connection wrote to its own user: they go to the others.
    own: BTreeSet<MessageId>,
    /// The client is to be told that it is up to date, and whether it misses nothing.
    report: Option<Complete>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is to be found out whether the client's own cursor lies within the inbox.
    Resume { after: Option<Cursor> },
    /// The log is read up to where it reached at the first read.
    Replay { until: Option<Cursor>, unread_only: bool },
    /// The log is ahead of the cursor by more than what is in hand.
    Behind,
    /// The cursor stands at the end.
    Live,
}

type Complete = bool;

impl Inbox {
    pub(super) fn new(
        user: UserId,
        subscription: Subscription,
        dialect: Dialect,
        after: Option<Cursor>,
    ) -> Self {
        let stage = match dialect {
            Dialect::Document => Stage::Replay { until: None, unread_only: true },
            Dialect::V2 => Stage::Resume { after },
        };
        let (cursor, head, own) = (Cursor::START, Cursor::START, BTreeSet::new());
        Self { user, subscription, dialect, cursor, stage, head, own, report: None }
    }

    /// The connection that all this is for.
    pub(super) fn connection(&self) -> ConnectionId {
        self.subscription.connection()
    }

    /// How many connections there are in all.
    pub(super) fn connections(&self) -> usize {
        self.subscription.connections()
    }

    /// Whether the connection was told to go, by an administrator.
    pub(super) fn is_sent_away(&self) -> bool {
        self.subscription.is_sent_away()
    }

    /// Lets the roll know of a further token.
    pub(super) fn refreshed(&self, token: Arc<TokenRef>) {
        self.subscription.refreshed(token);
    }

    /// Tells `to` that the user is typing.
    pub(super) fn typing(&self, to: UserId) {
        self.subscription.typing(to);
    }

    /// Remembers a note that this connection wrote.
    pub(super) fn own(&mut self, id: MessageId) {
        if Cursor::from(id) > self.cursor {
            self.own.insert(id);
        }
    }

    /// Waits until there may be something to deliver. Cancel safe.
    ///
    /// While a note of this connection is `under_way`, nothing is: until its id is
    /// known it could not be told from a note of another connection.
    pub(super) async fn ready(&self, under_way: bool) {
        if under_way {
            std::future::pending::<()>().await;
        }
        if self.stage == Stage::Live {
            self.subscription.woken().await;
        }
    }

    /// The frames that come next where the log need not be read for them: those of what was
    /// handed over behind the cursor.
    pub(super) fn in_hand(&mut self) -> Option<Vec<Bytes>> {
        if self.stage != Stage::Live {
            return None;
        }
        let news = self.subscription.take();
        let frames = self.of_news(news);
        Some(self.with_report(frames))
    }

    /// The frames that come next, with a page of the log where they are not in hand.
    pub(super) async fn next(&mut self, store: &dyn Store) -> Result<Vec<Bytes>, StoreError> {
        let frames = match self.stage {
            Stage::Resume { after } => {
                let head = store.inbox_head(self.user).await?;
                self.resume(after, head, store.lapsed());
                Vec::new()
            }
            Stage::Live => return Ok(self.in_hand().unwrap_or_default()),
            Stage::Behind => {
                let page = self.page(store, None, false).await?;
                if page.up_to >= page.head {
                    self.stage = Stage::Live;
                }
                self.of_page(&page)
            }
            Stage::Replay { until, unread_only } => {
                let page = self.page(store, until, unread_only).await?;
                let until = until.unwrap_or(page.head);
                // What was announced meanwhile lies behind `until`: a last look tells.
                self.stage = match page.up_to >= until {
                    true => Stage::Live,
                    false => Stage::Replay { until: Some(until), unread_only },
                };
                self.of_page(&page)
            }
        };
        Ok(self.with_report(frames))
    }

    /// With the word that the client is up to date, once it is.
    fn with_report(&mut self, mut frames: Vec<Bytes>) -> Vec<Bytes> {
        if self.stage == Stage::Live
            && let Some(complete) = self.report.take()
        {
            frames.push(reply::up_to_date(self.user, self.head.get(), complete).into());
        }
        frames
    }

    /// Begins behind the client's own cursor; where that is none of this inbox, or has `lapsed`,
    /// with the unread messages.
    fn resume(&mut self, after: Option<Cursor>, head: Cursor, lapsed: Cursor) {
        self.head = head;
        let is_known = |after: &Cursor| match *after {
            Cursor::START => true,
            // All is gone since, and nothing is missed.
            after if after == head => true,
            after => lapsed < after && after < head,
        };
        let known = after.filter(is_known);
        self.report = Some(known == after);
        self.cursor = known.unwrap_or_default();
        self.stage = Stage::Replay { until: None, unread_only: known.is_none() };
    }

    async fn page(
        &self,
        store: &dyn Store,
        until: Option<Cursor>,
        unread_only: bool,
    ) -> Result<Page, StoreError> {
        store.read_inbox(self.user, Span { after: self.cursor, until, unread_only }).await
    }

    fn of_news(&mut self, news: News) -> Vec<Bytes> {
        let mut frames = Vec::with_capacity(news.events.len());
        for event in news.events {
            match event {
                Event::Message(delivery) => frames.extend(self.message_in_hand(&delivery)),
                Event::Sent(delivery) => frames.push(delivery.frame(encode_own)),
                Event::Read(receipt) => {
                    frames.push(reply::read(self.user, receipt.reader, &receipt.ids).into());
                }
                Event::Typing(from) => frames.push(reply::typing(self.user, from).into()),
            }
        }
        if news.behind {
            self.stage = Stage::Behind;
        }
        if news.lost {
            // What was written or read on other devices is in no inbox: only the history
            // has it, and the client must be told to look there.
            self.report = Some(false);
        }
        frames
    }

    /// The frame of a message that follows the cursor. One that does not means that the
    /// log is ahead: it is then read from there, and so are all behind it.
    fn message_in_hand(&mut self, delivery: &Delivery) -> Option<Bytes> {
        let entry = delivery.entry();
        let id = Cursor::from(entry.message.id);
        if id <= self.cursor || self.stage == Stage::Behind {
            return None;
        }
        if !delivery.follows(self.cursor) {
            self.stage = Stage::Behind;
            return None;
        }
        self.reach(entry);
        if !self.is_for_us(entry) {
            return None;
        }
        match self.shows_name(entry) {
            true => Some(encode_own(entry)),
            false => Some(delivery.frame(encode)),
        }
    }

    fn of_page(&mut self, page: &Page) -> Vec<Bytes> {
        let mut frames = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            self.reach(entry);
            if self.is_for_us(entry) {
                frames.push(if self.shows_name(entry) { encode_own(entry) } else { encode(entry) });
            }
        }
        self.cursor = page.up_to;
        if !page.complete && self.dialect == Dialect::V2 {
            self.report = Some(false);
        }
        frames
    }

    fn reach(&mut self, entry: &Entry) {
        self.cursor = entry.message.id.into();
        self.head = self.head.max(self.cursor);
    }

    /// Everything but the notes that this connection wrote itself.
    fn is_for_us(&mut self, entry: &Entry) -> bool {
        !self.is_own(entry) || !self.own.remove(&entry.message.id)
    }

    fn is_own(&self, entry: &Entry) -> bool {
        entry.message.from == Sender::User(self.user)
    }

    /// Whether the sender's own name for the packet is ours to see.
    fn shows_name(&self, entry: &Entry) -> bool {
        self.dialect == Dialect::V2 && self.is_own(entry)
    }
}

fn encode(entry: &Entry) -> Bytes {
    reply::message(&entry.message, &entry.sender, None).into()
}

fn encode_own(entry: &Entry) -> Bytes {
    reply::message(&entry.message, &entry.sender, entry.client_id.as_ref()).into()
}
