//! Connections that begin something and do not end it: each is closed in its time, and
//! nobody else notices.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::support::{
    Bare, Call, Closed, FIN, PING, Setup, TEXT, TestServer, admin, frame, from_address, head_of,
    tls, within,
};

/// Connections in all; `just crowds` takes 10,000.
fn how_many() -> usize {
    let wanted = std::env::var("IMSERVER_STALLS").map_or(1500, |text| text.parse().unwrap());
    // Both ends of each lie on this machine, but in two processes.
    let needed = wanted as u64 + 2000;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if soft < needed && setrlimit(Resource::RLIMIT_NOFILE, needed, hard.max(needed)).is_err() {
        let (limit, _) = (hard, setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
        let possible = usize::try_from(limit).unwrap().saturating_sub(2000);
        eprintln!("*** only {possible} connections: the system permits {limit} open files ***");
        return possible;
    }
    wanted
}

/// Makes `count` connections, some at a time.
async fn crowd<T, F: Future<Output = T>>(count: usize, make: impl Fn(usize) -> F) -> Vec<T> {
    stream::iter((0..count).map(make)).buffer_unordered(64).collect().await
}

/// Waits until the server has closed.
async fn closed(mut stream: impl AsyncRead + Unpin) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// A client hello that stops in the middle.
async fn half_a_hello(server: &TestServer) -> TcpStream {
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    tcp.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 7, 7, 7]).await.unwrap();
    tcp
}

