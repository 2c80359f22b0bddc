//! Tokens taken back: for live connections, for new ones, for those to come, and for good.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Admin, Call, Claims, Client, Closed, Door, Forge, TestServer, Upgrade, V2, Way, admin, frame,
    refused,
};

/// A token of `user` by this name.
fn named(user: u64, jti: &str) -> String {
    Claims::of(user).with("jti", jti).token()
}

fn revoked() -> Closed {
    Closed { code: 4403, reason: "token_revoked".to_owned() }
}

/// The contract's second, once the act is answered.
const SOON: Duration = Duration::from_secs(1);

/// The connection ends within it.
async fn over_within_a_second(done: Instant, connection: &mut Client) {
    assert_eq!(connection.closed().await, revoked());
    let took = done.elapsed();
    assert!(took <= SOON, "{took:?}");
}

async fn revoke(server: &TestServer, what: &Value) -> Value {
    Admin::post("/admin/revocations", what).done(server).await
}

async fn is_refused(server: &TestServer, token: &str, what: &str) {
    for way in Way::ALL {
        refused(&way.upgrade(token).send(server).await, what);
    }
    refused(&Call::get(1, "me").token(token).send(server).await, what);
}

async fn opens(server: &TestServer, token: &str) {
    assert_eq!(Upgrade::token(token).send(server).await.status, 101);
}

#[tokio::test]
async fn a_leaked_token_is_cut_off_and_stays_so() {
    let door = Door::new().await;
    let server = &door.server;
    let (leaked, other) = (named(1, "leaked"), named(1, "other"));
    let mut thief = Client::with_token(server, 1, &leaked).await;
    let mut ming = Client::with_token(server, 1, &other).await;
    let done = revoke(server, &json!({ "jti": "leaked" })).await;
    let answered = Instant::now();
    assert_eq!(done["revoked"]["jti"], "leaked");
    assert!(done["remark"].as_str().unwrap().contains("ledger knows no token"));
    // Sent once it was said to be done: not stored.
    let (frames, closed) = {
        thief.send_into_the_blue(&frame(1, 1, "too late", "1")).await;
        thief.answers_until_closed().await
    };
    assert_eq!((frames, closed), (vec![], revoked()));
    let took = answered.elapsed();
    assert!(took <= SOON, "{took:?}");
    is_refused(server, &leaked, "the leaked token").await;
    ming.say(1, "mine is another", "2").await;
    let history = Call::get(1, "conversations/1/messages").done(server).await;
    assert_eq!(history["messages"].as_array().unwrap().len(), 1, "{history}");
    let page = admin(server, "/metrics").await.body;
    assert!(page.contains("imserver_closes_total{reason=\"token_revoked\"} 1"), "{page}");
    assert!(page.contains("imserver_refused_total{reason=\"revoked\"} 4"), "{page}");

    // Killed right after it was said to be done, and stopped as it should be.
    revoke(server, &json!({ "jti": "other" })).await;
    let server = door.server.kill().start().await;
    is_refused(&server, &leaked, "after a kill").await;
    is_refused(&server, &other, "after a kill").await;
    let server = server.stop().await.start().await;
    is_refused(&server, &other, "after a stop").await;
    let listed = Admin::get("/admin/revocations").lines(&server).await;
    let names: Vec<&Value> = listed.iter().map(|one| &one["jti"]).collect();
    assert_eq!(names, ["leaked", "other"]);
    let acts = Admin::get("/admin/audit?act=token.revoke").lines(&server).await;
    assert_eq!(acts.len(), 2);
    assert_eq!(acts[0]["details"]["jti"], "leaked");
}

#[tokio::test]
async fn a_token_can_be_given_to_be_taken_back() {
    let server = TestServer::new().await;
    let made = Admin::post("/admin/tokens", &json!({ "sub": 7 })).done(&server).await;
    let token = made["token"].as_str().unwrap();
    opens(&server, token).await;
    let done = revoke(&server, &json!({ "token": token })).await;
    assert_eq!((&done["revoked"]["jti"], &done["remark"]), (&made["jti"], &Value::Null));
    is_refused(&server, token, "taken back by itself").await;

    let over = Claims::of(7).with("exp", Claims::now() - 600).with("iat", Claims::now() - 700);
    let done = revoke(&server, &json!({ "token": over.token() })).await;
    assert_eq!(done["revoked"], Value::Null);
    assert!(done["remark"].as_str().unwrap().contains("expired"), "{done}");
    // Without a name it goes with its elders.
    let (elder, token) = (Claims::of(8).with("iat", Claims::now() - 60), Claims::of(8));
    let done = revoke(&server, &json!({ "token": token.token() })).await;
    assert_eq!(done["revoked"]["kind"], "subject");
    assert!(done["remark"].as_str().unwrap().contains("no jti"), "{done}");
    is_refused(&server, &token.token(), "no jti").await;
    is_refused(&server, &elder.token(), "an elder").await;
    opens(&server, &Claims::of(8).with("iat", Claims::now() + 5).token()).await;
    // Nothing of a token is written down.
    let audit = server.setup().audit_log();
    assert!(audit.contains("token.revoke") && !audit.contains("eyJ"), "{audit}");
    assert!(!server.log().contains("eyJ"));
}

