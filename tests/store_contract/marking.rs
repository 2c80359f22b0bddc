//! Read marks.

use std::collections::BTreeSet;

use imserver::ids::MessageId;
use imserver::store::Seen;
use tokio::task::JoinSet;

use crate::backend::{Backend, Bench, UNREAD, draft, ids, pages, user};

pub async fn what_was_marked_is_unread_no_more<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let given = bench.append_all(1, 2, &["a", "b", "c"]).await;
    assert_eq!(bench.unread(2).await, given);
    bench.mark(2, &[given[0], given[2]]).await;
    assert_eq!(bench.unread(2).await, [given[1]]);
    bench.mark(2, &[given[1]]).await;
    assert!(bench.unread(2).await.is_empty());
    assert_eq!(ids(&bench.all(2).await), given);
}

pub async fn marks_touch_only_the_readers_own_inbox<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let theirs = bench.append_all(1, 2, &["a", "b"]).await;
    let mine = bench.append(draft(2, 1, "c")).await;
    for stranger in [1, 3] {
        bench.mark(stranger, &theirs).await;
    }
    assert_eq!(bench.unread(2).await, theirs);
    // One's own among those of others.
    bench.mark(1, &[theirs[0], mine, theirs[1]]).await;
    assert_eq!(bench.unread(2).await, theirs);
    assert!(bench.unread(1).await.is_empty());
}

pub async fn unknown_and_repeated_marks_are_ignored<B: Backend>() {
    let bench = Bench::<B>::new().await;
    bench.mark(2, &[]).await;
    bench.mark(2, &[MessageId::new(1).unwrap()]).await;
    let given = bench.append_all(1, 2, &["a", "b", "c"]).await;
    assert_eq!(bench.unread(2).await, given, "a mark came before its message");
    let unknown = [1u64 << 40, (1 << 53) - 1].map(|id| MessageId::new(id).unwrap());
    bench.mark(2, &unknown).await;
    bench.mark(2, &[given[1], unknown[0], given[1]]).await;
    bench.mark(2, &[given[1]; 1000]).await;
    assert_eq!(bench.unread(2).await, [given[0], given[2]]);
}

pub async fn marks_may_come_in_any_order<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let mut given = bench.append_all(1, 2, &["x"; 100]).await;
    given.extend(bench.append_all(3, 2, &["x"; 100]).await);
    let mut left: BTreeSet<MessageId> = given.iter().copied().collect();
    // 77 has no factor in common with 200: every message once, far from in order.
    for step in 0..given.len() {
        let id = given[step * 77 % given.len()];
        left.remove(&id);
        bench.mark(2, &[id]).await;
        if step % 20 == 0 {
            let expected: Vec<MessageId> = left.iter().copied().collect();
            assert_eq!(bench.unread(2).await, expected);
        }
    }
    assert!(bench.unread(2).await.is_empty());
}

pub async fn every_second_message_then_the_rest<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    // More than a chunk of read flags.
    let given = bench.append_all(1, 2, &["x"; 2500]).await;
    let every_second = |rest: usize| -> Vec<MessageId> {
        let of = given.iter().copied().enumerate();
        of.filter(|(at, _)| at % 2 == rest).map(|(_, id)| id).collect()
    };
    for chunk in every_second(1).chunks(1000) {
        bench.mark(2, chunk).await;
    }
    assert_eq!(bench.unread(2).await, every_second(0));
    bench.reopen().await;
    assert_eq!(bench.unread(2).await, every_second(0));
    for chunk in every_second(0).rchunks(1000) {
        bench.mark(2, chunk).await;
    }
    assert!(bench.unread(2).await.is_empty());
    let next = bench.append(draft(1, 2, "next")).await;
    bench.reopen().await;
    assert_eq!(bench.unread(2).await, [next]);
}

pub async fn marks_survive_a_reopen<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let given = bench.append_all(1, 2, &["x"; 10]).await;
    for round in 0..5 {
        bench.mark(2, &given[round..=round]).await;
        bench.mark(2, &given[9 - round..10 - round]).await;
        bench.reopen().await;
        assert_eq!(bench.unread(2).await, given[round + 1..9 - round]);
    }
}

/// A reader takes the floor and the islands beyond it one after the other. A mark in
/// between, which lets the floor swallow an island, must not hide it from both looks.
pub async fn what_was_marked_stays_so_while_others_are_marked<B: Backend>() {
    let bench = Bench::<B>::new().await;
    for inbox in 100..106 {
        let given = bench.append_all(1, inbox, &["x"; 1000]).await;
        // Two hold back the floor; then an island, then so many that they fill a page
        // of the database.
        let read = |at: usize| (2..100).contains(&at) || (at >= 100 && at.is_multiple_of(2));
        let read = given.iter().enumerate().filter(|(at, _)| read(*at));
        let read: Vec<MessageId> = read.map(|(_, id)| *id).collect();
        bench.mark(inbox, &read).await;
        let mut readers = JoinSet::new();
        for _ in 0..2 {
            let (store, read) = (bench.store.clone(), read.clone());
            let first = given[0];
            readers.spawn(async move {
                loop {
                    let unread = ids(&pages(&*store, inbox, UNREAD).await.unwrap());
                    let again: Vec<_> = unread.iter().filter(|id| read.contains(id)).collect();
                    assert!(again.is_empty(), "shown again: {again:?}");
                    if !unread.contains(&first) {
                        return;
                    }
                }
            });
        }
        for id in [given[1], given[0]] {
            let marked = bench.store.mark_read(user(inbox), Seen::Ids(vec![id]), None);
            marked.await.unwrap();
        }
        readers.join_all().await;
    }
}
