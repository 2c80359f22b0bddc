//! What is known of inboxes and users by heart.

use super::super::claims::Print;
use super::super::inboxes::{Change, Inboxes, KEPT, State, walk};
use super::*;
use crate::store::{ClaimedProfile, Page};

fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

const UNREAD: Span = Span { after: Cursor::START, until: None, unread_only: true };

fn behind(after: MessageId) -> Span {
    Span { after: after.into(), until: None, unread_only: false }
}

fn page(store: &SledStore, inbox: u64, span: Span) -> Option<Page> {
    store.by_heart(|known, head| known.page(user(inbox), span, head))
}

fn head(store: &SledStore, inbox: u64) -> Option<Cursor> {
    store.by_heart(|known, head| known.head(user(inbox), head))
}

async fn send(store: &SledStore, to: u64) -> MessageId {
    let draft = Draft { from: Sender::User(user(1)), to: user(to), ..draft(0) };
    store.append(draft).await.unwrap().await.unwrap().id
}

/// Opens the store, and walks to the end.
async fn walked(folder: &TempDir) -> SledStore {
    let store = open_at(folder.path()).unwrap().0;
    let shared = Arc::clone(&store.shared);
    tokio::task::spawn_blocking(move || walk(&shared)).await.unwrap();
    store
}

#[tokio::test]
async fn who_has_missed_nothing_needs_no_read() {
    let folder = folder();
    let store = walked(&folder).await;
    let nothing = page(&store, 2, UNREAD).unwrap();
    assert!(nothing.entries.is_empty() && nothing.complete, "nobody has an inbox");
    assert_eq!(head(&store, 2), Some(Cursor::START));

    let first = send(&store, 2).await;
    assert!(page(&store, 2, UNREAD).is_none());
    assert_eq!(head(&store, 2), Some(first.into()));
    let nothing = page(&store, 2, behind(first)).unwrap();
    assert_eq!((nothing.up_to, nothing.head), (first.into(), first.into()));
    store.mark_read(user(2), Seen::Ids(vec![first]), None).await.unwrap();
    assert!(page(&store, 2, UNREAD).is_some(), "all of it is read");
    assert!(page(&store, 2, Span { unread_only: false, ..UNREAD }).is_none(), "but there");

    let second = send(&store, 2).await;
    assert!(page(&store, 2, UNREAD).is_none());
    assert!(page(&store, 2, behind(first)).is_none());
    assert!(page(&store, 2, behind(second)).is_some());
    let until = Span { until: Some(first.into()), ..behind(second) };
    assert_eq!(page(&store, 2, until).unwrap().up_to, second.into());
    assert_eq!(head(&store, 1), Some(Cursor::START), "who only writes has an empty inbox");
    store.close().await.unwrap();
}

#[tokio::test]
async fn after_a_start_one_read_is_enough() {
    let folder = folder();
    let store = walked(&folder).await;
    let (mut ids, others) = (Vec::new(), 10..30);
    for to in others.clone() {
        ids.push(send(&store, to).await);
    }
    store.mark_read(user(10), Seen::Ids(vec![ids[0]]), None).await.unwrap();
    store.close().await.unwrap();

    let store = walked(&folder).await;
    assert_eq!(head(&store, 9), Some(Cursor::START));
    assert_eq!(head(&store, 30), Some(Cursor::START));
    for to in others {
        assert_eq!(head(&store, to), None, "the walk found {to}, and nothing more of it");
        assert!(page(&store, to, UNREAD).is_none());
    }
    assert_eq!(store.inbox_head(user(10)).await.unwrap(), ids[0].into());
    assert_eq!(head(&store, 10), Some(ids[0].into()));
    for (inbox, is_read) in [(10, true), (11, false)] {
        let found = store.read_inbox(user(inbox), UNREAD).await.unwrap();
        assert_eq!(found.entries.is_empty(), is_read);
        assert_eq!(page(&store, inbox, UNREAD).is_some(), is_read);
    }
    store.erase(user(10)).await.unwrap();
    assert_eq!(head(&store, 10), None, "something went");
    assert_eq!(store.inbox_head(user(10)).await.unwrap(), ids[0].into());
    store.close().await.unwrap();
}

