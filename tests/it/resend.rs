//! A packet that is sent again is stored and delivered once, and acknowledged each time.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::support::{Call, Client, Setup, TestServer, frame, mark_read, within};

/// Set short, so that a resend need not be waited for as long as the document's 6 s, and
/// long enough that a busy machine gets a burst of packets through within it.
const RESEND_AFTER: Duration = Duration::from_millis(800);

fn setup() -> Setup {
    let setup = Setup::new().set("limits.messages_per_second", "0");
    setup.set("limits.resend_after", "\"800ms\"")
}

/// Waits until an equal packet on the same connection is a resend. The server has read the first
/// one by `first`: on a busy machine long after it was sent.
async fn resend_time(first: Instant) {
    sleep_until(first + RESEND_AFTER + Duration::from_millis(5)).await;
}

async fn acknowledged(client: &mut Client, packet: &Value) {
    client.send(packet).await;
    success(client, packet).await;
}

async fn success(client: &mut Client, packet: &Value) {
    let expected = client.success(packet["timestamp"].as_str().unwrap());
    assert_eq!(client.next().await, expected, "{packet}");
}

/// Everything unread of `user`, oldest first, as a fresh connection finds it. An
/// end mark from somebody else says when that is all.
async fn unread(server: &TestServer, user: u64) -> Vec<String> {
    let (mut reader, mut marker) = (server.connect(user).await, server.connect(999).await);
    let mark = format!("end {:?}", Instant::now());
    marker.say(user, &mark, "1").await;
    let mut contents = Vec::new();
    loop {
        let (id, content) = reader.message().await;
        if content == mark {
            // It shall not be there the next time.
            reader.send(&mark_read(user, &[id])).await;
            reader.nothing_came().await;
            return contents;
        }
        contents.push(content);
    }
}

#[tokio::test]
async fn a_resend_is_known_on_the_same_the_next_and_another_connection() {
    let server = setup().start().await;
    let mut hong = server.connect(2).await;
    let packet = frame(1, 2, "好", "1589790567");

    let mut ming = server.connect(1).await;
    acknowledged(&mut ming, &packet).await;
    resend_time(Instant::now()).await;
    acknowledged(&mut ming, &packet).await;
    resend_time(Instant::now()).await;
    acknowledged(&mut ming, &packet).await;

    let (mut phone, mut laptop) = (server.connect(1).await, server.connect(1).await);
    phone.send(&packet).await;
    laptop.send(&packet).await;
    success(&mut phone, &packet).await;
    success(&mut laptop, &packet).await;

    // Behind a connection that was lost without a word.
    drop(ming);
    let mut ming = server.connect(1).await;
    acknowledged(&mut ming, &packet).await;

    assert_eq!(hong.message().await.1, "好");
    hong.nothing_came().await;
    // Sent again twice at once, long after the first: no second message of it.
    let mut impatient = server.connect(3).await;
    let hurried = frame(3, 2, "快", "1589790567");
    acknowledged(&mut impatient, &hurried).await;
    resend_time(Instant::now()).await;
    for _ in 0..3 {
        impatient.send(&hurried).await;
    }
    for _ in 0..3 {
        success(&mut impatient, &hurried).await;
    }
    assert_eq!(hong.message().await.1, "快");
    hong.nothing_came().await;
    let mut once = unread(&server, 2).await;
    once.retain(|content| content == "好");
    assert_eq!(once, ["好"]);
}

#[tokio::test]
async fn tries_that_overtake_the_first_join_it() {
    // Every equal packet is a resend, also while the first is still being written.
    let server = setup().set("limits.resend_after", "\"0s\"").start().await;
    let mut hong = server.connect(2).await;
    let mut tabs = Vec::new();
    for _ in 0..8 {
        tabs.push(server.connect(1).await);
    }
    for round in 0..10 {
        let packet = frame(1, 2, &format!("round {round}"), "1");
        for tab in &mut tabs {
            tab.send(&packet).await;
            tab.send(&packet).await;
        }
        for tab in &mut tabs {
            success(tab, &packet).await;
            success(tab, &packet).await;
        }
        assert_eq!(hong.message().await.1, format!("round {round}"));
    }
    hong.nothing_came().await;
}

#[tokio::test]
async fn a_resend_is_known_after_a_restart_and_after_a_crash() {
    let packets = [frame(1, 2, "before the stop", "1"), frame(1, 2, "before the crash", "2")];
    let server = setup().start().await;
    acknowledged(&mut server.connect(1).await, &packets[0]).await;
    let server = server.stop().await.start().await;
    let mut ming = server.connect(1).await;
    acknowledged(&mut ming, &packets[0]).await;
    acknowledged(&mut ming, &packets[1]).await;
    let server = server.kill().start().await;
    let mut ming = server.connect(1).await;
    for packet in &packets {
        acknowledged(&mut ming, packet).await;
    }
    assert_eq!(unread(&server, 2).await, ["before the stop", "before the crash"]);
}

