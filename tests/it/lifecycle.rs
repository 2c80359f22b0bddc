//! Heartbeats, and how the server ends.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::{
    Bare, Closed, FIN, PING, PONG, Setup, TestServer, admin, frame, frame_of, within,
};

fn quick_heart() -> Setup {
    let setup = Setup::new().set("limits.ping_interval", "\"200ms\"");
    setup.set("limits.pong_timeout", "\"300ms\"")
}

#[tokio::test]
async fn who_answers_no_ping_is_closed() {
    let server = quick_heart().start().await;
    let began = Instant::now();
    let mut bare = Bare::connect(&server, 1).await;
    let mut pings = 0;
    let end = loop {
        match bare.next().await {
            Some((opcode, _)) if opcode == FIN | PING => pings += 1,
            Some((_, payload)) => break payload,
            None => panic!("no close"),
        }
        // Whatever else it says is no answer.
        bare.send(&frame_of(FIN | 1, frame(1, 2, "hi", "1").to_string().as_bytes())).await;
        assert!(bare.next().await.is_some());
    };
    assert_eq!(end, [&4408u16.to_be_bytes()[..], b"no_pong"].concat());
    assert_eq!(pings, 1, "one that is not answered is enough");
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
}

#[tokio::test]
async fn who_answers_pings_stays() {
    let server = quick_heart().start().await;
    let mut bare = Bare::connect(&server, 1).await;
    let began = Instant::now();
    for _ in 0..6 {
        let payload = bare.expect_ping().await;
        bare.send(&frame_of(FIN | PONG, &payload)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
    bare.send(&frame_of(FIN | PING, b"and I ping you")).await;
    assert_eq!(bare.expect(FIN | PONG).await, b"and I ping you");
}

fn retry(end: &Closed) -> u64 {
    assert_eq!(end.code, 1001, "{end:?}");
    let wait = end.reason.strip_prefix("drain retry_ms=").unwrap();
    wait.parse().unwrap()
}

#[tokio::test]
async fn told_to_stop_it_answers_what_is_under_way_and_sends_everybody_elsewhere() {
    for signal in ["TERM", "INT"] {
        let setup = Setup::new().set("limits.messages_per_second", "0");
        let mut server = setup.start().await;
        let mut clients = Vec::new();
        for user in 1..=12 {
            clients.push(server.connect(user).await);
        }
        for client in &mut clients {
            for number in 0..30 {
                let content = format!("{}/{number}", client.user);
                client.send(&frame(client.user, 99, &content, &number.to_string())).await;
            }
        }
        // The first answer says that the others are under way.
        clients[0].next().await;
        let began = Instant::now();
        server.signal(signal);
        let (mut acknowledged, mut waits) = (BTreeSet::from(["1/0".to_owned()]), BTreeSet::new());
        for client in &mut clients {
            let (answers, end) = client.answers_until_closed().await;
            waits.insert(retry(&end));
            for answer in answers {
                assert_eq!(answer["type"], 0, "{answer}");
                let number = answer["timestamp"].as_str().unwrap();
                acknowledged.insert(format!("{}/{number}", client.user));
            }
        }
        drop(clients);
        assert!(waits.len() > 3, "spread: {waits:?}");
        assert!(waits.iter().all(|wait| (500..=5_500).contains(wait)), "{waits:?}");
        let status = server.ended().await;
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

        let server = server.kill().start().await;
        let mut reader = server.connect(99).await;
        while !acknowledged.is_empty() {
            acknowledged.remove(&reader.message().await.1);
        }
    }
}

#[tokio::test]
async fn while_it_stops_nobody_comes_in_and_it_says_so() {
    let mut server = TestServer::new().await;
    assert_eq!(admin(&server, "/readyz").await.status, 200);
    // Somebody who does not leave when told to, so that it takes a moment.
    let mut stubborn = Bare::connect(&server, 1).await;
    server.signal("TERM");
    retry(&stubborn.close_frame().await);
    assert_eq!(admin(&server, "/readyz").await.status, 503);
    assert_eq!(admin(&server, "/healthz").await.status, 200);
    let refused = within("the refusal", TcpStream::connect(server.address)).await;
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(server.ended().await.code(), Some(0));
    server.log_says("store closed").await;
}

#[tokio::test]
async fn a_drain_ends_when_its_time_is_over() {
    let setup = Setup::new().set("server.drain_timeout", "\"300ms\"");
    let mut server = setup.start().await;
    let mut stubborn = Bare::connect(&server, 1).await;
    let began = Instant::now();
    server.signal("TERM");
    retry(&stubborn.close_frame().await);
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_millis(1_900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn told_twice_it_ends_at_once_and_what_was_acknowledged_is_there() {
    let mut server = TestServer::new().await;
    let mut ming = server.connect(1).await;
    ming.say(2, "kept", "1").await;
    let mut stubborn = Bare::connect(&server, 3).await;
    server.signal("TERM");
    stubborn.close_frame().await;
    // The same wish again, as a terminal may deliver it, is no second one.
    server.signal("TERM");
    server.logged("waiting for what is under way; a further signal ends at once").await;
    let began = Instant::now();
    server.signal("INT");
    assert_eq!(server.ended().await.code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    server.log_says("ended without waiting").await;
    let server = server.kill().start().await;
    assert_eq!(server.connect(2).await.message().await.1, "kept");
}

#[tokio::test]
async fn a_log_that_nobody_reads_any_more_ends_nothing() {
    let setup = Setup::new();
    let serve = setup.command(&["serve"]);
    // Who reads the log goes away once the server serves: what is written then meets EPIPE.
    let mut command = Command::new("bash");
    command
        .args(["-c", r#"exec "$0" "$@" 2> >(exec sed -u '/"serving"/q' >&2)"#])
        .arg(serve.get_program())
        .args(serve.get_args())
        .envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut server = setup.start_by(command).await;
    let mut hong = server.connect(2).await;
    let mut ming = server.connect(1).await;
    // Each of these is a line in the log.
    for _ in 0..3 {
        let (code, _, complaints) = server.run(&["reload"]).await;
        assert_eq!(code, 0, "{complaints}");
        ming.say(2, "still there", "1").await;
        assert_eq!(hong.message().await.1, "still there");
    }
    server.signal("TERM");
    assert_eq!(hong.closed().await.code, 1001);
    let status = server.ended().await;
    assert_eq!(status.code(), Some(0), "{status:?}");
    assert!(server.log().contains("serving"));
}
