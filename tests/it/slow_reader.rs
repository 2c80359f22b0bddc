//! Who does not read costs the server next to nothing, and nobody else anything.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::{Bare, Client, FIN, Setup, TEXT, TestServer, frame};

const SIZE: usize = 16_000;

/// Sends so many large messages to 2, each acknowledged; the longest wait for that.
async fn pour(client: &mut Client, to: u64, count: usize, name: &str) -> Duration {
    let mut longest = Duration::ZERO;
    let padding = "x".repeat(SIZE);
    for number in 0..count {
        let began = Instant::now();
        client.say(to, &format!("{name} {number} {padding}"), &number.to_string()).await;
        longest = longest.max(began.elapsed());
    }
    longest
}

async fn start(write_timeout: &str) -> TestServer {
    let setup = Setup::new().set("limits.messages_per_second", "0");
    let setup = setup.set("log.level", "\"info,imserver=debug\"");
    setup.set("limits.write_timeout", write_timeout).start().await
}

#[tokio::test]
async fn readers_who_stop_cost_no_memory_and_delay_nobody() {
    const STOPPED: usize = 15;
    const MESSAGES: usize = 400;
    let server = start("\"1h\"").await;
    let mut ming = server.connect(1).await;
    // What the store itself takes for so much, it takes without a reader too.
    pour(&mut ming, 9, MESSAGES, "nobody").await;
    let before = server.rss();
    pour(&mut ming, 9, MESSAGES, "nobody again").await;
    let without = server.rss().saturating_sub(before);

    let mut stopped = Vec::new();
    for _ in 0..STOPPED {
        stopped.push(Bare::connect(&server, 2).await);
    }
    let before = server.rss();
    let (mut li, mut zhang) = (server.connect(3).await, server.connect(4).await);
    let others = async {
        let mut longest = Duration::ZERO;
        for number in 0..200 {
            let began = Instant::now();
            li.say(4, "quick", &number.to_string()).await;
            zhang.message().await;
            longest = longest.max(began.elapsed());
        }
        longest
    };
    let (longest, others) = tokio::join!(pour(&mut ming, 2, MESSAGES, "m"), others);
    assert!(longest.max(others) < Duration::from_secs(2), "{longest:?}, {others:?}");
    let grown = server.rss().saturating_sub(before);
    // Copies for everybody would be 100 MB; a page and the buffers of each are a few.
    let allowed = without + (STOPPED * 768 + 8 * 1024) as u64;
    assert!(grown < allowed, "{grown} KiB more with readers, {without} KiB without");

    // One of them begins to read: all is there, in order; so it is on a new connection.
    let mut late = stopped.remove(0);
    for number in 0..MESSAGES {
        let frame: Value = serde_json::from_slice(&late.expect(FIN | TEXT).await).unwrap();
        let content = frame["content"].as_str().unwrap();
        assert!(content.starts_with(&format!("m {number} ")), "{number}");
    }
    drop(stopped);
    // One that was stopped keeps its place until it is noticed to be gone.
    let mut fresh = server.connect(2).await;
    for number in 0..MESSAGES {
        let (_, content) = fresh.message().await;
        assert!(content.starts_with(&format!("m {number} ")), "{number}");
    }
}

#[tokio::test]
async fn a_reader_who_takes_nothing_for_too_long_is_closed_and_loses_nothing() {
    const MESSAGES: usize = 60;
    let server = start("\"400ms\"").await;
    let mut ming = server.connect(1).await;
    let stopped = Bare::connect(&server, 2).await;
    // A slow one is none who stopped.
    let mut slow = Bare::connect(&server, 3).await;
    pour(&mut ming, 2, MESSAGES, "m").await;
    let ended = server.logged("connection ended").await;
    assert_eq!(ended["ended"], "Gone", "{ended}");
    assert_eq!(ended["span"]["user"], "2", "{ended}");
    drop(stopped);
    let mut fresh = server.connect(2).await;
    for number in 0..MESSAGES {
        assert!(fresh.message().await.1.starts_with(&format!("m {number} ")), "{number}");
    }
    ming.send(&frame(1, 3, "are you still there?", "1")).await;
    slow.expect(FIN | TEXT).await;
}
