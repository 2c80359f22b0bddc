//! The opening handshake: who is answered what, in which words, and how often.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Answer, Forge, TestServer, Upgrade, Way, frame, raw, refused, tls, within};

fn good() -> Upgrade {
    Upgrade::token(&Forge::token(7))
}

fn bare() -> Upgrade {
    Upgrade::new("/teaching/imserver")
}

/// Fails unless `answer` is a refusal in the form that all of them have.
fn is_refusal(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (status, code),
        "{what}: {answer:?}"
    );
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["code", "message"], "{what}");
    let mut expected = vec![
        ("content-type", true),
        ("connection", true),
        ("cache-control", true),
        ("referrer-policy", true),
        ("x-content-type-options", true),
        ("content-length", true),
        ("date", true),
        ("www-authenticate", status == 401),
        ("allow", status == 405),
        ("upgrade", status == 426),
        ("sec-websocket-version", status == 426),
        ("retry-after", status == 429 || status == 503),
    ];
    expected.retain(|(_, there)| *there);
    let mut expected: Vec<&str> = expected.into_iter().map(|(name, _)| name).collect();
    let mut names: Vec<&str> = answer
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    expected.sort_unstable();
    names.sort_unstable();
    assert_eq!(names, expected, "{what}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    assert_eq!(
        answer.header("referrer-policy"),
        Some("no-referrer"),
        "{what}"
    );
    let connection = match status {
        426 => "close, upgrade",
        _ => "close",
    };
    assert_eq!(answer.header("connection"), Some(connection), "{what}");
    let all = format!("{answer:?}");
    assert!(
        !all.contains("eyJ") && !all.contains("teaching"),
        "{what}: {all}"
    );
}

#[tokio::test]
async fn a_page_must_be_on_the_list() {
    let server = TestServer::new().await;
    let long = format!("https://{}.example", "a".repeat(6000));
    for origin in [
        "https://app.example.evil.com",
        "https://evilapp.example",
        "http://app.example",
        "https://app.example:444",
        "https://app.example:443",
        "https://app.example/",
        "https://app.example.",
        "https://APP.example",
        "https://sub.app.example",
        "null",
        "",
        "https://",
        "*",
        "file://",
        "https://app.example https://evil.example",
        "https://app.example,https://evil.example",
        "https://app.example%00",
        &long,
    ] {
        for way in Way::ALL {
            let request = way.upgrade(&Forge::token(7)).and("Origin", origin);
            let answer = request.send(&server).await;
            is_refusal(&answer, 403, "origin_not_allowed", origin);
        }
    }
    let allowed = good().and("Origin", "https://app.example");
    let twice = allowed.clone().and("Origin", "https://app.example");
    is_refusal(&twice.send(&server).await, 403, "origin_not_allowed", "two");
    assert_eq!(allowed.send(&server).await.status, 101);
    assert_eq!(good().send(&server).await.status, 101, "no page at all");
}

#[tokio::test]
async fn only_get_opens_a_socket() {
    let server = TestServer::new().await;
    for method in [
        "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "GETS", "get",
    ] {
        for request in [good(), bare()] {
            let request = request.method(method).and("X-Echo", "eyJ");
            let answer = request.send(&server).await;
            is_refusal(&answer, 405, "method_not_allowed", method);
            assert_eq!(answer.header("allow"), Some("GET"));
        }
    }
    let answer = good().method("HEAD").send(&server).await;
    assert_eq!((answer.status, answer.body.as_str()), (405, ""));
    let answer = good().method("CONNECT").send(&server).await;
    assert_eq!(answer.status / 100, 4, "{answer:?}");
    let answer = raw(
        &server,
        b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    )
    .await;
    assert_eq!(answer.status / 100, 4, "{answer:?}");
}

