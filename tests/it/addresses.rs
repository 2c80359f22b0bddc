//! What stands where: one spelling of one address, and nothing beside it.

use crate::support::{Answer, Forge, TestServer, Upgrade, is_refusal};

#[tokio::test]
async fn the_address_has_one_spelling() {
    let server = TestServer::new().await;
    let token = Forge::token(7);
    for (target, status, code) in [
        ("/teaching/imserver/", 404, "not_found"),
        ("/teaching/imserver/?token=TOKEN", 404, "not_found"),
        ("/teaching/imserver/TOKEN/", 404, "not_found"),
        ("/teaching/imserver//TOKEN", 404, "not_found"),
        ("/teaching//imserver/TOKEN", 404, "not_found"),
        ("//teaching/imserver/TOKEN", 404, "not_found"),
        ("/teaching/imserver/x/TOKEN", 404, "not_found"),
        ("/teaching/imserver/TOKEN/x", 404, "not_found"),
        ("/teaching/./imserver/TOKEN", 404, "not_found"),
        ("/teaching/x/../imserver/TOKEN", 404, "not_found"),
        ("/Teaching/imserver/TOKEN", 404, "not_found"),
        ("/teaching/IMSERVER/TOKEN", 404, "not_found"),
        ("/%74eaching/imserver/TOKEN", 404, "not_found"),
        ("/teaching%2Fimserver/TOKEN", 404, "not_found"),
        ("/teaching/imserver%2FTOKEN", 404, "not_found"),
        ("/teaching/imserverTOKEN", 404, "not_found"),
        ("/teaching/imserver;x/TOKEN", 404, "not_found"),
        ("/imserver/TOKEN", 404, "not_found"),
        ("/TOKEN", 404, "not_found"),
        ("/teaching/imserver/%zz", 400, "bad_request"),
        ("/teaching/imserver/TOKEN%", 400, "bad_request"),
        ("/teaching/imserver/TOKEN%2", 400, "bad_request"),
        ("/teaching/imserver/TOKEN%2x", 400, "bad_request"),
        ("https://localhost/teaching/imserver/TOKEN", 400, "bad_request"),
        ("http://evil.example/teaching/imserver/TOKEN", 400, "bad_request"),
    ] {
        let request = Upgrade::new(&target.replace("TOKEN", &token));
        is_refusal(&request.send(&server).await, status, code, target);
    }
}

#[tokio::test]
async fn everywhere_else_is_the_same_nothing() {
    let server = TestServer::new().await;
    let get = |path: &str| Upgrade::new(path).without("Upgrade").with("Connection", "close");
    let mut seen: Option<Answer> = None;
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/admin",
        "/admin/",
        "/.git/config",
        "/teaching",
        "/teaching/",
        "/favicon.ico",
        "/index.html",
        "/config.toml",
        "/certs/keys.json",
        "/teaching/imserve",
        "/teaching/imserver2",
        "/..%2f..%2fetc/passwd",
        "/a/b/c/d/e/f",
        "/?x=y/../z/",
        "*",
    ] {
        if path.starts_with("/?") {
            continue;
        }
        for request in [get(path), Upgrade::new(path), get(path).method("POST")] {
            let mut answer = request.send(&server).await;
            is_refusal(&answer, 404, "not_found", path);
            answer.headers.retain(|(name, _)| name != "date");
            assert_eq!(seen.get_or_insert_with(|| answer.clone()), &answer, "{path}");
        }
    }
}
