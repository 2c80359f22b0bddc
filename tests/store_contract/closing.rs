//! The end of a store, and what is left of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use imserver::store::{AppendError, ClaimedProfile, Cursor, Health, Seen, StoreError, Stretch};
use tokio::task::JoinSet;

use crate::backend::{Backend, Bench, EVERYTHING, draft, ids, named, sender, user};

pub async fn receipts_in_line_are_answered<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let mut receipts = Vec::new();
    for number in 0..700 {
        let draft = draft(1, 2, &number.to_string());
        receipts.push(bench.line_up(draft).await);
    }
    bench.reopen().await;
    let mut given = Vec::new();
    for receipt in receipts {
        // What was in line before the close is written.
        given.push(receipt.await.unwrap().id);
    }
    assert_eq!(ids(&bench.all(2).await), given);
}

pub async fn later_calls_are_unavailable<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let id = bench.append(draft(1, 2, "x")).await;
    assert_eq!(bench.store.health(), Health::Ready);
    let store = bench.store.clone();
    bench.closed().await;
    assert_eq!(store.health(), Health::Closed);
    for draft in [draft(1, 2, "y"), named(1, 2, "x", "n", true)] {
        let append = async { store.append(draft).await?.await };
        assert_eq!(append.await, Err(AppendError::Unavailable));
    }
    let read = store.read_inbox(user(2), EVERYTHING).await;
    assert_eq!(read.unwrap_err(), StoreError::Unavailable);
    let mark = store.mark_read(user(2), Seen::Ids(vec![id]), None).await;
    assert_eq!(mark, Err(AppendError::Unavailable));
    let seen = Seen::UpTo { peer: sender(1), id };
    assert_eq!(store.mark_read(user(2), seen, None).await, Err(AppendError::Unavailable));
    let history = store.history(user(2), sender(1), Stretch::Newest, 10).await;
    assert_eq!(history.unwrap_err(), StoreError::Unavailable);
    let list = store.conversations(user(2), None, 10).await;
    assert_eq!(list.unwrap_err(), StoreError::Unavailable);
    assert_eq!(store.inbox_head(user(2)).await, Err(StoreError::Unavailable));
    assert_eq!(store.profile(user(2)).await, Err(StoreError::Unavailable));
    let claimed = ClaimedProfile { name: Some("a".to_owned()), picture: None };
    let profile = store.set_profile(user(2), claimed).await;
    assert_eq!(profile, Err(AppendError::Unavailable));
    assert_eq!(store.close().await, Err(StoreError::Unavailable));
}

/// Clients send on while the store closes: whoever got an id finds it again, and
/// whoever got none may be told so, but not left without an answer.
pub async fn what_was_acknowledged_is_there_after_a_reopen<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    for round in 0..4 {
        let mut senders = JoinSet::new();
        for sender in 1..=4 {
            let store = bench.store.clone();
            senders.spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0..10_000 {
                    let draft = draft(sender, 9, &format!("{round} {sender} {number}"));
                    let append = async { store.append(draft).await?.await };
                    match append.await {
                        Ok(appended) => acknowledged.push(appended.id),
                        Err(error) => {
                            assert_eq!(error, AppendError::Unavailable);
                            break;
                        }
                    }
                }
                acknowledged
            });
        }
        let first = bench.append(draft(5, 9, "while they send")).await;
        bench.reopen().await;
        let stored = ids(&bench.all(9).await);
        assert!(stored.contains(&first));
        for acknowledged in senders.join_all().await {
            for id in acknowledged {
                assert!(stored.contains(&id), "{id} was acknowledged and is gone");
            }
        }
    }
}

/// A reader must not be shown what a crash could still take back. From outside that
/// is: the head never falls, and what lies below it never changes.
pub async fn what_a_reader_has_seen_stays<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let done = Arc::new(AtomicBool::new(false));
    let mut reader = JoinSet::new();
    let (store, over) = (bench.store.clone(), Arc::clone(&done));
    reader.spawn(async move {
        let (mut head, mut seen) = (Cursor::START, Vec::new());
        while !over.load(Ordering::Acquire) {
            let page = store.read_inbox(user(2), EVERYTHING).await.unwrap();
            assert!(page.head >= head, "the head fell");
            head = page.head;
            let found = ids(&page.entries);
            assert!(found.starts_with(&seen), "what was there has changed");
            seen = found;
        }
        seen
    });
    for _ in 0..10 {
        bench.append_all(1, 2, &["x"; 20]).await;
        let head = bench.page(2, EVERYTHING).await;
        // Whoever was told of a message can read it.
        assert_eq!(head.up_to, head.head);
    }
    done.store(true, Ordering::Release);
    let seen = reader.join_all().await.remove(0);
    bench.reopen().await;
    assert!(ids(&bench.all(2).await).starts_with(&seen));
}
