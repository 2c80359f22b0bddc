//! What the reading calls give.

use serde_json::{Value, json};

use crate::support::{Call, Claims, Forge, Setup, TestServer, frame, mark_read, post_message};

#[tokio::test]
async fn me_is_what_the_token_says_and_what_is_known_where_it_is_silent() {
    let server = TestServer::new().await;
    let exp = Claims::now() + 600;
    let stranger = Call::get(1, "me").token(&Claims::of(1).with("exp", exp).token());
    let nobody = json!({ "userId": 1, "userName": "", "headURL": "", "expiresAt": exp * 1000 });
    assert_eq!(stranger.done(&server).await, nobody, "the token's own end, without leeway");
    let claims = Claims::of(1).with("name", "小明").with("picture", "www.example.com/a.png");
    let named = claims.with("exp", exp).token();
    let ming = json!({
        "userId": 1, "userName": "小明", "headURL": "www.example.com/a.png",
        "expiresAt": exp * 1000,
    });
    assert_eq!(Call::get(1, "me").token(&named).done(&server).await, ming);
    // Asking makes nothing known; writing does.
    assert_eq!(stranger.done(&server).await, nobody);
    let hello = json!({ "toId": 2, "content": "hello" });
    Call::post(1, "messages", &hello).token(&named).done(&server).await;
    assert_eq!(stranger.done(&server).await, ming);
    let renamed = Claims::of(1).with("name", "明").with("exp", exp).token();
    let me = Call::get(1, "me").token(&renamed).done(&server).await;
    assert_eq!((&me["userName"], &me["headURL"]), (&json!("明"), &json!("www.example.com/a.png")));
}

/// With whom, and how much is unread.
fn unread(list: &[Value]) -> Vec<(u64, u64)> {
    let number = |item: &Value, name: &str| item[name].as_u64().unwrap();
    list.iter().map(|item| (number(item, "peerId"), number(item, "unread"))).collect()
}

#[tokio::test]
async fn conversations_come_newest_first_with_what_is_unread() {
    let server = Setup::new().set("limits.messages_per_second", "0").start().await;
    let none = json!({ "conversations": [], "unreadTotal": 0, "next": null });
    assert_eq!(Call::get(1, "conversations").done(&server).await, none);
    let hong = Claims::of(2).with("name", "小红").with("picture", "www.example.com/h.png").token();
    let to_ming = |content: &str| json!({ "toId": 1, "content": content, "timestamp": "t" });
    let first = Call::post(2, "messages", &to_ming("one")).token(&hong).done(&server).await;
    Call::post(2, "messages", &to_ming("two")).token(&hong).done(&server).await;
    let third = post_message(&server, 3, 1, "from li").await;
    post_message(&server, 1, 4, "to wang").await;
    let last = post_message(&server, 1, 2, "to hong").await;

    let page = Call::get(1, "conversations").done(&server).await;
    assert_eq!((&page["unreadTotal"], &page["next"]), (&json!(3), &Value::Null));
    let list = page["conversations"].as_array().unwrap();
    assert_eq!(unread(list), [(2, 2), (4, 0), (3, 1)]);
    assert_eq!(
        (&list[0]["userName"], &list[0]["headURL"]),
        (&json!("小红"), &json!("www.example.com/h.png"))
    );
    let message = &list[0]["lastMessage"];
    assert_eq!(message["messageId"], last.to_string());
    assert_eq!((&message["fromId"], &message["toId"]), (&json!(1), &json!(2)));
    assert_eq!((&message["content"], &message["read"]), (&json!("to hong"), &json!(false)));
    let members: Vec<&String> = list[0].as_object().unwrap().keys().collect();
    assert_eq!(members, ["headURL", "lastMessage", "peerId", "unread", "userName"]);

    // Unread counts follow the marks of connections and of calls alike.
    let first: u64 = first["messageId"].as_str().unwrap().parse().unwrap();
    let mut ming = server.connect(1).await;
    ming.send(&mark_read(1, &[first])).await;
    ming.send(&frame(1, 5, "the mark before this is written", "1")).await;
    while ming.next().await["type"] != 0 {}
    let mark = json!({ "peerId": 3, "upTo": third });
    assert_eq!(Call::post(1, "read", &mark).send(&server).await.status, 204);
    let server = server.kill().start().await;
    let page = Call::get(1, "conversations").done(&server).await;
    assert_eq!(page["unreadTotal"], 1);
    let list = page["conversations"].as_array().unwrap();
    assert_eq!(unread(list), [(5, 0), (2, 1), (4, 0), (3, 0)]);
    assert_eq!(list[3]["lastMessage"]["read"], true);
}

