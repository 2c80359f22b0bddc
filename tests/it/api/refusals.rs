//! Calls that are refused, and how.

use serde_json::{Value, json};

use crate::support::{
    Answer, Call, Claims, Door, Forge, Setup, TestServer, Way, admin, counted, exchange,
    from_address, is_refusal, post_message, refused, tls_over,
};

/// Fails unless `answer` is the refusal of `code`.
fn is(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{what}: {answer:?}");
    if status != 405 {
        is_refusal(answer, status, code, what);
    }
}

#[tokio::test]
async fn an_address_has_one_spelling_and_one_method() {
    let server = TestServer::new().await;
    for path in [
        "",
        "me/",
        "/me",
        "%6de",
        "ME",
        "me.json",
        "conversations/",
        "conversations/7",
        "conversations//messages",
        "conversations/7/messages/",
        "conversations/7%2Fmessages",
        "messages/7",
        "tickets/7",
        "../api/me",
        "./me",
    ] {
        is(&Call::get(1, path).send(&server).await, 404, "not_found", path);
    }
    for (path, allowed) in [
        ("me", "GET, OPTIONS"),
        ("conversations", "GET, OPTIONS"),
        ("conversations/7/messages", "GET, OPTIONS"),
        ("messages", "POST, OPTIONS"),
        ("read", "POST, OPTIONS"),
        ("tickets", "POST, OPTIONS"),
    ] {
        let wrong = if allowed.starts_with("GET") { "POST" } else { "GET" };
        for method in [wrong, "PUT", "DELETE", "PATCH", "TRACE", "QUERY"] {
            let answer = Call::new(method, 1, path).send(&server).await;
            is(&answer, 405, "method_not_allowed", path);
            assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
        }
        let head = Call::new("HEAD", 1, path).send(&server).await;
        assert_eq!((head.status, head.body.as_str()), (405, ""), "{path}");
    }
}

#[tokio::test]
async fn only_a_users_token_as_bearer_opens_the_api() {
    let mut door = Door::new().await;
    let good = Forge::token(1);
    let admin = Claims::of(1).with("aud", "imserver-admin").token();
    let expired = Claims::of(1).with("exp", Claims::now() - 60).token();
    let bare = Call::get(1, "me").without("Authorization");
    for (call, reason, what) in [
        (bare.clone(), "no_token", "none"),
        (bare.clone().and("Cookie", &format!("token={good}")), "no_token", "a cookie"),
        (bare.clone().and("Authorization", &format!("Basic {good}")), "no_token", "basic"),
        (
            bare.clone().and("Sec-WebSocket-Protocol", &format!("im.v2, im.bearer.{good}")),
            "no_token",
            "a subprotocol",
        ),
        (Call::get(1, &format!("me?token={good}")).without("Authorization"), "no_token", "a query"),
        (bare.clone().and("Authorization", "Bearer "), "no_token", "an empty one"),
        (bare.clone().token(&admin), "wrong_audience", "an administrator's"),
        (bare.clone().token(&expired), "expired", "an expired one"),
        (bare.clone().token("a.b.c"), "malformed", "no token"),
    ] {
        let answer = call.send(&door.server).await;
        refused(&answer, what);
        door.noted(reason, what);
    }
    Call::get(1, "me").done(&door.server).await;
    door.opens(Way::Header, &good, "the same token opens a connection").await;
    door.keeps_its_books().await;
}

#[tokio::test]
async fn two_tokens_are_one_too_many() {
    let server = TestServer::new().await;
    for other in [Forge::token(1), Forge::token(2), "x".to_owned()] {
        let call = Call::get(1, "me").and("Authorization", &format!("Bearer {other}"));
        is(&call.send(&server).await, 400, "bad_request", "two tokens");
    }
}

#[tokio::test]
async fn whoever_guesses_at_the_api_is_sent_away() {
    let server = Setup::new().set("limits.connections_per_address", "100").start().await;
    let call = Call::get(1, "me").token("a.b.c").bytes();
    let mut guesses = 0;
    let sent_away = loop {
        let tcp = from_address(&server, "127.0.0.2").await;
        let mut stream = tls_over(tcp, server.roots()).await;
        let answer = exchange(&mut stream, &call).await;
        if answer.status != 401 {
            break answer;
        }
        guesses += 1;
    };
    is(&sent_away, 429, "too_many", "one guess too many");
    // Some more where that took a while: three a second are forgiven.
    assert!((200..300).contains(&guesses), "{guesses}");
    // Nobody else is, and neither is a good token from there.
    assert_eq!(Call::get(1, "me").token("a.b.c").send(&server).await.status, 401);
    // All count once, as what the tokens were: who was sent away used to count twice.
    let page = admin(&server, "/metrics").await.body;
    assert_eq!(counted(&page, "refused"), [("malformed".to_owned(), guesses + 2)].into());
    let tcp = from_address(&server, "127.0.0.2").await;
    let mut stream = tls_over(tcp, server.roots()).await;
    let good = exchange(&mut stream, &Call::get(1, "me").bytes()).await;
    assert_eq!(good.status, 200, "{good:?}");
}

