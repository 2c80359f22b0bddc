//! Pages of a conversation.

use std::sync::Arc;

use imserver::ids::MessageId;
use imserver::store::{HistoryCursor, HistoryEntry, Seen, StoreError, Stretch};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::backend::{Backend, Bench, draft, sender, user};
use crate::walking::{from_the_beginning, newer, older, page};

fn texts(entries: &[HistoryEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.message.content.as_str()).collect()
}

fn ids(entries: &[HistoryEntry]) -> Vec<MessageId> {
    entries.iter().map(|entry| entry.message.id).collect()
}

/// Messages in both directions by turns of different lengths, numbered from 0.
async fn conversation<B: Backend>(bench: &Bench<B>, count: usize) -> Vec<String> {
    for number in 0..count {
        let (from, to) = if number % 5 < 3 { (1, 2) } else { (2, 1) };
        bench.append(draft(from, to, &number.to_string())).await;
        // Neighbours that must not be among them.
        bench.append(draft(1, 3, "to another")).await;
        bench.append(draft(3, 2, "of another")).await;
    }
    (0..count).map(|number| number.to_string()).collect()
}

pub async fn those_who_never_wrote_have_none<B: Backend>() {
    let bench = Bench::<B>::new().await;
    bench.append(draft(1, 2, "x")).await;
    for (who, peer) in [(1, 3), (3, 1), (2, 3), (1, 1), (2, 2), (1, 0), (3, 4)] {
        for stretch in [
            Stretch::Newest,
            Stretch::Before(page(&*bench.store, 1, 2, Stretch::Newest, 1).await.newer),
            Stretch::After(page(&*bench.store, 1, 2, Stretch::Newest, 1).await.newer),
        ] {
            let none = bench.store.history(user(who), sender(peer), stretch, 10).await;
            assert_eq!(none, Ok(None), "{who} and {peer}");
        }
    }
}

pub async fn both_directions_are_one_conversation<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let expected = conversation(&bench, 40).await;
    for _ in 0..2 {
        let of_one = page(&*bench.store, 1, 2, Stretch::Newest, 100).await;
        assert_eq!(texts(&of_one.entries), expected);
        assert_eq!(of_one.older, None);
        assert_eq!(page(&*bench.store, 2, 1, Stretch::Newest, 100).await, of_one);
        for entry in &of_one.entries {
            assert_eq!(entry.message.timestamp, "1589790567");
            assert!(entry.message.stored_at.0 > 1_600_000_000_000);
        }
        bench.reopen().await;
    }
}

pub async fn pages_meet_without_gap_or_overlap<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let expected = conversation(&bench, 33).await;
    for limit in [1, 2, 3, 10, 11, 32, 33, 34, 100] {
        let backwards = older(&*bench.store, 1, 2, || limit).await;
        assert_eq!(texts(&backwards), expected, "in pages of {limit}");
        let forwards = from_the_beginning(&*bench.store, 2, 1, || limit).await;
        assert_eq!(forwards, backwards, "in pages of {limit}");
    }
}

pub async fn a_place_lies_between_what_is_older_and_what_is_newer<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let expected = conversation(&bench, 20).await;
    let store = &*bench.store;
    let last = page(store, 1, 2, Stretch::Newest, 5).await;
    assert_eq!(texts(&last.entries), expected[15..]);
    let middle = page(store, 1, 2, Stretch::Before(last.older.unwrap()), 5).await;
    assert_eq!(texts(&middle.entries), expected[10..15]);
    // The same page from its other side.
    let again = page(store, 1, 2, Stretch::After(middle.newer), 5).await;
    assert_eq!(again, last);
    let first = page(store, 1, 2, Stretch::Before(middle.older.unwrap()), 10).await;
    assert_eq!((texts(&first.entries), first.older), (texts_of(&expected[..10]), None));

    // At the end there is nothing newer, until there is.
    let end = page(store, 1, 2, Stretch::After(last.newer), 5).await;
    assert!(end.entries.is_empty());
    assert_eq!(end.newer, last.newer);
    let back = page(store, 1, 2, Stretch::Before(end.older.unwrap()), 5).await;
    assert_eq!(ids(&back.entries), ids(&last.entries));
    bench.append(draft(2, 1, "next")).await;
    let next = page(store, 1, 2, Stretch::After(end.newer), 5).await;
    assert_eq!(texts(&next.entries), ["next"]);
    let back = page(store, 1, 2, Stretch::Before(next.older.unwrap()), 5).await;
    assert_eq!(ids(&back.entries), ids(&last.entries));
}

fn texts_of(expected: &[String]) -> Vec<&str> {
    expected.iter().map(String::as_str).collect()
}

pub async fn before_the_first_there_is_an_empty_page<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let expected = conversation(&bench, 3).await;
    let store = &*bench.store;
    // A place from which everything is newer: in front of a list's oldest message.
    let start = HistoryCursor([0, 0]);
    let all = page(store, 1, 2, Stretch::After(start), 10).await;
    assert_eq!((texts(&all.entries), all.older), (texts_of(&expected), None));
    let none = page(store, 1, 2, Stretch::Before(start), 10).await;
    assert_eq!((none.entries.len(), none.older), (0, None));
    let all = page(store, 1, 2, Stretch::After(none.newer), 10).await;
    assert_eq!(texts(&all.entries), expected);
}

