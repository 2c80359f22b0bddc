//! Every way in which a frame fails: the code, the frame's own timestamp, no trace left
//! of it, and a connection as good as before.

use serde_json::{Value, json};

use crate::support::{Client, Setup, TestServer, frame, mark_read};

/// A server that lets a test say many wrong things.
pub async fn patient() -> TestServer {
    let setup = Setup::new().set("limits.messages_per_second", "0");
    setup.set("limits.violations", "100000").start().await
}

/// A packet from 1 to 2 with one member's JSON text exchanged, or left out when empty.
pub fn with(member: &str, text: &str) -> String {
    let members = [
        ("fromId", "1"),
        ("toId", "2"),
        ("type", "0"),
        ("content", "\"hi\""),
        ("timestamp", "\"77\""),
        ("Describe", "\"\""),
    ];
    let members = members
        .map(|(name, good)| (name, if name == member { text } else { good }))
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| format!("\"{name}\":{text}"));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// Sends `text`, which must fail with `code` and carry `timestamp`.
pub async fn fails(client: &mut Client, text: &str, code: &str, timestamp: &str) {
    let shown: String = text.chars().take(80).collect();
    client.send_text(text).await;
    let answer = client.next_text().await;
    assert!(answer.len() <= 512, "{} bytes for {shown}", answer.len());
    let mut answer: Value = serde_json::from_str(&answer).unwrap();
    let describe = answer["Describe"].take();
    let expected = json!({
        "fromId": 0, "toId": client.user, "type": 1, "content": "", "timestamp": timestamp,
        "Describe": null,
    });
    assert_eq!(answer, expected, "{shown}");
    let describe: Value = serde_json::from_str(describe.as_str().unwrap()).unwrap();
    assert_eq!(describe["code"], code, "{shown}: {describe}");
    let members: Vec<_> = describe.as_object().unwrap().keys().collect();
    assert_eq!(members, ["code", "message"], "{shown}");
    assert_ne!(describe["message"], "", "{shown}");
}

#[tokio::test]
async fn a_member_out_of_its_range_fails_with_its_code_and_leaves_no_trace() {
    const NO_ID: [&str; 16] = [
        "-1",
        "8.0",
        "8e0",
        "-0",
        "08",
        "+8",
        "NaN",
        "\"2\"",
        "null",
        "true",
        "[2]",
        "{}",
        "",
        "9007199254740992",
        "18446744073709551615",
        "1e400",
    ];
    let server = patient().await;
    let (mut ming, mut hong) = (server.connect(1).await, server.connect(2).await);
    let mut table: Vec<(&str, &str, &str)> = Vec::new();
    for id in NO_ID {
        table.extend([("fromId", id, "bad_frame"), ("toId", id, "bad_frame")]);
    }
    for id in ["0", "2", "9007199254740991"] {
        table.push(("fromId", id, "from_mismatch"));
    }
    table.push(("toId", "0", "bad_recipient"));
    for kind in ["2", "3", "4", "5", "6", "255", "256", "18446744073709551615"] {
        table.push(("type", kind, "unsupported_type"));
    }
    for kind in ["-1", "0.0", "\"0\"", "null", "[0]", "", "18446744073709551616"] {
        table.push(("type", kind, "bad_frame"));
    }
    table.push(("content", "\"\"", "empty_content"));
    for content in ["5", "null", "[]", "{}", "", r#""\ud800""#, r#""\udc00""#, r#""\ud800x""#] {
        table.push(("content", content, "bad_frame"));
    }
    table.extend([("content", "\"\n\"", "bad_frame"), ("content", "\"\0\"", "bad_frame")]);
    for describe in ["null", "{}", "5", r#""\ud800""#] {
        table.push(("Describe", describe, "bad_frame"));
    }
    for (member, text, code) in table {
        // Where the JSON itself is broken before the timestamp none can be read.
        let packet = with(member, text);
        let readable = serde_json::from_str::<Value>(&packet).is_ok()
            || member == "Describe"
            || text == "18446744073709551616";
        fails(&mut ming, &packet, code, if readable { "77" } else { "" }).await;
    }
    for timestamp in ["null", "true", "[1]", "{}", "", r#""\udfff""#] {
        fails(&mut ming, &with("timestamp", timestamp), "bad_frame", "").await;
    }
    let long = format!("\"{}\"", "1".repeat(33));
    fails(&mut ming, &with("timestamp", &long), "bad_frame", "").await;

    ming.say(2, "the connection is as good as before", "78").await;
    assert_eq!(hong.message().await.1, "the connection is as good as before");
    hong.nothing_came().await;
}

