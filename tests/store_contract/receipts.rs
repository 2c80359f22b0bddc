//! Read receipts, and reading everything up to a place.

use std::collections::{BTreeMap, BTreeSet};

use imserver::ids::{ConnectionId, MessageId};
use imserver::store::{Announcement, Draft, ReadReceipt, Seen};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::backend::{
    Backend, Bench, Settings, UNREAD, draft, ids, pages, receipts, sender, stored, user,
};

fn of(reader: u64, from: u64, ids: &[MessageId], origin: Option<ConnectionId>) -> ReadReceipt {
    ReadReceipt { reader: user(reader), from: sender(from), ids: ids.to_vec(), origin }
}

pub async fn a_mark_is_told_once_to_whom_it_concerns<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let given = bench.append_all(1, 2, &["a", "b", "c"]).await;
    let notice = bench.append(draft(0, 2, "d")).await;
    let others = bench.append(draft(1, 3, "e")).await;
    let (phone, laptop) = (Some(ConnectionId::draw()), Some(ConnectionId::draw()));
    let marks = [
        (phone, vec![given[2], given[0], given[2]]),
        // Known, foreign and unknown ones are told to nobody.
        (laptop, vec![given[0], others, MessageId::new(1 << 40).unwrap()]),
        (laptop, vec![given[1], notice, given[0]]),
        (None, vec![notice]),
        (None, vec![]),
    ];
    for (origin, ids) in marks {
        bench.store.mark_read(user(2), Seen::Ids(ids), origin).await.unwrap();
    }
    let mut told = receipts(&bench.closed().await);
    // One mark concerned two senders, in any order.
    told[1..].sort_unstable_by_key(|receipt| receipt.from);
    let expected = [
        of(2, 1, &[given[0], given[2]], phone),
        of(2, 0, &[notice], laptop),
        of(2, 1, &given[1..2], laptop),
    ];
    assert_eq!(told, expected);
}

pub async fn marks_that_are_there_after_a_reopen_are_told_no_more<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let given = bench.append_all(1, 2, &["a", "b", "c"]).await;
    bench.mark(2, &given[1..]).await;
    bench.reopen().await;
    bench.mark(2, &given).await;
    bench.mark_up_to(2, 1, given[2]).await;
    let told = receipts(&bench.closed().await);
    assert_eq!(told, [of(2, 1, &given[1..], None), of(2, 1, &given[..1], None)]);
}

pub async fn the_same_mark_at_once_is_told_once<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let given = bench.append_all(1, 2, &["x"; 200]).await;
    let mut marks = JoinSet::new();
    for number in 0..8 {
        let (store, ids) = (bench.store.clone(), given.clone());
        let seen = match number % 2 {
            0 => Seen::Ids(ids),
            _ => Seen::UpTo { peer: sender(1), id: ids[199] },
        };
        marks.spawn(async move { store.mark_read(user(2), seen, None).await });
    }
    for marked in marks.join_all().await {
        marked.unwrap();
    }
    let told = receipts(&bench.closed().await);
    let mut told: Vec<MessageId> = told.into_iter().flat_map(|receipt| receipt.ids).collect();
    told.sort_unstable();
    assert_eq!(told, given);
}

pub async fn up_to_a_place_means_one_senders_unread_messages<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let mut given = Vec::new();
    let mut others = Vec::new();
    for _ in 0..30 {
        given.push(bench.append(draft(1, 2, "x")).await);
        others.push(bench.append(draft(3, 2, "y")).await);
    }
    // Islands, which are not told again.
    bench.mark(2, &given[4..8]).await;
    bench.mark(2, &given[15..16]).await;
    bench.mark_up_to(2, 1, given[19]).await;
    let mut left = [&given[20..], &others].concat();
    left.sort_unstable();
    assert_eq!(bench.unread(2).await, left);
    // A place is a place: somebody else's message, too.
    bench.mark_up_to(2, 1, others[24]).await;
    left.retain(|id| *id > others[24] || others.contains(id));
    assert_eq!(bench.unread(2).await, left);
    bench.reopen().await;
    assert_eq!(bench.unread(2).await, left);
    // Beyond what there is lies what there is.
    bench.mark_up_to(2, 1, MessageId::new((1 << 53) - 1).unwrap()).await;
    assert_eq!(bench.unread(2).await, others);
    let next = bench.append(draft(1, 2, "later")).await;
    assert_eq!(bench.unread(2).await, [&others[..], &[next]].concat());

    let told = receipts(&bench.closed().await);
    let between = [&given[..4], &given[8..15], &given[16..20]].concat();
    let expected = [
        of(2, 1, &given[4..8], None),
        of(2, 1, &given[15..16], None),
        of(2, 1, &between, None),
        of(2, 1, &given[20..25], None),
        of(2, 1, &given[25..], None),
    ];
    assert_eq!(told, expected);
}

