//! Bodies: their kind, their size, their time, and what must be in them.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::{Answer, Call, Setup, TestServer, exchange, is_refusal, tls, within};

async fn asked(server: &TestServer, path: &str, body: &str) -> Answer {
    let call = Call::post(1, path, &Value::Null).text("application/json", body);
    call.send(server).await
}

#[tokio::test]
async fn a_body_is_one_strict_json_object() {
    let server = Setup::new().set("limits.messages_per_second", "0").start().await;
    let deep = format!(r#"{{"toId":2,"content":"a","x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let long = format!(r#"{{"toId":2,"content":"a","timestamp":"{}"}}"#, "1".repeat(33));
    for (path, body, status, code) in [
        ("messages", "", 400, "bad_request"),
        ("messages", "null", 400, "bad_request"),
        ("messages", "{}", 400, "bad_request"),
        ("messages", r#"[2,"a"]"#, 400, "bad_request"),
        ("messages", r#"{"toId":2,"content":"a"}{}"#, 400, "bad_request"),
        ("messages", r#"{"toId":2,"toId":3,"content":"a"}"#, 400, "bad_request"),
        ("messages", r#"{"toId":2,"content":"a","x":1,"x":1}"#, 400, "bad_request"),
        ("messages", r#"{"toId":2,"content":"\ud800"}"#, 400, "bad_request"),
        ("messages", r#"{"toId":"2","content":"a"}"#, 400, "bad_request"),
        ("messages", r#"{"toId":2,"content":7}"#, 400, "bad_request"),
        ("messages", r#"{"toId":2,"content":"a","clientMsgId":7}"#, 400, "bad_request"),
        ("messages", r#"{"toId":2,"content":"a","clientMsgId":""}"#, 400, "bad_request"),
        ("messages", r#"{"toId":2,"content":"a","resend":1}"#, 400, "bad_request"),
        ("messages", r#"{"toId":2,"content":"a","timestamp":[]}"#, 400, "bad_request"),
        ("messages", &deep, 400, "bad_request"),
        ("messages", &long, 400, "bad_request"),
        ("messages", r#"{"toId":0,"content":"a"}"#, 400, "bad_recipient"),
        ("messages", r#"{"toId":2,"content":""}"#, 400, "empty_content"),
        ("read", "{}", 400, "bad_request"),
        ("read", r#"{"ids":[1],"peerId":2,"upTo":3}"#, 400, "bad_request"),
        ("read", r#"{"peerId":2}"#, 400, "bad_request"),
        ("read", r#"{"ids":[1,"x"]}"#, 400, "bad_read_list"),
        ("read", r#"{"ids":{"0":1}}"#, 400, "bad_read_list"),
        ("read", &json!({ "ids": vec![1; 1001] }).to_string(), 400, "bad_read_list"),
    ] {
        is_refusal(&asked(&server, path, body).await, status, code, body);
    }
    let bytes = Call::post(1, "messages", &Value::Null)
        .text("application/json", b"{\"toId\":2,\"content\":\"\xff\"}".as_slice());
    is_refusal(&bytes.send(&server).await, 400, "bad_request", "no UTF-8");
    // Nothing of all that was stored.
    server.connect(2).await.nothing_came().await;
    assert_eq!(
        asked(&server, "read", &json!({ "ids": vec![1; 1000] }).to_string()).await.status,
        204
    );
}

#[tokio::test]
async fn a_body_says_that_it_is_json() {
    let server = TestServer::new().await;
    let body = r#"{"toId":2,"content":"a"}"#;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=gbk"]
    {
        let call = Call::post(1, "messages", &Value::Null).text(kind, body);
        is_refusal(&call.send(&server).await, 415, "unsupported_media_type", kind);
    }
    let none = Call::post(1, "messages", &Value::Null).text("x", body).without("Content-Type");
    is_refusal(&none.send(&server).await, 415, "unsupported_media_type", "none");
    let good =
        Call::post(1, "messages", &Value::Null).text("Application/JSON; charset=UTF-8", body);
    let coded = good.clone().and("Content-Encoding", "gzip");
    is_refusal(&coded.send(&server).await, 415, "unsupported_media_type", "coded");
    good.done(&server).await;
}

#[tokio::test]
async fn what_is_too_large_is_413_and_the_answer_arrives() {
    let server = TestServer::new().await;
    let message = |content: usize, unknown: usize| json!({ "toId": 2, "content": "c".repeat(content), "x": "x".repeat(unknown) });
    let over = Call::post(1, "messages", &message(16_385, 0)).send(&server).await;
    is_refusal(&over, 413, "content_too_large", "content");
    Call::post(1, "messages", &message(16_384, 0)).done(&server).await;
    let frame = 65_536 - message(1, 0).to_string().len();
    Call::post(1, "messages", &message(1, frame)).done(&server).await;
    for more in [frame + 1, 300_000, 900_000] {
        let over = Call::post(1, "messages", &message(1, more)).send(&server).await;
        is_refusal(&over, 413, "body_too_large", "a body");
    }
    // In chunks nobody says beforehand how much will come.
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let mut call = Call::post(1, "messages", &Value::Null)
        .without("Content-Length")
        .text("application/json", "")
        .without("Content-Length")
        .and("Transfer-Encoding", "chunked")
        .bytes();
    call.extend(chunk.repeat(40).bytes());
    call.extend(b"0\r\n\r\n");
    let mut stream = tls(server.address, server.roots()).await;
    is_refusal(&exchange(&mut stream, &call).await, 413, "body_too_large", "chunks");
}

#[tokio::test]
async fn endless_bodies_cost_no_memory() {
    let server = Setup::new().set("limits.handshake_timeout", "\"2s\"").start().await;
    Call::get(1, "me").done(&server).await;
    let before = server.rss();
    let head = Call::post(1, "messages", &Value::Null)
        .text("application/json", "")
        .with("Content-Length", "1099511627776")
        .bytes();
    let mut sent = 0;
    let mut stream = tls(server.address, server.roots()).await;
    stream.write_all(&head).await.unwrap();
    let block = vec![b' '; 1 << 16];
    // Until the server has had enough, which it must.
    within("the end", async {
        while sent < 1 << 30 && stream.write_all(&block).await.is_ok() {
            sent += block.len();
        }
    })
    .await;
    assert!(sent < 1 << 28, "{sent} bytes were taken");
    let after = server.rss();
    assert!(after < before + 8 * 1024, "{before} KiB, then {after} KiB");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    // In which time a handshake ends too, on a machine that is busy.
    let server = Setup::new().set("limits.handshake_timeout", "\"2s\"").start().await;
    let call = Call::post(1, "messages", &json!({ "toId": 2, "content": "a" })).bytes();
    let half = async |missing: usize| {
        let mut stream = tls(server.address, server.roots()).await;
        let answer = exchange(&mut stream, &call[..call.len() - missing]).await;
        is_refusal(&answer, 408, "too_slow", "half a body");
    };
    tokio::join!(half(1), half(20));
    server.connect(2).await.nothing_came().await;
}

#[tokio::test]
async fn a_call_that_has_no_body_takes_none() {
    let server = TestServer::new().await;
    for (method, path) in [("GET", "me"), ("GET", "conversations"), ("POST", "tickets")] {
        let call = Call::new(method, 1, path).text("application/json", "{}");
        is_refusal(&call.send(&server).await, 400, "bad_request", path);
        let call = Call::new(method, 1, path).and("Transfer-Encoding", "chunked").bytes();
        let mut stream = tls(server.address, server.roots()).await;
        let answer = exchange(&mut stream, &[call.as_slice(), b"0\r\n\r\n"].concat()).await;
        is_refusal(&answer, 400, "bad_request", path);
        Call::new(method, 1, path).and("Content-Length", "0").done(&server).await;
    }
}
