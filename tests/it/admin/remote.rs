//! The command line and the running server.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Admin, Forge, Setup, TestServer};

/// Writes a file that only its owner can read.
fn secret(setup: &Setup, name: &str, text: &str) -> String {
    let path = setup.path(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn a_command_speaks_with_a_token_that_it_issues_itself_for_a_minute() {
    let server = TestServer::new().await;
    let (code, out, err) = server.run(&["status", "--json"]).await;
    assert_eq!(code, 0, "{err}");
    let status: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status["store"]["health"], "ready");
    let ledger = Admin::get("/admin/tokens").lines(&server).await;
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_eq!(
        (&ledger[0]["admin"], &ledger[0]["sub"]),
        (&true.into(), &9_007_199_254_740_991_u64.into())
    );
    assert!(ledger[0]["by"].as_str().unwrap().starts_with("shell:"));

    let (code, out, err) = server.run(&["reload"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("keys: ") && out.contains("is in force"), "{out}");
    fs::write(server.setup().path("certs/keys.json"), "").unwrap();
    let (code, _, err) = server.run(&["reload", "--admin-token", &given(&server)]).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("keys.json"), "{err}");
    let acts = Admin::get("/admin/audit?act=reload").lines(&server).await;
    assert_eq!(acts.len(), 2);
    assert_eq!(acts[1]["who"], format!("admin:{}", Admin::USER));
}

fn given(server: &TestServer) -> String {
    secret(server.setup(), "admin-token", &format!("{}\n", Admin::claims().token()))
}

#[tokio::test]
async fn the_token_may_be_in_a_file_or_in_a_variable() {
    let server = TestServer::new().await;
    let file = given(&server);
    let (code, _, err) = server.run(&["status", "--admin-token", &file]).await;
    assert_eq!(code, 0, "{err}");
    let mut command = server.command(&["status"]);
    command.env("IMSERVER_ADMIN_TOKEN", Admin::claims().token());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    // Neither was issued here.
    assert!(!server.setup().path("data/audit.jsonl").exists());

    let users = secret(server.setup(), "users", &Forge::token(1));
    let (code, out, err) = server.run(&["status", "--admin-token", &users]).await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("does not take this administrator's token"), "{err}");
    for (name, text) in [("empty", " \n"), ("split", "a b"), ("odd", "a\u{7}b")] {
        let file = secret(server.setup(), name, text);
        let (code, _, err) = server.run(&["status", "--admin-token", &file]).await;
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("holds no token"), "{err}");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, err) = server.run(&["status", "--admin-token", &file]).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("chmod 600"), "{err}");
}

#[tokio::test]
async fn nobody_is_told_a_token_who_has_not_the_servers_certificate() {
    let server = TestServer::new().await;
    let file = given(&server);
    let other = Setup::new();
    let cert = other.path("certs/server.pem").display().to_string();
    let mut command = server.command(&["status", "--admin-token", &file]);
    command.env("IMSERVER_TLS__CERT", cert);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("has not the certificate tls.cert"), "{err}");
    assert!(!server.log().contains("an administrator's call was refused"));
}

#[tokio::test]
async fn without_a_running_server_that_is_what_is_said() {
    let server = TestServer::new().await;
    let address = server.admin.to_string();
    let setup = server.stop().await;
    let mut command = setup.command(&["status"]);
    command.env("IMSERVER_SERVER__ADMIN_LISTEN", &address);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("needs the running server") && err.contains(&address), "{err}");
}

#[tokio::test]
async fn behind_a_proxy_the_command_line_speaks_without_tls() {
    let server = Setup::new().set("tls.mode", "\"off\"").start().await;
    let (code, _, err) = server.run(&["status"]).await;
    assert_eq!(code, 0, "{err}");
}