pub async fn up_to_a_place_with_strangers_is_nothing<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let before = bench.append(draft(1, 2, "to another")).await;
    let given = bench.append(draft(1, 3, "x")).await;
    for (reader, peer, id) in
        [(3, 1, before), (3, 2, given), (3, 0, given), (4, 1, given), (1, 3, given)]
    {
        bench.mark_up_to(reader, peer, id).await;
    }
    assert_eq!(bench.unread(3).await, [given]);
    assert_eq!(receipts(&bench.closed().await), []);
}

pub async fn a_long_absence_is_told_in_pieces<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let given = bench.append_all(1, 2, &["x"; 4321]).await;
    let other = bench.append(draft(3, 2, "y")).await;
    // So that no piece of a round number ends right before one that was read.
    let read: Vec<MessageId> = given.iter().copied().skip(95).step_by(11).collect();
    bench.mark(2, &read).await;
    let origin = Some(ConnectionId::draw());
    let seen = Seen::UpTo { peer: sender(1), id: given[4000] };
    bench.store.mark_read(user(2), seen, origin).await.unwrap();
    let read: BTreeSet<MessageId> = read.into_iter().collect();
    let is_left = |id: &&MessageId| !read.contains(id) && **id > given[4000];
    let left: Vec<MessageId> = given.iter().filter(is_left).copied().chain([other]).collect();
    assert_eq!(bench.unread(2).await, left);
    bench.reopen().await;
    assert_eq!(bench.unread(2).await, left);

    let told = receipts(&bench.closed().await);
    let told: Vec<&ReadReceipt> = told.iter().filter(|receipt| receipt.origin == origin).collect();
    assert!(told.len() > 1 && told.iter().all(|receipt| receipt.ids.len() <= 1000));
    let told: Vec<MessageId> = told.iter().flat_map(|receipt| receipt.ids.clone()).collect();
    let expected = given[..=4000].iter().filter(|id| !read.contains(id));
    assert_eq!(told, expected.copied().collect::<Vec<_>>());
}

/// Whoever hears of a mark finds it made, and has heard of the message before.
pub async fn a_receipt_comes_behind_its_messages_and_its_marks<B: Backend>() {
    let (_backend, store, mut tail) = B::open(Settings::default()).await;
    let mut clients = JoinSet::new();
    let mut turns = BTreeMap::new();
    for from in 1..=3 {
        let store = store.clone();
        let (turn, mut told) = mpsc::channel(1);
        turns.insert(sender(from), turn);
        clients.spawn(async move {
            for _ in 0..50 {
                let appended = store.append(draft(from, 9, "x")).await.unwrap().await.unwrap();
                let seen = Seen::Ids(vec![appended.id]);
                store.mark_read(user(9), seen, None).await.unwrap();
                // Of a mark that comes late and is written over by the next, a stream tells nothing.
                told.recv().await.unwrap();
            }
        });
    }
    let (mut heard, mut read) = (BTreeSet::new(), BTreeSet::new());
    while read.len() < 150 {
        let commit = tokio::select! {
            commit = tail.recv() => commit.unwrap(),
            // Of one that failed nothing more would come.
            Some(ended) = clients.join_next() => {
                ended.unwrap();
                continue;
            }
        };
        for news in commit {
            match news {
                Announcement::Stored(stored) => assert!(heard.insert(stored.entry.message.id)),
                Announcement::Read(receipt) => {
                    assert!(receipt.ids.iter().all(|id| heard.contains(id)), "told too early");
                    let unread = ids(&pages(&*store, 9, UNREAD).await.unwrap());
                    assert!(!receipt.ids.iter().any(|id| unread.contains(id)));
                    assert!(receipt.ids.into_iter().all(|id| read.insert(id)), "told twice");
                    turns[&receipt.from].send(()).await.unwrap();
                }
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }
    clients.join_all().await;
    store.close().await.unwrap();
}

pub async fn the_connection_that_sent_is_named<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let origin = Some(ConnectionId::draw());
    bench.append(draft(1, 2, "x")).await;
    bench.append(Draft { origin, ..draft(1, 2, "y") }).await;
    let told: Vec<_> = stored(&bench.closed().await).iter().map(|stored| stored.origin).collect();
    assert_eq!(told, [None, origin]);
}
