//! Messages that were read: whose, for how long, and what it makes room for.

use crate::delivery::{fast, number, send_all};
use crate::support::{frame, mark_read};

#[tokio::test]
async fn marking_read_touches_ones_own_messages_only_and_is_durable() {
    let server = fast().start().await;
    let mut ming = server.connect(1).await;
    send_all(&mut ming, 2, 0..5, 1).await;
    send_all(&mut ming, 3, 0..5, 1).await;
    let (mut hong, mut li) = (server.connect(2).await, server.connect(3).await);
    let (mut of_hong, mut of_li) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        of_hong.push(hong.message().await.0);
        of_li.push(li.message().await.0);
    }
    // Hers, his, one that does not exist, one twice, in no order; and again.
    let never = 9_007_199_254_740_991;
    let list = [of_hong[3], of_li[0], never, of_hong[1], of_li[4], of_hong[3]];
    let mut digits = mark_read(2, &[]);
    digits["content"] = format!("[\"{}\",{}]", of_hong[4], of_li[1]).into();
    for packet in [mark_read(2, &list), mark_read(2, &list), digits, mark_read(2, &[])] {
        hong.send(&packet).await;
    }
    // A sender cannot unread, nor read, what they sent.
    ming.send(&mark_read(1, &of_hong)).await;
    ming.say(9, "the mark before this one is written", "1").await;
    hong.say(9, "the marks before this one are written", "1").await;

    let server = server.kill().start().await;
    let (mut hong, mut li) = (server.connect(2).await, server.connect(3).await);
    for expected in [0, 2] {
        assert_eq!(number(&mut hong).await, (of_hong[expected], expected as u64));
    }
    hong.nothing_came().await;
    for (expected, id) in (0..).zip(of_li) {
        assert_eq!(number(&mut li).await, (id, expected));
    }
    li.nothing_came().await;
}

#[tokio::test]
async fn the_mark_of_one_who_leaves_at_once_is_kept() {
    // It used to be forgotten where the connection ended before it was written.
    let server = fast().start().await;
    let mut ming = server.connect(1).await;
    for round in 0..20 {
        ming.say(2, "seen", &round.to_string()).await;
        let mut hong = server.connect(2).await;
        let (id, _) = hong.message().await;
        hong.send(&frame(2, 9, "thanks", &round.to_string())).await;
        hong.send(&mark_read(2, &[id])).await;
        hong.close().await;
    }
    server.connect(2).await.nothing_came().await;
}

#[tokio::test]
async fn a_full_inbox_takes_no_more_until_something_is_read() {
    let server = fast().set("limits.unread_per_user", "3").start().await;
    let mut ming = server.connect(1).await;
    let mut hong = server.connect(2).await;
    send_all(&mut ming, 2, 0..3, 1).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(hong.message().await.0);
    }
    for content in ["too much", "far too much"] {
        ming.send(&frame(1, 2, content, "4")).await;
        assert_eq!(ming.failure().await, "inbox_full");
    }
    ming.say(3, "others have room", "5").await;
    hong.send(&mark_read(2, &ids[1..])).await;
    hong.say(1, "the mark before this is written", "6").await;
    assert_eq!(ming.message().await.1, "the mark before this is written");
    send_all(&mut ming, 2, 6..8, 1).await;
    assert_eq!(number(&mut hong).await.1, 6);
    assert_eq!(number(&mut hong).await.1, 7);
    ming.send(&frame(1, 2, "too much again", "9")).await;
    assert_eq!(ming.failure().await, "inbox_full");
    // It is counted again, not remembered, after a crash.
    let server = server.kill().start().await;
    let mut ming = server.connect(1).await;
    ming.message().await;
    ming.send(&frame(1, 2, "still too much", "9")).await;
    assert_eq!(ming.failure().await, "inbox_full");
}
