//! The listeners: the public one, the administrators', and neither without its limits.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::support::{Forge, Setup, TestServer, Upgrade, admin, exchange, raw, within};

fn good() -> Upgrade {
    Upgrade::token(&Forge::token(7))
}

#[tokio::test]
async fn administrators_have_a_door_of_their_own() {
    let server = TestServer::new().await;
    for (path, kind, body) in [
        ("/healthz", "text/plain; charset=utf-8", "alive\n"),
        ("/readyz", "text/plain; charset=utf-8", "ready\n"),
        ("/metrics", "application/openmetrics-text; version=1.0.0; charset=utf-8", "# EOF\n"),
    ] {
        let answer = admin(&server, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
        assert!(answer.body.ends_with(body), "{path}: {}", answer.body);
        assert_eq!(answer.header("server"), None);
        let public = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = raw(&server, public.as_bytes()).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
    let user = format!("/teaching/imserver/{}", Forge::token(7));
    for path in ["/chat.js", "/metricsx", "/healthz/x", "/teaching/imserver", &user] {
        let answer = admin(&server, path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
}

#[tokio::test]
async fn no_metric_names_anybody() {
    let server = TestServer::new().await;
    let mut ming = server.connect(770_077).await;
    ming.say(880_088, "a secret of 990099", "1").await;
    let page = admin(&server, "/metrics").await.body;
    assert!(page.contains("imserver_connections 1\n"), "{page}");
    assert!(page.contains("imserver_acknowledged_total 1\n"), "{page}");
    assert!(page.contains("imserver_acknowledged_seconds_count 1\n"), "{page}");
    for private in ["770077", "880088", "990099", "127.0.0.1", "eyJ"] {
        assert!(!page.contains(private), "{private}: {page}");
    }
}

#[tokio::test]
async fn behind_a_proxy_on_this_host_there_may_be_no_tls() {
    let server = Setup::new().set("tls.mode", "\"off\"").start().await;
    server.log_says("TLS is off").await;
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(exchange(&mut tcp, &good().bytes()).await.status, 101);
    let mut tcp = TcpStream::connect(server.admin).await.unwrap();
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(&mut tcp, request).await.status, 200);
}

#[test]
fn without_tls_nobody_listens_to_the_world() {
    for (key, address) in [
        ("server.listen", "0.0.0.0:0"),
        ("server.listen", "[::]:0"),
        ("server.listen", "192.0.2.1:8443"),
        ("server.admin_listen", "0.0.0.0:0"),
    ] {
        let setup = Setup::new().set("tls.mode", "\"off\"").set(key, &format!("\"{address}\""));
        let (code, said) = setup.start_in_vain();
        assert_eq!(code, Some(2), "{address}: {said}");
        assert!(said.contains("tls.mode") && said.contains(key), "{address}: {said}");
    }
}

#[tokio::test]
async fn without_file_descriptors_the_server_waits_and_recovers() {
    let server = TestServer::new().await;
    let _ming = server.connect(1).await;
    let open = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let limited = |limit: usize| {
        let mut command = Command::new("prlimit");
        command.arg(format!("--pid={}", server.pid())).arg(format!("--nofile={limit}:"));
        assert!(command.status().unwrap().success());
    };
    limited(open + 8);
    let mut crowd = Vec::new();
    for _ in 0..30 {
        crowd.push(TcpStream::connect(server.address).await.unwrap());
    }
    let none_left = "a connection could not be accepted";
    server.logged(none_left).await;
    let (before, lines) = (server.cpu(), server.log().matches(none_left).count());
    // Ten waits of the loop: what it does meanwhile is what it costs.
    server.logged_times(none_left, lines + 10).await;
    let used = server.cpu().saturating_sub(before);
    assert!(used < Duration::from_millis(300), "{used:?} in a second");

    drop(crowd);
    let mut hong = within("room again", server.connect(2)).await;
    hong.say(2, "as before", "1").await;
}

/// A crowd that says nothing once took the descriptors that the store needs to write,
/// which stopped it until the next start.
#[tokio::test]
async fn no_crowd_takes_the_descriptors_that_the_store_needs() {
    let setup = Setup::new();
    let serve = setup.command(&["serve"]);
    let mut command = Command::new("prlimit");
    command.arg("--nofile=160:160").arg(serve.get_program()).args(serve.get_args());
    let server = setup.start_by(command).await;
    server.log_says("fewer open files").await;
    let mut ming = server.connect(1).await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(TcpStream::connect(server.address).await.unwrap());
    }
    // The store's books are renewed every second.
    let begin = Instant::now();
    let mut number = 0;
    while begin.elapsed() < Duration::from_millis(2500) {
        number += 1;
        ming.say(2, "those inside go on", &number.to_string()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(admin(&server, "/readyz").await.body, "ready\n");
    drop(crowd);
    let mut hong = within("room again", server.connect(2)).await;
    assert_eq!(hong.message().await.1, "those inside go on");
}