#[tokio::test]
async fn all_tokens_of_a_user_go_and_later_ones_are_good() {
    let server = TestServer::new().await;
    let tokens = [Forge::token(1), named(1, "a"), Claims::of(1).without("iat").token()];
    let mut connections = Vec::new();
    for token in &tokens {
        connections.push(Client::with_token(&server, 1, token).await);
    }
    let mut hong = server.connect(2).await;
    let done = revoke(&server, &json!({ "sub": 1 })).await;
    let answered = Instant::now();
    assert_eq!((&done["revoked"]["kind"], &done["revoked"]["sub"]), (&json!("subject"), &json!(1)));
    for connection in &mut connections {
        over_within_a_second(answered, connection).await;
    }
    for token in &tokens {
        is_refused(&server, token, "up to now").await;
    }
    hong.say(2, "nothing to do with me", "1").await;
    let later = Claims::of(1).with("iat", Claims::now() + 5).token();
    opens(&server, &later).await;
}

#[tokio::test]
async fn a_disabled_user_is_out_until_enabled() {
    let mut server = TestServer::new().await;
    let mut ming = server.connect(1).await;
    let done = Admin::new("POST", "/admin/users/1/disable", "").done(&server).await;
    let answered = Instant::now();
    assert_eq!(done, json!({ "sub": 1, "disabled": true }));
    over_within_a_second(answered, &mut ming).await;
    for restart in [false, true] {
        if restart {
            server = server.kill().start().await;
        }
        let later = Claims::of(1).with("iat", Claims::now() + 5).token();
        is_refused(&server, &later, "disabled").await;
    }
    let done = Admin::new("POST", "/admin/users/1/enable", "").done(&server).await;
    assert_eq!(done, json!({ "sub": 1, "disabled": false }));
    opens(&server, &Forge::token(1)).await;
    let server = server.kill().start().await;
    opens(&server, &Forge::token(1)).await;
    assert!(Admin::get("/admin/revocations").lines(&server).await.is_empty());
}

#[tokio::test]
async fn a_refresh_is_no_way_around_it() {
    let server = TestServer::new().await;
    let (first, second, third) = (named(1, "first"), named(1, "second"), named(1, "third"));
    let mut ming = V2::of(&server, 1).token(first.clone()).quiet().await;
    let refresh = |token: &str| {
        json!({
            "fromId": 1, "toId": 0, "type": 5, "content": token, "timestamp": "1", "Describe": "",
        })
    };
    revoke(&server, &json!({ "jti": "third" })).await;
    ming.send(&refresh(&third)).await;
    assert_eq!(ming.failure().await, "bad_token");
    ming.send(&refresh(&second)).await;
    assert_eq!(ming.next().await["type"], 0);
    revoke(&server, &json!({ "jti": "second" })).await;
    over_within_a_second(Instant::now(), &mut ming).await;
    // The first one is still good by itself.
    let mut ming = V2::of(&server, 1).token(first.clone()).quiet().await;
    // But not once it is taken back, for whoever came in with it: also with another one by now.
    let fourth = named(1, "fourth");
    ming.send(&refresh(&fourth)).await;
    assert_eq!(ming.next().await["type"], 0);
    revoke(&server, &json!({ "jti": "first" })).await;
    over_within_a_second(Instant::now(), &mut ming).await;
    is_refused(&server, &first, "the older one").await;
    V2::of(&server, 1).token(fourth).quiet().await;
}

#[tokio::test]
async fn a_ticket_goes_with_the_token_behind_it() {
    let server = TestServer::new().await;
    let token = named(1, "behind");
    let ticket = async || {
        let answer = Call::new("POST", 1, "tickets").token(&token).done(&server).await;
        answer["ticket"].as_str().unwrap().to_owned()
    };
    let (used, unused) = (ticket().await, ticket().await);
    let mut ming = Client::with_token(&server, 1, &used).await;
    ming.say(1, "by a ticket", "1").await;
    revoke(&server, &json!({ "jti": "behind" })).await;
    over_within_a_second(Instant::now(), &mut ming).await;
    refused(&Upgrade::token(&unused).send(&server).await, "a ticket of a token taken back");
}

