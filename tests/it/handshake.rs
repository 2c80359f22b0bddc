//! The opening handshake: who is answered what, in which words, and how often.

use crate::support::{Forge, TestServer, Upgrade, Way, is_refusal, raw};

fn good() -> Upgrade {
    Upgrade::token(&Forge::token(7))
}

fn bare() -> Upgrade {
    Upgrade::new("/teaching/imserver")
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
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "GETS", "get"] {
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
    let answer = raw(&server, b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
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
        (good().with("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAAA="), 400),
        (good().with("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAAAA"), 400),
        (good().with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ"), 400),
        (good().with("Sec-WebSocket-Key", "d*hlIHNhbXBsZSBub25jZQ=="), 400),
        (good().and("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), 400),
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
        (Way::Protocol.upgrade("x").and("Sec-WebSocket-Protocol", "im.bearer.y"), 400),
        (good().and("Content-Length", "5"), 400),
        (good().and("Transfer-Encoding", "chunked"), 400),
        (good().and("Authorization", "Bearer a.b.c"), 400),
    ];
    for (request, status) in rows {
        let answer = request.send(&server).await;
        let code = if status == 400 { "bad_request" } else { "upgrade_required" };
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
    for query in ["after=0", "after=12&x=y", "x=y", "", "afterwards=x", "after=9007199254740991"] {
        assert_eq!(ask(query).send(&server).await.status, 101, "{query}");
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
        (good().and("Sec-WebSocket-Protocol", "chat, im.v2"), Some("im.v2")),
        (Way::Protocol.upgrade(&token), Some("im.v2")),
        (two_lines, Some("im.v2")),
    ] {
        let answer = request.send(&server).await;
        assert_eq!(answer.status, 101, "{request:?}");
        assert_eq!(answer.header("sec-websocket-protocol"), protocol, "{request:?}");
        // The example of RFC 6455, section 1.3.
        let accept = answer.header("sec-websocket-accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        let mut names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
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
