//! A store that does what the test tells it.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::rig::Plan;
use crate::auth::Revocation;
use crate::ids::{ConnectionId, MessageId, Sender, UserId};
use crate::message::{ClientMsgId, Message, Profile, StoredAt};
use crate::store::{
    Announcement, AppendError, Appended, Backup, ClaimedProfile, Conversations, Cursor, Draft,
    Entry, Erased, Export, Health, History, HistoryCursor, Page, ReadReceipt, Receipt, Seen, Span,
    Store, StoreError, Stored, Stretch, Tail,
};

/// A message in the store's line, whose outcome the test decides.
#[derive(Debug)]
pub(super) struct InLine {
    pub(super) draft: Draft,
    reply: oneshot::Sender<Result<Appended, AppendError>>,
}

/// A store that does what it is told.
#[derive(Debug)]
pub(super) struct Cue {
    /// Room in the line; each message takes a place for good.
    pub(super) room: Semaphore,
    line: Mutex<Vec<InLine>>,
    inbox: Mutex<Vec<Stored>>,
    tail: mpsc::Sender<Vec<Announcement>>,
    /// What reads come to; `None` is nothing at all.
    reading: Option<Result<(), StoreError>>,
    lapsed: u64,
    /// What the profile comes to; `None` is nothing at all.
    introducing: Option<Result<(), AppendError>>,
    /// What read flags come to once there is a permit.
    pub(super) marking: Arc<Semaphore>,
    pub(super) marked: Arc<Mutex<Vec<u64>>>,
}

impl Cue {
    /// A store as it is planned, and what it announces.
    pub(super) fn new(plan: &Plan) -> (Arc<Self>, Tail) {
        let (tail, announcements) = mpsc::channel(1000);
        let store = Self {
            room: Semaphore::new(plan.room),
            line: Mutex::default(),
            inbox: Mutex::default(),
            tail,
            reading: plan.reading.clone(),
            lapsed: plan.lapsed,
            introducing: plan.introducing.clone(),
            marking: Arc::new(Semaphore::new(0)),
            marked: Arc::default(),
        };
        (Arc::new(store), announcements)
    }

    /// What is in the line, in order.
    pub(super) fn in_line(&self) -> Vec<String> {
        let line = self.line.lock().unwrap();
        line.iter().map(|one| one.draft.content.clone()).collect()
    }

    /// Takes the first message out of the line.
    pub(super) fn take(&self) -> InLine {
        self.line.lock().unwrap().remove(0)
    }

    /// The first message of the line comes to this.
    pub(super) fn settle(&self, outcome: Result<Appended, AppendError>) {
        let _ = self.take().reply.send(outcome);
    }

    /// The first message of the line is stored, and announced.
    pub(super) async fn store(&self) -> u64 {
        let InLine { draft, reply } = self.take();
        let mut stored = self.arrive_unheard(draft.from.get(), draft.to.get(), &draft.content);
        stored.origin = draft.origin;
        let id = stored.entry.message.id.get();
        self.announce(Announcement::Stored(stored)).await;
        let _ = reply.send(Ok(Appended { id: MessageId::new(id).unwrap(), duplicate: false }));
        id
    }

    /// A message from anybody is there, and announced.
    pub(super) async fn arrive(&self, from: u64, to: u64, content: &str) -> u64 {
        let stored = self.arrive_unheard(from, to, content);
        let id = stored.entry.message.id.get();
        self.announce(Announcement::Stored(stored)).await;
        id
    }

    /// A message under its sender's own name is there, and announced.
    pub(super) async fn arrive_named(&self, from: u64, to: u64, content: &str, name: &str) {
        let mut stored = self.arrive_unheard(from, to, content);
        let client_id = ClientMsgId::new(name);
        stored.entry = Arc::new(Entry { client_id, ..Entry::clone(&stored.entry) });
        self.announce(Announcement::Stored(stored)).await;
    }

    /// Takes the first message out of the line, for good.
    pub(super) fn take_draft(&self) -> Draft {
        self.take().draft
    }

    /// Somebody has read messages.
    pub(super) async fn read(&self, reader: u64, from: u64, ids: &[u64]) {
        let ids = ids.iter().map(|id| MessageId::new(*id).unwrap()).collect();
        let (reader, from) = (UserId::new(reader).unwrap(), Sender::new(from).unwrap());
        self.announce(Announcement::Read(ReadReceipt { reader, from, ids, origin: None })).await;
    }

    async fn announce(&self, announcement: Announcement) {
        self.tail.send(vec![announcement]).await.unwrap();
    }

