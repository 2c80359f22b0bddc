//! Issuing tokens, and the ledger of them.

use serde_json::json;

use crate::support::{Admin, Client, TestServer, admin};

#[tokio::test]
async fn an_issued_token_opens_a_session_and_is_in_the_ledger() {
    let server = TestServer::new().await;
    let wanted = json!({ "sub": 7, "name": "小明", "ttl": 600 });
    let made = Admin::post("/admin/tokens", &wanted).done(&server).await;
    let token = made["token"].as_str().unwrap();
    let mut ming = Client::with_token(&server, 7, token).await;
    ming.say(7, "here I am", "1").await;
    server.setup().run(&["token", "issue", "--sub", "8"]);

    let ledger = Admin::get("/admin/tokens").lines(&server).await;
    assert_eq!(ledger.len(), 2, "{ledger:?}");
    assert_eq!((&ledger[0]["jti"], &ledger[0]["until"]), (&made["jti"], &made["until"]));
    assert_eq!((&ledger[0]["sub"], &ledger[0]["admin"]), (&json!(7), &json!(false)));
    assert_eq!(ledger[0]["kid"], "test");
    assert_eq!(ledger[0]["by"], format!("admin:{}", Admin::USER));
    let of_one = Admin::get("/admin/tokens?sub=8").lines(&server).await;
    assert_eq!(of_one, ledger[1..]);

    let secret = token.rsplit('.').next().unwrap();
    let audit = server.setup().audit_log();
    assert!(audit.contains("token.issue"), "{audit}");
    let page = admin(&server, "/metrics").await.body;
    for text in [server.log(), audit, page] {
        assert!(!text.contains(secret), "{text}");
    }
}
