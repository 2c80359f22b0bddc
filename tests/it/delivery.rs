//! What reaches a recipient: everything, in order, on each of their connections.

use serde_json::Value;

use crate::support::{Claims, Client, Setup, TestServer, frame, mark_read};

fn fast() -> Setup {
    Setup::new().set("limits.messages_per_second", "0")
}

/// Sends `numbers` as contents, some at a time, and waits for every success.
async fn send_all(client: &mut Client, to: u64, numbers: std::ops::Range<u64>, size: usize) {
    let numbers: Vec<u64> = numbers.collect();
    for some in numbers.chunks(32) {
        for number in some {
            let content = format!("{number:0>size$}");
            client
                .send(&frame(client.user, to, &content, &number.to_string()))
                .await;
        }
        for number in some {
            let answer = client.next().await;
            assert_eq!(answer, client.success(&number.to_string()));
        }
    }
}

async fn number(client: &mut Client) -> (u64, u64) {
    let (id, content) = client.message().await;
    (id, content.parse().unwrap())
}

#[tokio::test]
async fn who_comes_and_goes_while_messages_arrive_misses_none_and_gets_none_twice() {
    const MESSAGES: u64 = 3_000;
    let server = fast().start().await;
    let mut ming = server.connect(1).await;
    let sending = async {
        for first in (0..MESSAGES).step_by(100) {
            send_all(&mut ming, 2, first..first + 100, 1).await;
        }
    };
    let receiving = async {
        let (mut next, mut visits) = (0, 0);
        while next < MESSAGES {
            visits += 1;
            let mut hong = server.connect(2).await;
            let (mut ids, mut expected) = (Vec::new(), next);
            for _ in 0..(1 + visits * 7 % 60).min(MESSAGES - next) {
                let (id, found) = number(&mut hong).await;
                assert_eq!(found, expected, "visit {visits}");
                assert!(
                    ids.last().is_none_or(|&last| last < id),
                    "{id} after {ids:?}"
                );
                expected += 1;
                ids.push(id);
            }
            hong.send(&mark_read(2, &ids)).await;
            // The mark is not answered, and yet it holds when one leaves right away.
            hong.close().await;
            next = expected;
        }
        visits
    };
    let ((), visits) = tokio::join!(sending, receiving);
    assert!(visits > 50, "{visits}");
    let mut hong = server.connect(2).await;
    hong.nothing_came().await;
}

#[tokio::test]
async fn a_long_backlog_is_replayed_in_order_with_what_arrives_meanwhile() {
    const BACKLOG: u64 = 20_000;
    const LIVE: u64 = 500;
    let server = fast().set("log.level", "\"info\"").start().await;
    let (mut ming, mut li) = (server.connect(1).await, server.connect(3).await);
    let half = BACKLOG / 2;
    tokio::join!(
        send_all(&mut ming, 2, 0..half, 1),
        send_all(&mut li, 2, 0..half, 1)
    );
    let mut hong = server.connect(2).await;
    let sending = send_all(&mut ming, 2, half..half + LIVE, 1);
    let receiving = async {
        let (mut last, mut next) = (0, [0, 0]);
        for _ in 0..BACKLOG + LIVE {
            let message = hong.next().await;
            let describe: Value =
                serde_json::from_str(message["Describe"].as_str().unwrap()).unwrap();
            let id: u64 = describe["messageId"].as_str().unwrap().parse().unwrap();
            assert!(id > last, "{id} after {last}");
            last = id;
            let next = &mut next[usize::from(message["fromId"] == 3)];
            assert_eq!(message["content"], next.to_string(), "{message}");
            *next += 1;
        }
        assert_eq!(next, [half + LIVE, half]);
    };
    tokio::join!(sending, receiving);
    hong.nothing_came().await;
}

#[tokio::test]
async fn every_connection_of_a_user_gets_every_message_once() {
    let server = fast().start().await;
    let mut ming = server.connect(1).await;
    let mut connections = Vec::new();
    for first in [0, 50, 100] {
        // Each comes later than the one before; all see the same.
        connections.push(server.connect(2).await);
        send_all(&mut ming, 2, first..first + 50, 1).await;
    }
    let mut seen = Vec::new();
    for connection in &mut connections {
        let mut inbox = Vec::new();
        for expected in 0..150 {
            let (id, found) = number(connection).await;
            assert_eq!(found, expected);
            inbox.push(id);
        }
        seen.push(inbox);
    }
    assert!(
        seen.iter().all(|inbox| *inbox == seen[0]),
        "the same ids everywhere"
    );
    // Marked on one, it is read for all that come later, and nobody is told.
    connections[0].send(&mark_read(2, &seen[0])).await;
    let mut first = connections.remove(0);
    first.nothing_came().await;
    for mut connection in connections {
        // The note that proved the silence is news to the others.
        assert_eq!(connection.message().await.1, "is anything there?");
        connection.close().await;
    }
    assert_eq!(
        server.connect(2).await.message().await.1,
        "is anything there?"
    );
}

