//! A connection's place in its user's inbox, and what comes next from there.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::hub::{News, Subscription};
use crate::ids::{MessageId, Sender, UserId};
use crate::protocol::reply;
use crate::store::{Cursor, Entry, Page, Span, Store, StoreError};

/// The cursor and what is known to lie behind it.
#[derive(Debug)]
pub(super) struct Inbox {
    user: UserId,
    subscription: Subscription,
    cursor: Cursor,
    stage: Stage,
    /// Notes that this very connection wrote to its own user: they go to the others.
    own: BTreeSet<MessageId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Unread messages are read up to where the log reached at the first read.
    Replay { until: Option<Cursor> },
    /// The log is ahead of the cursor by more than what is in hand.
    Behind,
    /// The cursor stands at the end.
    Live,
}

impl Inbox {
    pub(super) fn new(user: UserId, subscription: Subscription) -> Self {
        let stage = Stage::Replay { until: None };
        Self { user, subscription, cursor: Cursor::START, stage, own: BTreeSet::new() }
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

    /// The frames that come next: from hand when they follow the cursor, otherwise a
    /// page of the log.
    pub(super) async fn next(&mut self, store: &dyn Store) -> Result<Vec<Bytes>, StoreError> {
        let frames = match self.stage {
            Stage::Live => {
                let news = self.subscription.take();
                self.in_hand(news)
            }
            Stage::Behind => {
                let span = Span { after: self.cursor, until: None, unread_only: false };
                let page = store.read_inbox(self.user, span).await?;
                if page.up_to >= page.head {
                    self.stage = Stage::Live;
                }
                self.of_page(&page)
            }
            Stage::Replay { until } => {
                let span = Span { after: self.cursor, until, unread_only: true };
                let page = store.read_inbox(self.user, span).await?;
                let until = until.unwrap_or(page.head);
                // What was announced meanwhile lies behind `until`: a last look tells.
                self.stage = match page.up_to >= until {
                    true => Stage::Live,
                    false => Stage::Replay { until: Some(until) },
                };
                self.of_page(&page)
            }
        };
        Ok(frames)
    }

    fn in_hand(&mut self, news: News) -> Vec<Bytes> {
        let mut frames = Vec::with_capacity(news.deliveries.len());
        for delivery in news.deliveries {
            let id = delivery.entry().message.id;
            if Cursor::from(id) <= self.cursor {
                continue;
            }
            if !delivery.follows(self.cursor) {
                self.stage = Stage::Behind;
                return frames;
            }
            self.cursor = id.into();
            if self.is_for_us(delivery.entry()) {
                frames.push(delivery.frame(encode));
            }
        }
        if news.behind {
            self.stage = Stage::Behind;
        }
        frames
    }

    fn of_page(&mut self, page: &Page) -> Vec<Bytes> {
        let mut frames = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            if self.is_for_us(entry) {
                frames.push(encode(entry));
            }
        }
        self.cursor = page.up_to;
        frames
    }

    /// Everything but the notes that this connection wrote itself.
    fn is_for_us(&mut self, entry: &Entry) -> bool {
        let message = &entry.message;
        message.from != Sender::User(self.user) || !self.own.remove(&message.id)
    }
}

fn encode(entry: &Entry) -> Bytes {
    reply::message(&entry.message, &entry.sender).into()
}
