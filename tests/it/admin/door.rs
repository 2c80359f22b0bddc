//! Who is let in, and that nobody else learns anything.

use serde_json::json;

use crate::support::{
    Admin, Call, Claims, Forge, ROUTES, Setup, TestServer, admin, exchange, is_refusal, refused,
};

#[tokio::test]
async fn nobody_without_an_administrators_token_is_let_in() {
    let server = TestServer::new().await;
    let now = Claims::now();
    let ticket = Call::new("POST", 1, "tickets").done(&server).await;
    let tokens = [
        ("a user's token", Forge::token(1)),
        ("a user's ticket", ticket["ticket"].as_str().unwrap().to_owned()),
        ("an expired one", Admin::claims().with("iat", now - 7200).with("exp", now - 3600).token()),
        ("one for nobody", Admin::claims().without("aud").token()),
        ("the system's", Admin::claims().with("sub", "0").token()),
        ("one signed by somebody else", Admin::claims().token() + "A"),
        ("no token at all", "x".to_owned()),
    ];
    for (method, target, body) in ROUTES {
        let call = Admin::new(method, target, body);
        for (what, token) in &tokens {
            let what = format!("{method} {target} with {what}");
            refused(&call.clone().bearer(token).send(&server).await, &what);
        }
        let what = format!("{method} {target} without a token");
        refused(&call.clone().without("Authorization").send(&server).await, &what);
        // A good one, where it does not belong.
        let answer = call.send_to(&server, server.address).await;
        is_refusal(&answer, 404, "not_found", &format!("{method} {target} in public"));
    }
    // Of all of this nothing was done.
    let lines = Admin::get("/admin/audit").lines(&server).await;
    assert_eq!(lines, Vec::<serde_json::Value>::new());
    let log = server.log();
    for (_, token) in &tokens[..6] {
        assert!(!log.contains(&token[token.len() - 20..]), "a token is in the log");
    }
}

#[tokio::test]
async fn whoever_is_let_in_is_told_of_their_mistakes() {
    let server = TestServer::new().await;
    for (method, target, body, status, code) in [
        ("GET", "/admin", "", 404, "not_found"),
        ("GET", "/admin/", "", 404, "not_found"),
        ("GET", "/admin/nothing", "", 404, "not_found"),
        ("GET", "/admin/status/", "", 404, "not_found"),
        ("GET", "/admin//status", "", 404, "not_found"),
        ("GET", "/admin/%73tatus", "", 404, "not_found"),
        ("POST", "/admin/status", "", 405, "method_not_allowed"),
        ("DELETE", "/admin/tokens", "", 405, "method_not_allowed"),
        ("GET", "/admin/reload", "", 405, "method_not_allowed"),
        ("POST", "/admin/reload", "{}", 400, "bad_request"),
        ("GET", "/admin/tokens?sub=x", "", 400, "bad_request"),
        ("GET", "/admin/audit?act=%", "", 400, "bad_request"),
        ("POST", "/admin/tokens", "", 415, "unsupported_media_type"),
        ("POST", "/admin/tokens", "nonsense", 400, "bad_request"),
        ("POST", "/admin/tokens", "{}", 400, "bad_request"),
        ("POST", "/admin/tokens", r#"{"sub":1,"sub":2}"#, 400, "bad_request"),
        ("POST", "/admin/tokens", r#"{"sub":1,"for":2}"#, 400, "bad_request"),
        ("POST", "/admin/tokens", r#"{"sub":0}"#, 400, "bad_request"),
        ("POST", "/admin/tokens", r#"{"sub":1,"ttl":0}"#, 400, "bad_request"),
        ("POST", "/admin/tokens", r#"{"sub":1,"ttl":9999999}"#, 400, "bad_request"),
        ("POST", "/admin/tokens", r#"{"sub":1,"name":"a\nb"}"#, 400, "bad_request"),
    ] {
        let answer = Admin::new(method, target, body).send(&server).await;
        is_refusal(&answer, status, code, &format!("{method} {target} {body}"));
        if status == 405 {
            assert_ne!(answer.header("allow"), None);
        }
    }
    let large = json!({ "sub": 1, "name": "n".repeat(2 << 20) });
    let answer = Admin::post("/admin/tokens", &large).send(&server).await;
    is_refusal(&answer, 413, "body_too_large", "two megabytes");
}

#[tokio::test]
async fn guessing_is_answered_with_staying_away_and_a_good_token_is_let_in_all_the_same() {
    let server = TestServer::new().await;
    let guess = Admin::get("/admin/status").bearer("x");
    let mut tries = 0;
    let answer = loop {
        let answer = guess.send(&server).await;
        if answer.status != 401 {
            break answer;
        }
        tries += 1;
        assert!(tries < 1000, "nobody stopped the guesser");
    };
    is_refusal(&answer, 429, "too_many", "guessing");
    Admin::get("/admin/status").done(&server).await;
}

#[tokio::test]
async fn calls_are_counted_and_name_nobody() {
    let server = TestServer::new().await;
    Admin::get("/admin/status").done(&server).await;
    Admin::get("/admin/status").bearer("x").send(&server).await;
    let page = admin(&server, "/metrics").await.body;
    for status in [200, 401] {
        let line = format!("imserver_admin_calls_total{{call=\"status\",status=\"{status}\"}} 1\n");
        assert!(page.contains(&line), "{page}");
    }
    assert!(!page.contains(&Admin::USER.to_string()));
}

#[tokio::test]
async fn behind_a_proxy_the_door_is_the_same() {
    let server = Setup::new().set("tls.mode", "\"off\"").start().await;
    let mut tcp = tokio::net::TcpStream::connect(server.admin).await.unwrap();
    let request = b"GET /admin/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    refused(&exchange(&mut tcp, request).await, "without a token");
}