pub async fn notes_and_notices_have_one_direction<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    for number in 0..10 {
        bench.append(draft(2, 2, &format!("note {number}"))).await;
        bench.append(draft(0, 2, &format!("notice {number}"))).await;
        bench.append(draft(0, 3, "to another")).await;
        bench.append(draft(2, 3, "to another")).await;
    }
    for _ in 0..2 {
        for (peer, kind) in [(2, "note"), (0, "notice")] {
            let expected: Vec<String> = (0..10).map(|number| format!("{kind} {number}")).collect();
            let found = older(&*bench.store, 2, peer, || 3).await;
            assert_eq!(texts(&found), expected);
            assert_eq!(from_the_beginning(&*bench.store, 2, peer, || 3).await, found);
        }
        bench.reopen().await;
    }
}

pub async fn what_its_recipient_has_read_is_shown_so_to_both<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    // More than two chunks of read flags, and answers that nobody has read.
    let given = bench.append_all(1, 2, &["x"; 2200]).await;
    let answers = bench.append_all(2, 1, &["y"; 5]).await;
    let is_read = |at: usize| at < 10 || (500..1500).contains(&at) || at % 7 == 3;
    let read: Vec<MessageId> =
        given.iter().enumerate().filter(|(at, _)| is_read(*at)).map(|(_, id)| *id).collect();
    for marks in read.chunks(900) {
        bench.mark(2, marks).await;
    }
    bench.mark(1, &answers[4..]).await;
    for _ in 0..2 {
        for (who, peer) in [(1, 2), (2, 1)] {
            let found = older(&*bench.store, who, peer, || 97).await;
            assert_eq!(found.len(), 2205);
            for (at, entry) in found.iter().enumerate() {
                let expected = if at < 2200 { is_read(at) } else { at == 2204 };
                assert_eq!(entry.read, expected, "message {at}");
            }
        }
        bench.reopen().await;
    }
}

/// A mark lets the floor swallow an island between two looks: neither may miss it.
pub async fn what_is_shown_as_read_stays_so_while_others_are_marked<B: Backend>() {
    let bench = Bench::<B>::new().await;
    for inbox in 100..104 {
        let given = bench.append_all(1, inbox, &["x"; 100]).await;
        bench.mark(inbox, &given[2..]).await;
        let mut readers = JoinSet::new();
        for _ in 0..2 {
            let store = bench.store.clone();
            readers.spawn(async move {
                loop {
                    let page = page(&*store, inbox, 1, Stretch::Newest, 100).await;
                    assert!(page.entries[2..].iter().all(|entry| entry.read), "shown as unread");
                    if page.entries[0].read {
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

pub async fn walking_on_while_messages_come_loses_none<B: Backend>() {
    const EACH: usize = 300;
    /// How many are in line together.
    const TOGETHER: usize = 3;
    let bench = Bench::<B>::new().await;
    bench.append(draft(1, 2, "first")).await;
    let start = page(&*bench.store, 1, 2, Stretch::Newest, 1).await.newer;
    let mut writers = JoinSet::new();
    let written = Arc::new(Notify::new());
    for (from, to) in [(1, 2), (2, 1)] {
        let (store, written) = (bench.store.clone(), written.clone());
        writers.spawn(async move {
            for first in (0..EACH).step_by(TOGETHER) {
                let mut receipts = Vec::new();
                for number in first..first + TOGETHER {
                    receipts
                        .push(store.append(draft(from, to, &number.to_string())).await.unwrap());
                }
                for receipt in receipts {
                    receipt.await.unwrap();
                    written.notify_one();
                }
            }
        });
    }
    let (mut found, mut cursor) = (Vec::new(), start);
    while found.len() < 2 * EACH {
        // There is always a next one on its way. Reading without a pause would slow it.
        written.notified().await;
        let (more, at) = newer(&*bench.store, 2, 1, cursor, || 1 + found.len() % 9).await;
        found.extend(more);
        cursor = at;
    }
    writers.join_all().await;
    let whole = older(&*bench.store, 1, 2, || 100).await;
    assert_eq!(found, whole[1..]);
    let expected: Vec<String> = (0..EACH).map(|number| number.to_string()).collect();
    for from in [1, 2] {
        let of_one = found.iter().filter(|entry| entry.message.from == sender(from));
        let of_one: Vec<HistoryEntry> = of_one.cloned().collect();
        assert_eq!(texts(&of_one), expected);
    }
}

pub async fn a_cursor_that_nobody_made_is_refused<B: Backend>() {
    let bench = Bench::<B>::new().await;
    bench.append(draft(1, 2, "x")).await;
    for cursor in [[u64::MAX, 0], [1 << 53, 0], [u64::MAX, u64::MAX]].map(HistoryCursor) {
        for stretch in [Stretch::Before(cursor), Stretch::After(cursor)] {
            let page = bench.store.history(user(1), sender(2), stretch, 10).await;
            assert_eq!(page, Err(StoreError::BadCursor));
        }
        let list = bench.store.conversations(user(1), Some(cursor), 10).await;
        assert_eq!(list, Err(StoreError::BadCursor));
    }
}
