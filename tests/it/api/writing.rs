//! Messages and read marks by the API, and who learns of them.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::{
    Call, Claims, Setup, TestServer, V2, admin, described, exchange, is_refusal, named,
    post_message, strace, tls, within,
};

#[tokio::test]
async fn a_message_by_the_api_reaches_all_who_are_connected() {
    let server = TestServer::new().await;
    let mut phone = V2::of(&server, 1).quiet().await;
    let mut hong = V2::of(&server, 2).quiet().await;
    let mut plain = server.connect(2).await;
    let token = Claims::of(1).with("name", "小明").with("picture", "www.example.com/a.png");
    let message = json!({
        "toId": 2, "content": "你好", "timestamp": 1589790567.50, "clientMsgId": "n-1", "x": [],
    });
    let message = message.to_string().replace("1589790567.5", "1589790567.50");
    let call = Call::post(1, "messages", &Value::Null)
        .text("application/json; charset=utf-8", message)
        .token(&token.token());
    let stored = call.done(&server).await;
    assert_eq!(stored["duplicate"], false);
    let id = stored["messageId"].as_str().unwrap();
    for device in [&mut hong, &mut plain] {
        let frame = device.next().await;
        assert_eq!((&frame["fromId"], &frame["content"]), (&json!(1), &json!("你好")));
        assert_eq!(frame["timestamp"], "1589790567.50", "by its literal text");
        let told = json!({
            "userName": "小明", "headURL": "www.example.com/a.png", "messageId": id,
        });
        assert_eq!(described(&frame), told, "the token's name, known before the message");
    }
    let echo = phone.next().await;
    assert_eq!((&echo["type"], &echo["fromId"], &echo["toId"]), (&json!(2), &json!(1), &json!(2)));
    assert_eq!(described(&echo)["clientMsgId"], "n-1");
    // A later try is known by its name.
    let again = call.done(&server).await;
    assert_eq!(again, json!({ "messageId": id, "duplicate": true }));
    phone.nothing_came().await;
}

#[tokio::test]
async fn without_a_name_two_equal_calls_are_two_messages() {
    let server = TestServer::new().await;
    let first = post_message(&server, 1, 2, "好").await;
    let second = post_message(&server, 1, 2, "好").await;
    assert!(second > first);
    let before = Claims::now();
    let (_, messages, _) = V2::of(&server, 2).replayed().await;
    assert_eq!(messages.len(), 2);
    for message in messages {
        // Nobody named a time: it is the server's, as the document's clients write it.
        let timestamp: u64 = message["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(timestamp.abs_diff(before) < 60, "{timestamp}");
    }
}

#[tokio::test]
async fn a_named_message_is_stored_once_across_a_crash_and_both_ways_in() {
    let server = TestServer::new().await;
    let message = |content: &str, resend: bool| json!({ "toId": 2, "content": content, "clientMsgId": "n-1", "resend": resend });
    let stored = Call::post(1, "messages", &message("once", false)).done(&server).await;
    let server = server.kill().start().await;
    let again = Call::post(1, "messages", &message("once", true)).done(&server).await;
    assert_eq!(again, json!({ "messageId": stored["messageId"], "duplicate": true }));
    let mut ming = V2::of(&server, 1).quiet().await;
    ming.send(&named(1, 2, "once", "n-1", true)).await;
    assert_eq!(described(&ming.next().await)["messageId"], stored["messageId"]);
    let other = Call::post(1, "messages", &message("twice", false)).send(&server).await;
    assert_eq!((other.status, other.code().as_str()), (409, "id_reused"));
}

#[tokio::test]
async fn marks_by_the_api_are_receipts_on_connections() {
    let server = TestServer::new().await;
    let mut ming = V2::of(&server, 1).quiet().await;
    let mut ids = Vec::new();
    for content in ["one", "two", "three", "four"] {
        ids.push(post_message(&server, 1, 2, content).await);
        ming.next().await;
    }
    let (mut phone, messages, _) = V2::of(&server, 2).replayed().await;
    assert_eq!(messages.len(), 4);
    let marks = [
        (json!({ "ids": [ids[2], ids[0].to_string(), 999_999] }), vec![ids[0], ids[2]]),
        (json!({ "peerId": 1, "upTo": ids[1].to_string() }), vec![ids[1]]),
        (json!({ "peerId": 1, "upTo": ids[3], "x": 1 }), vec![ids[3]]),
    ];
    for (mark, read) in marks {
        let answer = Call::post(2, "read", &mark).send(&server).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{mark}");
        assert_eq!(answer.header("content-type"), None);
        for device in [&mut ming, &mut phone] {
            let receipt = device.next().await;
            assert_eq!((&receipt["type"], &receipt["fromId"]), (&json!(3), &json!(2)));
            assert_eq!(receipt["content"], json!(read).to_string());
        }
    }
    // Idempotent, and silent about what is nobody's business.
    for mark in [json!({ "ids": ids }), json!({ "ids": [] }), json!({ "peerId": 9, "upTo": 5 })] {
        assert_eq!(Call::post(2, "read", &mark).send(&server).await.status, 204, "{mark}");
        assert_eq!(Call::post(1, "read", &mark).send(&server).await.status, 204, "{mark}");
    }
    ming.nothing_came().await;
    let server = server.kill().start().await;
    V2::of(&server, 2).quiet().await;
}

#[tokio::test]
async fn a_full_inbox_is_503_until_something_is_read() {
    let server = Setup::new().set("limits.unread_per_user", "1").start().await;
    let id = post_message(&server, 1, 2, "room for one").await;
    let more = Call::post(1, "messages", &json!({ "toId": 2, "content": "more" }));
    let refused = more.send(&server).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "inbox_full"));
    let retry: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((5..=10).contains(&retry));
    Call::post(2, "read", &json!({ "ids": [id] })).send(&server).await;
    more.done(&server).await;
}

