//! Messages from the system.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Admin, Call, Setup, TestServer, V2, is_refusal, post_message};

async fn notify(server: &TestServer, body: &Value) -> Vec<Value> {
    let lines = Admin::post("/admin/notifications", body).lines(server).await;
    assert!(lines[0]["clientMsgId"].is_string(), "{lines:?}");
    lines[1..].to_vec()
}

fn sum(sent: u64, duplicates: u64, failed: u64) -> Value {
    json!({ "sent": sent, "duplicates": duplicates, "failed": failed, "complete": true })
}

#[tokio::test]
async fn a_notification_is_a_message_of_the_system_to_each_of_them() {
    let server = TestServer::new().await;
    let mut ming = server.connect(1).await;
    // User 2 is away, and 77 was never here.
    ming.say(2, "hello", "1").await;
    let body = json!({ "to": [1, 2, 1, 77], "content": "维护 at noon", "timestamp": "5" });
    let lines = notify(&server, &body).await;
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines.last().unwrap(), &sum(3, 0, 0), "{lines:?}");
    let of = |user: u64| lines.iter().find(|line| line["userId"] == user).unwrap();

    let frame = ming.next().await;
    let describe: Value = serde_json::from_str(frame["Describe"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&frame["fromId"], &frame["toId"], &frame["type"]),
        (&json!(0), &json!(1), &json!(2))
    );
    assert_eq!((&frame["content"], &frame["timestamp"]), (&json!("维护 at noon"), &json!("5")));
    assert_eq!(describe["messageId"], of(1)["messageId"]);

    let mut hong = server.connect(2).await;
    assert_eq!(hong.message().await.1, "hello");
    assert_eq!(hong.message().await.1, "维护 at noon");
    let history = Call::get(2, "conversations/0/messages").done(&server).await;
    assert_eq!(history["messages"][0]["content"], "维护 at noon");
    let mut newcomer = server.connect(77).await;
    assert_eq!(newcomer.message().await.1, "维护 at noon");
}

#[tokio::test]
async fn the_same_again_goes_to_those_who_have_it_not_yet_also_after_a_kill() {
    let server = TestServer::new().await;
    for user in 1..=3 {
        post_message(&server, user, user, "known").await;
    }
    let body = |to: Value| json!({ "to": to, "content": "once", "clientMsgId": "news-1" });
    let first = notify(&server, &body(json!([1, 2]))).await;
    assert_eq!(first.last().unwrap(), &sum(2, 0, 0));
    let setup = server.kill();
    let server = setup.start().await;
    let again = notify(&server, &body(json!("all"))).await;
    assert_eq!(again.last().unwrap(), &sum(1, 2, 0));
    for before in &first[..2] {
        let now = again.iter().find(|line| line["userId"] == before["userId"]).unwrap();
        assert_eq!((&now["messageId"], &now["duplicate"]), (&before["messageId"], &json!(true)));
    }
    for user in 1..=3 {
        let history = Call::get(user, "conversations/0/messages").done(&server).await;
        assert_eq!(history["messages"].as_array().unwrap().len(), 1, "user {user}");
    }
    // Another text under the same name is told, and sent to nobody.
    let other = json!({ "to": [1], "content": "twice", "clientMsgId": "news-1" });
    let lines = notify(&server, &other).await;
    assert_eq!((lines[0]["code"].as_str(), &lines[1]), (Some("id_reused"), &sum(0, 0, 1)));
}

#[tokio::test]
async fn one_full_inbox_stops_nobody_else() {
    let server = Setup::new().set("limits.unread_per_user", "2").start().await;
    for content in ["a", "b"] {
        post_message(&server, 3, 2, content).await;
    }
    post_message(&server, 3, 1, "known").await;
    let mut ming = V2::of(&server, 1).connect().await;
    let lines = notify(&server, &json!({ "to": "all", "content": "news" })).await;
    assert_eq!(lines.last().unwrap(), &sum(2, 0, 1));
    let full = lines.iter().find(|line| line["userId"] == 2).unwrap();
    assert_eq!(full["code"], "inbox_full");
    loop {
        let frame = ming.next().await;
        if frame["type"] == 2 && frame["fromId"] == 0 {
            assert_eq!(frame["content"], "news");
            break;
        }
    }
}

