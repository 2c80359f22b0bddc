//! The chat page, and the client that any page may load.

use crate::support::{Answer, Setup, TestServer, raw};

async fn get(server: &TestServer, path: &str, more: &str) -> Answer {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n");
    raw(server, request.as_bytes()).await
}

#[tokio::test]
async fn the_page_runs_nothing_but_its_own_files() {
    let server = TestServer::new().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/chat.js", "text/javascript; charset=utf-8"),
        ("/chat.css", "text/css; charset=utf-8"),
        ("/base.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let answer = get(&server, path, "").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
    let page = get(&server, "/", "").await.body;
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" on"));
}

#[tokio::test]
async fn the_client_is_there_for_pages_anywhere_also_without_the_chat_page() {
    let server = Setup::new().set("server.chat_page", "false").start().await;
    for path in ["/", "/chat.js", "/chat.css", "/base.css", "/admin.js"] {
        assert_eq!(get(&server, path, "").await.status, 404, "{path}");
    }
    let client = get(&server, "/client/imserver.js", "Origin: https://elsewhere.example\r\n").await;
    assert_eq!((client.status, client.header("access-control-allow-origin")), (200, Some("*")));
    assert!(client.body.contains("export"), "{}", client.body);
    let version = client.header("etag").unwrap();
    let known = format!("If-None-Match: {version}\r\n");
    let again = get(&server, "/client/imserver.js", &known).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
}
