//! What only this store promises of its reads: nothing beyond the watermark, no gap
//! passed over in silence, and what its cursors mean.

use super::super::super::{
    Cursor, Health, HistoryCursor, ResendKey, Seen, Store, StoreError, Stretch,
};
use super::super::keys::Pair;
use super::super::tests::{append, draft, folder, open_at};
use super::super::{SledStore, keys, record};
use super::*;
use crate::ids::{MessageId, Sender};
use crate::message::{ClientMsgId, StoredAt};
use crate::store::{Draft, History};

/// The number of a draft from user 2 to user 3; so is every 200th above it.
const NUMBER: u64 = 2;

fn pair() -> Pair {
    Pair { to: draft(NUMBER).to, from: draft(NUMBER).from }
}

async fn history(store: &SledStore, stretch: Stretch) -> Result<Option<History>> {
    store.history(pair().to, pair().from, stretch, 2).await
}

/// Puts a message into the log that no commit has made durable.
fn insert_undurable(store: &SledStore, pair: Pair, id: u64, ordinal: u64) {
    let log = store.shared.log().unwrap();
    let resend = ResendKey::Client { id: ClientMsgId::new("early").unwrap(), again: false };
    let draft = Draft { to: pair.to, from: pair.from, resend, ..draft(NUMBER) };
    let key = keys::message(pair, id);
    let value = record::encode_message(&key, &draft, ordinal, StoredAt(1));
    log.hot.insert([(pair, id, value.into())]);
    log.insert(keys::peer(pair.to, pair.from), b"").unwrap();
}

#[tokio::test]
async fn no_read_goes_beyond_what_is_durable() {
    let folder = folder();
    let (store, _tail) = open_at(folder.path()).unwrap();
    let durable = append(&store, NUMBER).await;
    let early = durable.next().unwrap();
    insert_undurable(&store, pair(), early.get(), 2);
    let stranger = Sender::new(77).unwrap();
    insert_undurable(&store, Pair { from: stranger, ..pair() }, early.get() + 1, 1);

    let page = history(&store, Stretch::Newest).await.unwrap().unwrap();
    assert_eq!(page.entries.len(), 1);
    assert_eq!(page.entries[0].message.id, durable);
    let beyond = Stretch::After(HistoryCursor([durable.get(), 0]));
    assert!(history(&store, beyond).await.unwrap().unwrap().entries.is_empty());
    let before = Stretch::Before(HistoryCursor([early.get() + 1, 0]));
    assert_eq!(history(&store, before).await.unwrap().unwrap().entries.len(), 1);
    assert_eq!(store.history(pair().to, stranger, Stretch::Newest, 9).await, Ok(None));

    let list = store.conversations(pair().to, None, 10).await.unwrap();
    assert_eq!((list.conversations.len(), list.unread_total), (1, 1));
    assert_eq!(list.conversations[0].last.message.id, durable);
    assert_eq!(store.inbox_head(pair().to).await, Ok(Cursor::from(durable)));

    let seen = Seen::UpTo { peer: pair().from, id: early };
    store.mark_read(pair().to, seen, None).await.unwrap();
    assert_eq!(floor(&store.shared.log().unwrap(), pair()).unwrap().ordinal, 1);
    let tree = store.shared.log().unwrap();
    let name = ClientMsgId::new("early").unwrap();
    assert_eq!(find_named(&tree, pair(), &name, durable.into()).unwrap(), None);
    assert!(find_named(&tree, pair(), &name, early.into()).unwrap().is_some());
}

#[tokio::test]
async fn a_message_that_is_gone_from_a_page_is_noticed() {
    let folder = folder();
    let (store, _tail) = open_at(folder.path()).unwrap();
    let mut given = Vec::new();
    for turn in 0..5 {
        given.push(append(&store, NUMBER + 200 * turn).await);
    }
    store.shared.log().unwrap().hot.remove(&[(pair(), given[2].get())]);
    assert_eq!(store.health(), Health::Ready);
    for stretch in [
        Stretch::Before(HistoryCursor([given[4].get(), 0])),
        Stretch::After(HistoryCursor([given[0].get(), 0])),
    ] {
        let page = history(&store, stretch).await;
        assert!(matches!(page, Err(StoreError::Damaged(_))), "{page:?}");
    }
    assert!(matches!(store.health(), Health::ReadOnly { .. }));
}

#[tokio::test]
async fn a_cursor_is_the_id_of_a_message_and_nothing_beside() {
    let folder = folder();
    let (store, _tail) = open_at(folder.path()).unwrap();
    let mut given = Vec::new();
    for turn in 0..3 {
        given.push(append(&store, NUMBER + 200 * turn).await);
    }
    let at = |id: u64| HistoryCursor([id, 0]);
    let [first, second, third] = [given[0], given[1], given[2]].map(MessageId::get);
    let last = (1 << 53) - 1;
    for (stretch, ids, older, newer) in [
        (Stretch::Newest, &given[1..], Some(second), third),
        (Stretch::Before(at(third)), &given[..2], None, second),
        (Stretch::Before(at(first)), &[], None, first - 1),
        (Stretch::Before(at(0)), &[], None, 0),
        (Stretch::After(at(0)), &given[..2], None, second),
        (Stretch::After(at(first)), &given[1..], Some(second), third),
        (Stretch::After(at(third)), &[], Some(third + 1), third),
        (Stretch::After(at(last)), &[], Some(last), last),
    ] {
        let page = history(&store, stretch).await.unwrap().unwrap();
        let found: Vec<MessageId> = page.entries.iter().map(|entry| entry.message.id).collect();
        assert_eq!(found, ids, "{stretch:?}");
        assert_eq!((page.older, page.newer), (older.map(at), at(newer)), "{stretch:?}");
    }
    for bad in [[first, 1], [1 << 53, 0], [u64::MAX, 0]].map(HistoryCursor) {
        for stretch in [Stretch::Before(bad), Stretch::After(bad)] {
            assert_eq!(history(&store, stretch).await, Err(StoreError::BadCursor));
        }
        let list = store.conversations(pair().to, Some(bad), 10).await;
        assert_eq!(list, Err(StoreError::BadCursor));
    }
}
