//! Two people chat by the 2020 document.

use crate::support::{TestServer, frame, mark_read};
use serde_json::json;

#[tokio::test]
async fn a_message_is_stored_acknowledged_and_delivered() {
    let server = TestServer::new().await;
    let mut ming = server.connect(1).await;
    let mut hong = server.connect(2).await;

    ming.send(&frame(1, 2, "你好", "1589790567")).await;
    assert_eq!(
        ming.next_text().await,
        r#"{"fromId":0,"toId":1,"type":0,"content":"","timestamp":"1589790567","Describe":""}"#
    );
    let frame = hong.next().await;
    assert_eq!(frame["fromId"], json!(1));
    assert_eq!(frame["toId"], json!(2));
    assert_eq!(frame["type"], json!(2));
    assert_eq!(frame["content"], json!("你好"));
    assert_eq!(frame["timestamp"], json!("1589790567"));
    let describe = frame["Describe"].as_str().unwrap();
    assert_eq!(describe, r#"{"userName":"","headURL":"","messageId":"1"}"#);
}

#[tokio::test]
async fn what_was_not_marked_read_comes_again_and_what_was_does_not() {
    let server = TestServer::new().await;
    let mut ming = server.connect(1).await;
    for number in 1..=3 {
        ming.say(2, &format!("message {number}"), &number.to_string()).await;
    }
    let mut hong = server.connect(2).await;
    let ids = [hong.message().await.0, hong.message().await.0, hong.message().await.0];
    hong.send(&mark_read(2, &[ids[0], ids[2]])).await;
    hong.nothing_came().await;
    hong.close().await;

    let mut hong = server.connect(2).await;
    assert_eq!(hong.message().await, (ids[1], "message 2".to_owned()));
    // The note that proved the silence above was to herself, and is unread too.
    assert_eq!(hong.message().await.1, "is anything there?");
}
