//! What it costs the server that somebody makes things long: processor time, in a build without
//! optimizations.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::support::{
    Bare, CONTINUE, Client, Setup, TEXT, TestServer, Way, frame, frame_of, refused, tls, within,
};

async fn server() -> TestServer {
    let setup = Setup::new().set("log.level", "\"info\"").set("limits.violations", "100000");
    setup.set("limits.messages_per_second", "0").start().await
}

/// What `count` times `text` cost, each of which is refused as a frame that is none.
async fn cost(server: &TestServer, client: &mut Client, count: u32, text: &str) -> Duration {
    let before = server.cpu();
    for _ in 0..count {
        client.send_text(text).await;
        assert_eq!(client.failure().await, "bad_frame");
    }
    (server.cpu() - before) / count
}

#[tokio::test]
async fn a_frame_that_is_hard_to_read_is_cheap_to_refuse() {
    let server = server().await;
    let mut client = server.connect(7).await;
    let good = frame(7, 8, "x", "1").to_string();
    let with = |member: &str| format!("{},\"x\":{member}}}", good.strip_suffix('}').unwrap());
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (what, text) in [
        ("brackets", "[".repeat(60_000)),
        ("nested by 200", with(&deep(200))),
        ("nested by 30,000", with(&deep(30_000))),
        ("objects in objects", with(&"{\"a\":".repeat(12_000))),
        ("a timestamp of brackets", good.replace("\"1\"", &deep(30_000))),
        ("escapes", with(&format!("\"{}", "\\u0041".repeat(10_000)))),
    ] {
        let cost = cost(&server, &mut client, 100, &text).await;
        assert!(cost < Duration::from_millis(10), "{what}: {cost:?}");
    }
    client.say(7, "alive", "2").await;
}

#[tokio::test]
async fn a_hundred_thousand_fragments_cost_less_than_half_a_second() {
    let server = server().await;
    let mut bare = Bare::connect(&server, 7).await;
    let before = server.cpu();
    let first = frame_of(TEXT, b"x");
    bare.send(&[first, frame_of(CONTINUE, b"x").repeat(99_999)].concat()).await;
    // The limit of a frame came first.
    assert_eq!(bare.closed_at_last().await.code, 1009);
    let used = server.cpu() - before;
    assert!(used < Duration::from_millis(500), "{used:?}");
}

#[tokio::test]
async fn a_token_that_is_too_long_costs_no_more_than_its_connection() {
    let server = server().await;
    let long = "x".repeat(8193);
    let mut stranger = server.cpu();
    for way in [Way::Path, Way::Header] {
        for _ in 0..100 {
            refused(&way.upgrade(&long).send(&server).await, "too long");
        }
    }
    stranger = server.cpu() - stranger;
    // Ten thousand in 5 s were asked for, of a build with optimizations.
    assert!(stranger < Duration::from_secs(2), "{stranger:?} for 200");
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_costs_less_than_half_a_second() {
    let server = server().await;
    let mut stream = tls(server.address, server.roots()).await;
    let before = server.cpu();
    let trickle = async {
        stream.write_all(b"GET / HTTP/1.1\r\nX: ").await?;
        for _ in 0..100_000 {
            stream.write_all(b"x").await?;
            stream.flush().await?;
        }
        Ok::<_, std::io::Error>(())
    };
    assert!(within("the end of it", trickle).await.is_err());
    let used = server.cpu() - before;
    assert!(used < Duration::from_millis(500), "{used:?}");
}
