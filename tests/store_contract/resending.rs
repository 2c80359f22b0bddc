//! Resends: one message however often its packet comes, and no message too few.

use std::time::Duration;

use imserver::store::AppendError;
use tokio::task::JoinSet;

use crate::backend::{
    Backend, Bench, Settings, contents, draft, ids, named, packet, receipts, stored,
};

/// Short windows, and a wait that is longer than both.
const SHORT: Settings = Settings {
    unread_max: 100,
    resend_window: Duration::from_millis(80),
    dedup_window: Duration::from_millis(160),
};

/// Lets both windows pass: what is waited for here is time itself. An entry may
/// live an eighth longer than promised.
async fn both_windows_pass() {
    tokio::time::sleep(SHORT.dedup_window * 3 / 2).await;
}

pub async fn an_equal_packet_is_the_same_message<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let first = bench.append(packet(1, 2, "hi", 1)).await;
    for _ in 0..3 {
        let again = bench.try_append(packet(1, 2, "hi", 1)).await.unwrap();
        assert_eq!((again.id, again.duplicate), (first, true));
    }
    bench.append(packet(1, 2, "hi", 2)).await;
    assert_eq!(contents(&bench.all(2).await), ["hi", "hi"]);
}

pub async fn equal_packets_in_line_together_are_one_message<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let mut receipts = Vec::new();
    for number in 0..60 {
        receipts.push(bench.line_up(packet(1, 2, "x", number / 3)).await);
    }
    let mut given = Vec::new();
    for (number, receipt) in receipts.into_iter().enumerate() {
        let appended = receipt.await.unwrap();
        assert_eq!(appended.duplicate, number % 3 != 0);
        given.push(appended.id);
    }
    given.dedup();
    assert_eq!(given.len(), 20);
    assert_eq!(bench.all(2).await.len(), 20);
}

pub async fn many_tasks_with_one_packet_store_it_once<B: Backend>() {
    let bench = Bench::<B>::new().await;
    for round in 0..10 {
        let mut tries = JoinSet::new();
        for number in 0..16 {
            let store = bench.store.clone();
            tries.spawn(async move {
                let draft = match number % 4 {
                    0 => packet(1, 2, "a", round),
                    1 => named(1, 2, "b", &format!("n{round}"), false),
                    2 => named(1, 2, "b", &format!("n{round}"), true),
                    _ => packet(3, 2, "c", 1000 + round),
                };
                let appended = store.append(draft).await.unwrap().await.unwrap();
                (number % 4, appended)
            });
        }
        let outcomes = tries.join_all().await;
        for kind in [&[0][..], &[1, 2], &[3]] {
            let of_kind = outcomes.iter().filter(|(number, _)| kind.contains(number));
            let mut given: Vec<_> = of_kind.map(|(_, appended)| appended).collect();
            let new = given.iter().filter(|appended| !appended.duplicate).count();
            assert_eq!(new, 1, "{given:?}");
            given.dedup_by_key(|appended| appended.id);
            assert_eq!(given.len(), 1, "{given:?}");
        }
    }
    assert_eq!(bench.all(2).await.len(), 30);
}

pub async fn a_packet_is_known_after_a_reopen<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let plain = bench.append(packet(1, 2, "a", 1)).await;
    let name = bench.append(named(1, 2, "b", "n", false)).await;
    for _ in 0..2 {
        bench.reopen().await;
        let again = bench.try_append(packet(1, 2, "a", 1)).await.unwrap();
        assert_eq!((again.id, again.duplicate), (plain, true));
        let again = bench.try_append(named(1, 2, "b", "n", false)).await;
        let again = again.unwrap();
        assert_eq!((again.id, again.duplicate), (name, true));
        let other = bench.try_append(named(1, 2, "c", "n", false)).await;
        assert_eq!(other, Err(AppendError::IdReused));
    }
}

pub async fn without_a_key_every_append_is_a_message<B: Backend>() {
    let bench = Bench::<B>::new().await;
    bench.append_all(1, 2, &["好", "好", "好"]).await;
    assert_eq!(bench.all(2).await.len(), 3);
}

/// Used to be found for as long as nothing else was written: the index was
/// looked through for old entries only behind a commit.
pub async fn a_packet_is_forgotten_after_its_window_also_when_nothing_else_happened<B: Backend>() {
    let bench = Bench::<B>::with(SHORT).await;
    let first = bench.append(packet(1, 2, "好", 1)).await;
    both_windows_pass().await;
    let second = bench.append(packet(1, 2, "好", 1)).await;
    assert!(first < second);
    assert_eq!(bench.all(2).await.len(), 2);
}

pub async fn a_named_packet_is_the_same_message<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let first = bench.append(named(1, 2, "hi", "n", false)).await;
    for again in [false, true, false] {
        // The timestamp is not part of it.
        let mut draft = named(1, 2, "hi", "n", again);
        draft.timestamp = "later".to_owned();
        let appended = bench.try_append(draft).await.unwrap();
        assert_eq!((appended.id, appended.duplicate), (first, true));
    }
    assert_eq!(bench.all(2).await.len(), 1);
}

pub async fn a_name_belongs_to_its_sender<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let longest = "n".repeat(64);
    for from in [0, 1, 3, 11] {
        bench.append(named(from, 2, "hi", "1", false)).await;
        bench.append(named(from, 2, "hi", &longest, true)).await;
    }
    assert_eq!(bench.all(2).await.len(), 8);
}

