//! What goes, what stays, and that the store is whole at every step of it.

mod model;

use std::collections::BTreeMap;

use tempfile::TempDir;

use super::super::keys::{self, Pair};
use super::super::tests::{bare, draft, folder, named, named_again, open_at};
use super::super::{SledStore, census, manifest, reader, volume};
use super::*;
use crate::ids::{MessageId, Sender};
use crate::store::{Cursor, Draft, Entry, ResendKey, Seen, Span, Store};

fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

fn pair(from: u64, to: u64) -> Pair {
    Pair { to: user(to), from: Sender::new(from).unwrap() }
}

async fn send(store: &SledStore, from: u64, to: u64, resend: ResendKey) -> MessageId {
    let Pair { from, to } = pair(from, to);
    let receipt = store.append(Draft { from, to, resend, ..draft(0) }).await.unwrap();
    receipt.await.unwrap().id
}

async fn mark(store: &SledStore, reader: u64, ids: &[MessageId]) {
    store.mark_read(user(reader), Seen::Ids(ids.to_vec()), None).await.unwrap();
}

/// Enters a piece, as the thread does.
async fn enter(store: &SledStore, piece: Piece) {
    if !piece.is_empty() {
        store.ask(|reply| Request::Remove(piece, reply)).await.unwrap().await.unwrap();
    }
}

/// Takes everything that was read, however young; gives how much, and in how many pieces.
async fn sweep(store: &SledStore) -> (u64, u64) {
    let (mut from, mut messages, mut pieces) = (Some(0), 0, 0);
    while let Some(first) = from {
        let tree = store.shared.log().unwrap();
        let (piece, next) =
            removal::of_age(&tree, first, StoredAt(u64::MAX), store.shared.head()).unwrap();
        messages += piece.messages();
        pieces += u64::from(!piece.is_empty());
        enter(store, piece).await;
        from = next;
    }
    (messages, pieces)
}

async fn page(
    store: &SledStore,
    inbox: u64,
    after: Cursor,
    unread_only: bool,
) -> (Vec<MessageId>, bool) {
    let mut span = Span { after, until: None, unread_only };
    let (mut ids, mut complete) = (Vec::new(), true);
    loop {
        let page = store.read_inbox(user(inbox), span).await.unwrap();
        complete &= page.complete;
        ids.extend(page.entries.iter().map(|entry: &Arc<Entry>| entry.message.id));
        if page.up_to >= page.head {
            return (ids, complete);
        }
        span.after = page.up_to;
    }
}

fn count(store: &SledStore, tag: &[u8]) -> usize {
    store.shared.log().unwrap().scan_prefix(tag).count()
}

/// Closes the store and opens it again without its seal, so that it is counted.
async fn counted(folder: &TempDir, store: SledStore) -> SledStore {
    store.close().await.unwrap();
    drop(store);
    let whole = manifest::read(folder.path()).unwrap().unwrap();
    let unsealed = manifest::Manifest::new(whole.schema, whole.census(), None);
    manifest::write(folder.path(), &unsealed).unwrap();
    let found = bare(folder, |db| {
        let log = Log::load(folder.path(), (**db).clone()).unwrap();
        census::volumes(&log).unwrap();
        census::peers(&log).unwrap();
        census::take(&log)
    });
    assert_eq!(found.unwrap(), whole.census());
    open_at(folder.path()).unwrap().0
}

#[tokio::test]
async fn what_was_read_goes_and_what_is_unread_stays() {
    let folder = folder();
    let mut store = open_at(folder.path()).unwrap().0;
    let mut given = BTreeMap::<(u64, u64), Vec<MessageId>>::new();
    for turn in 0..600u64 {
        let (from, to) = [(1, 2), (2, 1), (3, 2)][turn as usize % 3];
        given.entry((from, to)).or_default().push(send(&store, from, to, ResendKey::None).await);
    }
    // All of one, none of another, and of the third some that lie behind an unread one.
    mark(&store, 2, &given[&(1, 2)]).await;
    mark(&store, 2, &given[&(3, 2)][..50]).await;
    mark(&store, 2, &given[&(3, 2)][60..]).await;
    assert_eq!(sweep(&store).await.0, 250);
    assert_eq!(count(&store, keys::COMMITS), 350, "a commit is gone with the last of its messages");
    let last = given[&(1, 2)][199];
    for _ in 0..2 {
        assert_eq!(page(&store, 1, Cursor::START, false).await, (given[&(2, 1)].clone(), true));
        let left = given[&(3, 2)][50..].to_vec();
        assert_eq!(page(&store, 2, Cursor::START, false).await, (left, false));
        assert!(page(&store, 2, last.into(), false).await.1);
        let unread = given[&(3, 2)][50..60].to_vec();
        assert_eq!(page(&store, 2, Cursor::START, true).await, (unread, true));
        assert_eq!(sweep(&store).await, (0, 0));
        // Marks of what is gone mark nothing.
        mark(&store, 2, &given[&(1, 2)]).await;
        store = counted(&folder, store).await;
    }
    let next = send(&store, 1, 2, ResendKey::None).await;
    let row = reader::newest(&store.shared.log().unwrap(), pair(1, 2), u64::MAX).unwrap().unwrap();
    assert_eq!((row.id, row.ordinal), (next, 201), "neither id nor ordinal is given twice");
}

