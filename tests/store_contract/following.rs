//! The tail: what is committed is announced, in order, and can be followed.

use std::collections::HashMap;

use imserver::store::{Cursor, Seen, Span, Store, Stored};
use tokio::task::JoinSet;

use crate::backend::{
    Backend, Bench, EVERYTHING, Settings, UNREAD, contents, draft, ids, packet, pages, stored, user,
};

pub async fn every_message_is_announced_once_and_in_order<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    for number in 0..100 {
        bench.append(draft(1, 2 + number % 3, "x")).await;
        if number == 50 {
            bench.reopen().await;
        }
    }
    bench.append_all(4, 2, &["y"; 100]).await;
    let mut held = Vec::new();
    for inbox in 2..=4 {
        held.push((inbox, bench.all(inbox).await));
    }
    let news = stored(&bench.closed().await);
    assert_eq!(news.len(), 200);
    for (inbox, held) in held {
        let of_inbox = news.iter().filter(|news| news.entry.message.to == user(inbox));
        let announced: Vec<_> = of_inbox.map(|news| news.entry.clone()).collect();
        assert_eq!(announced, held);
    }
}

pub async fn previous_names_the_message_before<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    for number in 0..60u64 {
        let given = bench.append(draft(1 + number % 2, 5 + number % 3, "x")).await;
        if number % 5 == 0 {
            // Marks and resends change nothing about what was before.
            bench.mark(5 + number % 3, &[given]).await;
            bench.append(packet(1, 9, "y", number)).await;
            bench.try_append(packet(1, 9, "y", number)).await.unwrap();
        }
        if number % 25 == 0 {
            bench.reopen().await;
        }
    }
    let mut heads: HashMap<_, Cursor> = HashMap::new();
    for news in stored(&bench.closed().await) {
        let message = &news.entry.message;
        let head = heads.insert(message.to, message.id.into());
        // A store need not know, but what it says must be so.
        if let Some(previous) = news.previous {
            assert_eq!(previous, head.unwrap_or(Cursor::START));
        }
    }
}

/// Follows an inbox as a session does: what comes right behind the cursor is taken
/// from the announcement, anything else is read.
async fn follow(store: &dyn Store, inbox: u64, heard: impl Iterator<Item = Stored>) -> Vec<String> {
    let mut cursor = Cursor::START;
    let mut taken = Vec::new();
    for news in heard.filter(|news| news.entry.message.to == user(inbox)) {
        let id = Cursor::from(news.entry.message.id);
        if id <= cursor {
            continue;
        }
        if news.previous.is_some_and(|previous| previous <= cursor) {
            cursor = id;
            taken.push(news.entry.message.content.clone());
            continue;
        }
        let span = Span { after: cursor, until: Some(id), unread_only: false };
        let missed = pages(store, inbox, span).await.unwrap();
        taken.extend(contents(&missed).into_iter().map(str::to_owned));
        cursor = id;
    }
    taken
}

pub async fn following_the_tail_misses_nothing_even_where_announcements_are_missed<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let mut senders = JoinSet::new();
    for sender in 1..=5 {
        let store = bench.store.clone();
        senders.spawn(async move {
            for number in 0..60 {
                let inbox = 10 + (sender + number) % 3;
                let draft = draft(sender, inbox, &format!("{sender} {number}"));
                store.append(draft).await.unwrap().await.unwrap();
            }
        });
    }
    senders.join_all().await;
    let held = bench.all(10).await;
    // The news of the close, so that all of it is there; the reads go to the next opening.
    let (news, store, _tail, _backend) = {
        let mut bench = bench;
        bench.reopen().await;
        bench.into_parts()
    };
    let news = stored(&news);
    for hears in [1, 2, 3, 7, 50] {
        let heard = news.iter().cloned().enumerate();
        let last = news.len() - 1;
        // The last one of the inbox is heard: the hub says "behind" otherwise.
        let heard =
            heard.filter(|(at, _)| at % hears == 0 || *at + 15 > last).map(|(_, news)| news);
        assert_eq!(follow(&*store, 10, heard).await, contents(&held));
    }
}

pub async fn an_announcement_is_never_ahead_of_what_can_be_read<B: Backend>() {
    let (_backend, store, mut tail) = B::open(Settings::default()).await;
    let mut sender = JoinSet::new();
    let appending = store.clone();
    sender.spawn(async move {
        for _ in 0..100 {
            let draft = draft(1, 2, "x");
            appending.append(draft).await.unwrap().await.unwrap();
        }
    });
    let mut heard = 0;
    while heard < 100 {
        for news in stored(&tail.recv().await.unwrap()) {
            heard += 1;
            let page = store.read_inbox(user(2), EVERYTHING).await.unwrap();
            assert!(ids(&page.entries).contains(&news.entry.message.id));
        }
    }
    sender.join_all().await;
    store.close().await.unwrap();
    assert!(tail.recv().await.is_none(), "the tail goes on after the close");
}

pub async fn nobody_listening_stops_nothing<B: Backend>() {
    let (_backend, store, tail) = B::open(Settings::default()).await;
    drop(tail);
    for _ in 0..200 {
        let receipt = store.append(draft(1, 2, "x")).await.unwrap();
        receipt.await.unwrap();
    }
    let held = pages(&*store, 2, EVERYTHING).await.unwrap();
    assert_eq!(held.len(), 200);
    // Receipts wait for a listener no more than messages do.
    for id in ids(&held) {
        store.mark_read(user(2), Seen::Ids(vec![id]), None).await.unwrap();
    }
    assert!(pages(&*store, 2, UNREAD).await.unwrap().is_empty());
    store.close().await.unwrap();
}
