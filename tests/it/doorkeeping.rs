//! How many may come in, from where, and what becomes of those who guess.

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::{
    Answer, Claims, Forge, Setup, TestServer, Upgrade, admin, counted, exchange, from_address,
    tls_over, within,
};

/// A connection from an address of its own, held open; its answer came already.
struct Held(#[allow(dead_code, reason = "it is held, not used")] TlsStream<TcpStream>);

/// Sends an upgrade from `address` and keeps the connection.
async fn knock(server: &TestServer, address: &str, upgrade: &Upgrade) -> (Answer, Held) {
    let tcp = from_address(server, address).await;
    let mut stream = tls_over(tcp, server.roots()).await;
    let answer = exchange(&mut stream, &upgrade.bytes()).await;
    (answer, Held(stream))
}

/// Knocks until there is room.
async fn comes_in(server: &TestServer, address: &str, upgrade: &Upgrade) -> Held {
    let coming = async {
        loop {
            let (answer, held) = knock(server, address, upgrade).await;
            if answer.status == 101 {
                return held;
            }
            full(&answer);
        }
    };
    within("a place to come back", coming).await
}

fn full(answer: &Answer) {
    let seen = (answer.status, answer.code());
    assert_eq!(seen, (429, "too_many".to_owned()), "{answer:?}");
    let retry: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&retry), "{retry}");
}

fn user(user: u64) -> Upgrade {
    Upgrade::token(&Forge::token(user))
}

