//! Conversations as a client reads them: page by page, either way.

use imserver::store::{
    Conversation, History, HistoryCursor, HistoryEntry, Store, StoreError, Stretch,
};

use crate::backend::{sender, user};

/// A page of a conversation that there is, with what every page promises.
pub async fn page(
    store: &dyn Store,
    who: u64,
    peer: u64,
    stretch: Stretch,
    limit: usize,
) -> History {
    let page = store.history(user(who), sender(peer), stretch, limit).await.unwrap();
    let page = page.expect("a conversation");
    assert!(page.entries.len() <= limit);
    for entry in &page.entries {
        let ends = (entry.message.from, sender(entry.message.to.get()));
        let (own, other) = (sender(who), sender(peer));
        assert!(ends == (own, other) || ends == (other, own), "{ends:?} among {who} and {peer}");
    }
    page
}

/// A whole conversation from its end to its beginning, given oldest first.
pub async fn older(
    store: &dyn Store,
    who: u64,
    peer: u64,
    mut limit: impl FnMut() -> usize,
) -> Vec<HistoryEntry> {
    let mut found = Vec::new();
    let mut stretch = Stretch::Newest;
    loop {
        let page = page(store, who, peer, stretch, limit()).await;
        assert!(!page.entries.is_empty(), "a cursor that leads nowhere");
        found.splice(0..0, page.entries);
        match page.older {
            Some(cursor) => stretch = Stretch::Before(cursor),
            None => return found,
        }
    }
}

/// What lies behind a cursor, to the end of the conversation, and the cursor there.
pub async fn newer(
    store: &dyn Store,
    who: u64,
    peer: u64,
    mut cursor: HistoryCursor,
    mut limit: impl FnMut() -> usize,
) -> (Vec<HistoryEntry>, HistoryCursor) {
    let mut found = Vec::new();
    loop {
        let page = page(store, who, peer, Stretch::After(cursor), limit()).await;
        if page.entries.is_empty() {
            assert_eq!(page.newer, cursor);
            return (found, cursor);
        }
        found.extend(page.entries);
        cursor = page.newer;
    }
}

/// A conversation forwards, from the beginning that the walk backwards ends at.
pub async fn from_the_beginning(
    store: &dyn Store,
    who: u64,
    peer: u64,
    mut limit: impl FnMut() -> usize,
) -> Vec<HistoryEntry> {
    let mut first = page(store, who, peer, Stretch::Newest, limit()).await;
    while let Some(cursor) = first.older {
        first = page(store, who, peer, Stretch::Before(cursor), limit()).await;
    }
    let mut found = first.entries;
    found.extend(newer(store, who, peer, first.newer, limit).await.0);
    found
}

/// A whole list of conversations, and the unread messages that every page of it counts.
pub async fn list(
    store: &dyn Store,
    who: u64,
    mut limit: impl FnMut() -> usize,
) -> Result<(Vec<Conversation>, u64), StoreError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let limit = limit();
        let page = store.conversations(user(who), after, limit).await?;
        assert!(page.conversations.len() <= limit);
        found.extend(page.conversations);
        match page.next {
            Some(cursor) => after = Some(cursor),
            None => return Ok((found, page.unread_total)),
        }
    }
}
