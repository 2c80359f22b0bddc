//! What reaches a recipient: everything, in order, on each of their connections.

use serde_json::Value;

use crate::support::{Claims, Client, Setup, TestServer, frame, mark_read};

pub fn fast() -> Setup {
    Setup::new().set("limits.messages_per_second", "0")
}

/// Sends `numbers` as contents, some at a time, and waits for every success.
pub async fn send_all(client: &mut Client, to: u64, numbers: std::ops::Range<u64>, size: usize) {
    let numbers: Vec<u64> = numbers.collect();
    for some in numbers.chunks(32) {
        for number in some {
            let content = format!("{number:0>size$}");
            client.send(&frame(client.user, to, &content, &number.to_string())).await;
        }
        for number in some {
            let answer = client.next().await;
            assert_eq!(answer, client.success(&number.to_string()));
        }
    }
}

pub async fn number(client: &mut Client) -> (u64, u64) {
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
                assert!(ids.last().is_none_or(|&last| last < id), "{id} after {ids:?}");
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

/// `IMSERVER_BACKLOG` is how long: `just backlog` says 100,000.
#[tokio::test]
async fn a_long_backlog_is_replayed_in_order_and_little_memory_with_what_arrives_meanwhile() {
    const LIVE: u64 = 500;
    /// More memory that the replay may take, in KiB.
    const ROOM: u64 = 20 * 1024;
    let backlog = std::env::var("IMSERVER_BACKLOG").map_or(20_000, |long| long.parse().unwrap());
    let server = fast()
        .set("log.level", "\"info\"")
        .set("limits.unread_per_user", &(backlog + LIVE + 1).to_string())
        .start()
        .await;
    let (mut ming, mut li) = (server.connect(1).await, server.connect(3).await);
    let half = backlog / 2;
    tokio::join!(send_all(&mut ming, 2, 0..half, 1), send_all(&mut li, 2, 0..half, 1));
    let before = server.rss();
    let mut most = before;
    let mut hong = server.connect(2).await;
    let sending = send_all(&mut ming, 2, half..half + LIVE, 1);
    let receiving = async {
        let (mut last, mut next) = (0, [0, 0]);
        for number in 0..2 * half + LIVE {
            if number % 500 == 0 {
                most = most.max(server.rss());
            }
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
    let grown = most.max(server.rss()) - before;
    assert!(grown < ROOM, "{grown} KiB more");
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
    assert!(seen.iter().all(|inbox| *inbox == seen[0]), "the same ids everywhere");
    // Marked on one, it is read for all that come later, and nobody is told.
    connections[0].send(&mark_read(2, &seen[0])).await;
    let mut first = connections.remove(0);
    first.nothing_came().await;
    for mut connection in connections {
        // The note that proved the silence is news to the others.
        assert_eq!(connection.message().await.1, "is anything there?");
        connection.close().await;
    }
    assert_eq!(server.connect(2).await.message().await.1, "is anything there?");
}

#[tokio::test]
async fn a_note_to_oneself_goes_to_the_other_connections_and_is_unread_until_marked() {
    let server = fast().start().await;
    let (mut phone, mut laptop) = (server.connect(1).await, server.connect(1).await);
    let mut ming = server.connect(2).await;
    for round in 0..20 {
        // Messages of others, before and behind, must not be taken for the note.
        let note = format!("note {round}");
        ming.send(&frame(2, 1, "from ming", &round.to_string())).await;
        phone.send(&frame(1, 1, &note, &round.to_string())).await;
        ming.send(&frame(2, 1, "from ming again", &round.to_string())).await;
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
    let old = Claims::of(1).with("name", "小明").with("picture", "www.example.com/a.png");
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
        assert_eq!(shown(&mut hong).await, (name.to_owned(), picture.to_owned()));
    }
    let server = server.kill().start().await;
    let mut hong = server.connect(2).await;
    for _ in 0..4 {
        let (name, picture) = shown(&mut hong).await;
        assert_eq!((&*name, &*picture), ("王\"明</script>", "www.example.com/a.png"));
    }
    // Nobody else is called so.
    let mut li: Client = TestServer::connect(&server, 3).await;
    li.say(2, "hello", "9").await;
    assert_eq!(shown(&mut hong).await, (String::new(), String::new()));
}
