//! A connection ends when its token does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::AsyncWriteExt;

use crate::support::{Claims, Client, Setup, TestServer, Upgrade, frame, refused};

fn since_the_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// A server with a leeway of one second, a token and the moment that it is over.
async fn short_lived(user: u64) -> (TestServer, String, Duration) {
    let server = Setup::new().set("auth.leeway", "\"1s\"").start().await;
    let exp = Claims::now() + 1;
    let token = Claims::of(user).with("exp", exp).token();
    (server, token, Duration::from_secs(exp + 1))
}

#[tokio::test]
async fn a_connection_is_closed_at_the_end_of_its_token_and_not_before() {
    let (server, token, end) = short_lived(1).await;
    let mut ming = Client::with_token(&server, 1, &token).await;
    let mut hong = server.connect(2).await;
    ming.say(2, "in time", "1").await;
    assert_eq!(hong.message().await.1, "in time");

    let closed = ming.closed().await;
    let late = since_the_epoch().checked_sub(end).expect("closed too early");
    assert_eq!((closed.code, closed.reason.as_str()), (4401, "token_expired"));
    assert!(late < Duration::from_secs(1), "closed {late:?} too late");

    // Whoever does not care and goes on is not heard.
    let text = frame(1, 2, "too late", "2").to_string();
    let masked = [&[0x81, 0xfe], &u16::try_from(text.len()).unwrap().to_be_bytes()[..]];
    let bytes = [masked.concat().as_slice(), &[0; 4], text.as_bytes()].concat();
    let _ = ming.socket().get_mut().write_all(&bytes).await;
    let _ = ming.socket().get_mut().flush().await;
    hong.nothing_came().await;
    refused(&Upgrade::token(&token).send(&server).await, "the same token again");
    assert_eq!(server.logged_times("token refused", 1).await[0]["reason"], "expired");
}

#[tokio::test]
async fn what_arrives_after_the_end_is_not_stored_however_busy_the_server_was() {
    let (server, token, end) = short_lived(1).await;
    let mut ming = Client::with_token(&server, 1, &token).await;
    let mut hong = server.connect(2).await;
    ming.say(2, "in time", "1").await;
    assert_eq!(hong.message().await.1, "in time");

    server.signal("STOP");
    tokio::time::sleep(end.saturating_sub(since_the_epoch()) + Duration::from_millis(50)).await;
    ming.send(&frame(1, 2, "too late", "2")).await;
    server.signal("CONT");

    assert_eq!(ming.closed().await.code, 4401);
    hong.nothing_came().await;
}

#[tokio::test]
async fn only_the_connections_of_a_token_end_with_it() {
    let (server, token, _) = short_lived(1).await;
    let mut short = Client::with_token(&server, 1, &token).await;
    let mut long = server.connect(1).await;
    assert_eq!(short.closed().await.code, 4401);
    long.say(1, "still here", "1").await;
}
