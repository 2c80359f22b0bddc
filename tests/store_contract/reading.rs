//! Reading an inbox: spans, pages, the merge of many senders.

use imserver::ids::{MessageId, Sender};
use imserver::store::{Cursor, PAGE_BYTES, PAGE_MESSAGES, Span};

use crate::backend::{Backend, Bench, EVERYTHING, UNREAD, contents, draft, ids, pages};

pub async fn an_empty_inbox_is_read_to_its_end<B: Backend>() {
    let bench = Bench::<B>::new().await;
    for span in [EVERYTHING, UNREAD] {
        let page = bench.page(2, span).await;
        assert!(page.entries.is_empty());
        assert_eq!((page.up_to, page.head), (Cursor::START, Cursor::START));
    }
    bench.append(draft(1, 3, "x")).await;
    let page = bench.page(2, EVERYTHING).await;
    assert!(page.entries.is_empty());
    assert_eq!(page.up_to, page.head);
}

pub async fn inboxes_do_not_see_each_other<B: Backend>() {
    let bench = Bench::<B>::new().await;
    // Both directions of a conversation, and ids that are neighbours as numbers.
    for (from, to) in [(1, 2), (2, 1), (1, 256), (256, 1), (1, 65_536), (2, 3)] {
        bench.append(draft(from, to, &format!("to {to}"))).await;
    }
    for (inbox, count) in [(1, 2), (2, 1), (3, 1), (256, 1), (65_536, 1), (4, 0), (257, 0)] {
        let stored = bench.all(inbox).await;
        assert_eq!(contents(&stored), vec![format!("to {inbox}"); count]);
    }
}

pub async fn a_page_holds_so_many_messages<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let given = bench.append_all(1, 2, &["x"; PAGE_MESSAGES + 1]).await;
    let first = bench.page(2, EVERYTHING).await;
    assert_eq!(ids(&first.entries), given[..PAGE_MESSAGES]);
    assert!(first.up_to < first.head);
    let last = given.last().copied().map(Cursor::from);
    assert_eq!(Some(first.head), last);
    let after = first.up_to;
    let second = bench.page(2, Span { after, ..EVERYTHING }).await;
    assert_eq!(ids(&second.entries), given[PAGE_MESSAGES..]);
    assert_eq!(second.up_to, second.head);

    // Exactly full, and nothing behind it: that is the end.
    let until = Some(Cursor::from(given[PAGE_MESSAGES - 1]));
    let full = bench.page(2, Span { until, ..EVERYTHING }).await;
    assert_eq!(full.entries.len(), PAGE_MESSAGES);
    assert_eq!(Some(full.up_to), until);
}

pub async fn a_page_holds_so_many_bytes<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let text = "x".repeat(PAGE_BYTES / 8);
    let texts = [text.as_str(); 20];
    for from in 1..=3 {
        bench.append_all(from, 9, &texts).await;
    }
    let mut after = Cursor::START;
    let mut found = 0;
    loop {
        let page = bench.page(9, Span { after, ..EVERYTHING }).await;
        let bytes: usize = page.entries.iter().map(|e| e.message.content.len()).sum();
        assert!(bytes < PAGE_BYTES + text.len(), "{bytes}");
        found += page.entries.len();
        if page.up_to == page.head {
            break;
        }
        assert!(bytes >= PAGE_BYTES, "a page closed too early: {bytes}");
        after = page.up_to;
    }
    assert_eq!(found, 60);
}

pub async fn one_large_message_is_a_page<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let large = "x".repeat(48 * 1024);
    bench.append_all(1, 2, &[&large, &large, &large]).await;
    assert_eq!(bench.all(2).await.len(), 3);
    let page = bench.page(2, EVERYTHING).await;
    assert_eq!(page.entries.len(), 2);
}

pub async fn many_senders_are_merged_by_id<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let mut given = Vec::new();
    for number in 0..600u64 {
        let from = number * 7 % 40;
        given.push((bench.line_up(draft(from, 99, "x")).await, from));
    }
    let mut expected = Vec::new();
    for (receipt, from) in given {
        expected.push((receipt.await.unwrap().id, Sender::new(from).unwrap()));
    }
    let stored = bench.all(99).await;
    let found: Vec<_> = stored.iter().map(|entry| (entry.message.id, entry.message.from)).collect();
    assert_eq!(found, expected);
    assert_eq!(bench.unread(99).await, ids(&stored));
}

pub async fn a_span_begins_behind_its_cursor_and_ends_at_its_end<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let mut given = Vec::new();
    for number in 0..12 {
        given.push(bench.append(draft(1 + number % 3, 9, "x")).await);
        // Gaps between the ids of the inbox.
        bench.append(draft(1, 8, "x")).await;
    }
    for unread_only in [false, true] {
        for from in 0..given.len() {
            for to in from..given.len() {
                let span =
                    Span { after: given[from].into(), until: Some(given[to].into()), unread_only };
                let found = pages(&*bench.store, 9, span).await.unwrap();
                assert_eq!(ids(&found), given[from + 1..=to]);
                let page = bench.page(9, span).await;
                assert_eq!(Some(page.up_to), span.until);
                assert!(page.head >= given[11].into());
            }
        }
    }
}

pub async fn a_cursor_beyond_the_head_reads_nothing<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let last = bench.append_all(1, 2, &["a", "b"]).await[1];
    let beyond = MessageId::new(1 << 40).unwrap();
    for unread_only in [false, true] {
        for until in [None, Some(Cursor::from(last)), Some(beyond.into())] {
            let after = beyond.into();
            let span = Span { after, until, unread_only };
            let page = bench.page(2, span).await;
            assert!(page.entries.is_empty());
            assert_eq!(page.head, last.into());
            assert!(page.up_to >= page.head);
        }
        // An end before the beginning.
        let span = Span { after: last.into(), until: Some(Cursor::START), unread_only };
        assert!(bench.page(2, span).await.entries.is_empty());
        // An end beyond what there is.
        let span = Span { after: Cursor::START, until: Some(beyond.into()), unread_only };
        let page = bench.page(2, span).await;
        assert_eq!((page.entries.len(), page.up_to), (2, page.head));
    }
}

pub async fn unread_messages_are_found_among_many_read_ones<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let mut given = Vec::new();
    for from in 1..=3 {
        given.extend(bench.append_all(from, 9, &["x"; 700]).await);
    }
    given.sort_unstable();
    let kept: Vec<MessageId> = given.iter().copied().skip(7).step_by(300).collect();
    let read: Vec<MessageId> = given.iter().copied().filter(|id| !kept.contains(id)).collect();
    for chunk in read.chunks(1000) {
        bench.mark(9, chunk).await;
    }
    assert_eq!(bench.unread(9).await, kept);
    assert_eq!(ids(&bench.all(9).await), given);
    bench.reopen().await;
    assert_eq!(bench.unread(9).await, kept);
    let span = Span { after: kept[1].into(), ..UNREAD };
    let found = pages(&*bench.store, 9, span).await.unwrap();
    assert_eq!(ids(&found), kept[2..]);
}

pub async fn a_note_to_oneself_and_a_notice_of_the_system_are_messages<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let note = bench.append(draft(2, 2, "note")).await;
    let notice = bench.append(draft(0, 2, "notice")).await;
    assert_eq!(bench.unread(2).await, [note, notice]);
    bench.mark(2, &[note]).await;
    bench.reopen().await;
    assert_eq!(bench.unread(2).await, [notice]);
    let stored = bench.all(2).await;
    assert_eq!(stored[0].message.from, Sender::User(stored[0].message.to));
    assert_eq!(stored[1].message.from, Sender::System);
}
