//! Everybody comes back at once after a restart.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::Instant;

use crate::support::{Client, Forge, Setup, TestServer};

/// Clients; `just crowds` takes 5,000.
fn how_many() -> u64 {
    std::env::var("IMSERVER_STORM").map_or(600, |text| text.parse().unwrap())
}

/// All of them, connected, some handshakes at a time.
async fn crowd(server: &TestServer) -> Vec<Client> {
    stream::iter(1..=how_many())
        .map(|user| server.connect(user))
        .buffer_unordered(64)
        .collect()
        .await
}

/// Comes in as soon as it works, as a client does that waits a little longer each time.
async fn come_back(server: &TestServer, user: u64, wait: Duration) -> Client {
    tokio::time::sleep(wait).await;
    let path = format!("/teaching/imserver/{}", Forge::token(user));
    let mut pause = Duration::from_millis(200);
    loop {
        if let Ok(client) = Client::open(server, user, &path, &[]).await {
            return client;
        }
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

/// Everybody back at their own moment, each finding the message that was sent to them.
async fn all_back(server: &TestServer, waits: Vec<(u64, Duration)>) -> Duration {
    let began = Instant::now();
    let count = waits.len();
    let back = stream::iter(waits).map(|(user, wait)| async move {
        let mut client = come_back(server, user, wait).await;
        assert_eq!(client.message().await.1, format!("for {user}"));
        user
    });
    let back: BTreeSet<u64> = back.buffer_unordered(count).collect().await;
    assert_eq!(back.len(), count, "nobody is left outside");
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_everybody_is_back_within_a_minute_and_has_lost_nothing() {
    let setup = Setup::new().set("log.level", "\"info\"");
    let setup = setup.set("limits.messages_per_second", "0").set("limits.connections", "20000");
    let mut server = setup.start().await;
    let mut sender = server.connect(1 << 40).await;
    for user in 1..=how_many() {
        sender.say(user, &format!("for {user}"), "1").await;
    }
    let clients = crowd(&server).await;
    // Killed: nobody is told anything, and all try at once.
    let address = server.address;
    server = {
        let setup = server.kill().set("server.listen", &format!("\"{address}\""));
        drop(clients);
        setup.start().await
    };
    let waits = (1..=how_many()).map(|user| (user, Duration::ZERO)).collect();
    let took = all_back(&server, waits).await;
    eprintln!("killed: {} back after {took:?}", how_many());
    assert!(took < Duration::from_secs(60), "{took:?}");

    // Stopped: everybody is told when to come, each another moment.
    let clients = crowd(&server).await;
    server.signal("TERM");
    let mut waits = Vec::new();
    for mut client in clients {
        let user = client.user;
        let end = client.closed().await;
        let wait = end.reason.strip_prefix("drain retry_ms=").unwrap_or_else(|| panic!("{end:?}"));
        waits.push((user, Duration::from_millis(wait.parse().unwrap())));
    }
    assert_eq!(server.ended().await.code(), Some(0));
    let moments: BTreeSet<Duration> = waits.iter().map(|(_, wait)| *wait).collect();
    assert!(moments.len() as u64 > how_many() / 3, "{} moments", moments.len());
    let server = server.kill().start().await;
    let took = all_back(&server, waits).await;
    eprintln!("stopped: {} back after {took:?}", how_many());
    assert!(took < Duration::from_secs(60), "{took:?}");
}
