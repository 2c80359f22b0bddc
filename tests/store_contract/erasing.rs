//! Erasing a user.

use imserver::ids::UserId;
use imserver::store::{
    Announcement, AppendError, ClaimedProfile, Cursor, Erased, HistoryEntry, Span, Stretch,
};

use tokio::task::JoinSet;

use crate::backend::{Backend, Bench, EVERYTHING, contents, draft, ids, named, sender, user};

const WHO: u64 = 2;

async fn erase<B: Backend>(bench: &Bench<B>, who: u64) -> u64 {
    let Erased { messages } = bench.store.erase(user(who)).await.unwrap();
    messages
}

async fn profile<B: Backend>(bench: &Bench<B>, of: u64) -> String {
    bench.store.profile(user(of)).await.unwrap().name.clone()
}

pub async fn nothing_is_left_of_an_erased_user<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    for reader in [1, WHO, 3] {
        let claimed = ClaimedProfile { name: Some(format!("n{reader}")), picture: None };
        bench.store.set_profile(user(reader), claimed).await.unwrap();
    }
    let mut to_peer = Vec::new();
    for turn in 0..400u64 {
        let mut lined_up = Vec::new();
        for (from, to) in [(WHO, 1), (1, WHO), (0, WHO), (WHO, WHO), (1, 3)] {
            let text = format!("{from} to {to}: {turn}");
            lined_up.push(bench.line_up(draft(from, to, &text)).await);
        }
        let mut ids = Vec::new();
        for receipt in lined_up {
            ids.push(receipt.await.unwrap().id);
        }
        to_peer.push(ids[0]);
    }
    // Read out of order, so that there is something of every kind to be erased.
    let read: Vec<_> = to_peer.iter().copied().step_by(3).collect();
    bench.mark(1, &read).await;
    let notices: Vec<_> = bench.all(WHO).await;
    bench.mark(WHO, &ids(&notices)).await;
    assert_eq!(erase(&bench, WHO).await, 4 * 400);
    for _ in 0..2 {
        assert!(bench.all(WHO).await.is_empty() && bench.all(1).await.is_empty());
        assert!(bench.unread(1).await.is_empty());
        assert_eq!(bench.all(3).await.len(), 400);
        for (one, other) in [(1, WHO), (WHO, 1), (WHO, WHO), (WHO, 0)] {
            let found = bench.store.history(user(one), sender(other), Stretch::Newest, 9).await;
            assert_eq!(found, Ok(None), "{one} and {other}");
        }
        let peers = bench.store.conversations(user(1), None, 9).await.unwrap();
        assert_eq!(peers.conversations.len(), 1, "only the one with user 3");
        assert_eq!(peers.unread_total, 0);
        assert_eq!(profile(&bench, WHO).await, "");
        assert_eq!(
            (profile(&bench, 1).await, profile(&bench, 3).await),
            ("n1".into(), "n3".into())
        );
        let users = bench.store.users(None, 9).await.unwrap();
        assert_eq!(users.into_iter().map(UserId::get).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(erase(&bench, WHO).await, 0, "again");
        bench.reopen().await;
    }
}

pub async fn after_an_erasure_everything_goes_on<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let mut given = bench.append_all(WHO, 1, &["a", "b", "c"]).await;
    given.extend(bench.append_all(1, WHO, &["d"]).await);
    bench.mark(1, &given[..1]).await;
    let last = *given.last().unwrap();
    let head = given[2];
    assert_eq!(erase(&bench, WHO).await, 4);
    assert_eq!(bench.store.inbox_head(user(1)).await, Ok(Cursor::from(head)));
    for turn in 0..3u64 {
        let new = bench.append(draft(WHO, 1, "new")).await;
        assert!(new > last, "no id is given twice");
        let found = bench.all(1).await;
        assert_eq!(found.len() as u64, turn + 1);
        let newest = &found.last().unwrap().message;
        assert_eq!((newest.id, newest.ordinal), (new, 3 + turn + 1), "no ordinal is given twice");
        assert_eq!(bench.unread(1).await.len() as u64, turn + 1);
        let list = bench.store.conversations(user(1), None, 9).await.unwrap();
        assert_eq!((list.conversations.len(), list.unread_total), (1, turn + 1));
        bench.reopen().await;
    }
    // Marks of what is gone are marks of nothing.
    bench.mark(1, &given).await;
    bench.mark_up_to(1, WHO, head).await;
    assert_eq!(bench.unread(1).await.len(), 3);
    assert!(bench.append(draft(1, WHO, "answer")).await > last);
    assert_eq!(contents(&bench.all(WHO).await), ["answer"]);
}