#[tokio::test]
async fn what_is_not_one_object_fails_and_leaves_no_trace() {
    let server = patient().await;
    let (mut ming, mut hong) = (server.connect(1).await, server.connect(2).await);
    let good = with("", "");
    let insert = |text: &str| good.replacen('{', &format!("{{{text}"), 1);
    let deep = format!("\"x\":{}{},", "[".repeat(200), "]".repeat(200));
    for text in [
        String::new(),
        " \t\r\n".to_owned(),
        format!("\u{feff}{good}"),
        "[".repeat(60_000),
        "{\"x\":".repeat(12_000),
        r#"[1,2,0,"hi","1",""]"#.to_owned(),
        format!("[{good}]"),
        insert("/**/"),
        insert(r#""fromId":2,"#),
        insert(r#""\u0066romId":2,"#),
        insert(&deep),
        insert(r#""x":1e400,"#),
        insert(r#""x":"\ud800","#),
    ] {
        fails(&mut ming, &text, "bad_frame", "").await;
    }
    // Behind the timestamp it is known.
    let append = |text: &str| format!("{}{text}", good.strip_suffix('}').unwrap());
    for text in [
        append(",}"),
        append(r#","content":"again"}"#),
        append(r#","timestamp":"78"}"#),
        append(&format!(",{}}}", deep.trim_end_matches(','))),
        append(""),
        format!("{good}{{}}"),
        format!("{good}{good}"),
        format!("{good}x"),
    ] {
        fails(&mut ming, &text, "bad_frame", "77").await;
    }
    hong.nothing_came().await;
    ming.nothing_came().await;
}

#[tokio::test]
async fn a_list_of_read_messages_that_is_none_marks_nothing() {
    let server = patient().await;
    let (mut ming, mut hong) = (server.connect(1).await, server.connect(2).await);
    ming.say(2, "unread", "1").await;
    let (id, _) = hong.message().await;
    let mark = |content: &str| {
        let packet = json!({
            "fromId": 2, "toId": 0, "type": 1, "content": content, "timestamp": "9",
            "Describe": "",
        });
        packet.to_string()
    };
    let ids = |count: usize| format!("[{}]", vec![id.to_string(); count].join(","));
    for content in [
        "",
        "12",
        "[1,]",
        "[1.0]",
        "[1e0]",
        "[-1]",
        "[0]",
        "null",
        "{}",
        "[1][2]",
        "[[1]]",
        "[\"\"]",
        "[\"+1\"]",
        "[\" 1\"]",
        "[9007199254740992]",
        "[18446744073709551616]",
        "[\"x\"]",
        "[1 2]",
        &format!("[{id},null]"),
        &format!("[{id},-1]"),
        &format!("[{id},\"x\"]"),
        &ids(1001),
    ] {
        fails(&mut hong, &mark(content), "bad_read_list", "9").await;
    }
    let array = mark("[]").replace("\"[]\"", &format!("[{id}]"));
    fails(&mut hong, &array, "bad_frame", "9").await;
    for to in ["1", "2"] {
        let packet = mark(&ids(1)).replace("\"toId\":0", &format!("\"toId\":{to}"));
        fails(&mut hong, &packet, "bad_recipient", "9").await;
    }
    hong.close().await;

    let mut hong = server.connect(2).await;
    assert_eq!(hong.message().await.0, id, "still unread");
    for silent in ["[]", " [ ] ", &ids(1000)] {
        hong.send_text(mark(silent)).await;
    }
    hong.nothing_came().await;
    hong.close().await;
    let mut hong = server.connect(2).await;
    assert_eq!(hong.message().await.1, "is anything there?", "now it is read");
}

#[tokio::test]
async fn who_is_too_fast_is_told_so_and_nothing_else_happens() {
    let setup = Setup::new().set("limits.message_burst", "5");
    let setup = setup.set("limits.messages_per_second", "1").set("limits.violations", "1");
    let server = setup.start().await;
    let (mut ming, mut hong) = (server.connect(1).await, server.connect(2).await);
    let sent = 40;
    for number in 0..sent {
        ming.send(&frame(1, 2, &format!("number {number}"), &number.to_string())).await;
    }
    let mut stored = Vec::new();
    for number in 0..sent {
        let answer = ming.next().await;
        assert_eq!(answer["timestamp"], number.to_string(), "answers keep their order");
        if answer["type"] == 0 {
            stored.push(format!("number {number}"));
        } else {
            assert!(answer["Describe"].as_str().unwrap().contains("rate_limited"), "{answer}");
        }
    }
    assert!((5..10).contains(&stored.len()), "{stored:?}");
    // Reading is limited with the same measure, and a failure is no violation.
    ming.send(&mark_read(1, &[1])).await;
    assert_eq!(ming.failure().await, "rate_limited");
    for expected in stored {
        assert_eq!(hong.message().await.1, expected, "another user is not concerned");
    }
    hong.nothing_came().await;
}