#[tokio::test]
async fn pieces_are_small_and_each_leaves_a_whole_store() {
    let folder = folder();
    let mut store = open_at(folder.path()).unwrap().0;
    let mut receipts = Vec::new();
    for _ in 0..2000 {
        let draft = Draft { from: Sender::System, to: user(1), ..draft(0) };
        receipts.push(store.append(draft).await.unwrap());
    }
    let mut ids = Vec::new();
    for receipt in receipts {
        ids.push(receipt.await.unwrap().id);
    }
    for ids in ids.chunks(1000) {
        mark(&store, 1, ids).await;
    }
    let mut left = 2000;
    while left > 0 {
        let tree = store.shared.log().unwrap();
        let older_than = StoredAt(u64::MAX);
        let (piece, _) = removal::of_age(&tree, 0, older_than, store.shared.head()).unwrap();
        drop(tree);
        let messages = piece.messages();
        assert!((1..1024).contains(&messages), "{messages}");
        left -= messages;
        enter(&store, piece).await;
        store = counted(&folder, store).await;
    }
    assert_eq!(count(&store, keys::COMMITS), 0);
    assert_eq!(store.inbox_head(user(1)).await.unwrap(), Cursor::from(ids[1999]));
    assert!(send(&store, 0, 1, ResendKey::None).await > ids[1999]);
}

#[tokio::test]
async fn age_decides_and_a_clock_that_was_ahead_stops_nothing() {
    let folder = folder();
    let store = open_at(folder.path()).unwrap().0;
    let ids =
        [send(&store, 1, 2, ResendKey::None).await, send(&store, 1, 2, ResendKey::None).await];
    mark(&store, 2, &ids).await;
    let tree = store.shared.log().unwrap();
    let first = reader::commits(&tree, 0).next().unwrap().unwrap();
    let of = |older_than| {
        let (piece, _) = removal::of_age(&tree, 0, older_than, store.shared.head()).unwrap();
        piece.messages()
    };
    assert_eq!(of(first.stored_at), 0, "not older");
    assert_eq!(of(StoredAt(u64::MAX)), 2);
    // As if it had been written in the year 2100.
    let mut ahead = first.clone();
    ahead.stored_at = StoredAt(4_102_444_800_000);
    let key = keys::commit(first.first.get());
    tree.insert(&key, ahead.encode(&key)).unwrap();
    send(&store, 3, 2, ResendKey::None).await;
    let last = send(&store, 3, 2, ResendKey::None).await;
    store.mark_read(user(2), Seen::UpTo { peer: pair(3, 2).from, id: last }, None).await.unwrap();
    assert_eq!(of(StoredAt(u64::MAX)), 2, "those of the other pair");
}

#[tokio::test]
async fn names_go_with_their_messages() {
    let folder = folder();
    let mut store = open_at(folder.path()).unwrap().0;
    let mut ids = Vec::new();
    // Two full stretches and a part of a third.
    for number in 0..600u64 {
        ids.push(send(&store, 1, 2, named(&format!("n{number}"))).await);
    }
    let tree = store.shared.log().unwrap();
    let find = |tree: &Log, number: usize| {
        let name = crate::message::ClientMsgId::new(&format!("n{number}")).unwrap();
        let found = reader::find_named(tree, pair(1, 2), &name, store.shared.head()).unwrap();
        found.map(|record| record.message.id)
    };
    mark(&store, 2, &ids[..300]).await;
    sweep(&store).await;
    let stretches: Vec<_> = tree.scan_prefix(keys::NAMES).map(|row| row.unwrap().0).collect();
    assert_eq!(stretches, [keys::names(pair(1, 2), 2)], "the one that is wholly gone is removed");
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(find(&tree, number), (number >= 300).then_some(*id));
    }
    drop(tree);
    store = counted(&folder, store).await;
    // A later try of one that is gone is a message of its own: nothing tells any more.
    assert!(send(&store, 1, 2, named_again("n599")).await == ids[599]);
    mark(&store, 2, &ids[300..590]).await;
    sweep(&store).await;
    // The stretch that was begun to go is filled, with and without names.
    for number in 0..300 {
        let resend = if number < 100 { named(&format!("m{number}")) } else { ResendKey::None };
        send(&store, 1, 2, resend).await;
    }
    store = counted(&folder, store).await;
    let last = ids[599];
    store.mark_read(user(2), Seen::UpTo { peer: pair(1, 2).from, id: last }, None).await.unwrap();
    sweep(&store).await;
    counted(&folder, store).await;
}

