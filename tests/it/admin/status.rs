//! How the service is.

use serde_json::json;

use crate::support::{Admin, TestServer};

#[tokio::test]
async fn the_status_tells_who_is_there() {
    let server = TestServer::new().await;
    let _ming = (server.connect(7).await, server.connect(7).await);
    let _hong = server.connect(8).await;
    let status = Admin::get("/admin/status").done(&server).await;
    assert_eq!((&status["connections"], &status["users"]), (&json!(3), &json!(2)), "{status}");
    assert_eq!(status["store"], json!({ "health": "ready" }));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
}
