//! The PROXY protocol: proxies say for whom they connect, and nobody else does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::{
    Admin, Answer, Forge, Setup, TestServer, Upgrade, admin, counted, exchange, from_address,
    tls_over, within,
};

/// Where the proxy of these tests stands; clients that come by themselves have other addresses.
const PROXY: &str = "127.0.0.1";

/// What the log says of whoever breaks the rules.
const REFUSED: &str = "refused for its PROXY header";

fn proxied() -> Setup {
    Setup::new().set("server.proxy_protocol", "[\"127.0.0.1\", \"10.9.0.0/16\"]")
}

/// A header of version 2: its command, its family, and what follows.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

/// A header that names `client`, as a proxy writes it that listens on port 443.
fn names(client: &str) -> Vec<u8> {
    let ports = [1, 2, 1, 0xbb];
    match client.parse().unwrap() {
        IpAddr::V4(v4) => {
            let addresses = [v4.octets(), Ipv4Addr::LOCALHOST.octets()].concat();
            v2(0x21, 0x11, &[&addresses[..], &ports].concat())
        }
        IpAddr::V6(v6) => {
            let addresses = [v6.octets(), Ipv6Addr::LOCALHOST.octets()].concat();
            v2(0x21, 0x21, &[&addresses[..], &ports].concat())
        }
    }
}

/// What a proxy sends for a connection of its own.
fn own() -> Vec<u8> {
    v2(0x20, 0, &[])
}

/// Connects from `peer` and sends `header`.
async fn began(server: &TestServer, peer: &str, header: &[u8]) -> TcpStream {
    let mut tcp = from_address(server, peer).await;
    tcp.write_all(header).await.unwrap();
    tcp
}

/// An upgrade from `peer` behind `header`, and the connection, to be held open.
async fn knock(
    server: &TestServer,
    (peer, header): (&str, &[u8]),
    upgrade: &Upgrade,
) -> (Answer, TlsStream<TcpStream>) {
    let tcp = began(server, peer, header).await;
    let mut stream = tls_over(tcp, server.roots()).await;
    let answer = exchange(&mut stream, &upgrade.bytes()).await;
    (answer, stream)
}

/// Waits until the server has closed; it has said nothing.
async fn closed(mut tcp: TcpStream) {
    let closing = async { tcp.read(&mut [0; 16]).await.unwrap_or(0) };
    assert_eq!(within("the end of a connection", closing).await, 0);
}

/// Waits until so many were refused for `reason`.
async fn refused(server: &TestServer, reason: &str, times: usize) {
    let counting = async {
        loop {
            let page = admin(server, "/metrics").await.body;
            if counted(&page, "refused").get(reason).is_some_and(|count| *count >= times) {
                return;
            }
        }
    };
    within(reason, counting).await;
}

fn user(user: u64) -> Upgrade {
    Upgrade::token(&Forge::token(user))
}

#[tokio::test]
async fn a_proxy_says_for_whom_it_connects() {
    let setup = proxied()
        .set("server.trusted_proxies", "[\"192.0.2.80\"]")
        .set("limits.connections_per_address", "1000");
    let server = setup.start().await;
    let line = server
        .logged("these must begin with a PROXY header, which is believed; nobody else may send one")
        .await;
    assert_eq!(line["proxies"], "127.0.0.1, 10.9.0.0/16");
    let tlv = [&[10, 0, 0, 5, 127, 0, 0, 1, 1, 2, 1, 0xbb, 4, 1, 0x20][..], &[0; 288]].concat();
    let unix = v2(0x21, 0x31, &[b'x'; 216]);
    let rows: [(&str, &[u8], &str, &str); 15] = [
        (PROXY, &names("10.0.0.1"), "", "10.0.0.1"),
        (PROXY, &names("2001:db8::1"), "", "2001:db8::1"),
        (PROXY, &names("::ffff:10.0.0.1"), "", "10.0.0.1"),
        (PROXY, &v2(0x21, 0x11, &tlv), "", "10.0.0.5"),
        (PROXY, b"PROXY TCP4 10.0.0.2 127.0.0.1 56324 443\r\n", "", "10.0.0.2"),
        (PROXY, b"PROXY TCP6 2001:db8::2 ::1 56324 443\r\n", "", "2001:db8::2"),
        // Its own, or for whom it cannot say.
        (PROXY, &own(), "", PROXY),
        (PROXY, &v2(0x20, 0x11, &tlv), "", PROXY),
        (PROXY, b"PROXY UNKNOWN\r\n", "", PROXY),
        (PROXY, b"PROXY UNKNOWN 10.0.0.66 10.0.0.66 1 1\r\n", "", PROXY),
        (PROXY, &unix, "", PROXY),
        // What a client writes into its request is believed of no client.
        (PROXY, &names("10.0.0.1"), "10.0.0.66", "10.0.0.1"),
        // The client may be a proxy that speaks HTTP.
        (PROXY, &names("192.0.2.80"), "10.0.0.3", "10.0.0.3"),
        // Others come by themselves, at once with TLS.
        ("127.0.0.2", b"", "", "127.0.0.2"),
        ("127.0.0.2", b"", "10.0.0.66", "127.0.0.2"),
    ];
    for (row, (peer, header, forwarded, believed)) in rows.iter().enumerate() {
        let mut upgrade = Upgrade::token("a.b.c");
        if !forwarded.is_empty() {
            upgrade = upgrade.and("X-Forwarded-For", forwarded);
        }
        assert_eq!(knock(&server, (peer, header), &upgrade).await.0.status, 401, "row {row}");
        let lines = server.logged_times("token refused", row + 1).await;
        assert_eq!(lines[row]["address"], *believed, "row {row}");
    }
    // Administrators are told the client's address, and speak without a header themselves.
    let (answer, _ming) = knock(&server, (PROXY, &names("2001:db8::7")), &user(7)).await;
    assert_eq!(answer.status, 101);
    let page = Admin::get("/admin/connections").done(&server).await;
    assert_eq!(page["connections"][0]["address"], "2001:db8::7", "{page}");
}

