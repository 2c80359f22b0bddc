//! Appends: ids, order, contents, the quota.

use imserver::ids::Sender;
use imserver::store::AppendError;
use tokio::task::JoinSet;

use crate::backend::{Backend, Bench, Settings, contents, draft, ids, packet};

pub async fn ids_rise_in_an_inbox<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let mut last = None;
    for number in 0..20 {
        let id = bench.append(draft(1 + number % 3, 9, "x")).await;
        assert!(last < Some(id));
        last = Some(id);
    }
}

pub async fn two_appends_of_one_caller_keep_their_order<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let texts: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let given = bench.append_all(1, 2, &texts).await;
    assert!(given.is_sorted_by(|a, b| a < b));
    let stored = bench.all(2).await;
    assert_eq!(contents(&stored), texts);
    assert_eq!(ids(&stored), given);
}

pub async fn many_callers_at_once_each_keep_their_order<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let mut callers = JoinSet::new();
    for caller in 1..=8 {
        let store = bench.store.clone();
        callers.spawn(async move {
            let mut receipts = Vec::new();
            for number in 0..50 {
                let draft = draft(caller, 9, &format!("{caller} {number}"));
                receipts.push(store.append(draft).await.unwrap());
            }
            for receipt in receipts {
                receipt.await.unwrap();
            }
        });
    }
    callers.join_all().await;
    let stored = bench.all(9).await;
    assert_eq!(stored.len(), 400);
    for caller in 1..=8 {
        let expected: Vec<String> = (0..50).map(|number| format!("{caller} {number}")).collect();
        let of_caller = stored.iter().filter(|entry| entry.message.from.get() == caller);
        let found: Vec<&str> = of_caller.map(|e| e.message.content.as_str()).collect();
        assert_eq!(found, expected);
    }
}

pub async fn what_was_stored_comes_back_as_it_was<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let large = "大".repeat(16 * 1024 / 3);
    let texts = ["x", "你好 👋", "\0\u{202e}\u{ffff}\n{\"a\":1}", " ", &large];
    for (number, text) in texts.iter().enumerate() {
        let mut draft = draft(number as u64, 2, text);
        draft.timestamp = "9".repeat(number * 8);
        bench.append(draft).await;
    }
    for _ in 0..2 {
        for (number, entry) in bench.all(2).await.iter().enumerate() {
            let message = &entry.message;
            assert_eq!(message.from, Sender::new(number as u64).unwrap());
            assert_eq!(message.content, texts[number]);
            assert_eq!(message.timestamp, "9".repeat(number * 8));
            assert_eq!(message.ordinal, 1);
            assert!(message.stored_at.0 > 1_600_000_000_000);
        }
        bench.reopen().await;
    }
}

pub async fn ids_rise_over_a_reopen<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let mut last = bench.append(draft(1, 2, "first")).await;
    for _ in 0..3 {
        bench.reopen().await;
        let next = bench.append(draft(1, 2, "next")).await;
        assert!(last < next);
        last = next;
    }
    let ordinals = bench.all(2).await;
    let ordinals: Vec<u64> = ordinals.iter().map(|e| e.message.ordinal).collect();
    assert_eq!(ordinals, [1, 2, 3, 4]);
}

async fn of_three<B: Backend>() -> Bench<B> {
    Bench::with(Settings { unread_max: 3, ..Settings::default() }).await
}

pub async fn a_full_inbox_takes_no_more_until_something_was_read<B: Backend>() {
    let bench = of_three::<B>().await;
    let held = bench.append_all(1, 2, &["a", "b", "c"]).await;
    for from in [0, 1, 2, 3] {
        let refused = bench.try_append(draft(from, 2, "d")).await;
        assert_eq!(refused, Err(AppendError::InboxFull));
    }
    // Nobody else's inbox is concerned.
    bench.append(draft(2, 1, "e")).await;

    bench.mark(2, &held[1..2]).await;
    bench.mark(2, &held[1..2]).await;
    bench.append(draft(3, 2, "f")).await;
    let refused = bench.try_append(draft(3, 2, "g")).await;
    assert_eq!(refused, Err(AppendError::InboxFull));
    assert_eq!(contents(&bench.all(2).await), ["a", "b", "c", "f"]);
}

pub async fn a_full_inbox_is_still_full_after_a_reopen<B: Backend>() {
    let mut bench = of_three::<B>().await;
    let held = bench.append_all(1, 2, &["a", "b"]).await;
    bench.append(draft(7, 2, "c")).await;
    bench.reopen().await;
    let refused = bench.try_append(draft(1, 2, "d")).await;
    assert_eq!(refused, Err(AppendError::InboxFull));
    // An island of read ones is counted too.
    bench.mark(2, &held[1..]).await;
    bench.reopen().await;
    bench.append(draft(1, 2, "e")).await;
    let refused = bench.try_append(draft(1, 2, "f")).await;
    assert_eq!(refused, Err(AppendError::InboxFull));
}

pub async fn a_full_inbox_knows_a_resend<B: Backend>() {
    let bench = of_three::<B>().await;
    let first = bench.append(packet(1, 2, "a", 1)).await;
    bench.append_all(1, 2, &["b", "c"]).await;
    let again = bench.try_append(packet(1, 2, "a", 1)).await.unwrap();
    assert_eq!((again.id, again.duplicate), (first, true));
    // What was refused was no first try, however often it was looked for.
    for _ in 0..2 {
        let refused = bench.try_append(packet(1, 2, "d", 2)).await;
        assert_eq!(refused, Err(AppendError::InboxFull));
    }
    bench.mark(2, &[first]).await;
    let stored = bench.try_append(packet(1, 2, "d", 2)).await.unwrap();
    assert!(!stored.duplicate, "{stored:?}");
    let again = bench.try_append(packet(1, 2, "d", 2)).await.unwrap();
    assert_eq!((again.id, again.duplicate), (stored.id, true));
}
