//! Several calls on one connection: kept alive, pipelined, never taken for one another.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Call, TestServer, exchange, tls, within};

/// How often `what` stands in `text`.
fn times(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

#[tokio::test]
async fn good_answers_keep_the_connection_alive() {
    let server = TestServer::new().await;
    let call = |content: &str| {
        let message = json!({ "toId": 2, "content": content });
        Call::post(1, "messages", &message).without("Connection").bytes()
    };
    let mut stream = tls(server.address, server.roots()).await;
    for content in ["one", "two", "three"] {
        stream.write_all(&call(content)).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            answer.push(within("an answer", stream.read_u8()).await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(!answer.to_lowercase().contains("\r\nconnection:"), "{answer}");
    }
    // And several that come at once are answered in their order.
    let last = Call::get(1, "conversations").bytes();
    let calls = [call("four"), call("five"), last].concat();
    let answers = exchange(&mut stream, &calls).await;
    let text = format!("{answers:?}");
    assert_eq!(times(&text, "HTTP/1.1 200 OK"), 2, "two more behind the first: {text}");
    assert!(text.ends_with("\\\"next\\\":null}\" }"), "{text}");
    assert!(text.contains("\\\"content\\\":\\\"five\\\""), "{text}");
}

#[tokio::test]
async fn nothing_that_follows_a_refused_call_is_taken_for_another() {
    let server = TestServer::new().await;
    let hidden = Call::post(1, "messages", &json!({ "toId": 2, "content": "smuggled" })).bytes();
    let length = hidden.len().to_string();
    for (call, what) in [
        (Call::get(1, "me").with("Content-Length", &length), "the body of a GET"),
        (Call::get(1, "nothing").with("Content-Length", &length), "the body of nothing"),
        (Call::new("PUT", 1, "me").with("Content-Length", &length), "the body of a PUT"),
        (Call::get(1, "nothing"), "pipelined behind a 404"),
        (Call::get(1, "me").token("x"), "pipelined behind a 401"),
        (Call::get(1, "me").with("Content-Length", "0").and("Content-Length", "7"), "two lengths"),
    ] {
        let mut stream = tls(server.address, server.roots()).await;
        let bytes = [call.without("Connection").bytes(), hidden.clone()].concat();
        let answer = exchange(&mut stream, &bytes).await;
        assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
        assert_eq!(times(&answer.body, "HTTP/1.1"), 0, "{what}: {answer:?}");
    }
    server.connect(2).await.nothing_came().await;
}
