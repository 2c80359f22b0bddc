//! Configuration, certificate and keys exchanged while people talk.

use std::fs;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{
    Claims, Forge, Setup, TestServer, Upgrade, admin, exchange, frame, raw, tls, within,
};

/// Puts another certificate and key in the place of the server's; gives the
/// certificate.
fn exchanged(server: &TestServer) -> Arc<RootCertStore> {
    let other = Setup::new();
    // The key last: a pair that does not fit for a moment is refused, then read again.
    for name in ["certs/server.pem", "certs/server.key"] {
        let to = server.setup().path(name);
        let part = to.with_extension("part");
        fs::copy(other.path(name), &part).unwrap();
        fs::rename(&part, &to).unwrap();
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(other.path("certs/server.pem")).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    Arc::new(roots)
}

async fn shows(server: &TestServer, roots: &Arc<RootCertStore>) -> bool {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.is_ok()
}

#[tokio::test]
async fn a_new_certificate_is_shown_after_a_hangup_and_nobody_notices() {
    let server = TestServer::new().await;
    let mut ming = server.connect(1).await;
    let old = server.roots();
    assert!(shows(&server, &old).await);

    let new = exchanged(&server);
    server.signal("HUP");
    server.logged("certificate read again").await;
    assert!(shows(&server, &new).await);
    assert!(!shows(&server, &old).await);
    ming.say(1, "the same connection", "1").await;

    fs::write(server.setup().path("certs/server.pem"), "broken").unwrap();
    server.signal("HUP");
    let line = server.logged("the certificate stays the one in use").await;
    assert!(line["error"].as_str().unwrap().contains("server.pem"), "{line}");
    assert!(shows(&server, &new).await);
    ming.say(1, "still the same", "2").await;
}

#[tokio::test]
async fn changed_files_are_noticed_without_being_told() {
    let server = TestServer::new().await;
    let mut ming = server.connect(1).await;
    let new = exchanged(&server);
    server.logged("certificate read again").await;
    assert!(shows(&server, &new).await);
    let mut stream = tls(server.address, Arc::clone(&new)).await;

    fs::write(server.setup().path("certs/keys.json"), "{\"keys\":[{}]}").unwrap();
    let line = server.logged("the key set stays the one in use").await;
    assert!(line["error"].as_str().unwrap().contains("keys.json"), "{line}");
    let good = Upgrade::token(&Forge::token(7)).bytes();
    assert_eq!(exchange(&mut stream, &good).await.status, 101);
    ming.say(1, "the same connection", "1").await;
}

/// Changes settings, and waits until the running server has read them.
async fn change(server: &mut TestServer, settings: &[(&str, &str)]) {
    for (key, value) in settings {
        server.setup_mut().change(key, value);
    }
    let read = "configuration read again";
    let times = server.log().matches(read).count();
    server.signal("HUP");
    server.logged_times(read, times + 1).await;
}

/// A value of `/metrics`, by the beginning of its line.
async fn metric(server: &TestServer, name: &str) -> Option<f64> {
    let page = admin(server, "/metrics").await.body;
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("imserver_{name} ")))?;
    Some(line.parse().unwrap())
}

fn from_page(origin: &str) -> Upgrade {
    Upgrade::token(&Forge::token(7)).and("Origin", origin)
}

#[tokio::test]
async fn a_page_is_let_in_without_a_restart_and_without_being_told() {
    let mut server = TestServer::new().await;
    let mut ming = server.connect(1).await;
    let new = from_page("https://new.example");
    assert_eq!(new.send(&server).await.status, 403);

    let both = r#"["https://app.example", "https://new.example"]"#;
    server.setup_mut().change("server.origins", both);
    server.logged("configuration read again").await;
    assert_eq!(new.send(&server).await.status, 101);
    assert_eq!(from_page("https://app.example").send(&server).await.status, 101);

    change(&mut server, &[("server.origins", "[]"), ("server.chat_page", "false")]).await;
    assert_eq!(new.send(&server).await.status, 403);
    let page = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(&server, page).await.status, 404);
    ming.say(1, "the same connection", "1").await;
}

#[tokio::test]
async fn new_limits_are_for_new_connections() {
    let mut server = TestServer::new().await;
    let long = "x".repeat(100);
    let mut ming = server.connect(1).await;
    let limits = [("limits.content_bytes", "50"), ("limits.connections_per_user", "2")];
    change(&mut server, &limits).await;

    ming.say(2, &long, "1").await;
    let mut again = server.connect(1).await;
    again.send(&frame(1, 2, &long, "2")).await;
    assert_eq!(again.failure().await, "content_too_large");
    let third = Upgrade::token(&Forge::token(1)).send(&server).await;
    assert_eq!(third.status, 429, "{third:?}");

    change(&mut server, &[("limits.connections_per_user", "3")]).await;
    server.connect(1).await.say(2, "there is room", "3").await;
}

