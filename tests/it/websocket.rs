//! The WebSocket protocol itself: who breaks it is told why, and closed.

use serde_json::Value;

use crate::support::{
    BINARY, Bare, CLOSE, CONTINUE, Closed, FIN, PING, PONG, Setup, TEXT, TestServer, frame,
    frame_of, head_of,
};

fn closed(code: u16, reason: &str) -> Closed {
    Closed { code, reason: reason.to_owned() }
}

/// Each of these on a connection of its own ends it with `code` and `reason`; then the
/// server serves the next as if nothing had been.
async fn each_closes(server: &TestServer, table: &[(&str, Vec<u8>)], code: u16, reason: &str) {
    for (what, bytes) in table {
        let mut bare = Bare::connect(server, 1).await;
        bare.send(bytes).await;
        assert_eq!(bare.closed().await, closed(code, reason), "{what}");
    }
    let mut ming = server.connect(1).await;
    ming.nothing_came().await;
}

fn text(content: &str) -> Vec<u8> {
    frame(1, 2, content, "1").to_string().into_bytes()
}

#[tokio::test]
async fn who_breaks_the_protocol_is_closed() {
    let server = TestServer::new().await;
    let good = text("hi");
    let mut unmasked = frame_of(FIN | TEXT, &good);
    unmasked[1] &= 0x7f;
    // Without the key: it was four zero bytes before the payload.
    unmasked.drain(2..6);
    let mut table = vec![
        ("unmasked", unmasked),
        ("fragmented ping", frame_of(PING, b"x")),
        ("fragmented close", frame_of(CLOSE, &1000u16.to_be_bytes())),
        ("ping of 126 bytes", frame_of(FIN | PING, &[b'x'; 126])),
        ("lone continuation", frame_of(FIN | CONTINUE, &good)),
        ("lone first fragment's end", frame_of(CONTINUE, &good)),
        (
            "text inside a fragmented text",
            [frame_of(TEXT, b"{"), frame_of(FIN | TEXT, &good)].concat(),
        ),
        (
            "binary inside a fragmented text",
            [frame_of(TEXT, b"{"), frame_of(FIN | BINARY, &good)].concat(),
        ),
        ("close of one byte", frame_of(FIN | CLOSE, b"\x03")),
    ];
    for bit in [0x40, 0x20, 0x10] {
        table.push(("reserved bit", frame_of(FIN | bit | TEXT, &good)));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        table.push(("reserved opcode", frame_of(FIN | opcode, b"x")));
    }
    each_closes(&server, &table, 1002, "protocol").await;
}

#[tokio::test]
async fn a_close_is_answered_with_its_code_unless_there_is_no_such_code() {
    let server = TestServer::new().await;
    for (sent, answered) in [
        (1000, 1000),
        (1001, 1001),
        (3000, 3000),
        (4999, 4999),
        (0, 1002),
        (999, 1002),
        (1004, 1002),
        (1005, 1002),
        (1006, 1002),
        (1015, 1002),
        (2999, 1002),
    ] {
        let mut bare = Bare::connect(&server, 1).await;
        bare.send(&frame_of(FIN | CLOSE, &u16::to_be_bytes(sent))).await;
        assert_eq!(bare.closed().await.code, answered, "{sent}");
    }
    let mut bare = Bare::connect(&server, 1).await;
    bare.send(&frame_of(FIN | CLOSE, b"")).await;
    assert_eq!(bare.next().await, Some((FIN | CLOSE, Vec::new())));
    assert_eq!(bare.next().await, None);
    each_closes(
        &server,
        &[("reason", frame_of(FIN | CLOSE, b"\x03\xe8\xff"))],
        1007,
        "invalid_utf8",
    )
    .await;
}