pub async fn a_reader_is_told_that_something_is_gone<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let gone = bench.append_all(WHO, 1, &["a", "b"]).await;
    let kept = bench.append_all(3, 1, &["c"]).await;
    erase(&bench, WHO).await;
    for _ in 0..2 {
        for (after, complete) in [
            (Cursor::START, false),
            (gone[0].into(), false),
            (gone[1].into(), true),
            (kept[0].into(), true),
        ] {
            let page = bench.page(1, Span { after, ..EVERYTHING }).await;
            assert_eq!(page.complete, complete, "{after:?}");
            let unread = bench.page(1, Span { after, unread_only: true, ..EVERYTHING }).await;
            assert!(unread.complete, "what is unread is all there");
        }
        bench.reopen().await;
    }
}

pub async fn an_unread_message_that_is_erased_leaves_room_in_the_inbox<B: Backend>() {
    let settings = crate::backend::Settings { unread_max: 3, ..Default::default() };
    let mut bench = Bench::<B>::with(settings).await;
    bench.append_all(WHO, 1, &["a", "b"]).await;
    bench.append(draft(3, 1, "c")).await;
    assert_eq!(bench.try_append(draft(3, 1, "d")).await, Err(AppendError::InboxFull));
    erase(&bench, WHO).await;
    bench.reopen().await;
    bench.append_all(3, 1, &["e", "f"]).await;
    assert_eq!(bench.try_append(draft(3, 1, "g")).await, Err(AppendError::InboxFull));
}

pub async fn a_resend_of_what_was_erased_is_known<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let first = bench.append(named(WHO, 1, "a", "n", false)).await;
    erase(&bench, WHO).await;
    for again in [false, true] {
        let resent = bench.try_append(named(WHO, 1, "a", "n", again)).await.unwrap();
        assert_eq!((resent.id, resent.duplicate), (first, true));
    }
    assert!(bench.all(1).await.is_empty());
}

/// What comes meanwhile is erased too, or comes wholly after.
pub async fn messages_and_marks_during_an_erasure_are_wholly_before_or_after_it<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    for _ in 0..300 {
        bench.append(draft(WHO, 1, "before")).await;
    }
    let mut erasing = JoinSet::new();
    erasing.spawn(bench.store.erase(user(WHO)));
    let mut acknowledged = Vec::new();
    let outcome = loop {
        if let Some(outcome) = erasing.try_join_next() {
            break outcome;
        }
        acknowledged.push(bench.append(draft(WHO, 1, "meanwhile")).await);
        let id = bench.append(draft(1, WHO, "meanwhile")).await;
        bench.mark(WHO, &[id]).await;
    };
    outcome.unwrap().unwrap();
    let after = bench.append(draft(WHO, 1, "after")).await;
    acknowledged.push(after);
    for _ in 0..2 {
        let left = ids(&bench.all(1).await);
        assert!(acknowledged.ends_with(&left) && left.ends_with(&[after]), "a part of what came");
        let history = walked(&bench, 1, WHO).await;
        assert!(history.iter().all(|entry| entry.message.content != "before"));
        bench.reopen().await;
    }
}

async fn walked<B: Backend>(bench: &Bench<B>, who: u64, peer: u64) -> Vec<HistoryEntry> {
    crate::walking::older(&*bench.store, who, peer, || 50).await
}

pub async fn nobody_is_told_of_an_erasure<B: Backend>() {
    let bench = Bench::<B>::new().await;
    bench.append_all(WHO, 1, &["a", "b"]).await;
    erase(&bench, WHO).await;
    let news = bench.closed().await;
    assert!(news.iter().all(|news| matches!(news, Announcement::Stored(_))), "{news:?}");
    assert_eq!(news.len(), 2);
}

pub async fn a_closed_store_erases_nobody<B: Backend>() {
    let bench = Bench::<B>::new().await;
    bench.append(draft(WHO, 1, "a")).await;
    bench.store.close().await.unwrap();
    assert_eq!(bench.store.erase(user(WHO)).await, Err(AppendError::Unavailable));
}