#[tokio::test]
async fn a_query_is_read_strictly() {
    let server = TestServer::new().await;
    post_message(&server, 1, 2, "hello").await;
    for (path, status, code) in [
        ("conversations?limit=0", 400, "bad_request"),
        ("conversations?limit=101", 400, "bad_request"),
        ("conversations?limit=-1", 400, "bad_request"),
        ("conversations?limit=ten", 400, "bad_request"),
        ("conversations?limit=", 400, "bad_request"),
        ("conversations?limit=5&limit=5", 400, "bad_request"),
        ("conversations?limit=%zz", 400, "bad_request"),
        ("conversations?x=%", 400, "bad_request"),
        ("conversations?cursor=", 400, "bad_cursor"),
        ("conversations?cursor=AAAA", 400, "bad_cursor"),
        ("conversations/2/messages?limit=1000", 400, "bad_request"),
        ("conversations/2/messages?before=x", 400, "bad_cursor"),
        ("conversations/2/messages?after=x", 400, "bad_cursor"),
        ("conversations/2/messages?before=x&before=x", 400, "bad_request"),
        ("conversations/2/messages?before=x&after=x", 400, "bad_request"),
        ("conversations/x/messages", 400, "bad_request"),
        ("conversations/02/messages", 400, "bad_request"),
        ("conversations/+2/messages", 400, "bad_request"),
        ("conversations/-2/messages", 400, "bad_request"),
        ("conversations/2.0/messages", 400, "bad_request"),
        ("conversations/%32/messages", 400, "bad_request"),
        ("conversations/9007199254740992/messages", 400, "bad_request"),
        ("conversations/00/messages", 400, "bad_request"),
        ("conversations/3/messages", 404, "unknown_peer"),
        ("conversations/0/messages", 404, "unknown_peer"),
        ("conversations/1/messages", 404, "unknown_peer"),
    ] {
        is(&Call::get(1, path).send(&server).await, status, code, path);
    }
    // What is not known is ignored, as an unknown member is.
    for path in ["me?x=1&x=1", "conversations?limit=100&x", "conversations/2/messages?&limit=1&"] {
        Call::get(1, path).done(&server).await;
    }
}

#[tokio::test]
async fn a_user_asks_so_often_and_no_more() {
    let server = Setup::new()
        .set("limits.messages_per_second", "1")
        .set("limits.message_burst", "5")
        .start()
        .await;
    for _ in 0..5 {
        Call::get(1, "me").done(&server).await;
    }
    // Over all calls of one user, whatever they are and wherever they come from.
    let more = Call::post(1, "messages", &json!({ "toId": 2, "content": "x" }));
    let refused = loop {
        // A machine that took a second for five calls has earned another one.
        let answer = more.send(&server).await;
        if answer.status != 200 {
            break answer;
        }
    };
    is_refusal(&refused, 429, "rate_limited", "too often");
    assert_eq!(refused.header("retry-after"), Some("1"));
    Call::get(2, "me").done(&server).await;
}

#[tokio::test]
async fn no_refusal_repeats_what_was_asked() {
    let server = TestServer::new().await;
    let secret = "correct-horse-battery";
    let calls = [
        Call::get(1, &format!("conversations?cursor={secret}")),
        Call::get(1, &format!("conversations/{secret}/messages")),
        Call::get(1, secret),
        Call::post(1, "messages", &json!({ secret: 1 })),
        Call::post(1, "messages", &json!({ "toId": secret, "content": secret })),
        Call::post(1, "messages", &Value::Null).text("application/json", secret),
        Call::post(1, "read", &json!({ "ids": [secret] })),
        Call::post(1, "read", &Value::Null).text(secret, "{}"),
    ];
    for call in calls {
        let answer = call.send(&server).await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
        assert!(!format!("{answer:?}").contains(secret), "{answer:?}");
    }
    assert!(!server.log().contains(secret), "{}", server.log());
}
