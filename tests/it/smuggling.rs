//! Bytes that two readers could read differently, or that come too early.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    Answer, Call, Forge, TestServer, Upgrade, frame, is_refusal, raw, refused, tls, within,
};

fn good() -> Upgrade {
    Upgrade::token(&Forge::token(7))
}

/// Whether another answer came behind.
fn second_answer(answer: &Answer) -> bool {
    let mut statuses = answer.body.split("HTTP/1.1 ").skip(1);
    statuses.any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The text of a good request, to be spoiled.
fn spoiled(from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(good().bytes()).unwrap();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

#[tokio::test]
async fn a_request_that_two_readers_could_read_differently_is_refused() {
    let server = TestServer::new().await;
    let host = "Host: localhost\r\n";
    let with = |lines: &str| spoiled(host, &format!("{host}{lines}"));
    let rows = [
        ("HTTP/1.0", spoiled("HTTP/1.1", "HTTP/1.0")),
        ("HTTP/2.0", spoiled("HTTP/1.1", "HTTP/2.0")),
        ("HTTP/0.9", spoiled(" HTTP/1.1", "")),
        ("HTTP/1.2", spoiled("HTTP/1.1", "HTTP/1.2")),
        ("no Host", spoiled(host, "")),
        ("two Hosts", with("Host: localhost\r\n")),
        ("no host", spoiled(host, "Host: a b\r\n")),
        ("a whole address as Host", spoiled(host, "Host: user@localhost\r\n")),
        ("a port that is none", spoiled(host, "Host: localhost:x\r\n")),
        ("two other Hosts", with("Host: evil.example\r\n")),
        ("CL and TE", with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")),
        ("two other CL", with("Content-Length: 0\r\nContent-Length: 5\r\n")),
        ("CL: +4", with("Content-Length: +4\r\n")),
        ("CL: -1", with("Content-Length: -1\r\n")),
        ("CL: 0x4", with("Content-Length: 0x4\r\n")),
        ("CL: 00, 0", with("Content-Length: 0, 0\r\n")),
        ("TE: xchunked", with("Transfer-Encoding: xchunked\r\n")),
        ("TE: identity", with("Transfer-Encoding: identity\r\n")),
        ("two TE", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n")),
        ("folded", with("X-Folded: a\r\n b\r\n")),
        ("folded host", spoiled(host, "Host:\r\n localhost\r\n")),
        ("space before colon", with("X-Space : a\r\n")),
        ("no colon", with("nonsense\r\n")),
        ("no name", with(": a\r\n")),
        ("NUL", with("X-Nul: a\0b\r\n")),
        ("bare CR", with("X-Cr: a\rb\r\n")),
        ("two spaces", spoiled(" HTTP/1.1", "  HTTP/1.1")),
        ("tab", spoiled("GET ", "GET\t")),
    ];
    for (what, request) in rows {
        let answer = raw(&server, &request).await;
        assert!(!second_answer(&answer), "{what}: {answer:?}");
        is_refusal(&answer, 400, "bad_request", what);
    }
    for garbage in
        [&b"\x16\x03\x01\r\n\r\n"[..], b"\r\n\r\n\0\0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let answer = raw(&server, garbage).await;
        assert!(matches!(answer.status, 400 | 0), "{answer:?}");
    }
    server.connect(1).await.say(1, "alive", "1").await;
}

#[tokio::test]
async fn a_body_has_one_end() {
    let server = TestServer::new().await;
    let body = r#"{"toId":8,"content":"one"}"#;
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let second = Upgrade::new("/teaching").bytes();
    let post = |lines: &str, body: &str| {
        let call = Call::new("POST", 7, "messages")
            .without("Connection")
            .and("Content-Type", "application/json");
        let head = String::from_utf8(call.bytes()).unwrap();
        let head = head.replacen("\r\n\r\n", &format!("\r\n{lines}\r\n"), 1);
        [head.into_bytes(), body.as_bytes().to_vec(), second.clone()].concat()
    };
    for lines in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: x, chunked\r\n",
    ] {
        let answer = raw(&server, &post(lines, &chunked)).await;
        assert!(!second_answer(&answer), "{lines}: {answer:?}");
        is_refusal(&answer, 400, "bad_request", lines);
    }
    // Two lengths of one body: if it is taken, nothing that comes behind it is.
    for lines in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", body.len()),
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n".to_owned(),
    ] {
        let answer = raw(&server, &post(&lines, &chunked)).await;
        assert_eq!(answer.header("connection"), Some("close"), "{lines}: {answer:?}");
        assert!(!second_answer(&answer), "{lines}: {answer:?}");
    }
}

#[tokio::test]
async fn a_second_request_gets_no_second_answer() {
    let server = TestServer::new().await;
    let second = Upgrade::new("/teaching").bytes();
    for (what, first) in [
        ("no token", Upgrade::new("/teaching/imserver")),
        ("not found", Upgrade::new("/teaching/imserver/")),
        ("bad token", Upgrade::token("a.b.c")),
        ("bad origin", good().and("Origin", "null")),
        ("no upgrade", good().without("Upgrade").without("Sec-WebSocket-Key")),
        ("a body", good().and("Content-Length", &second.len().to_string())),
        ("chunks", good().and("Transfer-Encoding", "chunked")),
        ("method", good().method("POST").and("Content-Length", "1")),
    ] {
        let answer = raw(&server, &[first.bytes(), second.clone()].concat()).await;
        assert_eq!(answer.status / 100, 4, "{what}: {answer:?}");
        assert!(!second_answer(&answer), "{what}: {answer:?}");
    }
    // After a 101 the same bytes are a broken frame.
    let mut stream = tls(server.address, server.roots()).await;
    stream.write_all(&[good().bytes(), second].concat()).await.unwrap();
    let mut all = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut all)).await;
    let text = String::from_utf8_lossy(&all);
    assert!(text.starts_with("HTTP/1.1 101"), "{text}");
    assert_eq!(text.matches("HTTP/1").count(), 1, "{text}");
    // 1002 `protocol`.
    assert!(all.ends_with(b"\x88\x0a\x03\xeaprotocol"), "{text}");
}

/// The bytes of a client's frame with `packet`.
fn masked(packet: &str) -> Vec<u8> {
    let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
    [&[0x81, 0xfe], &length[..], &[0; 4], packet.as_bytes()].concat()
}

#[tokio::test]
async fn a_frame_that_comes_with_the_upgrade_is_handled_after_it() {
    let server = TestServer::new().await;
    let mut hong = server.connect(2).await;
    let early = masked(&frame(7, 2, "early", "1").to_string());
    let mut stream = tls(server.address, server.roots()).await;
    stream.write_all(&[good().bytes(), early].concat()).await.unwrap();
    let mut seen = String::new();
    let reading = async {
        while !seen.ends_with("\"timestamp\":\"1\",\"Describe\":\"\"}") {
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).await.unwrap();
            assert_ne!(count, 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    };
    within("the success", reading).await;
    assert!(seen.starts_with("HTTP/1.1 101"), "{seen}");
    assert_eq!(hong.message().await.1, "early");
}

#[tokio::test]
async fn a_frame_that_comes_with_a_refused_upgrade_is_thrown_away() {
    let server = TestServer::new().await;
    let mut hong = server.connect(2).await;
    let early = masked(&frame(7, 2, "early", "1").to_string());
    let bad = Upgrade::token("a.b.c").bytes();
    refused(&raw(&server, &[bad, early].concat()).await, "with a frame behind");
    hong.nothing_came().await;
}