#[tokio::test]
async fn binary_frames_are_not_taken() {
    let server = TestServer::new().await;
    let table = [
        ("empty", frame_of(FIN | BINARY, b"")),
        ("a good packet", frame_of(FIN | BINARY, &text("hi"))),
        (
            "in fragments",
            [frame_of(BINARY, b"\xff"), frame_of(CONTINUE, b""), frame_of(FIN | CONTINUE, b"\xfe")]
                .concat(),
        ),
    ];
    each_closes(&server, &table, 1003, "binary_frame").await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_closes() {
    let server = TestServer::new().await;
    let broken: [(&str, &[u8]); 6] = [
        ("no UTF-8", b"\xff\xfe"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("an overlong NUL", b"\xc0\x80"),
        ("beyond Unicode", b"\xf4\x90\x80\x80"),
        ("cut off", b"\xe4\xbd"),
        ("a lone tail", b"\xbd"),
    ];
    let mut table = Vec::new();
    for (what, bytes) in broken {
        let whole = [&text("hi")[..60], bytes].concat();
        table.push((what, frame_of(FIN | TEXT, &whole)));
        let (head, tail) = bytes.split_at(1);
        let fragments = [frame_of(TEXT, head), frame_of(FIN | CONTINUE, tail)];
        table.push((what, fragments.concat()));
    }
    each_closes(&server, &table, 1007, "invalid_utf8").await;
}

#[tokio::test]
async fn a_message_in_fragments_is_one_message_and_pings_between_are_answered() {
    let server = TestServer::new().await;
    let mut bare = Bare::connect(&server, 1).await;
    let mut hong = server.connect(2).await;
    // Cut between every two bytes, also inside a character.
    let whole = text("你好 in pieces");
    for (at, byte) in whole.iter().enumerate() {
        let opcode = if at == 0 { TEXT } else { CONTINUE };
        let last = if at + 1 == whole.len() { FIN } else { 0 };
        bare.send(&frame_of(last | opcode, &[*byte])).await;
        if at == 10 {
            bare.send(&frame_of(FIN | PING, b"are you there?")).await;
            bare.send(&frame_of(CONTINUE, b"")).await;
            assert_eq!(bare.expect(FIN | PONG).await, b"are you there?");
        }
    }
    let answer: Value = serde_json::from_slice(&bare.expect(FIN | TEXT).await).unwrap();
    assert_eq!(answer["type"], 0, "{answer}");
    assert_eq!(hong.message().await.1, "你好 in pieces");
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_before_it_is_taken_in() {
    let server = TestServer::new().await;
    let padded = |length: usize| {
        let mut packet = String::from_utf8(text("hi")).unwrap();
        packet.insert_str(packet.len(), &" ".repeat(length - packet.len()));
        packet.into_bytes()
    };
    let mut bare = Bare::connect(&server, 1).await;
    bare.send(&frame_of(FIN | TEXT, &padded(65_536))).await;
    let answer: Value = serde_json::from_slice(&bare.expect(FIN | TEXT).await).unwrap();
    assert_eq!(answer["type"], 0, "exactly the limit is taken: {answer}");

    let fragments = |opcode: u8, length: usize, count: usize| {
        let mut bytes = frame_of(opcode, &vec![b' '; length]);
        for _ in 1..count {
            bytes.extend(frame_of(CONTINUE, &vec![b' '; length]));
        }
        bytes
    };
    let before = server.rss();
    let mut table = vec![
        ("a byte too many", frame_of(FIN | TEXT, &padded(65_537))),
        ("binary", frame_of(FIN | BINARY, &padded(65_537))),
        ("fragments", fragments(TEXT, 1_000, 70)),
        ("bytes", fragments(TEXT, 1, 100_000)),
    ];
    for declared in [1 << 40, (1 << 63) + 1, u64::MAX] {
        for opcode in [FIN | TEXT, TEXT, FIN | BINARY, FIN | PING] {
            table.push(("declared", head_of(opcode, declared)));
        }
        let inside = [frame_of(TEXT, b"{"), head_of(FIN | CONTINUE, declared)];
        table.push(("declared inside", inside.concat()));
    }
    each_closes(&server, &table, 1009, "frame_too_big").await;
    let grown = server.rss().saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more");
}

#[tokio::test]
async fn who_fails_too_often_is_closed() {
    let server = Setup::new().set("limits.violations", "3").start().await;
    let mut ming = server.connect(1).await;
    let mut hong = server.connect(2).await;
    for _ in 0..3 {
        ming.send(&frame(2, 2, "I am somebody else", "1")).await;
        assert_eq!(ming.failure().await, "from_mismatch");
    }
    ming.say(2, "good frames do not count", "2").await;
    ming.send_text("{").await;
    let end = ming.closed().await;
    assert_eq!(end, closed(1008, "too_many_violations"));
    assert_eq!(hong.message().await.1, "good frames do not count");
    hong.nothing_came().await;
    server.connect(1).await.say(2, "one may come back", "3").await;
}

#[tokio::test]
async fn a_flood_of_control_frames_is_closed() {
    let server = TestServer::new().await;
    let mut table = Vec::new();
    for (what, opcode) in [("pings", PING), ("pongs", PONG)] {
        table.push((what, frame_of(FIN | opcode, b"").repeat(2_000)));
    }
    each_closes(&server, &table, 1008, "too_many_violations").await;
}

/// `IMSERVER_PINGS` is how many.
#[tokio::test]
async fn a_flood_of_pings_leaves_nobody_else_without_an_answer() {
    const AT_ONCE: usize = 2_000;
    let pings = std::env::var("IMSERVER_PINGS").map_or(20_000, |pings| pings.parse().unwrap());
    let server = Setup::new().set("limits.messages_per_second", "0").start().await;
    let (mut ming, mut hong) = (server.connect(2).await, server.connect(3).await);
    let flood = frame_of(FIN | PING, b"flood").repeat(AT_ONCE);
    let (mut sent, mut trips) = (0, 0_u64);
    while sent < pings {
        let mut bare = Bare::connect(&server, 1).await;
        let flooding = async {
            bare.send(&flood).await;
            bare.closed().await
        };
        let talking = async {
            for _ in 0..5 {
                trips += 1;
                ming.say(3, &trips.to_string(), &trips.to_string()).await;
                assert_eq!(hong.message().await.1, trips.to_string());
            }
        };
        let (end, ()) = tokio::join!(flooding, talking);
        assert_eq!(end, closed(1008, "too_many_violations"));
        sent += AT_ONCE;
    }
    // Whoever flooded may come back and behave.
    server.connect(1).await.say(3, "no more pings", "1").await;
    assert_eq!(hong.message().await.1, "no more pings");
}