#[tokio::test]
async fn the_handshake_is_kept_to_the_letter() {
    let server = TestServer::new().await;
    let rows = [
        (good().without("Upgrade"), 400),
        (good().with("Upgrade", "h2c"), 400),
        (good().with("Upgrade", "websockets"), 400),
        (good().without("Connection"), 400),
        (good().with("Connection", "keep-alive"), 400),
        (good().with("Connection", "close"), 400),
        (good().without("Sec-WebSocket-Key"), 400),
        (good().with("Sec-WebSocket-Key", ""), 400),
        (good().with("Sec-WebSocket-Key", "AAAA"), 400),
        (
            good().with("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAAA="),
            400,
        ),
        (
            good().with("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAAAA"),
            400,
        ),
        (
            good().with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ"),
            400,
        ),
        (
            good().with("Sec-WebSocket-Key", "d*hlIHNhbXBsZSBub25jZQ=="),
            400,
        ),
        (
            good().and("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            400,
        ),
        (good().without("Sec-WebSocket-Version"), 400),
        (good().and("Sec-WebSocket-Version", "13"), 400),
        (good().with("Sec-WebSocket-Version", "8"), 426),
        (good().with("Sec-WebSocket-Version", "14"), 426),
        (good().with("Sec-WebSocket-Version", "013"), 426),
        (good().with("Sec-WebSocket-Version", "13, 8"), 426),
        (good().without("Upgrade").without("Sec-WebSocket-Key"), 426),
        (good().and("Sec-WebSocket-Protocol", "chat"), 400),
        (good().and("Sec-WebSocket-Protocol", "im.v1"), 400),
        (good().and("Sec-WebSocket-Protocol", "IM.V2"), 400),
        (bare().and("Sec-WebSocket-Protocol", "im.bearer.a.b.c"), 400),
        (
            Way::Protocol
                .upgrade("x")
                .and("Sec-WebSocket-Protocol", "im.bearer.y"),
            400,
        ),
        (good().and("Content-Length", "5"), 400),
        (good().and("Transfer-Encoding", "chunked"), 400),
        (good().and("Authorization", "Bearer a.b.c"), 400),
    ];
    for (request, status) in rows {
        let answer = request.send(&server).await;
        let code = if status == 400 {
            "bad_request"
        } else {
            "upgrade_required"
        };
        is_refusal(&answer, status, code, &format!("{request:?}"));
        if status == 426 {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"));
            assert_eq!(answer.header("upgrade"), Some("websocket"));
        }
    }
    for request in [
        good().with("Upgrade", "WebSocket"),
        good().with("Connection", "keep-alive, Upgrade"),
        good().with("Connection", "upgrade").and("Connection", "x"),
        good().and("Content-Length", "0"),
        good().and("Authorization", "Basic eDp5"),
        good().and("Cookie", "a=b"),
    ] {
        assert_eq!(request.send(&server).await.status, 101, "{request:?}");
    }
}

#[tokio::test]
async fn a_place_to_resume_from_is_one_message_id() {
    let server = TestServer::new().await;
    let ask = |query: &str| {
        Upgrade::new(&format!("/teaching/imserver/{}?{query}", Forge::token(7)))
            .and("Sec-WebSocket-Protocol", "im.v2")
    };
    for query in [
        "after=",
        "after",
        "after=x",
        "after=-1",
        "after=%31",
        "after=1.0",
        "after=+1",
        "after=9007199254740992",
        "after=1&after=1",
        "x=y&after=z",
    ] {
        is_refusal(&ask(query).send(&server).await, 400, "bad_request", query);
    }
    for query in [
        "after=0",
        "after=12&x=y",
        "x=y",
        "",
        "afterwards=x",
        "after=9007199254740991",
    ] {
        assert_eq!(ask(query).send(&server).await.status, 101, "{query}");
    }
}

#[tokio::test]
async fn the_address_has_one_spelling() {
    let server = TestServer::new().await;
    let token = Forge::token(7);
    for (target, status, code) in [
        ("/teaching/imserver/", 404, "not_found"),
        ("/teaching/imserver/?token=TOKEN", 404, "not_found"),
        ("/teaching/imserver/TOKEN/", 404, "not_found"),
        ("/teaching/imserver//TOKEN", 404, "not_found"),
        ("/teaching//imserver/TOKEN", 404, "not_found"),
        ("//teaching/imserver/TOKEN", 404, "not_found"),
        ("/teaching/imserver/x/TOKEN", 404, "not_found"),
        ("/teaching/imserver/TOKEN/x", 404, "not_found"),
        ("/teaching/./imserver/TOKEN", 404, "not_found"),
        ("/teaching/x/../imserver/TOKEN", 404, "not_found"),
        ("/Teaching/imserver/TOKEN", 404, "not_found"),
        ("/teaching/IMSERVER/TOKEN", 404, "not_found"),
        ("/%74eaching/imserver/TOKEN", 404, "not_found"),
        ("/teaching%2Fimserver/TOKEN", 404, "not_found"),
        ("/teaching/imserver%2FTOKEN", 404, "not_found"),
        ("/teaching/imserverTOKEN", 404, "not_found"),
        ("/teaching/imserver;x/TOKEN", 404, "not_found"),
        ("/imserver/TOKEN", 404, "not_found"),
        ("/TOKEN", 404, "not_found"),
        ("/teaching/imserver/%zz", 400, "bad_request"),
        ("/teaching/imserver/TOKEN%", 400, "bad_request"),
        ("/teaching/imserver/TOKEN%2", 400, "bad_request"),
        ("/teaching/imserver/TOKEN%2x", 400, "bad_request"),
        (
            "https://localhost/teaching/imserver/TOKEN",
            400,
            "bad_request",
        ),
        (
            "http://evil.example/teaching/imserver/TOKEN",
            400,
            "bad_request",
        ),
    ] {
        let request = Upgrade::new(&target.replace("TOKEN", &token));
        is_refusal(&request.send(&server).await, status, code, target);
    }
}

#[tokio::test]
async fn everywhere_else_is_the_same_nothing() {
    let server = TestServer::new().await;
    let get = |path: &str| {
        Upgrade::new(path)
            .without("Upgrade")
            .with("Connection", "close")
    };
    let mut seen: Option<Answer> = None;
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/admin",
        "/admin/",
        "/.git/config",
        "/teaching",
        "/teaching/",
        "/favicon.ico",
        "/index.html",
        "/config.toml",
        "/certs/keys.json",
        "/teaching/imserve",
        "/teaching/imserver2",
        "/..%2f..%2fetc/passwd",
        "/a/b/c/d/e/f",
        "/?x=y/../z/",
        "*",
    ] {
        if path.starts_with("/?") {
            continue;
        }
        for request in [get(path), Upgrade::new(path), get(path).method("POST")] {
            let mut answer = request.send(&server).await;
            is_refusal(&answer, 404, "not_found", path);
            answer.headers.retain(|(name, _)| name != "date");
            assert_eq!(
                seen.get_or_insert_with(|| answer.clone()),
                &answer,
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn an_accepted_upgrade_answers_no_more_than_it_must() {
    let server = TestServer::new().await;
    let token = Forge::token(7);
    let deflate = "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame";
    let two_lines = bare()
        .and("Sec-WebSocket-Protocol", "im.v2")
        .and("Sec-WebSocket-Protocol", &format!("im.bearer.{token}"));
    for (request, protocol) in [
        (good(), None),
        (good().and("Sec-WebSocket-Extensions", deflate), None),
        (Way::Header.upgrade(&token), None),
        (good().and("Sec-WebSocket-Protocol", "im.v2"), Some("im.v2")),
        (
            good().and("Sec-WebSocket-Protocol", "chat, im.v2"),
            Some("im.v2"),
        ),
        (Way::Protocol.upgrade(&token), Some("im.v2")),
        (two_lines, Some("im.v2")),
    ] {
        let answer = request.send(&server).await;
        assert_eq!(answer.status, 101, "{request:?}");
        assert_eq!(
            answer.header("sec-websocket-protocol"),
            protocol,
            "{request:?}"
        );
        // The example of RFC 6455, section 1.3.
        let accept = answer.header("sec-websocket-accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        let mut names: Vec<&str> = answer
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        names.retain(|name| *name != "sec-websocket-protocol");
        names.sort_unstable();
        let all = [
            "cache-control",
            "connection",
            "date",
            "referrer-policy",
            "sec-websocket-accept",
            "upgrade",
            "x-content-type-options",
        ];
        assert_eq!(names, all, "{request:?}");
        assert!(!format!("{answer:?}").contains("eyJ"), "{answer:?}");
    }
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
        ("two other Hosts", with("Host: evil.example\r\n")),
        (
            "CL and TE",
            with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ),
        (
            "two other CL",
            with("Content-Length: 0\r\nContent-Length: 5\r\n"),
        ),
        ("CL: +4", with("Content-Length: +4\r\n")),
        ("CL: -1", with("Content-Length: -1\r\n")),
        ("CL: 0x4", with("Content-Length: 0x4\r\n")),
        ("CL: 00, 0", with("Content-Length: 0, 0\r\n")),
        ("TE: xchunked", with("Transfer-Encoding: xchunked\r\n")),
        ("TE: identity", with("Transfer-Encoding: identity\r\n")),
        (
            "two TE",
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ),
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
        assert_eq!(answer.status, 400, "{what}: {answer:?}");
        assert!(!second_answer(&answer), "{what}: {answer:?}");
        assert!(!format!("{answer:?}").contains("eyJ"), "{what}: {answer:?}");
        assert_eq!(answer.header("server"), None, "{what}");
    }
    for garbage in [
        &b"\x16\x03\x01\r\n\r\n"[..],
        b"\r\n\r\n\0\0",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = raw(&server, garbage).await;
        assert!(matches!(answer.status, 400 | 0), "{answer:?}");
    }
    server.connect(1).await.say(1, "alive", "1").await;
}

#[tokio::test]
async fn a_second_request_gets_no_second_answer() {
    let server = TestServer::new().await;
    let second = Upgrade::new("/teaching").bytes();
    for (what, first) in [
        ("no token", bare()),
        ("not found", Upgrade::new("/teaching/imserver/")),
        ("bad token", Upgrade::token("a.b.c")),
        ("bad origin", good().and("Origin", "null")),
        (
            "no upgrade",
            good().without("Upgrade").without("Sec-WebSocket-Key"),
        ),
        (
            "a body",
            good().and("Content-Length", &second.len().to_string()),
        ),
        ("chunks", good().and("Transfer-Encoding", "chunked")),
        ("method", good().method("POST").and("Content-Length", "1")),
    ] {
        let answer = raw(&server, &[first.bytes(), second.clone()].concat()).await;
        assert_eq!(answer.status / 100, 4, "{what}: {answer:?}");
        assert!(!second_answer(&answer), "{what}: {answer:?}");
    }
    // After a 101 the same bytes are a broken frame.
    let mut stream = tls(server.address, server.roots()).await;
    stream
        .write_all(&[good().bytes(), second].concat())
        .await
        .unwrap();
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
    stream
        .write_all(&[good().bytes(), early].concat())
        .await
        .unwrap();
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
    refused(
        &raw(&server, &[bad, early].concat()).await,
        "with a frame behind",
    );
    hong.nothing_came().await;
}
