//! Pages in browsers: whose origin may use the API, and what their browser must be told.

use serde_json::json;

use crate::support::{Answer, Call, Forge, TestServer, Upgrade, is_refusal};

const LISTED: &str = "https://app.example";

fn cors(answer: &Answer) -> Vec<(&str, &str)> {
    let mut headers: Vec<(&str, &str)> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| name.starts_with("access-control-") || *name == "vary")
        .collect();
    headers.sort_unstable();
    headers
}

const READABLE: [(&str, &str); 3] = [
    ("access-control-allow-origin", LISTED),
    ("access-control-expose-headers", "Retry-After, WWW-Authenticate"),
    ("vary", "Origin"),
];

#[tokio::test]
async fn a_listed_page_may_read_every_answer() {
    let server = TestServer::new().await;
    let message = json!({ "toId": 2, "content": "from a page" });
    for (call, status) in [
        (Call::get(1, "me"), 200),
        (Call::post(1, "messages", &message), 200),
        (Call::post(1, "read", &json!({ "ids": [1] })), 204),
        (Call::new("POST", 1, "tickets"), 200),
        (Call::get(1, "me").token("x"), 401),
        (Call::get(1, "conversations?limit=0"), 400),
        (Call::get(1, "nothing"), 404),
        (Call::get(1, "conversations/77/messages"), 404),
        (Call::new("DELETE", 1, "me"), 405),
        (Call::post(1, "messages", &message).with("Content-Type", "text/plain"), 415),
    ] {
        let answer = call.clone().and("Origin", LISTED).send(&server).await;
        assert_eq!((answer.status, cors(&answer).as_slice()), (status, &READABLE[..]), "{call:?}");
        let answer = call.send(&server).await;
        assert_eq!(
            (answer.status, cors(&answer).as_slice()),
            (status, &[][..]),
            "no page: {call:?}"
        );
    }
}

#[tokio::test]
async fn a_browser_is_told_beforehand_what_it_may_ask() {
    let server = TestServer::new().await;
    for (path, allowed) in [
        ("me", "GET, OPTIONS"),
        ("conversations", "GET, OPTIONS"),
        ("conversations/7/messages", "GET, OPTIONS"),
        ("messages", "POST, OPTIONS"),
        ("read", "POST, OPTIONS"),
        ("tickets", "POST, OPTIONS"),
    ] {
        // A preflight carries no token.
        let ask = Call::new("OPTIONS", 1, path).without("Authorization");
        let preflight = ask
            .clone()
            .and("Origin", LISTED)
            .and("Access-Control-Request-Method", "POST")
            .and("Access-Control-Request-Headers", "authorization,content-type");
        let answer = preflight.send(&server).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{path}");
        assert_eq!(answer.header("allow"), Some(allowed), "{path}");
        let mut expected = READABLE.to_vec();
        expected.extend([
            ("access-control-allow-headers", "authorization, content-type"),
            ("access-control-allow-methods", allowed),
            ("access-control-max-age", "600"),
        ]);
        expected.sort_unstable();
        assert_eq!(cors(&answer), expected, "{path}");
        // A program that asks the same is no page.
        let answer = ask.send(&server).await;
        assert_eq!((answer.status, answer.header("allow")), (204, Some(allowed)), "{path}");
        assert_eq!(cors(&answer), [], "{path}");
    }
    let nowhere = Call::new("OPTIONS", 1, "nothing").and("Origin", LISTED).send(&server).await;
    assert_eq!((nowhere.status, cors(&nowhere).as_slice()), (404, &READABLE[..]));
}

#[tokio::test]
async fn the_log_tells_of_each_refused_page_once() {
    let server = TestServer::new().await;
    let page = |origin: &str| Call::get(1, "me").and("Origin", origin);
    for origin in ["https://a.example", "https://a.example", "https://b.example"] {
        assert_eq!(page(origin).send(&server).await.status, 403);
        // The same page by a WebSocket.
        let upgrade = Upgrade::token(&Forge::token(1)).and("Origin", origin);
        assert_eq!(upgrade.send(&server).await.status, 403);
    }
    let said = "pages of this origin are refused; if it is yours, write it into server.origins";
    let told = server.logged_times(said, 2).await;
    assert_eq!(told[0]["origin"], "\"https://a.example\"");
    assert_eq!(told[1]["origin"], "\"https://b.example\"");
    assert_eq!(server.log().matches(said).count(), 2);
}

#[tokio::test]
async fn other_pages_are_refused_and_told_nothing() {
    let server = TestServer::new().await;
    for origin in [
        "https://app.example.evil.com",
        "https://evilapp.example",
        "http://app.example",
        "https://app.example:444",
        "https://app.example/",
        "HTTPS://app.example",
        "null",
        "",
        "*",
    ] {
        for call in [
            Call::get(1, "me"),
            Call::get(1, "nothing"),
            Call::new("OPTIONS", 1, "me").and("Access-Control-Request-Method", "GET"),
            Call::post(1, "messages", &json!({ "toId": 2, "content": "x" })),
        ] {
            let answer = call.and("Origin", origin).send(&server).await;
            is_refusal(&answer, 403, "origin_not_allowed", origin);
        }
    }
    let twice = Call::get(1, "me").and("Origin", LISTED).and("Origin", LISTED);
    is_refusal(&twice.send(&server).await, 403, "origin_not_allowed", "twice");
    server.connect(2).await.nothing_came().await;
}
