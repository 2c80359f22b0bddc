//! Who is connected, and sending somebody away.

use serde_json::{Value, json};

use crate::support::{Admin, Claims, Client, TestServer, V2, admin, is_refusal};

async fn all(server: &TestServer, query: &str) -> Vec<Value> {
    let page = Admin::get(&format!("/admin/connections{query}")).done(server).await;
    page["connections"].as_array().unwrap().clone()
}

#[tokio::test]
async fn everybody_who_is_connected_is_on_the_list() {
    let server = TestServer::new().await;
    assert_eq!(all(&server, "").await, Vec::<Value>::new());
    let token = Claims::of(1).with("jti", "the-first").token();
    let _ming = Client::with_token(&server, 1, &token).await;
    let _hong = V2::of(&server, 2).connect().await;
    let list = all(&server, "").await;
    assert_eq!(list.len(), 2, "{list:?}");
    let of = |user: u64| list.iter().find(|one| one["userId"] == user).unwrap();
    let (ming, hong) = (of(1), of(2));
    assert_eq!((&ming["dialect"], &hong["dialect"]), (&json!("document"), &json!("im.v2")));
    assert_eq!((&ming["jti"], &hong["jti"]), (&json!("the-first"), &Value::Null));
    assert_eq!((&ming["kid"], &ming["address"]), (&json!("test"), &json!("127.0.0.1")));
    let age = Claims::now() * 1000 - ming["since"].as_u64().unwrap() / 1000 * 1000;
    assert!(age < 60_000, "{ming}");
    assert_eq!(all(&server, "?user=2").await.as_slice(), std::slice::from_ref(hong));
    assert_eq!(all(&server, "?kid=test").await.len(), 2);
    assert_eq!(all(&server, "?kid=other").await.len(), 0);
    let text = Admin::get("/admin/connections").send(&server).await.body;
    assert!(!text.contains(token.rsplit('.').next().unwrap()), "{text}");
    let (code, out, err) = server.run(&["connection", "list", "--kid", "test"]).await;
    assert_eq!((code, out.lines().count()), (0, 2), "{err}");
}

#[tokio::test]
async fn a_long_list_is_read_in_pages() {
    let server = TestServer::new().await;
    let mut clients = Vec::new();
    for user in 1..=5 {
        clients.push(server.connect(user).await);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let target = format!("/admin/connections?limit=2{cursor}");
        let page = Admin::get(&target).done(&server).await;
        assert_eq!(page["total"], 5);
        seen.extend(
            page["connections"].as_array().unwrap().iter().map(|one| one["userId"].as_u64()),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=5).map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_is_sent_away_is_told_to_come_back_and_may() {
    let server = TestServer::new().await;
    let mut phone = server.connect(1).await;
    phone.say(1, "a note", "1").await;
    let id = all(&server, "").await[0]["id"].as_str().unwrap().to_owned();
    let mut laptop = server.connect(1).await;
    assert_eq!(laptop.message().await.1, "a note");
    let mut other = server.connect(2).await;

    let gone = Admin::new("DELETE", &format!("/admin/connections/{id}"), "").done(&server).await;
    assert_eq!(gone, json!({ "closed": 1, "unanswered": [] }));
    let closed = phone.closed().await;
    assert_eq!(closed.code, 1001);
    assert!(closed.reason.starts_with("drain retry_ms="), "{closed:?}");
    let again = Admin::new("DELETE", &format!("/admin/connections/{id}"), "").send(&server).await;
    is_refusal(&again, 404, "not_found", "a connection that is gone");
    // It used to say "there is nothing here", as of an address that is not known.
    let (code, _, err) = server.run(&["connection", "close", &id]).await;
    assert!(code == 1 && err.contains("no connection has this id"), "{code} {err}");
    other.say(1, "still here", "2").await;
    assert_eq!(laptop.message().await.1, "still here");

    let (code, out, err) = server.run(&["connection", "close", "--user", "1"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("1 connection told to go"), "{out}");
    assert_eq!(laptop.closed().await.code, 1001);
    let mut back = server.connect(1).await;
    assert_eq!(back.message().await.1, "a note");
    other.say(2, "nobody else was closed", "3").await;

    let acts = Admin::get("/admin/audit?act=connection.close").lines(&server).await;
    assert_eq!(acts.len(), 2, "{acts:?}");
    assert_eq!(
        (&acts[0]["details"]["connection"], &acts[0]["details"]["user"]),
        (&json!(id), &json!(1))
    );
    let page = admin(&server, "/metrics").await.body;
    assert!(page.contains("imserver_closes_total{reason=\"drain\"} 2\n"), "{page}");
}

#[tokio::test]
async fn nonsense_closes_nobody() {
    let server = TestServer::new().await;
    let mut ming = server.connect(1).await;
    for (method, target, status) in [
        ("DELETE", "/admin/connections", 400),
        ("DELETE", "/admin/connections?user=", 400),
        ("DELETE", "/admin/connections?user=all", 400),
        ("DELETE", "/admin/connections?kid=test", 400),
        ("DELETE", "/admin/connections?user=1&kid=test", 400),
        ("DELETE", "/admin/connections?user=1&user=2", 400),
        ("DELETE", "/admin/connections/1", 404),
        ("DELETE", "/admin/connections/0123456789ABCDEF", 404),
        ("GET", "/admin/connections?limit=0", 400),
        ("GET", "/admin/connections?limit=1001", 400),
        ("GET", "/admin/connections?cursor=x", 400),
        ("POST", "/admin/connections", 405),
        ("GET", "/admin/connections/0123456789abcdef", 405),
    ] {
        let answer = Admin::new(method, target, "").send(&server).await;
        assert_eq!(answer.status, status, "{method} {target}: {answer:?}");
    }
    for wrong in [
        &["connection"][..],
        &["connection", "close"],
        &["connection", "close", "1"],
        &["connection", "close", "--user", "0"],
        &["connection", "close", "0123456789abcdef", "--user", "1"],
        &["connection", "list", "--user", "x"],
    ] {
        let (code, out, err) = server.run(wrong).await;
        assert_eq!((code, out.as_str()), (2, ""), "{wrong:?}: {err}");
    }
    ming.say(1, "still here", "1").await;
}
