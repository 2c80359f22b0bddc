//! `imserver health`, which container engines ask.

use std::fs;

use crate::support::{Admin, Setup, TestServer, frame, raw, strace};

#[tokio::test]
async fn a_server_that_serves_is_well_and_one_that_is_gone_is_not() {
    let server = TestServer::new().await;
    let asking = || server.run(&["health"]);
    assert_eq!(asking().await, (0, "ready\n".to_owned(), String::new()));
    // No key and no token are needed for it.
    fs::remove_file(server.setup().path("certs/keys.json")).unwrap();
    assert_eq!(asking().await.0, 0);
    // Somebody else may listen there.
    let other = Setup::new();
    fs::copy(other.path("certs/server.pem"), server.setup().path("certs/other.pem")).unwrap();
    let mut command = server.command(&["health"]);
    command.env("IMSERVER_TLS__CERT", "certs/other.pem");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("has not the certificate tls.cert"), "{said}");

    let address = server.admin.to_string();
    let setup = server.stop().await;
    let mut command = setup.command(&["health"]);
    command.env("IMSERVER_SERVER__ADMIN_LISTEN", &address);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("nobody listens there"), "{said}");
}

#[tokio::test]
async fn who_looks_without_reading_is_answered_too() {
    let server = TestServer::new().await;
    for (target, length) in [("/healthz", "6"), ("/readyz", "6"), ("/admin.js", "")] {
        let answer = Admin::new("HEAD", target, "").send(&server).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{target}");
        let told = answer.header("content-length").unwrap();
        assert!(told == length || length.is_empty(), "{target}: {told}");
        assert_eq!(Admin::new("POST", target, "").send(&server).await.status, 404, "{target}");
    }
    let page = raw(&server, b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!((page.status, page.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_server_that_cannot_store_is_not_well() {
    let setup = Setup::new();
    let journal = setup.path("data/sled/journal/a");
    let faults = ["trace=fdatasync", "inject=fdatasync:error=EIO:when=3+"];
    let command = strace(&setup, &faults, &[journal]);
    let server = setup.start_by(command).await;
    assert_eq!(server.run(&["health"]).await.0, 0);
    let mut ming = server.connect(1).await;
    for number in 0..8 {
        ming.send(&frame(1, 2, "你好", &number.to_string())).await;
        if ming.next().await["type"] == 1 {
            break;
        }
    }
    let (code, _, said) = server.run(&["health"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("not ready: "), "{said}");
}