#[tokio::test]
async fn a_resend_of_what_has_gone_is_known_for_its_window() {
    let folder = folder();
    let store = open_at(folder.path()).unwrap().0;
    let first = send(&store, 1, 2, named("a")).await;
    mark(&store, 2, &[first]).await;
    assert_eq!(sweep(&store).await.0, 1);
    assert_eq!(send(&store, 1, 2, named("a")).await, first);
    assert_eq!(send(&store, 1, 2, named_again("a")).await, first);
}

#[tokio::test]
async fn an_erasure_that_was_cut_short_goes_on_at_the_next_opening() {
    let folder = folder();
    let store = open_at(folder.path()).unwrap().0;
    for turn in 0..600u64 {
        send(&store, [1, 2, 4][turn as usize % 3], [2, 1, 5][turn as usize % 3], ResendKey::None)
            .await;
    }
    let claimed = crate::store::ClaimedProfile { name: Some("n".to_owned()), picture: None };
    store.set_profile(user(1), claimed).await.unwrap();
    let erasure = Erasure { up_to: store.shared.head().get() };
    enter(&store, Piece::begin(user(1), erasure)).await;
    let tree = store.shared.log().unwrap();
    let mut stage = Stage::Begin;
    let piece = removal::of_user(&tree, user(1), erasure, &mut stage).unwrap();
    drop(tree);
    assert!(piece.messages() < 400 && stage != Stage::End);
    enter(&store, piece).await;
    // It stops here, and later messages come wholly after.
    let late = send(&store, 1, 2, ResendKey::None).await;
    let store = counted(&folder, store).await;
    // The thread does one thing after the other: this one is behind what it found.
    assert_eq!(store.erase(user(9)).await.unwrap(), Erased::default());
    assert_eq!(count(&store, keys::ERASURES), 0);
    assert_eq!(page(&store, 2, Cursor::START, false).await.0, [late]);
    assert!(page(&store, 1, Cursor::START, false).await.0.is_empty());
    assert_eq!(page(&store, 5, Cursor::START, false).await.0.len(), 200);
    assert_eq!(store.profile(user(1)).await.unwrap().name, "");
    counted(&folder, store).await;
}

#[tokio::test]
async fn a_row_of_what_is_gone_that_is_gone_itself_is_noticed() {
    let folder = folder();
    let store = open_at(folder.path()).unwrap().0;
    let mut ids = Vec::new();
    for turn in 0..40u64 {
        ids.push(send(&store, 1 + turn % 2, 3, named(&format!("n{turn}"))).await);
    }
    mark(&store, 3, &ids[..30]).await;
    sweep(&store).await;
    store.erase(user(2)).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let rows: Vec<_> = bare(&folder, |db| db.iter().map(Result::unwrap).collect());
    let gone: Vec<_> = rows.iter().filter(|(key, _)| key.starts_with(keys::GONE)).collect();
    assert_eq!(gone.len(), 2);
    for (key, value) in rows {
        bare(&folder, |db| db.remove(&key).unwrap());
        assert!(open_at(folder.path()).is_err(), "{key:02x?} is gone and nobody noticed");
        bare(&folder, |db| db.insert(&key, value).unwrap());
    }
    open_at(folder.path()).unwrap();
}

/// Retention as the configuration orders it.
#[tokio::test]
async fn the_thread_takes_what_has_its_age() {
    let folder = folder();
    let age = Duration::from_millis(300);
    let store = super::super::tests::open_with(folder.path(), age).unwrap().0;
    let read = send(&store, 1, 2, ResendKey::None).await;
    mark(&store, 2, &[read]).await;
    let unread = send(&store, 1, 2, ResendKey::None).await;
    while page(&store, 2, Cursor::START, false).await.0 != [unread] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    counted(&folder, store).await;
}

/// It was tried every second, with a file that a row in the journal may name by now: who ended
/// the process in the middle of that had a store with a damaged volume.
#[tokio::test]
async fn where_nothing_is_written_any_more_no_volume_is_either() {
    let folder = folder();
    let (store, _tail) = open_at(folder.path()).unwrap();
    for number in 0..64 {
        send(&store, 1 + number % 5, 9, ResendKey::None).await;
    }
    store.shared.fail("the disk fails".to_owned());
    let (shared, line) = (Arc::clone(&store.shared), store.line.clone());
    let (_order, orders) = mpsc::channel(1);
    let unfinished = Vec::new();
    let remover = Remover { shared, line, orders, retention: None, unfinished, volume: 16 };
    tokio::task::spawn_blocking(move || remover.pack()).await.unwrap();
    assert!(!volume::folder(folder.path()).exists());
}