#[tokio::test]
async fn what_went_to_whom_is_in_the_audit_log_and_the_text_is_not() {
    let server = TestServer::new().await;
    post_message(&server, 1, 1, "known").await;
    let body = json!({ "to": [1], "content": "a secret plan", "clientMsgId": "plan" });
    notify(&server, &body).await;
    let acts = Admin::get("/admin/audit").lines(&server).await;
    let names: Vec<&str> = acts.iter().map(|act| act["act"].as_str().unwrap()).collect();
    assert_eq!(names, ["notify", "notify.done"]);
    assert_eq!((&acts[0]["details"]["to"], &acts[1]["details"]["sent"]), (&json!([1]), &json!(1)));
    let log = server.setup().audit_log();
    assert!(log.contains("notify.done") && !log.contains("secret plan"), "{log}");
}

#[tokio::test]
async fn nonsense_is_sent_to_nobody() {
    let server = Setup::new().set("limits.content_bytes", "100").start().await;
    let mut ming = server.connect(1).await;
    for (body, status, code) in [
        (json!({}), 400, "bad_request"),
        (json!({ "to": [1] }), 400, "bad_request"),
        (json!({ "to": [], "content": "x" }), 400, "bad_request"),
        (json!({ "to": [0], "content": "x" }), 400, "bad_request"),
        (json!({ "to": ["1"], "content": "x" }), 400, "bad_request"),
        (json!({ "to": "everybody", "content": "x" }), 400, "bad_request"),
        (json!({ "to": [1, 9_007_199_254_740_992_u64], "content": "x" }), 400, "bad_request"),
        (json!({ "to": [1], "content": "" }), 400, "empty_content"),
        (json!({ "to": [1], "content": "x".repeat(101) }), 413, "content_too_large"),
        (json!({ "to": [1], "content": "x", "timestamp": "1".repeat(33) }), 400, "bad_request"),
        (json!({ "to": [1], "content": "x", "clientMsgId": "" }), 400, "bad_request"),
        (json!({ "to": [1], "content": "x", "fromId": 1 }), 400, "bad_request"),
    ] {
        let answer = Admin::post("/admin/notifications", &body).send(&server).await;
        is_refusal(&answer, status, code, &body.to_string());
    }
    for wrong in [
        &["notify"][..],
        &["notify", "--to", "0", "--content", "x"],
        &["notify", "--to", "1;2", "--content", "x"],
        &["notify", "--to", "1", "--content", ""],
        &["notify", "--to", "1", "--content", &"x".repeat(101)],
        &["notify", "--to", "1", "--content", "x", "--id", ""],
    ] {
        let (code, out, err) = server.run(wrong).await;
        assert_eq!((code, out.as_str()), (2, ""), "{wrong:?}: {err}");
        assert!(!err.is_empty());
    }
    ming.nothing_came().await;
    let setup = server.stop().await;
    let mut command = setup.command(&["notify", "--to", "1", "--content", "x"]);
    command.env("IMSERVER_SERVER__ADMIN_LISTEN", "127.0.0.1:1");
    let output = command.output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("needs the running server"), "{err}");
}

#[tokio::test]
async fn the_command_line_says_what_became_of_it() {
    let server = Setup::new().set("limits.unread_per_user", "2").start().await;
    for content in ["a", "b"] {
        post_message(&server, 77, 77, content).await;
    }
    let mut ming = server.connect(1).await;
    ming.say(2, "hello", "1").await;
    let send = ["notify", "--to", "1,2,77", "--content", "once", "--id", "n1"];
    let (code, out, err) = server.run(&send).await;
    assert_eq!(code, 1, "{err}");
    assert!(out.contains("sent to 2 of 3 users"), "{out}");
    assert!(err.contains("user 77: ") && err.contains("inbox_full"), "{err}");
    assert_eq!(ming.message().await.1, "once");

    let mut command = server.command(&["notify", "--to", "all", "--content", "-", "--id", "n1"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"once\n").unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await;
    let output = output.unwrap().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(out.contains("sent to 0 of 3 users, 2 had it already"), "{out}");

    // The same again would be for nothing.
    let other = ["notify", "--to", "1,2", "--content", "other", "--id", "n1"];
    let (code, _, err) = server.run(&other).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("give another --id") && !err.contains("the same again"), "{err}");
    ming.nothing_came().await;
}
