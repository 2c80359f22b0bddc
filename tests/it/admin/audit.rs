//! That every act is written down, by whom, and before it is done.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::{Admin, TestServer, is_refusal};

#[tokio::test]
async fn an_act_is_in_the_log_with_who_did_it_and_by_which_token() {
    let server = TestServer::new().await;
    let read = Admin::new("POST", "/admin/reload", "").done(&server).await;
    assert_eq!(read["read"].as_array().unwrap().len(), 3, "{read}");
    server.setup().run(&["token", "issue", "--sub", "3"]);
    let lines = Admin::get("/admin/audit").lines(&server).await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["who"], format!("admin:{}", Admin::USER));
    assert_eq!(lines[0]["token"], Admin::JTI);
    assert_eq!(lines[0]["act"], "reload");
    assert!(lines[1]["who"].as_str().unwrap().starts_with("shell:"), "{lines:?}");
    assert_eq!(lines[1]["act"], "token.issue");
    let reloads = Admin::get("/admin/audit?act=reload").lines(&server).await;
    assert_eq!(reloads, lines[..1]);
    let said = server.setup().run(&["audit", "verify"]);
    assert!(said.contains("2 lines, all good"), "{said}");
}

#[tokio::test]
async fn a_log_that_cannot_go_on_is_told_at_the_start() {
    let server = TestServer::new().await;
    Admin::post("/admin/tokens", &json!({ "sub": 1 })).done(&server).await;
    let setup = server.stop().await;
    let path = setup.path("data/audit.jsonl");
    let mut log = fs::OpenOptions::new().append(true).open(&path).unwrap();
    log.write_all(b"nonsense\n").unwrap();
    // It served without a word once, until somebody was to be cut off.
    let server = setup.start().await;
    let told = server
        .logged("nothing can be written down that administrators do, so none of it is done")
        .await;
    let error = told["error"].as_str().unwrap();
    assert!(error.contains("is broken in its last line"), "{error}");
    assert!(error.contains("imserver audit verify"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done() {
    let server = TestServer::new().await;
    let path = server.setup().path("data/audit.jsonl");
    fs::create_dir(&path).unwrap();
    let wanted = Admin::post("/admin/tokens", &json!({ "sub": 1 }));
    let answer = wanted.send(&server).await;
    is_refusal(&answer, 503, "unavailable", "no log to write to");
    server.logged("not written down, so it is not done").await;
    fs::remove_dir(&path).unwrap();
    wanted.done(&server).await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let answer = wanted.send(&server).await;
    is_refusal(&answer, 503, "unavailable", "a log that all can read");
}