#[tokio::test]
async fn whoever_is_not_listed_cannot_say_who_he_is() {
    let server = proxied().set("limits.connections_per_address", "1").start().await;
    let spoofs = [names("10.0.0.1"), own(), b"PROXY TCP4 10.0.0.1 10.0.0.2 1 443\r\n".to_vec()];
    for (spoof, times) in spoofs.iter().zip(1..) {
        // An answer of TLS may come: an alert.
        let mut tcp = began(&server, "127.0.0.2", spoof).await;
        tcp.write_all(&[0; 64]).await.unwrap();
        let ending = async { while let Ok(1..) = tcp.read(&mut [0; 64]).await {} };
        within("the end of a connection", ending).await;
        refused(&server, "proxy_header_uninvited", times).await;
    }
    let line = server.logged(REFUSED).await;
    assert_eq!(line["level"], "WARN");
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.2:"), "{line}");
    assert!(line["fault"].as_str().unwrap().contains("not in server.proxy_protocol"), "{line}");
    // Behind a header a second one is the client's, and no TLS either.
    let twice = [names("10.0.0.1"), names("10.0.0.2")].concat();
    let mut tcp = began(&server, PROXY, &twice).await;
    let ending = async { while let Ok(1..) = tcp.read(&mut [0; 64]).await {} };
    within("the end of a connection", ending).await;
    refused(&server, "proxy_header_uninvited", 4).await;
    // The limit counts the address that they have.
    let (answer, _held) = knock(&server, ("127.0.0.2", b""), &user(1)).await;
    assert_eq!(answer.status, 101);
    assert_eq!(knock(&server, ("127.0.0.2", b""), &user(1)).await.0.status, 429);
}

#[tokio::test]
async fn a_listed_proxy_that_does_not_say_is_refused() {
    let server = proxied().start().await;
    // The beginning of a hello, as a client's that is passed on.
    closed(began(&server, PROXY, &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 7, 7, 7]).await).await;
    refused(&server, "proxy_header_missing", 1).await;
    let line = server.logged(REFUSED).await;
    assert_eq!(line["level"], "WARN");
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert!(line["fault"].as_str().unwrap().contains("it began with TLS"), "{line}");

    let too_long = v2(0x21, 0x11, &[0; 521]);
    let endless = format!("PROXY TCP4 10.0.0.1 {}", "1".repeat(200)).into_bytes();
    let rows: [(&[u8], &str); 6] = [
        (b"GET / HTTP/1.1\r\n", "did not begin with a PROXY header"),
        (&too_long, "more than 536 bytes"),
        (&endless, "the line does not end"),
        (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 99999\r\n", "a port is no number"),
        (&v2(0x21, 0x11, &[10, 0, 0, 1]), "too short for its addresses"),
        (&v2(0x31, 0x11, &[0; 12]), "not version 2"),
    ];
    for (row, (header, expected)) in rows.iter().enumerate() {
        closed(began(&server, PROXY, header).await).await;
        let lines = server.logged_times(REFUSED, row + 2).await;
        let line = &lines[row + 1];
        assert!(line["fault"].as_str().unwrap().contains(expected), "{expected}: {line}");
        // One in a minute is for the operator: clients could fill the log.
        assert_eq!(line["level"], "DEBUG");
    }
    // Some balancers look in this way whether somebody listens.
    drop(began(&server, PROXY, b"").await);
    server.logged("a proxy brought nobody").await;
    let page = admin(&server, "/metrics").await.body;
    let refused = counted(&page, "refused");
    assert_eq!(refused.get("proxy_header_missing"), Some(&2), "{refused:?}");
    assert_eq!(refused.get("proxy_header_bad"), Some(&5), "{refused:?}");
    assert_eq!(knock(&server, (PROXY, &names("10.0.0.1")), &user(1)).await.0.status, 101);
}