#[tokio::test]
async fn a_conversation_is_the_same_for_both_and_oldest_first() {
    let server = Setup::new().set("limits.messages_per_second", "0").start().await;
    let mut sent = Vec::new();
    for number in 0..10 {
        let (from, to) = if number % 3 == 0 { (2, 1) } else { (1, 2) };
        sent.push((post_message(&server, from, to, &number.to_string()).await, from, to));
        post_message(&server, 1, 3, "another conversation").await;
    }
    for (user, peer) in [(1, 2), (2, 1)] {
        let path = format!("conversations/{peer}/messages");
        let page = Call::get(user, &path).done(&server).await;
        let messages = page["messages"].as_array().unwrap();
        assert_eq!((messages.len(), &page["older"]), (10, &Value::Null));
        for (number, (message, (id, from, to))) in messages.iter().zip(&sent).enumerate() {
            assert_eq!(message["messageId"], id.to_string());
            assert_eq!((&message["fromId"], &message["toId"]), (&json!(from), &json!(to)));
            assert_eq!(message["content"], number.to_string());
            assert_eq!(message["read"], false);
            let stored = message["storedAt"].as_u64().unwrap() / 1000;
            assert!(stored.abs_diff(Claims::now()) < 60, "{stored}");
            let members: Vec<&String> = message.as_object().unwrap().keys().collect();
            let all = ["content", "fromId", "messageId", "read", "storedAt", "timestamp", "toId"];
            assert_eq!(members, all);
        }
    }
    let mark = json!({ "ids": [sent[0].0] });
    Call::post(1, "read", &mark).send(&server).await;
    for (user, peer) in [(1, 2), (2, 1)] {
        let path = format!("conversations/{peer}/messages");
        let page = Call::get(user, &path).done(&server).await;
        let read: Vec<bool> = page["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message["read"].as_bool().unwrap())
            .collect();
        assert_eq!(read.iter().filter(|read| **read).count(), 1, "{read:?}");
        assert!(read[0]);
    }
}

#[tokio::test]
async fn a_note_to_oneself_is_a_conversation_too() {
    let server = TestServer::new().await;
    let id = post_message(&server, 1, 1, "milk").await;
    let page = Call::get(1, "conversations").done(&server).await;
    assert_eq!(page["conversations"][0]["peerId"], 1);
    assert_eq!(page["unreadTotal"], 1);
    let page = Call::get(1, "conversations/1/messages").done(&server).await;
    assert_eq!(page["messages"].as_array().unwrap().len(), 1, "once, though it is in and out");
    assert_eq!(page["messages"][0]["messageId"], id.to_string());
}

#[tokio::test]
async fn nobody_reads_what_others_wrote() {
    let server = TestServer::new().await;
    post_message(&server, 1, 2, "between us").await;
    let stranger = Call::get(3, "conversations").done(&server).await;
    assert_eq!(stranger["conversations"], json!([]));
    for peer in [1, 2] {
        let path = format!("conversations/{peer}/messages");
        assert_eq!(Call::get(3, &path).send(&server).await.code(), "unknown_peer");
    }
    // The token says who asks, and nothing else does.
    let path = "conversations/2/messages?user=1&userId=1&fromId=1";
    let call = Call::get(1, path).token(&Forge::token(3)).and("X-User-Id", "1");
    assert_eq!(call.send(&server).await.code(), "unknown_peer");
}
