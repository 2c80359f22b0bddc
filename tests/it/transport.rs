//! What stands before the first request: TLS, time, and peers who know neither.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ProtocolVersion, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Forge, Setup, TestServer, Upgrade, admin, is_refusal, raw, tls, within};

fn good() -> Upgrade {
    Upgrade::token(&Forge::token(7))
}

/// Shakes hands with these versions and application protocols.
async fn hands(
    server: &TestServer,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(server.roots())
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let shaking = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    within("the handshake", shaking).await
}

#[tokio::test]
async fn tls_is_1_2_or_1_3_and_carries_http_1_1() {
    let server = TestServer::new().await;
    let (old, new) = (&rustls::version::TLS12, &rustls::version::TLS13);
    for (version, number) in [(old, ProtocolVersion::TLSv1_2), (new, ProtocolVersion::TLSv1_3)] {
        for (offered, chosen) in [
            (&[][..], None),
            (&["http/1.1"][..], Some(&b"http/1.1"[..])),
            (&["h2", "http/1.1"], Some(b"http/1.1")),
        ] {
            let stream = hands(&server, &[version], offered).await.unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.protocol_version(), Some(number));
            assert_eq!(session.alpn_protocol(), chosen, "{offered:?}");
            let suite = format!("{:?}", session.negotiated_cipher_suite().unwrap());
            assert!(suite.contains("GCM") || suite.contains("CHACHA20"), "{suite}");
        }
        for offered in [&["h2"][..], &["h3", "spdy/3"], &["http/1.0"]] {
            let shaken = hands(&server, &[version], offered).await;
            assert!(shaken.is_err(), "{number:?} {offered:?}");
        }
    }
    for line in server.logged_times("TLS handshake failed", 6).await {
        assert_eq!(line["why"], "peer doesn't support any known protocol");
    }
    server.connect(1).await.say(1, "alive", "1").await;
}