pub async fn a_name_used_for_another_message_is_refused<B: Backend>() {
    let bench = Bench::<B>::new().await;
    bench.append(named(1, 2, "hi", "n", false)).await;
    for again in [false, true] {
        let content = bench.try_append(named(1, 2, "ho", "n", again)).await;
        assert_eq!(content, Err(AppendError::IdReused));
        let recipient = bench.try_append(named(1, 3, "hi", "n", again)).await;
        assert_eq!(recipient, Err(AppendError::IdReused));
    }
    assert_eq!(contents(&bench.all(2).await), ["hi"]);
    assert!(bench.all(3).await.is_empty());
}

pub async fn a_name_used_twice_in_one_line_is_refused<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let mut receipts = Vec::new();
    for number in 0..40 {
        let content = if number % 2 == 0 { "even" } else { "odd" };
        let name = format!("n{}", number / 2);
        receipts.push(bench.line_up(named(1, 2, content, &name, false)).await);
    }
    for (number, receipt) in receipts.into_iter().enumerate() {
        match receipt.await {
            Ok(appended) => assert!(number % 2 == 0 && !appended.duplicate),
            Err(error) => assert_eq!((number % 2, error), (1, AppendError::IdReused)),
        }
    }
    assert_eq!(bench.all(2).await.len(), 20);
}

pub async fn a_name_is_free_again_after_its_window<B: Backend>() {
    let mut bench = Bench::<B>::with(SHORT).await;
    bench.append(named(1, 2, "a", "n", false)).await;
    both_windows_pass().await;
    bench.append(named(1, 2, "b", "n", false)).await;
    both_windows_pass().await;
    bench.reopen().await;
    bench.append(named(1, 3, "c", "n", false)).await;
    assert_eq!(contents(&bench.all(2).await), ["a", "b"]);
}

pub async fn a_later_try_is_known_at_any_age<B: Backend>() {
    let mut bench = Bench::<B>::with(SHORT).await;
    let first = bench.append(named(1, 2, "hi", "n", false)).await;
    bench.append_all(1, 2, &["x"; 50]).await;
    bench.mark(2, &[first]).await;
    for _ in 0..2 {
        both_windows_pass().await;
        let again = bench.try_append(named(1, 2, "hi", "n", true)).await;
        let again = again.unwrap();
        assert_eq!((again.id, again.duplicate), (first, true));
        let other = bench.try_append(named(1, 2, "ho", "n", true)).await;
        assert_eq!(other, Err(AppendError::IdReused));
        bench.reopen().await;
    }
    // A later try whose first one never arrived.
    bench.append(named(1, 2, "new", "m", true)).await;
    assert_eq!(bench.all(2).await.len(), 52);
}

/// Beyond the window a name is looked for where its packet would have gone, and nowhere
/// else: every conversation of the sender would be too far to look.
pub async fn an_old_name_is_free_towards_somebody_else<B: Backend>() {
    let bench = Bench::<B>::with(SHORT).await;
    let first = bench.append(named(1, 2, "hi", "n", false)).await;
    both_windows_pass().await;
    let other = bench.append(named(1, 3, "hi", "n", true)).await;
    // Now the name is young again, and stands for that one.
    for again in [false, true] {
        let towards_the_first = bench.try_append(named(1, 2, "hi", "n", again)).await;
        assert_eq!(towards_the_first, Err(AppendError::IdReused));
    }
    both_windows_pass().await;
    for (to, id) in [(2, first), (3, other)] {
        let again = bench.try_append(named(1, to, "hi", "n", true)).await.unwrap();
        assert_eq!((again.id, again.duplicate), (id, true));
    }
}

pub async fn later_tries_at_once_are_one_message<B: Backend>() {
    let bench = Bench::<B>::new().await;
    bench.append_all(1, 2, &["x"; 500]).await;
    for round in 0..20 {
        let mut tries = JoinSet::new();
        for _ in 0..8 {
            let store = bench.store.clone();
            tries.spawn(async move {
                let draft = named(1, 2, "hi", &format!("n{round}"), true);
                store.append(draft).await.unwrap().await.unwrap()
            });
        }
        let outcomes = tries.join_all().await;
        assert_eq!(outcomes.iter().filter(|appended| !appended.duplicate).count(), 1);
        assert!(outcomes.iter().all(|appended| appended.id == outcomes[0].id));
    }
    assert_eq!(bench.all(2).await.len(), 520);
}

pub async fn a_name_comes_back_with_its_message<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    bench.append(named(1, 2, "a", "名", false)).await;
    bench.append(packet(1, 2, "b", 1)).await;
    bench.append(draft(1, 2, "c")).await;
    for _ in 0..2 {
        let held = bench.all(2).await;
        let names: Vec<Option<&str>> =
            held.iter().map(|entry| entry.client_id.as_ref().map(|name| name.as_str())).collect();
        assert_eq!(names, [Some("名"), None, None], "{:?}", ids(&held));
        bench.reopen().await;
    }
    let news = stored(&bench.closed().await);
    assert_eq!(news[0].entry.client_id.as_ref().map(|name| name.as_str()), Some("名"));
}

pub async fn a_resend_changes_nothing<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let first = bench.append(packet(1, 2, "a", 1)).await;
    bench.append(draft(1, 2, "b")).await;
    bench.mark(2, &[first]).await;
    let unread = bench.unread(2).await;
    bench.try_append(packet(1, 2, "a", 1)).await.unwrap();
    assert_eq!(bench.unread(2).await, unread);
    let news = bench.closed().await;
    assert_eq!((stored(&news).len(), receipts(&news).len()), (2, 1));
}