#[tokio::test]
async fn a_note_to_oneself_goes_to_the_other_connections_and_is_unread_until_marked() {
    let server = fast().start().await;
    let (mut phone, mut laptop) = (server.connect(1).await, server.connect(1).await);
    let mut ming = server.connect(2).await;
    for round in 0..20 {
        // Messages of others, before and behind, must not be taken for the note.
        let note = format!("note {round}");
        ming.send(&frame(2, 1, "from ming", &round.to_string()))
            .await;
        phone.send(&frame(1, 1, &note, &round.to_string())).await;
        ming.send(&frame(2, 1, "from ming again", &round.to_string()))
            .await;
        let mut at_phone = Vec::new();
        for _ in 0..3 {
            let came = phone.next().await;
            match came["type"].as_u64() {
                Some(0) => at_phone.push("success".to_owned()),
                _ => at_phone.push(came["content"].as_str().unwrap().to_owned()),
            }
        }
        at_phone.sort();
        assert_eq!(at_phone, ["from ming", "from ming again", "success"]);
        let mut at_laptop = Vec::new();
        for _ in 0..3 {
            at_laptop.push(laptop.message().await.1);
        }
        at_laptop.sort();
        assert_eq!(at_laptop, ["from ming", "from ming again", &note]);
    }
    phone.close().await;
    laptop.close().await;
    let mut phone = server.connect(1).await;
    let mut notes = Vec::new();
    for _ in 0..60 {
        let (id, content) = phone.message().await;
        if content.starts_with("note ") {
            notes.push(id);
        }
    }
    assert_eq!(notes.len(), 20);
    phone.send(&mark_read(1, &notes)).await;
    phone.close().await;
    let mut phone = server.connect(1).await;
    for _ in 0..40 {
        assert!(phone.message().await.1.starts_with("from ming"));
    }
    phone.nothing_came().await;
}

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
    let list = [
        of_hong[3], of_li[0], never, of_hong[1], of_li[4], of_hong[3],
    ];
    let mut digits = mark_read(2, &[]);
    digits["content"] = format!("[\"{}\",{}]", of_hong[4], of_li[1]).into();
    for packet in [
        mark_read(2, &list),
        mark_read(2, &list),
        digits,
        mark_read(2, &[]),
    ] {
        hong.send(&packet).await;
    }
    // A sender cannot unread, nor read, what they sent.
    ming.send(&mark_read(1, &of_hong)).await;
    ming.say(9, "the mark before this one is written", "1")
        .await;
    hong.say(9, "the marks before this one are written", "1")
        .await;

    let server = server.kill().start().await;
    let (mut hong, mut li) = (server.connect(2).await, server.connect(3).await);
    for expected in [0, 2] {
        assert_eq!(
            number(&mut hong).await,
            (of_hong[expected], expected as u64)
        );
    }
    hong.nothing_came().await;
    for (expected, id) in of_li.iter().enumerate() {
        assert_eq!(number(&mut li).await, (*id, expected as u64));
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

async fn shown(client: &mut Client) -> (String, String) {
    let message = client.next().await;
    let describe: Value = serde_json::from_str(message["Describe"].as_str().unwrap()).unwrap();
    let text = |name: &str| describe[name].as_str().unwrap().to_owned();
    (text("userName"), text("headURL"))
}

#[tokio::test]
async fn the_senders_name_and_picture_are_those_of_the_newest_token() {
    let server = fast().start().await;
    let mut hong = server.connect(2).await;
    let old = Claims::of(1)
        .with("name", "小明")
        .with("picture", "www.example.com/a.png");
    let new = Claims::of(1).with("name", "王\"明</script>");
    let table = [
        (Claims::of(1), ("", "")),
        (old, ("小明", "www.example.com/a.png")),
        (Claims::of(1), ("小明", "www.example.com/a.png")),
        (new, ("王\"明</script>", "www.example.com/a.png")),
    ];
    for (round, (claims, (name, picture))) in table.into_iter().enumerate() {
        let mut ming = Client::with_token(&server, 1, &claims.token()).await;
        ming.say(2, "hello", &round.to_string()).await;
        assert_eq!(
            shown(&mut hong).await,
            (name.to_owned(), picture.to_owned())
        );
    }
    let server = server.kill().start().await;
    let mut hong = server.connect(2).await;
    for _ in 0..4 {
        let (name, picture) = shown(&mut hong).await;
        assert_eq!(
            (&*name, &*picture),
            ("王\"明</script>", "www.example.com/a.png")
        );
    }
    // Nobody else is called so.
    let mut li: Client = TestServer::connect(&server, 3).await;
    li.say(2, "hello", "9").await;
    assert_eq!(shown(&mut hong).await, (String::new(), String::new()));
}