/// A request whose head stops in the middle.
async fn half_a_head(server: &TestServer) -> TlsStream<TcpStream> {
    let mut stream = tls(server.address, server.roots()).await;
    let head = b"GET /teaching/imserver HTTP/1.1\r\nHost: localhost\r\nAuthoriz";
    stream.write_all(head).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

/// An upgraded connection that has sent half a frame, or fragments without the last.
async fn half_a_message(server: &TestServer, number: usize) -> Bare {
    let mut bare = Bare::connect(server, 1000 + number as u64).await;
    let half = match number % 3 {
        0 => vec![FIN | TEXT],
        1 => [&head_of(FIN | TEXT, 30_000)[..], &[b' '; 4000]].concat(),
        _ => [&head_of(TEXT, 3)[..], b"{\"f"].concat(),
    };
    bare.send(&half).await;
    bare
}

/// The longest that a new client waits for an answer and a message.
async fn longest_wait(server: &TestServer, rounds: usize) -> Duration {
    let mut longest = Duration::ZERO;
    for round in 0..rounds {
        let began = Instant::now();
        let (mut ming, mut hong) = (server.connect(1).await, server.connect(2).await);
        ming.say(2, "are you there?", &round.to_string()).await;
        hong.message().await;
        longest = longest.max(began.elapsed());
        ming.close().await;
        hong.close().await;
    }
    longest
}

/// Waits until a message is stored within a second. In streams those who come at once hold up
/// everybody for some seconds (docs/cluster.md); who then stalls must not.
async fn has_calmed_down(server: &TestServer) {
    let message = json!({ "toId": 4, "content": "is it calm?" });
    let calm = async {
        loop {
            let began = Instant::now();
            let answer = Call::post(4, "messages", &message).send(server).await;
            if answer.status == 200 && began.elapsed() < Duration::from_secs(1) {
                break;
            }
        }
    };
    within("calm", calm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stalls_is_closed_in_time_and_delays_nobody() {
    let each = how_many() / 5;
    let setup = Setup::new().set("limits.messages_per_second", "0");
    let setup = setup.set("limits.connections", "20000").set("log.level", "\"info\"");
    let setup = setup.set("limits.connections_per_user", "100000");
    // In the middle of a frame no ping can be answered: that is another end.
    let setup = setup.set("limits.ping_interval", "\"5m\"");
    // Long enough that the first ones still stall when the last ones come.
    let time = format!("\"{}s\"", 15 + each / 100);
    let setup = setup.set("limits.write_timeout", &time);
    let server = setup.set("limits.handshake_timeout", &time).start().await;
    // More than the system buffers of one connection, so that who does not read stalls.
    let mut ming = server.connect(1).await;
    let large = "x".repeat(16_000);
    for number in 0..60 {
        ming.say(3, &large, &number.to_string()).await;
    }
    let before = server.rss();

    let messages = crowd(each, |number| half_a_message(&server, number)).await;
    let reading = crowd(each, |_| Bare::connect(&server, 3)).await;
    let heads = crowd(each, |_| half_a_head(&server)).await;
    let hellos = crowd(each, |_| half_a_hello(&server)).await;
    let silent = crowd(each, |_| async { TcpStream::connect(server.address).await.unwrap() }).await;

    if server.setup().is_in_streams() {
        has_calmed_down(&server).await;
    }
    let longest = longest_wait(&server, 20).await;
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    let grown = server.rss().saturating_sub(before);
    let allowed = 32 * 1024 + 5 * each as u64 * 96;
    assert!(grown < allowed, "{grown} KiB more for {} connections", 5 * each);
    eprintln!("{} stalled connections, {grown} KiB, longest wait {longest:?}", 5 * each);

    let mut ends = FuturesUnordered::new();
    for (number, mut bare) in messages.into_iter().enumerate() {
        ends.push(Box::pin(async move {
            // A ping may come before; it cannot be answered in the middle of a frame.
            let end = bare.closed_at_last().await;
            let expected = Closed { code: 1008, reason: "unfinished_message".to_owned() };
            assert_eq!(end, expected, "{number}");
        }) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>);
    }
    ends.extend(heads.into_iter().map(|stream| Box::pin(closed(stream)) as _));
    ends.extend(hellos.into_iter().map(|stream| Box::pin(closed(stream)) as _));
    ends.extend(silent.into_iter().map(|stream| Box::pin(closed(stream)) as _));
    let all = async { while ends.next().await.is_some() {} };
    let patience = Duration::from_secs(60 + each as u64 / 50);
    assert!(tokio::time::timeout(patience, all).await.is_ok(), "{} stay", ends.len());
    // Those who do not read are gone for the server, whatever they still have to read.
    let only_one = async {
        while !admin(&server, "/metrics").await.body.contains("imserver_connections 1\n") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(tokio::time::timeout(patience, only_one).await.is_ok(), "who does not read stays");
    drop(reading);
    assert!(longest_wait(&server, 3).await < Duration::from_secs(5));
}

#[tokio::test]
async fn a_slow_message_is_finished_in_peace() {
    let setup = Setup::new().set("limits.write_timeout", "\"2s\"");
    let server = setup.start().await;
    let mut bare = Bare::connect(&server, 1).await;
    let began = Instant::now();
    // One message after the other, each in pieces, and always one that is not whole.
    let mut number = 0;
    while began.elapsed() < Duration::from_secs(5) {
        let text = frame(1, 2, "slowly", &number.to_string()).to_string();
        let bytes = [&head_of(FIN | TEXT, text.len() as u64)[..], text.as_bytes()].concat();
        let (first, second) = bytes.split_at(bytes.len() / 2);
        if number > 0 {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        bare.send(first).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        bare.send(second).await;
        number += 1;
    }
    for _ in 0..number {
        bare.expect(FIN | TEXT).await;
    }
    // Pings between fragments do not help who never ends.
    bare.send(&[&head_of(TEXT, 1)[..], b"{"].concat()).await;
    let dripping = async {
        loop {
            bare.send(&head_of(FIN | PING, 0)).await;
            if let Some((opcode, payload)) = bare.next().await
                && opcode == FIN | 8
            {
                return payload;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let end = tokio::time::timeout(Duration::from_secs(15), dripping).await.unwrap();
    assert_eq!(end, [&1008u16.to_be_bytes()[..], b"unfinished_message"].concat());
}

#[tokio::test]
async fn one_address_cannot_take_the_places_of_all() {
    let setup = Setup::new().set("limits.connections_per_address", "8");
    let server = setup.set("limits.handshake_timeout", "\"3s\"").start().await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(from_address(&server, "127.0.0.2").await);
    }
    // One more is not even shaken hands with, and everybody else is.
    closed(from_address(&server, "127.0.0.2").await).await;
    let mut ming = server.connect(1).await;
    ming.say(1, "hello", "1").await;
    let page = admin(&server, "/metrics").await.body;
    assert!(page.contains("imserver_refused_total{reason=\"too_many_arrivals\"} 1\n"), "{page}");
    for stream in silent {
        closed(stream).await;
    }
    // In time the silent ones are closed, and there is room at their address.
    let again = tls_from(&server, "127.0.0.2").await;
    drop(again);
}

async fn tls_from(server: &TestServer, address: &str) -> TlsStream<TcpStream> {
    crate::support::tls_over(from_address(server, address).await, server.roots()).await
}