#[tokio::test]
async fn what_is_counted_of_frames_is_counted_of_calls() {
    let server = TestServer::new().await;
    post_message(&server, 1, 2, "counted").await;
    let system = Call::post(1, "messages", &json!({ "toId": 0, "content": "x" }));
    assert_eq!(system.send(&server).await.code(), "bad_recipient");
    Call::get(1, "nothing").send(&server).await;
    let page = admin(&server, "/metrics").await.body;
    for line in [
        "imserver_acknowledged_total 1",
        "imserver_failures_total{reason=\"bad_recipient\"} 1",
        "imserver_refused_total{reason=\"not_found\"} 1",
        "imserver_api_calls_total{call=\"messages\",status=\"200\"} 1",
        "imserver_api_calls_total{call=\"messages\",status=\"400\"} 1",
        "imserver_api_calls_total{call=\"none\",status=\"404\"} 1",
    ] {
        assert!(page.lines().any(|known| known == line), "{line} is not in\n{page}");
    }
}

#[tokio::test]
async fn a_server_that_stops_takes_no_call_and_answers_what_is_under_way() {
    let mut server = TestServer::new().await;
    // A call that is half asked when the server is told to stop.
    let call = Call::post(1, "messages", &json!({ "toId": 2, "content": "in time" })).bytes();
    let (head, rest) = call.split_at(call.len() - 5);
    let mut stream = tls(server.address, server.roots()).await;
    stream.write_all(head).await.unwrap();
    let mut late = tls(server.address, server.roots()).await;
    let late_call = Call::get(1, "me").bytes();
    let (late_head, late_rest) = late_call.split_at(10);
    late.write_all(late_head).await.unwrap();
    // Both are known to be there once a third is answered.
    post_message(&server, 1, 3, "before").await;
    server.signal("TERM");
    server.logged("stopping: answering what is under way").await;
    let late = exchange(&mut late, late_rest).await;
    assert!([0, 503].contains(&late.status), "{late:?}");
    let answer = within("the answer", exchange(&mut stream, rest)).await;
    assert!([200, 503].contains(&answer.status), "{answer:?}");
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn where_nothing_can_be_stored_what_was_written_is_still_read() {
    let setup = Setup::new();
    let command = strace(&setup, &["trace=fdatasync", "inject=fdatasync:error=EIO:when=4+"], &[]);
    let server = setup.start_by(command).await;
    let message = json!({ "toId": 2, "content": "x" });
    let mut stored = 0;
    let failed = loop {
        let answer = Call::post(1, "messages", &message).send(&server).await;
        if answer.status != 200 {
            break answer;
        }
        stored += 1;
        assert!(stored < 4, "acknowledged without a sync");
    };
    is_refusal(&failed, 503, "store_unavailable", "the sync failed");
    assert!(stored > 0, "{}", server.log());
    for call in [
        Call::post(1, "messages", &message),
        Call::post(2, "read", &json!({ "peerId": 1, "upTo": 1 })),
        Call::new("POST", 1, "tickets"),
    ] {
        is_refusal(&call.send(&server).await, 503, "store_unavailable", "from then on");
    }
    let page = Call::get(2, "conversations/1/messages").done(&server).await;
    assert_eq!(page["messages"].as_array().unwrap().len(), stored);
    assert_eq!(Call::get(2, "conversations").done(&server).await["unreadTotal"], stored);
    Call::get(1, "me").done(&server).await;
}