#[tokio::test]
async fn what_was_under_way_in_a_crash_is_there_once_when_it_was_sent_again() {
    let mut setup = setup();
    for crash in 1..=3 {
        let server = setup.start().await;
        let mut ming = server.connect(1).await;
        let packets: Vec<_> = (0..200)
            .map(|number| frame(1, 2, &format!("{crash}/{number}"), &number.to_string()))
            .collect();
        for packet in &packets {
            ming.send(packet).await;
        }
        // Some are acknowledged, some stored, some not even read.
        for packet in &packets[..crash * 20] {
            success(&mut ming, packet).await;
        }
        let server = server.kill().start().await;
        let mut ming = server.connect(1).await;
        for packet in &packets {
            ming.send(packet).await;
        }
        for packet in &packets {
            success(&mut ming, packet).await;
        }
        let mut found = unread(&server, 2).await;
        found.retain(|content| content.starts_with(&format!("{crash}/")));
        let expected: Vec<_> = (0..200).map(|number| format!("{crash}/{number}")).collect();
        assert_eq!(found, expected);
        setup = server.kill();
    }
}

#[tokio::test]
async fn equal_packets_at_once_are_messages_of_their_own_and_their_resends_are_not() {
    let server = setup().start().await;
    let mut hong = server.connect(2).await;
    let packet = frame(1, 2, "好", "1");
    let mut ming = server.connect(1).await;
    for _ in 0..3 {
        ming.send(&packet).await;
    }
    for _ in 0..3 {
        success(&mut ming, &packet).await;
        assert_eq!(hong.message().await.1, "好");
    }
    resend_time(Instant::now()).await;
    for _ in 0..3 {
        acknowledged(&mut ming, &packet).await;
    }
    // On the next connection too, where nobody remembers how they came.
    drop(ming);
    let mut ming = server.connect(1).await;
    for _ in 0..3 {
        acknowledged(&mut ming, &packet).await;
    }
    hong.nothing_came().await;
    // A fourth is one more message.
    acknowledged(&mut ming, &packet).await;
    assert_eq!(hong.message().await.1, "好");
}

#[tokio::test]
async fn a_packet_that_differs_in_any_member_is_another_message() {
    let server = setup().start().await;
    let (mut ming, mut hong) = (server.connect(1).await, server.connect(2).await);
    let mut li = server.connect(3).await;
    let first = frame(1, 2, "好", "1");
    let mut other = vec![first.clone()];
    for (member, value) in [
        ("content", json!("好 ")),
        ("timestamp", json!("2")),
        ("timestamp", json!("01")),
        ("Describe", json!("{}")),
        // What ends one member must not be able to begin the next.
        ("content", json!("好1")),
        ("timestamp", json!("")),
        ("timestamp", json!("11")),
    ] {
        let mut packet = first.clone();
        packet[member] = value;
        other.push(packet);
    }
    for packet in &other {
        acknowledged(&mut ming, packet).await;
        let delivered = hong.next().await;
        assert_eq!(delivered["content"], packet["content"]);
        assert_eq!(delivered["timestamp"], packet["timestamp"]);
    }
    // The same words to another person, and from another person.
    acknowledged(&mut ming, &frame(1, 3, "好", "1")).await;
    assert_eq!(li.message().await.1, "好");
    acknowledged(&mut li, &frame(3, 2, "好", "1")).await;
    assert_eq!(hong.next().await["fromId"], 3);
    // Unknown members are no part of a packet, nor is how it is written.
    drop(ming);
    let mut ming = server.connect(1).await;
    ming.send_text(
        r#"{ "x": 1, "timestamp": "1", "content": "\u597d", "type": 0, "toId": 2, "fromId": 1 }"#,
    )
    .await;
    success(&mut ming, &first).await;
    hong.nothing_came().await;
}

#[tokio::test]
async fn outside_the_window_an_equal_packet_is_another_message() {
    // Long beside `RESEND_AFTER`: also where a busy machine takes seconds for a message,
    // its resend comes within.
    let server = setup().set("store.resend_window", "\"8s\"").start().await;
    let (mut ming, mut hong) = (server.connect(1).await, server.connect(2).await);
    let packet = frame(1, 2, "good morning", "8:00");
    acknowledged(&mut ming, &packet).await;
    let stored = Instant::now();
    assert_eq!(hong.message().await.1, "good morning");
    resend_time(stored).await;
    acknowledged(&mut ming, &packet).await;
    // An entry lives for the window, counted from when it was stored, and at most an eighth longer.
    sleep_until(stored + Duration::from_millis(9_100)).await;
    acknowledged(&mut ming, &packet).await;
    assert_eq!(hong.message().await.1, "good morning");
    hong.nothing_came().await;
}

#[tokio::test]
async fn what_failed_is_no_first_try() {
    let server = setup().set("limits.unread_per_user", "1").start().await;
    let (mut ming, mut hong) = (server.connect(1).await, server.connect(2).await);
    ming.say(2, "fills the inbox", "1").await;
    let (id, _) = hong.message().await;
    let packet = frame(1, 2, "does not fit", "2");
    ming.send(&packet).await;
    assert_eq!(ming.failure().await, "inbox_full");
    hong.send(&mark_read(2, &[id])).await;
    hong.close().await;
    within("the mark", async {
        while Call::get(2, "conversations").done(&server).await["unreadTotal"] != 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let mut hong = server.connect(2).await;
    // Sooner than a resend: and yet it is the first message of its kind, so that the
    // same packet from the next connection is its resend.
    acknowledged(&mut ming, &packet).await;
    assert_eq!(hong.message().await.1, "does not fit");
    drop(ming);
    let mut ming = server.connect(1).await;
    acknowledged(&mut ming, &packet).await;
}
