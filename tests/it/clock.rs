//! A clock that somebody sets while the server runs.

use std::fs;
use std::path::PathBuf;

use crate::support::{Claims, Client, Setup, TestServer, Upgrade, V2, described, named, refused};

/// The library that shows the server another time; its clock that nobody sets runs on.
fn library() -> PathBuf {
    let found = fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let mut found = found.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    found.find(|path| path.exists()).unwrap_or_else(|| {
        panic!("there is no libfaketime; install faketime (scripts/test does it by itself)")
    })
}

/// A set-up whose clock is ahead by what the file says.
fn with_a_clock() -> Setup {
    ahead_of_time(Setup::new(), "+0")
}

/// The same set-up with a clock that is ahead.
pub fn ahead_of_time(setup: Setup, ahead: &str) -> Setup {
    let file = setup.path("clock");
    fs::write(&file, ahead).unwrap();
    setup
        .env("LD_PRELOAD", library().to_str().unwrap())
        .env("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap())
        .env("FAKETIME_NO_CACHE", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

fn set_clock(setup: &Setup, ahead: &str) {
    fs::write(setup.path("clock.new"), ahead).unwrap();
    fs::rename(setup.path("clock.new"), setup.path("clock")).unwrap();
}

/// A token that is good from an hour ago on, for so many minutes from now.
fn token(user: u64, minutes: u64) -> String {
    let now = Claims::now();
    let claims = Claims::of(user).with("iat", now - 2 * 3600).with("exp", now + minutes * 60);
    claims.token()
}

async fn come_in(server: &TestServer, user: u64, minutes: u64) -> Client {
    Client::with_token(server, user, &token(user, minutes)).await
}

async fn talk(ming: &mut Client, hong: &mut Client, content: &str) -> u64 {
    ming.say(2, content, content).await;
    let (id, came) = hong.message().await;
    assert_eq!(came, content);
    id
}

#[tokio::test]
async fn a_clock_that_jumps_lets_nobody_in_whose_token_is_over_and_keeps_the_others() {
    let setup = with_a_clock().set("limits.ping_interval", "\"1s\"");
    let server = setup.start().await;
    let (mut ming, mut hong) = (come_in(&server, 1, 180).await, come_in(&server, 2, 180).await);
    let mut short = come_in(&server, 3, 30).await;
    let mut last = talk(&mut ming, &mut hong, "at first").await;

    set_clock(server.setup(), "-1h");
    for content in ["an hour back", "and again"] {
        let id = talk(&mut ming, &mut hong, content).await;
        assert!(last < id, "{last} {id}");
        last = id;
    }
    // Nobody's token is over because of that, and it lets in who may come in.
    short.say(3, "still here", "1").await;
    come_in(&server, 4, 30).await.close().await;

    set_clock(server.setup(), "+1h");
    // By that clock this token is over: for new connections and for the one that lives by it.
    refused(&Upgrade::token(&token(3, 30)).send(&server).await, "a token that is over");
    assert_eq!(short.closed().await.code, 4401);
    let id = talk(&mut ming, &mut hong, "an hour ahead").await;
    assert!(last < id, "{last} {id}");
    come_in(&server, 4, 180).await.close().await;

    set_clock(server.setup(), "+0");
    assert!(id < talk(&mut ming, &mut hong, "as it was").await);
    let server = server.stop().await.start().await;
    let mut hong = come_in(&server, 2, 180).await;
    for content in ["at first", "an hour back", "and again", "an hour ahead", "as it was"] {
        assert_eq!(hong.message().await.1, content);
    }
}

#[tokio::test]
async fn a_resend_is_known_whatever_the_clock_says_meanwhile() {
    let mut setup = with_a_clock();
    let mut first = None;
    let rounds = [("+0", true), ("-1h", false), ("+0", true), ("+1h", true), ("-1h", true)];
    for (round, (ahead, kill)) in rounds.into_iter().enumerate() {
        // A node whose clock differs from that of the NATS servers does not start.
        set_clock(&setup, if setup.is_in_streams() { "+0" } else { ahead });
        let server = setup.start().await;
        set_clock(server.setup(), ahead);
        // With a name, across restarts at any time.
        let mut ming = V2::of(&server, 1).token(token(1, 180)).quiet().await;
        ming.send(&named(1, 2, "once", "one", round > 0)).await;
        let id = described(&ming.next().await)["messageId"].clone();
        assert_eq!(*first.get_or_insert(id.clone()), id, "{ahead}");
        // By the document, as long as the process lives.
        let content = format!("round {round}");
        let mut plain = come_in(&server, 1, 180).await;
        plain.say(5, &content, "1").await;
        for jump in ["-90m", "+1h"] {
            set_clock(server.setup(), jump);
            come_in(&server, 1, 180).await.say(5, &content, "1").await;
        }
        setup = if kill { server.kill() } else { server.stop().await };
    }
    set_clock(&setup, "+0");
    let server = setup.start().await;
    let (mut hong, mut reader) = (come_in(&server, 2, 180).await, come_in(&server, 5, 180).await);
    let mut last = 0;
    for round in 0..rounds.len() {
        let (id, content) = reader.message().await;
        assert_eq!(content, format!("round {round}"), "each once");
        assert!(last < id, "{last} {id}");
        last = id;
    }
    reader.nothing_came().await;
    assert_eq!(hong.message().await.1, "once");
    hong.nothing_came().await;
}