    /// A message from anybody is there; its announcement is lost.
    pub(super) fn arrive_unheard(&self, from: u64, to: u64, content: &str) -> Stored {
        let mut inbox = self.inbox.lock().unwrap();
        let id = inbox.len() as u64 + 1;
        let message = Message {
            id: MessageId::new(id).unwrap(),
            from: Sender::new(from).unwrap(),
            to: UserId::new(to).unwrap(),
            ordinal: id,
            stored_at: StoredAt(0),
            timestamp: String::new(),
            content: content.to_owned(),
        };
        let entry = Arc::new(Entry { message, sender: Arc::default(), client_id: None });
        let before = inbox.iter().rev().find(|a| a.entry.message.to.get() == to);
        let before = before.map_or(Cursor::START, |a| a.entry.message.id.into());
        let stored = Stored { entry, previous: Some(before), origin: None };
        inbox.push(stored.clone());
        stored
    }
}

impl Store for Cue {
    fn append(&self, draft: Draft) -> BoxFuture<'_, Result<Receipt<Appended>, AppendError>> {
        Box::pin(async move {
            let room = self.room.acquire().await;
            room.map_err(|_| AppendError::Unavailable)?.forget();
            let (reply, outcome) = oneshot::channel();
            self.line.lock().unwrap().push(InLine { draft, reply });
            let outcome = outcome.map(|outcome| outcome.unwrap_or(Err(AppendError::Unavailable)));
            Ok(outcome.boxed())
        })
    }

    fn read_inbox(&self, inbox: UserId, span: Span) -> BoxFuture<'_, Result<Page, StoreError>> {
        let log = self.inbox.lock().unwrap();
        let head = log.last().map_or(Cursor::START, |a| a.entry.message.id.into());
        let wanted = log.iter().map(|a| &a.entry).filter(|entry| {
            entry.message.to == inbox && Cursor::from(entry.message.id) > span.after
        });
        let entries = wanted.cloned().collect();
        let page = Page { entries, up_to: head, head, complete: true };
        match self.reading.clone() {
            Some(outcome) => std::future::ready(outcome.map(|()| page)).boxed(),
            None => std::future::pending().boxed(),
        }
    }

    fn inbox_head(&self, inbox: UserId) -> BoxFuture<'_, Result<Cursor, StoreError>> {
        let log = self.inbox.lock().unwrap();
        let newest = log.iter().rev().find(|stored| stored.entry.message.to == inbox);
        let head = newest.map_or(Cursor::START, |stored| stored.entry.message.id.into());
        std::future::ready(Ok(head)).boxed()
    }

    fn lapsed(&self) -> Cursor {
        MessageId::new(self.lapsed).map_or(Cursor::START, Cursor::from)
    }

    fn history(
        &self,
        _: UserId,
        _: Sender,
        _: Stretch,
        _: usize,
    ) -> BoxFuture<'_, Result<Option<History>, StoreError>> {
        unreachable!("no session reads history")
    }

    fn conversations(
        &self,
        _: UserId,
        _: Option<HistoryCursor>,
        _: usize,
    ) -> BoxFuture<'_, Result<Conversations, StoreError>> {
        unreachable!("no session lists conversations")
    }

    fn profile(&self, _: UserId) -> BoxFuture<'_, Result<Arc<Profile>, StoreError>> {
        unreachable!("no session asks for a profile")
    }

    fn users(&self, _: Option<UserId>, _: usize) -> BoxFuture<'_, Result<Vec<UserId>, StoreError>> {
        unreachable!("no session lists users")
    }

    fn mark_read(&self, _: UserId, seen: Seen, _: Option<ConnectionId>) -> Receipt<()> {
        let Seen::Ids(ids) = seen else { unreachable!("sessions name each message") };
        let (permit, marked) = (Arc::clone(&self.marking), Arc::clone(&self.marked));
        Box::pin(async move {
            permit.acquire().await.unwrap().forget();
            marked.lock().unwrap().extend(ids.into_iter().map(MessageId::get));
            Ok(())
        })
    }

    fn set_profile(&self, _: UserId, _: ClaimedProfile) -> Receipt<()> {
        match self.introducing.clone() {
            Some(outcome) => std::future::ready(outcome).boxed(),
            None => std::future::pending().boxed(),
        }
    }

    fn erase(&self, _: UserId) -> Receipt<Erased> {
        unreachable!("no session erases anybody")
    }

    fn revoke(&self, _: Revocation) -> Receipt<()> {
        unreachable!("no session revokes")
    }

    fn enable(&self, _: UserId) -> Receipt<()> {
        unreachable!("no session lets anybody in")
    }

    fn revocations(&self) -> BoxFuture<'_, Result<Vec<Revocation>, StoreError>> {
        unreachable!("no session asks for revocations")
    }

    fn backup(&self) -> BoxFuture<'_, Result<Backup, StoreError>> {
        unreachable!("no session makes a backup")
    }

    fn export(&self, _: Option<UserId>) -> BoxFuture<'_, Result<Export, StoreError>> {
        unreachable!("no session exports")
    }

    fn health(&self) -> Health {
        Health::Ready
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        std::future::ready(Ok(())).boxed()
    }
}
