//! What a frame carries, and how it looks, to the byte.

use serde_json::{Value, json};

use crate::failures::{fails, patient, with};
use crate::support::{Claims, Client, frame};

#[tokio::test]
async fn content_and_timestamp_come_through_byte_for_byte() {
    let server = patient().await;
    let (mut ming, mut hong) = (server.connect(1).await, server.connect(2).await);
    let largest = "x".repeat(16_384);
    let wide = "你".repeat(5_461);
    for content in [
        "你好",
        "👨‍👩‍👧‍👦 🇨🇳 e\u{301}",
        "\u{0}",
        "a\u{0}b\u{7}\u{1b}[31m\u{7f}",
        "\u{202e}gnp.exe\u{2066}",
        "\u{ffff}\u{fdd0}\u{10ffff}\u{feff}",
        "</script><img src=x onerror=alert(1)>",
        "\n{\"level\":\"ERROR\"}\r\n",
        " ",
        r#"\" \\ \u0000 {"type":2}"#,
        "\u{2028}\u{2029}",
        &"\u{0}".repeat(10_000),
        &largest,
        &wide,
    ] {
        ming.send(&frame(1, 2, content, content.get(..1).unwrap_or("😀"))).await;
        assert_eq!(ming.next().await["type"], 0);
        let came = hong.next().await;
        assert!(came["content"] == content, "{:?}", content.get(..40));
    }
    // A pair of escapes is one character.
    ming.send_text(with("content", r#""\ud83d\ude00\u4f60""#)).await;
    assert_eq!(ming.next().await["type"], 0);
    assert_eq!(hong.message().await.1, "😀你");
    for line in server.log().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "one line is one event: {line}");
    }

    for long in [format!("{largest}x"), format!("{wide}你")] {
        fails(&mut ming, &frame(1, 2, &long, "1").to_string(), "content_too_large", "1").await;
    }
    for (sent, echoed) in [
        ("\"\"", ""),
        ("\"昨天\"", "昨天"),
        ("1589790567", "1589790567"),
        ("-1", "-1"),
        ("1.50", "1.50"),
        ("1e400", "1e400"),
        ("100000000000000000000", "100000000000000000000"),
        (r#""\u0000""#, "\0"),
        (r#""a\/b""#, "a/b"),
    ] {
        ming.send_text(with("timestamp", sent)).await;
        let answer = ming.next().await;
        assert_eq!(answer, ming.success(echoed));
        assert_eq!(hong.next().await["timestamp"], json!(echoed));
    }
}

#[tokio::test]
async fn frames_are_the_documents_to_the_byte() {
    let server = patient().await;
    let claims = Claims::of(1).with("name", "小明");
    let token = claims.with("picture", "www.example.com/a.png").token();
    let mut ming = Client::with_token(&server, 1, &token).await;
    let mut hong = server.connect(2).await;
    ming.send_text(with("content", "\"你好\\u0007\\\"\"")).await;
    assert_eq!(
        ming.next_text().await,
        r#"{"fromId":0,"toId":1,"type":0,"content":"","timestamp":"77","Describe":""}"#
    );
    assert_eq!(
        hong.next_text().await,
        concat!(
            r#"{"fromId":1,"toId":2,"type":2,"content":"你好\u0007\"","timestamp":"77","Describe":"#,
            r#""{\"userName\":\"小明\",\"headURL\":\"www.example.com/a.png\",\"messageId\":\"1\"}"}"#
        )
    );
    ming.send_text(with("content", "\"\"")).await;
    assert_eq!(
        ming.next_text().await,
        concat!(
            r#"{"fromId":0,"toId":1,"type":1,"content":"","timestamp":"77","Describe":"#,
            r#""{\"code\":\"empty_content\",\"message\":\"`content` is empty\"}"}"#
        )
    );
}

#[tokio::test]
async fn the_recipient_sees_nothing_of_what_the_sender_adds() {
    let server = patient().await;
    let (mut ming, mut hong) = (server.connect(1).await, server.connect(2).await);
    let good = with("Describe", r#""{\"userName\":\"admin\",\"messageId\":\"9\"}""#);
    let added = r#"{"x":{"y":[1,null]},"describe":5,"FromId":9,"messageId":99,"userName":"admin","#;
    ming.send_text(good.replacen('{', added, 1)).await;
    let answer = ming.next().await;
    assert_eq!(answer, ming.success("77"));
    let expected = r#"{"fromId":1,"toId":2,"type":2,"content":"hi","timestamp":"77","Describe":"{\"userName\":\"\",\"headURL\":\"\",\"messageId\":\"1\"}"}"#;
    assert_eq!(hong.next_text().await, expected);
    // The extension field may be missing, and the members stand in any order.
    ming.send_text(r#"{"timestamp":"5","content":"hi","type":0,"toId":2,"fromId":1}"#).await;
    let answer = ming.next().await;
    assert_eq!(answer, ming.success("5"));
    assert_eq!(hong.message().await, (2, "hi".to_owned()), "ids are the server's own");
}
