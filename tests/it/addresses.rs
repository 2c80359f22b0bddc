//! What stands where: one spelling of one address, and nothing beside it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Answer, Forge, Setup, TestServer, Upgrade, is_refusal, within};

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
        "*",
    ] {
        for request in [get(path), Upgrade::new(path), get(path).method("POST")] {
            let mut answer = request.send(&server).await;
            is_refusal(&answer, 404, "not_found", path);
            answer.headers.retain(|(name, _)| name != "date");
            assert_eq!(seen.get_or_insert_with(|| answer.clone()), &answer, "{path}");
        }
    }
}

/// A path where there is nothing, of words that are somewhere and of characters by chance.
fn nowhere(random: &mut fastrand::Rng) -> String {
    const WORDS: [&str; 16] = [
        "teaching", "imserver", "api", "admin", "metrics", "healthz", "client", "chat.js", ".git",
        "..", ".", "%2e%2e", "%00", "messages", "me", "tickets",
    ];
    const SIGNS: &[u8] = b"abcxyzABCXYZ0189-._~!$&'()*+,;=:@%";
    loop {
        let segments: Vec<String> = (0..random.usize(1..6))
            .map(|_| match random.usize(..3) {
                0 => WORDS[random.usize(..WORDS.len())].to_owned(),
                _ => (0..random.usize(1..24))
                    .map(|_| char::from(SIGNS[random.usize(..SIGNS.len())]))
                    .collect(),
            })
            .collect();
        let is_somewhere = match &segments[..] {
            [one] => one == "chat.js",
            [first, second, ..] => first == "teaching" && (second == "imserver" || second == "api"),
            [] => true,
        };
        if !is_somewhere {
            let query = if random.bool() { "?token=x" } else { "" };
            return format!("/{}{query}", segments.join("/"));
        }
    }
}

#[tokio::test]
async fn ten_thousand_paths_by_chance_get_one_answer_to_the_byte() {
    // Without TLS, for the sake of time: what is answered is the same.
    let server = Setup::new().set("tls.mode", "\"off\"").set("log.level", "\"info\"").start().await;
    let mut random = fastrand::Rng::with_seed(18);
    let mut seen: Option<String> = None;
    for _ in 0..10_000 {
        let path = nowhere(&mut random);
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within("the answer", stream.read_to_string(&mut answer)).await.unwrap();
        let lines = answer.split_inclusive("\r\n");
        let answer: String = lines.filter(|line| !line.starts_with("date: ")).collect();
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{path}: {answer}");
        assert_eq!(seen.get_or_insert_with(|| answer.clone()), &answer, "{path}");
    }
}