#[tokio::test]
async fn a_user_has_so_many_connections_and_gets_a_place_back() {
    let server = Setup::new().set("limits.connections_per_user", "2").start().await;
    let _first = knock(&server, "127.0.0.1", &user(7)).await;
    let second = server.connect(7).await;
    full(&knock(&server, "127.0.0.1", &user(7)).await.0);
    assert_eq!(knock(&server, "127.0.0.1", &user(8)).await.0.status, 101);
    second.close().await;
    let _third = comes_in(&server, "127.0.0.1", &user(7)).await;
    full(&knock(&server, "127.0.0.1", &user(7)).await.0);
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_gets_a_place_back() {
    let server = Setup::new().set("limits.connections_per_address", "2").start().await;
    let first = knock(&server, "127.0.0.1", &user(1)).await;
    let (answer, _second) = knock(&server, "127.0.0.1", &user(2)).await;
    assert_eq!((first.0.status, answer.status), (101, 101));
    full(&knock(&server, "127.0.0.1", &user(3)).await.0);
    assert_eq!(knock(&server, "127.0.0.2", &user(3)).await.0.status, 101);
    // A bare end of the connection counts as much as a close.
    drop(first);
    let _third = comes_in(&server, "127.0.0.1", &user(3)).await;
    full(&knock(&server, "127.0.0.1", &user(3)).await.0);
}

#[tokio::test]
async fn the_server_has_so_many_connections_and_still_answers_administrators() {
    let server = Setup::new().set("limits.connections", "2").start().await;
    let first = server.connect(1).await;
    let _second = knock(&server, "127.0.0.2", &user(2)).await;
    full(&knock(&server, "127.0.0.3", &user(3)).await.0);
    assert_eq!(admin(&server, "/healthz").await.status, 200);
    let page = admin(&server, "/metrics").await.body;
    assert_eq!(counted(&page, "refused").get("too_many"), Some(&1));
    assert!(page.contains("imserver_connections 2\n"), "{page}");
    first.close().await;
    let _third = comes_in(&server, "127.0.0.3", &user(3)).await;
}

#[tokio::test]
async fn a_refusal_takes_no_place() {
    let setup = Setup::new()
        .set("limits.connections", "1")
        .set("limits.connections_per_user", "1")
        .set("limits.connections_per_address", "1");
    let server = setup.start().await;
    for _ in 0..5 {
        let held = knock(&server, "127.0.0.1", &Upgrade::token("a.b.c")).await;
        assert_eq!(held.0.status, 401);
        let evil = user(1).and("Origin", "https://evil.example");
        assert_eq!(knock(&server, "127.0.0.1", &evil).await.0.status, 403);
    }
    let (answer, _held) = knock(&server, "127.0.0.1", &user(1)).await;
    assert_eq!(answer.status, 101);
}

#[tokio::test]
async fn an_address_that_guesses_is_sent_away_and_no_other() {
    let server = Setup::new().set("limits.connections_per_address", "1000").start().await;
    let expired = Upgrade::token(&Claims::of(1).with("exp", 1).token());
    let mut unauthorized = 0;
    let sent_away = loop {
        let (answer, _held) = knock(&server, "127.0.0.2", &expired).await;
        if answer.status != 401 {
            break answer;
        }
        unauthorized += 1;
        assert!(unauthorized < 500, "nobody sends it away");
    };
    full(&sent_away);
    assert!(unauthorized >= 200, "sent away after {unauthorized}");
    assert_eq!(knock(&server, "127.0.0.3", &expired).await.0.status, 401);
    // Each counts once, by what was wrong with it: who was sent away used to count twice.
    let page = admin(&server, "/metrics").await.body;
    assert_eq!(counted(&page, "refused"), [("expired".to_owned(), unauthorized + 2)].into());
    // Whoever shares its address and has a good token comes in.
    assert_eq!(knock(&server, "127.0.0.2", &user(1)).await.0.status, 101);
}

#[tokio::test]
async fn only_a_trusted_proxy_says_who_somebody_is() {
    let setup = Setup::new()
        .set("server.trusted_proxies", "[\"127.0.0.1\", \"10.9.9.9\"]")
        .set("limits.connections_per_address", "1000");
    let server = setup.start().await;
    let rows: [(&str, &[&str], &str); 14] = [
        ("127.0.0.1", &[], "127.0.0.1"),
        ("127.0.0.1", &["10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", &["2001:db8::1"], "2001:db8::1"),
        ("127.0.0.1", &["::ffff:10.0.0.1"], "10.0.0.1"),
        // The proxy writes at the right; what stands left of it came from the client.
        ("127.0.0.1", &["10.0.0.7, 10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", &["10.0.0.7", "10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", &["10.0.0.7, 10.0.0.1, 10.9.9.9"], "10.0.0.1"),
        ("127.0.0.1", &["garbage, 10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", &[", , 10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", &["10.0.0.1, garbage"], "127.0.0.1"),
        ("127.0.0.1", &["unknown"], "127.0.0.1"),
        ("127.0.0.1", &["10.9.9.9"], "127.0.0.1"),
        ("127.0.0.2", &["10.0.0.1"], "127.0.0.2"),
        ("127.0.0.2", &["127.0.0.1"], "127.0.0.2"),
    ];
    for (row, (peer, said, believed)) in rows.iter().enumerate() {
        let mut upgrade = Upgrade::token("a.b.c");
        for line in *said {
            upgrade = upgrade.and("X-Forwarded-For", line);
        }
        upgrade = upgrade.and("Forwarded", "for=10.0.0.66").and("X-Real-IP", "10.0.0.66");
        assert_eq!(knock(&server, peer, &upgrade).await.0.status, 401);
        let lines = server.logged_times("token refused", row + 1).await;
        assert_eq!(lines[row]["address"], *believed, "{peer} {said:?}");
    }
}

#[tokio::test]
async fn limits_count_whom_a_trusted_proxy_names() {
    let setup = Setup::new()
        .set("server.trusted_proxies", "[\"127.0.0.1\"]")
        .set("limits.connections_per_address", "1");
    let server = setup.start().await;
    let named = |number, address| user(number).and("X-Forwarded-For", address);
    let (_, _first) = knock(&server, "127.0.0.1", &named(1, "10.0.0.1")).await;
    full(&knock(&server, "127.0.0.1", &named(2, "10.0.0.1")).await.0);
    full(&knock(&server, "127.0.0.1", &named(2, "10.0.0.5, 10.0.0.1")).await.0);
    let (answer, _second) = knock(&server, "127.0.0.1", &named(2, "10.0.0.2")).await;
    assert_eq!(answer.status, 101);
    let (answer, _third) = knock(&server, "127.0.0.2", &named(3, "10.0.0.3")).await;
    assert_eq!(answer.status, 101);
    full(&knock(&server, "127.0.0.2", &named(3, "10.0.0.4")).await.0);
}