#[tokio::test]
async fn a_header_may_come_in_pieces_but_has_its_time() {
    let server = proxied().set("limits.handshake_timeout", "\"2s\"").start().await;
    let header = names("2001:db8::1");
    let silent = began(&server, PROXY, b"").await;
    let half = began(&server, PROXY, &header[..30]).await;
    let mut slow = began(&server, PROXY, b"").await;
    slow.set_nodelay(true).unwrap();
    for byte in &header {
        slow.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut stream = tls_over(slow, server.roots()).await;
    let answer = exchange(&mut stream, &Upgrade::token("a.b.c").bytes()).await;
    assert_eq!(answer.status, 401);
    assert_eq!(server.logged("token refused").await["address"], "2001:db8::1");
    closed(silent).await;
    closed(half).await;
    for line in server.logged_times(REFUSED, 2).await {
        assert!(line["fault"].as_str().unwrap().contains("limits.handshake_timeout"), "{line}");
    }
    refused(&server, "proxy_header_missing", 2).await;
}

#[tokio::test]
async fn a_flood_through_a_proxy_counts_where_it_comes_from() {
    let server = proxied().set("limits.connections_per_address", "2").start().await;
    // More than the limit that have not said a word yet: the proxy's address is not theirs.
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(began(&server, PROXY, b"").await);
    }
    // Those of one client who ask for nothing fill what that client has.
    let mut asking = Vec::new();
    for _ in 0..2 {
        let tcp = began(&server, PROXY, &names("10.0.0.1")).await;
        asking.push(tls_over(tcp, server.roots()).await);
    }
    closed(began(&server, PROXY, &names("10.0.0.1")).await).await;
    refused(&server, "too_many_arrivals", 1).await;
    // Others are let in, each by its own address, and so is the proxy.
    for (header, number) in [(names("10.0.0.2"), 1), (names("2001:db8::1"), 2), (own(), 3)] {
        let (answer, stream) = knock(&server, (PROXY, &header), &user(number)).await;
        assert_eq!(answer.status, 101, "{header:?}");
        held.push(stream.into_inner().0);
        let (answer, stream) = knock(&server, (PROXY, &header), &user(number)).await;
        assert_eq!(answer.status, 101, "{header:?}");
        held.push(stream.into_inner().0);
        assert_eq!(knock(&server, (PROXY, &header), &user(number)).await.0.status, 429);
    }
    // Another address of the same /64.
    assert_eq!(knock(&server, (PROXY, &names("2001:db8::2")), &user(4)).await.0.status, 429);
}

#[tokio::test]
async fn a_proxy_is_heard_from_when_it_is_listed() {
    let mut server = Setup::new().start().await;
    let said = "configuration read again";
    assert_eq!(knock(&server, (PROXY, b""), &user(1)).await.0.status, 101);
    server.setup_mut().change("server.proxy_protocol", "[\"127.0.0.0/8\"]");
    server.signal("HUP");
    server.logged_times(said, 1).await;
    assert_eq!(knock(&server, (PROXY, &names("10.0.0.1")), &user(1)).await.0.status, 101);
    assert_eq!(knock(&server, ("127.0.0.9", &own()), &user(1)).await.0.status, 101);
    closed(began(&server, PROXY, &[0x16; 64]).await).await;

    // A list with a fault is no list.
    server.setup_mut().change("server.proxy_protocol", "[\"0.0.0.0/0\"]");
    server.signal("HUP");
    let line = server.logged("the configuration stays the one in use").await;
    assert!(line["error"].as_str().unwrap().contains("everybody"), "{line}");
    assert_eq!(knock(&server, (PROXY, &own()), &user(1)).await.0.status, 101);

    server.setup_mut().change("server.proxy_protocol", "[]");
    server.signal("HUP");
    server.logged("no PROXY header is expected or believed any more").await;
    server.logged_times(said, 2).await;
    assert_eq!(knock(&server, (PROXY, b""), &user(1)).await.0.status, 101);
}

#[tokio::test]
async fn it_goes_with_ipv6_and_without_tls() {
    let setup = Setup::new()
        .set("server.listen", "\"[::1]:0\"")
        .set("server.proxy_protocol", "[\"::1\"]")
        .set("tls.mode", "\"off\"");
    let server = setup.start().await;
    let SocketAddr::V6(_) = server.address else { panic!("{}", server.address) };
    let headers: [(&[u8], &str); 3] = [
        (b"PROXY TCP6 2001:db8::2 ::1 56324 443\r\n", "2001:db8::2"),
        (&names("10.0.0.1"), "10.0.0.1"),
        (&own(), "::1"),
    ];
    for (row, (header, believed)) in headers.iter().enumerate() {
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        tcp.write_all(header).await.unwrap();
        let answer = exchange(&mut tcp, &Upgrade::token("a.b.c").bytes()).await;
        assert_eq!(answer.status, 401);
        let lines = server.logged_times("token refused", row + 1).await;
        assert_eq!(lines[row]["address"], *believed);
    }
}
