//! The list of conversations, counts, and how far an inbox reaches.

use imserver::store::{ClaimedProfile, Conversation, Cursor};

use crate::backend::{Backend, Bench, draft, user};
use crate::walking::list;

/// Peer, unread messages, newest text, whether that was read.
fn told(list: &[Conversation]) -> Vec<(u64, u64, &str, bool)> {
    let told = list.iter().map(|conversation| {
        let last = &conversation.last;
        let text = last.message.content.as_str();
        (conversation.peer.get(), conversation.unread, text, last.read)
    });
    told.collect()
}

pub async fn who_wrote_with_nobody_has_an_empty_list<B: Backend>() {
    let bench = Bench::<B>::new().await;
    bench.append(draft(1, 2, "x")).await;
    let (found, unread) = list(&*bench.store, 3, || 20).await.unwrap();
    assert_eq!((found.len(), unread), (0, 0));
}

pub async fn the_newest_message_of_either_comes_first<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let name = ClaimedProfile { name: Some("小红".to_owned()), picture: Some("p".to_owned()) };
    bench.store.set_profile(user(3), name).await.unwrap();
    bench.append(draft(2, 1, "a")).await;
    bench.append(draft(3, 1, "b")).await;
    bench.append(draft(3, 1, "c")).await;
    bench.append(draft(0, 1, "notice")).await;
    bench.append(draft(1, 1, "note")).await;
    bench.append(draft(1, 4, "sent")).await;
    for _ in 0..2 {
        let (found, unread) = list(&*bench.store, 1, || 20).await.unwrap();
        let expected = [
            (4, 0, "sent", false),
            (1, 1, "note", false),
            (0, 1, "notice", false),
            (3, 2, "c", false),
            (2, 1, "a", false),
        ];
        assert_eq!((told(&found), unread), (expected.to_vec(), 5));
        let names: Vec<&str> = found.iter().map(|found| found.profile.name.as_str()).collect();
        assert_eq!(names, ["", "", "", "小红", ""]);
        bench.reopen().await;
    }
    // An answer brings a conversation to the top; what was read counts no more.
    let answer = bench.append(draft(1, 2, "d")).await;
    bench.mark_up_to(1, 3, answer).await;
    bench.mark(2, &[answer]).await;
    let (found, unread) = list(&*bench.store, 1, || 20).await.unwrap();
    assert_eq!(told(&found)[0], (2, 1, "d", true));
    assert_eq!(told(&found)[4], (3, 0, "c", true));
    assert_eq!(unread, 3);
    let (found, unread) = list(&*bench.store, 2, || 20).await.unwrap();
    assert_eq!((told(&found), unread), (vec![(1, 0, "d", true)], 0));
}

pub async fn pages_of_the_list_meet<B: Backend>() {
    let bench = Bench::<B>::new().await;
    for round in 0..3u64 {
        for peer in 2..32 {
            // Every peer at another place each time, in either direction.
            let peer = 2 + peer * 7 % 30 + round * 3 % 5;
            let (from, to) = if peer % 2 == 0 { (peer, 1) } else { (1, peer) };
            bench.append(draft(from, to, &format!("{round}"))).await;
        }
    }
    let (whole, unread) = list(&*bench.store, 1, || 1000).await.unwrap();
    assert!(whole.len() >= 30);
    if B::ONE_ORDER {
        assert!(whole.is_sorted_by(|a, b| a.last.message.id > b.last.message.id));
    }
    assert!(whole.is_sorted_by(|a, b| a.last.message.stored_at >= b.last.message.stored_at));
    for limit in [1, 2, 7, whole.len() - 1, whole.len(), whole.len() + 1] {
        let found = list(&*bench.store, 1, || limit).await.unwrap();
        assert_eq!(found, (whole.clone(), unread), "in pages of {limit}");
    }
    assert_eq!(whole.iter().map(|conversation| conversation.unread).sum::<u64>(), unread);
}

pub async fn counts_know_marks_out_of_order<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let given = bench.append_all(2, 1, &["x"; 2100]).await;
    let every_third: Vec<_> = given.iter().copied().step_by(3).collect();
    bench.mark(1, &every_third).await;
    bench.append_all(3, 1, &["x"; 11]).await;
    for _ in 0..2 {
        let (found, unread) = list(&*bench.store, 1, || 1).await.unwrap();
        let counts: Vec<u64> = found.iter().map(|found| found.unread).collect();
        assert_eq!((counts, unread), (vec![11, 1400], 1411));
        bench.reopen().await;
    }
}

pub async fn an_inbox_reaches_to_its_newest_message<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    assert_eq!(bench.store.inbox_head(user(1)).await, Ok(Cursor::START));
    let mut newest = None;
    for peer in [3, 2, 0, 1, 2] {
        newest = Some(bench.append(draft(peer, 1, "x")).await);
        // What was sent, or sent to others, lies in other inboxes.
        bench.append(draft(1, 2, "y")).await;
    }
    bench.mark(1, &newest.into_iter().collect::<Vec<_>>()).await;
    for _ in 0..2 {
        assert_eq!(bench.store.inbox_head(user(1)).await, Ok(newest.unwrap().into()));
        assert_eq!(bench.store.inbox_head(user(3)).await, Ok(Cursor::START));
        bench.reopen().await;
    }
}

/// Of more peers than a store may find in one go: 1024 subjects are the bound of a NATS server.
pub async fn thousands_of_peers_are_all_listed_and_read<B: Backend>() {
    const PEERS: u64 = 1100;
    let bench = Bench::<B>::new().await;
    let mut receipts = Vec::new();
    for peer in 2..2 + PEERS {
        receipts.push(bench.line_up(draft(peer, 1, "hello")).await);
    }
    let mut ids = Vec::new();
    for receipt in receipts {
        ids.push(receipt.await.unwrap().id);
    }
    assert_eq!(bench.unread(1).await, ids);
    let (found, unread) = list(&*bench.store, 1, || 100).await.unwrap();
    let peers: Vec<u64> = found.iter().map(|found| found.peer.get()).collect();
    assert_eq!((peers, unread), ((2..2 + PEERS).rev().collect(), PEERS));
    bench.mark(1, &ids[1..]).await;
    assert_eq!(bench.unread(1).await, ids[..1]);
}