#[tokio::test]
async fn who_says_what_they_said_before_needs_no_read_and_who_does_not_is_heard() {
    let folder = folder();
    let store = open_at(folder.path()).unwrap().0;
    let named = |name: &str| ClaimedProfile { name: Some(name.to_owned()), picture: None };
    let is_known = |name: &str| {
        let log = store.shared.log().unwrap();
        log.claims.say_nothing_new(user(1), Print::of(&named(name)))
    };
    let name = async || store.profile(user(1)).await.unwrap().name.clone();
    for said in ["Ann", "Bob", "Ann"] {
        store.set_profile(user(1), named(said)).await.unwrap();
        assert_eq!(name().await, said);
        assert!(!is_known("Ann") && !is_known("Bob"), "it was not read since");
        store.set_profile(user(1), named(said)).await.unwrap();
        assert!(is_known(said));
        store.set_profile(user(1), named(said)).await.unwrap();
        assert_eq!(name().await, said);
    }
    store.erase(user(1)).await.unwrap();
    assert!(!is_known("Ann"));
    store.set_profile(user(1), named("Ann")).await.unwrap();
    assert_eq!(name().await, "Ann");
    store.close().await.unwrap();
}

fn change(inbox: u64, head: u64) -> Change {
    let state = State { head, is_head: true, is_read: false };
    Change { inbox: user(inbox), state, is_removal: false }
}

#[test]
fn what_a_read_found_counts_only_where_nothing_came_meanwhile() {
    let known = Inboxes::default();
    let nothing = |head| known.page(user(1), UNREAD, Cursor(head)).is_some();
    known.found_nothing_unread(user(1), Cursor(9));
    assert!(!nothing(9), "nobody knows what came before");
    known.enter([change(1, 5)].into_iter());
    known.found_nothing_unread(user(1), Cursor(4));
    assert!(!nothing(5), "message 5 came behind that read");
    known.found_nothing_unread(user(1), Cursor(5));
    assert!(nothing(5));
    known.enter([change(1, 6)].into_iter());
    assert!(!nothing(6));
    // Not announced yet, and not to be told of.
    assert_eq!(known.head(user(1), Cursor(5)), None);
    assert_eq!(known.head(user(1), Cursor(6)), Some(Cursor(6)));

    let before = known.removals();
    known.enter([Change { is_removal: true, state: State::default(), ..change(1, 0) }].into_iter());
    known.found_head(user(1), Cursor(6), before);
    assert_eq!(known.head(user(1), Cursor(9)), None, "it may be of before the removal");
    known.found_nothing_unread(user(1), Cursor(5));
    assert!(!nothing(9), "message 6 came behind that read, whatever went since");
    known.found_head(user(1), Cursor(6), known.removals());
    assert_eq!(known.head(user(1), Cursor(9)), Some(Cursor(6)));
    // The writer has forgotten how far it went, and it does not say so.
    let state = State { head: 3, is_head: false, is_read: true };
    known.enter([Change { state, ..change(1, 0) }].into_iter());
    assert_eq!(known.head(user(1), Cursor(9)), Some(Cursor(6)));
    assert!(nothing(9));
}

#[tokio::test]
async fn where_there_are_too_many_nothing_is_said_of_strangers() {
    let folder = folder();
    let store = walked(&folder).await;
    let many = KEPT as u64 + 1;
    for to in 2..2 + many {
        send(&store, to).await;
    }
    assert!(head(&store, 1_000).is_none());
    assert!(head(&store, 2).is_none(), "forgotten with all that were known");
    assert!(head(&store, 1 + many).is_some(), "entered since");
    store.close().await.unwrap();
    let store = walked(&folder).await;
    assert!(head(&store, 1_000).is_none(), "the walk gives up");
    send(&store, 1_000).await;
    assert!(head(&store, 1_000).is_some());
    store.close().await.unwrap();
}
