//! A house to be moved: a store on sled in a folder, with all that a store can hold.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imserver::auth::{Revocation, TokenId};
use imserver::config::{self, Limits};
use imserver::ids::{MessageId, Sender, UserId};
use imserver::message::ClientMsgId;
use imserver::metrics::StoreMetrics;
use imserver::store::{
    ClaimedProfile, Cursor, Draft, Entry, PacketDigest, ResendKey, Seen, Span, Store, Stretch, sled,
};
use prometheus_client::registry::Registry;

/// Everybody in the house; user 8 is erased on the way and comes back.
pub const USERS: u64 = 8;

/// The mark of time of the first message.
pub const FIRST: u64 = 1_589_790_567;

pub fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

/// A draw that every run makes alike.
fn draws() -> fastrand::Rng {
    fastrand::Rng::with_seed(7)
}

/// The folder of a server, with a store of which volumes are soon full.
pub struct House<'a>(pub &'a Path);

impl House<'_> {
    pub fn open(&self) -> sled::SledStore {
        if !self.0.exists() {
            fs::create_dir(self.0).unwrap();
        }
        fs::set_permissions(self.0, fs::Permissions::from_mode(0o700)).unwrap();
        let config = config::Store {
            path: self.0.to_owned(),
            cache_bytes: 16 << 20,
            volume_messages: 300,
            // A name may come twice, as it may in stores that have lived for longer.
            dedup_window: Duration::ZERO,
            resend_window: Duration::ZERO,
            ..config::Store::default()
        };
        let metrics = StoreMetrics::register(&mut Registry::default());
        sled::open(&config, &Limits::default(), metrics).unwrap().0
    }

    /// Lets everybody write to everybody, and to themselves, and the system too.
    pub async fn fill(&self, count: u64, mark: &str) {
        let store = self.open();
        let mut draws = draws();
        let mut receipts = Vec::new();
        let twice = Draft { resend: named_key("twice", false), ..draft(1, 2, mark) };
        receipts.push(store.append(twice).await.unwrap());
        for number in 0..count {
            let from = Sender::new(draws.u64(0..=USERS)).unwrap();
            let to = user(draws.u64(1..=USERS));
            let content = match draws.u8(..) {
                0 => "长".repeat(20_000),
                1..=9 => format!("\u{0}\r\n\"{number}\\ {mark}"),
                _ => format!("{mark} {number}"),
            };
            let resend = match number % 3 {
                0 => ResendKey::None,
                1 => packet(number, mark),
                _ => named_key(&format!("{mark}-{number}"), false),
            };
            let timestamp = format!("{}", FIRST + number);
            let draft = Draft { from, to, timestamp, content, resend, origin: None };
            receipts.push(store.append(draft).await.unwrap());
        }
        for receipt in receipts {
            receipt.await.unwrap();
        }
        store.close().await.unwrap();
    }

    /// Profiles, read flags here and there, revocations, and somebody who was erased.
    pub async fn live_in(&self) {
        let store = self.open();
        let mut draws = draws();
        for number in 1..USERS {
            let name = Some(format!("user {number} 明"));
            let picture = (number % 2 == 0).then(|| "https://a.example/p.png".to_owned());
            store.set_profile(user(number), ClaimedProfile { name, picture }).await.unwrap();
            let seen = inbox(&store, number).await;
            for peer in 0..USERS {
                let of: Vec<MessageId> = seen
                    .iter()
                    .map(|entry| &entry.message)
                    .filter(|message| message.from.get() == peer)
                    .map(|message| message.id)
                    .collect();
                let Some(some) = of.get(of.len() / 2) else { continue };
                if number % 3 > 0 {
                    let peer = Sender::new(peer).unwrap();
                    let seen = Seen::UpTo { peer, id: *some };
                    store.mark_read(user(number), seen, None).await.unwrap();
                }
                let islands = of.iter().filter(|_| draws.u8(..) < 40).copied().collect();
                store.mark_read(user(number), Seen::Ids(islands), None).await.unwrap();
            }
        }
        store.erase(user(USERS)).await.unwrap();
        let far = now() + 100_000;
        let jti = TokenId::new("leaked").unwrap();
        store.revoke(Revocation::Token { jti, until: far }).await.unwrap();
        let subject = Revocation::Subject { user: user(3), issued_up_to: now(), until: far };
        store.revoke(subject).await.unwrap();
        store.revoke(Revocation::Disabled { user: user(5) }).await.unwrap();
        store.close().await.unwrap();
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The key of a packet that its client gave no name.
pub fn packet(number: u64, mark: &str) -> ResendKey {
    let mark = u128::from(mark.as_bytes()[0]) << 64;
    ResendKey::Packet(PacketDigest((mark | u128::from(number)).to_be_bytes()))
}

pub fn draft(from: u64, to: u64, content: &str) -> Draft {
    Draft {
        from: Sender::new(from).unwrap(),
        to: user(to),
        timestamp: "1".to_owned(),
        content: content.to_owned(),
        resend: ResendKey::None,
        origin: None,
    }
}

pub fn named_key(name: &str, again: bool) -> ResendKey {
    ResendKey::Client { id: ClientMsgId::new(name).unwrap(), again }
}

pub async fn pages(store: &dyn Store, of: u64, after: u64, unread_only: bool) -> Vec<Arc<Entry>> {
    let mut found = Vec::new();
    let mut after = MessageId::new(after).map_or(Cursor::START, Cursor::from);
    loop {
        let span = Span { after, until: None, unread_only };
        let page = store.read_inbox(user(of), span).await.unwrap();
        found.extend(page.entries);
        if page.up_to >= page.head {
            return found;
        }
        after = page.up_to;
    }
}

pub async fn inbox(store: &dyn Store, of: u64) -> Vec<Arc<Entry>> {
    pages(store, of, 0, false).await
}

/// All that a client could ask for, with the ids left out where they are new ones.
pub async fn everything(store: &dyn Store, with_ids: bool) -> Vec<String> {
    let mut said = Vec::new();
    let shown = |id: MessageId| if with_ids { id.get() } else { 0 };
    for of in 1..=USERS {
        for entry in inbox(store, of).await {
            let mut entry = (*entry).clone();
            let id = shown(entry.message.id);
            entry.message.id = MessageId::new(1).unwrap();
            said.push(format!("{id} {entry:?}"));
        }
        let unread = pages(store, of, 0, true).await;
        let unread = unread.iter().map(|it| (shown(it.message.id), it.message.ordinal));
        said.push(format!("{of} unread: {:?}", unread.collect::<Vec<_>>()));
        if with_ids {
            said.push(format!("{of} reaches {:?}", store.inbox_head(user(of)).await.unwrap()));
        }
        said.extend(shown_to(store, of, with_ids).await);
    }
    said.extend(beside(store).await);
    said
}

/// The same without ids, and without an order between the messages of different senders in an
/// inbox: of several partitions each has its own, which a millisecond turns round on the way.
pub async fn shown(store: &dyn Store) -> Vec<String> {
    let mut said = Vec::new();
    for of in 1..=USERS {
        for unread_only in [false, true] {
            let mut entries = pages(store, of, 0, unread_only).await;
            entries.sort_by_key(|entry| entry.message.from);
            said.extend(entries.iter().map(|entry| {
                let mut entry = Entry::clone(entry);
                entry.message.id = MessageId::new(1).unwrap();
                format!("{unread_only} {entry:?}")
            }));
        }
        said.extend(shown_to(store, of, false).await);
    }
    said.extend(beside(store).await);
    said
}

/// What a user is shown: who they are, the list of their conversations, and these.
async fn shown_to(store: &dyn Store, of: u64, with_ids: bool) -> Vec<String> {
    let shown = |id: MessageId| if with_ids { id.get() } else { 0 };
    let mut said = vec![format!("{of} is {:?}", store.profile(user(of)).await.unwrap())];
    let list = store.conversations(user(of), None, 100).await.unwrap();
    said.push(format!("{of} has {} unread", list.unread_total));
    let list: Vec<String> = list
        .conversations
        .iter()
        .map(|it| {
            let last = &it.last.message;
            let id = shown(last.id);
            format!("{:?} {} {} {id} {:?}", it.peer, it.unread, last.content, it.profile)
        })
        .collect();
    said.extend(list);
    for peer in 0..=USERS {
        let peer = Sender::new(peer).unwrap();
        let mut stretch = Stretch::Newest;
        while let Some(page) = store.history(user(of), peer, stretch, 37).await.unwrap() {
            for it in page.entries.iter().rev() {
                let (id, message) = (shown(it.message.id), &it.message);
                let line = format!("{of} {peer:?} {id} {} {}", message.content, it.read);
                said.push(line);
            }
            let Some(older) = page.older else { break };
            stretch = Stretch::Before(older);
        }
    }
    said
}

/// What is kept beside messages and profiles.
async fn beside(store: &dyn Store) -> Vec<String> {
    let mut revocations: Vec<String> =
        store.revocations().await.unwrap().iter().map(|it| format!("{it:?}")).collect();
    revocations.sort_unstable();
    revocations.push(format!("{:?}", store.users(None, 1000).await.unwrap()));
    revocations
}