/// What TLS says behind the handshake may wait for the answer to a request, and for nothing else.
#[tokio::test]
async fn a_ticket_comes_whether_something_is_asked_or_not() {
    let server = TestServer::new().await;
    let tickets = |stream: &TlsStream<TcpStream>| stream.get_ref().1.tls13_tickets_received();
    let shaken = async || hands(&server, &[&rustls::version::TLS13], &[]).await.unwrap();

    let mut silent = shaken().await;
    within("a ticket", silent.get_ref().0.readable()).await.unwrap();
    assert!(silent.read(&mut [0; 64]).now_or_never().is_none(), "nothing was asked");
    assert_eq!(tickets(&silent), 1);

    let mut asking = shaken().await;
    let request = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    asking.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    within("the answer", asking.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 404"));
    assert_eq!(tickets(&asking), 1);

    let mut leaving = shaken().await;
    leaving.shutdown().await.unwrap();
    within("the end", leaving.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(tickets(&leaving), 1);
}

/// A ClientHello as programs sent it before TLS 1.2.
fn hello(version: u8) -> Vec<u8> {
    let mut body = vec![3, version];
    body.extend([7; 32]);
    body.push(0);
    // RSA and ECDHE with AES-128-CBC-SHA, and the signal against downgrades left out.
    body.extend([0, 6, 0x00, 0x2f, 0xc0, 0x09, 0xc0, 0x13]);
    body.extend([1, 0]);
    // Signatures to choose from, without which the version is not even looked at.
    body.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let length = u8::try_from(body.len()).unwrap();
    let handshake = [&[1, 0, 0, length][..], &body].concat();
    [&[0x16, 3, 1, 0, length + 4][..], &handshake].concat()
}

/// Sends bytes without TLS and reads to the end.
async fn plainly(server: &TestServer, bytes: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    let _ = tcp.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = within("the end", tcp.read_to_end(&mut answer)).await;
    answer
}

#[tokio::test]
async fn whoever_speaks_no_good_tls_is_sent_away_and_the_server_lives() {
    let server = TestServer::new().await;
    for version in [0, 1, 2] {
        // The alert 70, `protocol_version`.
        let answer = plainly(&server, &hello(version)).await;
        assert_eq!(answer.first(), Some(&0x15), "TLS 1.{version}: {answer:?}");
        assert_eq!(answer.get(5..), Some(&[2, 70][..]), "TLS 1.{version}");
    }
    let http = good().bytes();
    for bytes in [
        &http[..],
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
        &[0xff; 4096],
        &[0x16; 70_000],
        b"\x16\x03\x01\xff\xff\xff",
    ] {
        let answer = plainly(&server, bytes).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
    }
    for _ in 0..100 {
        let tcp = TcpStream::connect(server.address).await.unwrap();
        tcp.set_zero_linger().unwrap();
    }
    server.connect(1).await.say(1, "alive", "1").await;
    let page = admin(&server, "/metrics").await.body;
    let failed =
        page.lines().find_map(|line| line.strip_prefix("imserver_handshakes_failed_total "));
    assert!(failed.unwrap().parse::<u32>().unwrap() >= 10, "{page}");
    assert!(!server.log().contains("eyJ"), "{}", server.log());
}

/// How long the server lets a connection be that says `bytes`, one at a time when
/// `slowly`, and then nothing more.
async fn patience<S>(mut stream: S, bytes: &[u8], slowly: bool) -> Duration
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let begin = Instant::now();
    if slowly {
        let (mut read, mut write) = tokio::io::split(stream);
        let dripping = async {
            for byte in bytes.iter().cycle() {
                if write.write_all(&[*byte]).await.is_err() || write.flush().await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let mut buffer = Vec::new();
        tokio::select! {
            _ = within("the end", read.read_to_end(&mut buffer)) => {}
            () = dripping => {}
        }
    } else {
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        let mut buffer = Vec::new();
        let _ = within("the end", stream.read_to_end(&mut buffer)).await;
    }
    begin.elapsed()
}

#[tokio::test]
async fn whoever_does_not_finish_shaking_hands_is_sent_away_in_time() {
    let server = Setup::new().set("limits.handshake_timeout", "\"1s\"").start().await;
    let tcp = async || TcpStream::connect(server.address).await.unwrap();
    let safe = async || tls(server.address, server.roots()).await;
    let hello = hello(3);
    let head = good().bytes();
    let half = &head[..head.len() / 2];
    let good_ones = async || {
        for _ in 0..10 {
            assert_eq!(good().send(&server).await.status, 101);
        }
        Duration::from_secs(1)
    };
    let times: [Duration; 8] = tokio::join!(
        async { patience(tcp().await, b"", false).await },
        async { patience(tcp().await, &hello[..20], false).await },
        async { patience(tcp().await, b"\x16\x03\x01\x40\x00\x01\x00", true).await },
        async { patience(safe().await, b"", false).await },
        async { patience(safe().await, half, false).await },
        async { patience(safe().await, b"GET /teaching/imserver HTTP/1.1\r\nX: ", false,).await },
        async { patience(safe().await, b"GETGETGET", true).await },
        good_ones(),
    )
    .into();
    for (row, time) in times.into_iter().enumerate() {
        let in_time = Duration::from_millis(500)..Duration::from_millis(2500);
        assert!(in_time.contains(&time), "{row}: {time:?}");
    }
}

#[tokio::test]
async fn a_head_is_small() {
    let server = TestServer::new().await;
    let many = |count: usize| {
        // Five stand in a good request.
        (5..count).fold(good(), |request, number| request.and(&format!("X-{number}"), "x"))
    };
    assert_eq!(many(64).send(&server).await.status, 101);
    let sized = |bytes: usize| {
        let without = good().and("X-Long", "").bytes().len();
        good().and("X-Long", &"x".repeat(bytes - without))
    };
    assert_eq!(sized(16_000).send(&server).await.status, 101);
    for (what, request) in [
        ("65 headers", many(65)),
        ("1,000 headers", many(1000)),
        ("17 KiB", sized(17 * 1024)),
        ("64 KiB", sized(64 * 1024)),
        ("1 MiB", sized(1 << 20)),
    ] {
        let answer = request.send(&server).await;
        // The answer may be lost when what was not read yet resets the connection.
        if answer.status != 0 {
            is_refusal(&answer, 431, "head_too_large", what);
        }
    }
    is_refusal(&many(65).send(&server).await, 431, "head_too_large", "65 headers");
    let before = server.rss();
    let mut stream = tls(server.address, server.roots()).await;
    let flood = async {
        let line = b"X-Flood: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";
        stream.write_all(b"GET / HTTP/1.1\r\n").await?;
        for _ in 0..500_000 {
            stream.write_all(line).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    assert!(within("the end of the flood", flood).await.is_err());
    assert!(server.rss() < before + 4096, "{before} KiB, then {}", server.rss());
}

#[tokio::test]
async fn a_stalled_handshake_does_not_hold_up_the_drain() {
    let mut server = TestServer::new().await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let _shaken = tls(server.address, server.roots()).await;
    let mut half = tls(server.address, server.roots()).await;
    half.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    // Its turn comes after theirs: they are all being served.
    server.connect(1).await.say(1, "hello", "1").await;
    let begin = Instant::now();
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn whoever_asks_while_the_server_stops_is_told_to_come_back() {
    let mut server = TestServer::new().await;
    let request = good().bytes();
    let (first, rest) = request.split_at(request.len() / 2);
    let mut stream = tls(server.address, server.roots()).await;
    stream.write_all(first).await.unwrap();
    // A connection after it is served: so is this one.
    assert_eq!(raw(&server, &good().bytes()).await.status, 101);
    server.signal("TERM");
    server.logged("stopping: answering what is under way").await;
    let answer = crate::support::exchange(&mut stream, rest).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(server.ended().await.code(), Some(0));
}