#[tokio::test]
async fn administrators_tokens_are_taken_back_too() {
    let server = TestServer::new().await;
    let token = Admin::claims().with("jti", "leaked").token();
    Admin::get("/admin/status").bearer(&token).done(&server).await;
    revoke(&server, &json!({ "jti": "leaked" })).await;
    refused(&Admin::get("/admin/status").bearer(&token).send(&server).await, "an administrator's");
}

#[tokio::test]
async fn nonsense_revokes_nothing() {
    let server = TestServer::new().await;
    for wrong in [
        json!({}),
        json!([]),
        json!([null, "x", null]),
        json!({ "jti": "" }),
        json!({ "jti": "x".repeat(129) }),
        json!({ "jti": 7 }),
        json!({ "sub": 0 }),
        json!({ "sub": "1" }),
        json!({ "sub": 9_007_199_254_740_992_u64 }),
        json!({ "sub": 1, "jti": "x" }),
        json!({ "jti": "x", "until": 5 }),
        json!({ "token": "x" }),
        json!({ "token": Forge::token(1) + "A" }),
    ] {
        let answer = Admin::post("/admin/revocations", &wrong).send(&server).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{wrong}");
    }
    for wrong in ["users/0/disable", "users/01/disable", "users/x/enable", "users/1/", "users/1"] {
        let answer = Admin::new("POST", &format!("/admin/{wrong}"), "").send(&server).await;
        assert!(matches!(answer.status, 404 | 405), "{wrong}: {answer:?}");
    }
    assert!(Admin::get("/admin/revocations").lines(&server).await.is_empty());
    assert!(Admin::get("/admin/audit").lines(&server).await.is_empty());
    opens(&server, &Forge::token(1)).await;
}

#[tokio::test]
async fn the_command_line_revokes_by_the_running_server() {
    let server = TestServer::new().await;
    let issue = || server.setup().run(&["token", "issue", "--sub", "1"]).trim().to_owned();
    let (first, second, third) = (issue(), issue(), issue());
    let mut ming = Client::with_token(&server, 1, &first).await;
    let (code, out, err) = server.run(&["token", "revoke", &first]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("revoked token "), "{out}");
    over_within_a_second(Instant::now(), &mut ming).await;
    let (code, out, err) = server.run(&["token", "list", "--sub", "1"]).await;
    assert_eq!(code, 0, "{err}");
    let states: Vec<&str> = out.lines().filter_map(|line| line.split('\t').next_back()).collect();
    assert_eq!(states, ["revoked", "good", "good"]);
    let jti = out.lines().nth(1).unwrap().split('\t').next().unwrap();
    let (code, said, err) = server.run(&["token", "revoke", jti]).await;
    assert_eq!((code, said.lines().count()), (0, 1), "{said} {err}");
    is_refused(&server, &second, "by its name").await;
    opens(&server, &third).await;
    let mut hong = server.connect(2).await;
    let (code, _, err) = server.run(&["user", "disable", "2"]).await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(hong.closed().await, revoked());
}

#[tokio::test]
async fn where_no_server_runs_the_command_line_revokes_in_its_folder() {
    let server = TestServer::new().await;
    let third = server.setup().run(&["token", "issue", "--sub", "1"]).trim().to_owned();
    opens(&server, &third).await;
    for what in [json!({ "jti": "first" }), json!({ "jti": "second" })] {
        revoke(&server, &what).await;
    }
    Admin::new("POST", "/admin/users/2/disable", "").done(&server).await;

    let setup = server.kill();
    let said = setup.run(&["token", "revoke", "--sub", "1"]);
    assert!(said.starts_with("revoked all tokens of user 1 issued up to "), "{said}");
    let later = setup.run(&["token", "issue", "--sub", "1"]).trim().to_owned();
    let said = setup.run(&["token", "revocations"]);
    assert_eq!(said.lines().count(), 4, "{said}");
    assert!(said.contains("user 2, until enabled"), "{said}");
    let said = setup.run(&["user", "enable", "2"]);
    assert!(said.contains("user 2 is enabled"), "{said}");
    let said = setup.run(&["token", "list"]);
    let states: Vec<&str> = said.lines().filter_map(|line| line.split('\t').next_back()).collect();
    assert_eq!(states, ["revoked", "good"]);
    let server = setup.start().await;
    is_refused(&server, &third, "taken back while nobody served").await;
    opens(&server, &later).await;
    opens(&server, &Forge::token(2)).await;
}
