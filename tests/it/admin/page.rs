//! The administrators' page: on their listener alone, and as closed as the chat page.

use crate::support::{Setup, admin, raw};

#[tokio::test]
async fn the_page_is_on_the_administrators_listener_alone() {
    let server = Setup::new().set("server.chat_page", "false").start().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/admin.js", "text/javascript; charset=utf-8"),
        ("/admin.css", "text/css; charset=utf-8"),
        ("/base.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let answer = admin(&server, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        for rule in ["connect-src 'self'", "form-action 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
        let public = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(raw(&server, public.as_bytes()).await.status, 404, "{path} in public");
    }
    let page = admin(&server, "/").await.body;
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" on"));
}