#[tokio::test]
async fn a_proxy_is_believed_from_when_it_is_named() {
    let setup = Setup::new().set("limits.connections_per_address", "1");
    let mut server = setup.start().await;
    let mut ming = server.connect(1).await;
    let said = Upgrade::token(&Forge::token(7)).and("X-Forwarded-For", "192.0.2.7");
    assert_eq!(said.send(&server).await.status, 429);
    change(&mut server, &[("server.trusted_proxies", r#"["127.0.0.1"]"#)]).await;
    assert_eq!(said.send(&server).await.status, 101);
    ming.say(1, "the same connection", "1").await;
}

#[tokio::test]
async fn a_broken_configuration_is_refused_whole_and_every_fault_is_named() {
    let mut server = Setup::new().set("store.cache_bytes", "67108864").start().await;
    assert_eq!(metric(&server, "last_reload_successful{what=\"configuration\"}").await, Some(1.0));
    assert_eq!(metric(&server, "reloads_failed_total").await, Some(0.0));

    let good = fs::read_to_string(server.setup().path("config.toml")).unwrap();
    let bad = good
        .replace("https://app.example", "https://new.example")
        .replace("[store]\n", "[auth]\nleeway = \"soon\"\n[store]\npaht = \"x\"\n");
    fs::write(server.setup().path("config.toml"), &bad).unwrap();
    server.signal("HUP");
    let line = server.logged("the configuration stays the one in use").await;
    let said = line["error"].as_str().unwrap();
    for part in ["config.toml has 2 faults", "auth.leeway", "soon", "paht", "path"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(from_page("https://new.example").send(&server).await.status, 403);
    assert_eq!(from_page("https://app.example").send(&server).await.status, 101);
    assert_eq!(metric(&server, "last_reload_successful{what=\"configuration\"}").await, Some(0.0));
    assert_eq!(metric(&server, "last_reload_successful{what=\"keys\"}").await, Some(1.0));
    let failed = metric(&server, "reloads_failed_total").await;
    assert!(failed >= Some(1.0), "{failed:?}");

    let origin = r#"["https://new.example"]"#;
    change(&mut server, &[("server.origins", origin)]).await;
    assert_eq!(from_page("https://new.example").send(&server).await.status, 101);
    assert_eq!(metric(&server, "last_reload_successful{what=\"configuration\"}").await, Some(1.0));
    assert_eq!(metric(&server, "reloads_failed_total").await, failed);
}

#[tokio::test]
async fn the_log_tells_more_or_less_as_soon_as_it_is_told_to() {
    let mut server = Setup::new().set("log.level", "\"info\"").start().await;
    let refused = Upgrade::token("nonsense");
    // Each reason has a line a minute, and the debug log has them all.
    for _ in 0..3 {
        assert_eq!(refused.send(&server).await.status, 401);
    }
    let expired = Claims::of(7).with("exp", 1).token();
    assert_eq!(Upgrade::token(&expired).send(&server).await.status, 401);
    change(&mut server, &[("log.level", "\"debug\"")]).await;
    let told = server.logged_times("token refused", 2).await;
    assert_eq!([&told[0]["reason"], &told[1]["reason"]], ["malformed", "expired"]);
    assert_eq!(server.log().matches("token refused").count(), 2, "it was no debug log");
    assert_eq!(refused.send(&server).await.status, 401);
    server.logged_times("token refused", 3).await;

    // Once more at a level that leaves out what says that it was read.
    server.setup_mut().change("log.level", "\"error\"");
    server.signal("HUP");
    let quiet = async {
        loop {
            let before = server.log().len();
            assert_eq!(refused.send(&server).await.status, 401);
            let answered = server.log().len();
            if before == answered {
                break;
            }
        }
    };
    within("silence", quiet).await;
}

#[tokio::test]
async fn what_needs_a_restart_is_said_and_waits_for_it() {
    let mut server = TestServer::new().await;
    let settings = [("server.listen", "\"127.0.0.1:1\""), ("auth.issuer", "\"other\"")];
    change(&mut server, &settings).await;
    let lines = server.logged_times("this setting was changed; a restart is needed to use it", 2);
    let waiting: Vec<_> = lines.await.iter().map(|line| line["setting"].clone()).collect();
    assert_eq!(waiting, ["server.listen", "auth.issuer"]);
    server.connect(1).await.say(1, "as before", "1").await;
}

#[tokio::test]
async fn what_overrides_the_file_does_so_again() {
    let setup = Setup::new().env("IMSERVER_SERVER__ORIGINS", "https://env.example");
    let mut server = setup.start().await;
    change(&mut server, &[("server.origins", r#"["https://file.example"]"#)]).await;
    assert_eq!(from_page("https://file.example").send(&server).await.status, 403);
    assert_eq!(from_page("https://env.example").send(&server).await.status, 101);
}

#[tokio::test]
async fn a_refused_key_set_is_counted() {
    let server = TestServer::new().await;
    fs::write(server.setup().path("certs/keys.json"), "").unwrap();
    server.signal("HUP");
    server.logged("the key set stays the one in use").await;
    assert_eq!(metric(&server, "last_reload_successful{what=\"keys\"}").await, Some(0.0));
    assert!(metric(&server, "reloads_failed_total").await >= Some(1.0));
    assert_eq!(Upgrade::token(&Forge::token(7)).send(&server).await.status, 101);
}

#[tokio::test]
async fn the_certificates_end_can_be_watched() {
    let server = TestServer::new().await;
    let unix = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let end = metric(&server, "certificate_end_seconds").await.unwrap();
    let before = unix();
    let left = metric(&server, "certificate_left_seconds").await.unwrap();
    assert!(end - unix() <= left && left <= end - before, "{left} of {end}");
    let days = left / (24.0 * 60.0 * 60.0);
    assert!((396.0..397.0).contains(&days), "{days}");
    // It is reckoned when asked for.
    let later = metric(&server, "certificate_left_seconds").await.unwrap();
    assert!(later < left, "{later} after {left}");

    let plain = Setup::new().set("tls.mode", "\"off\"").start().await;
    let mut tcp = TcpStream::connect(plain.admin).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let page = exchange(&mut tcp, request).await.body;
    assert!(page.contains("imserver_connections 0") && !page.contains("certificate"), "{page}");
}
