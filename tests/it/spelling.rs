//! A token is one text of one size in one place.

use serde_json::json;

use crate::support::{Claims, Door, Forge, TestServer, Way, b64, is_refusal};

#[tokio::test]
async fn a_token_has_one_spelling() {
    let mut door = Door::new().await;
    let good = Forge::token(7);
    let (head, body, signature) = three(&good);
    let mut shapes =
        ["a", ".", "..", "...", "....", "a.b", "a.b.c", "W10.W10.W10", "bnVsbA.bnVsbA.AA"]
            .map(str::to_owned)
            .to_vec();
    shapes.extend([
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{good}.e30.e30"),
        format!("{head}.{body}"),
        format!(".{body}.{signature}"),
        format!("{good}="),
        format!("{good}=="),
        format!("{head}=.{body}.{signature}"),
        format!("{good}AA"),
        format!("{good}~"),
        format!("{head}.{body}.{}", respelled(signature)),
    ]);
    // Rightly signed as they stand: only their spelling is wrong.
    let encoded = |text: &str| b64(text.as_bytes());
    for (header, claims) in [
        (head.clone() + "=", body.clone()),
        (head.clone(), body.clone() + "="),
        (respelled(&encoded(r#"{"alg":"HS256","kid":"test" }"#)), body.clone()),
        (head.clone(), respelled(&encoded(&format!("{} ", padded(7, 1))))),
        (head.clone(), encoded("")),
        (head.clone(), encoded("[]")),
        (head.clone(), encoded("null")),
        (head.clone(), encoded("\"7\"")),
        (head.clone(), encoded("{")),
        (head.clone(), encoded("{},{}")),
        (head.clone(), encoded(&format!("{}x", Claims::of(7).json()))),
        (head.clone(), encoded(&format!("\u{feff}{}", Claims::of(7).json()))),
        (head.clone(), encoded(&format!("{}\0", Claims::of(7).json()))),
        (head.clone(), b64(b"{\"sub\":\"7\xff\"}")),
        (head.clone(), encoded(&"[".repeat(3000))),
        (head.clone(), encoded(&"{\"a\":".repeat(1000))),
        (encoded("[]"), body.clone()),
        (encoded("\"HS256\""), body.clone()),
        (encoded(&format!("{} {{}}", Forge::header())), body.clone()),
    ] {
        shapes.push(Forge::seal(&format!("{header}.{claims}")));
    }
    for way in Way::ALL {
        for shape in &shapes {
            door.refuses(way, shape, "malformed", shape).await;
        }
    }
    // What a subprotocol cannot carry, a header or a path can.
    for (way, shape) in [
        (Way::Header, Forge::seal(&format!("{head}. {body}"))),
        (Way::Header, format!("{head}.{body}. {signature}")),
        (Way::Header, format!("{good} {good}")),
        (Way::Header, format!("{good},{good}")),
        (Way::Header, format!("{good}+/")),
        (Way::Header, format!("\"{good}\"")),
        (Way::Header, format!("{good};x")),
        (
            Way::Header,
            json!({ "payload": body, "protected": head, "signature": signature }).to_string(),
        ),
        (Way::Path, format!("{good}\u{202e}")),
        (Way::Path, format!("{good}%00")),
        (Way::Path, format!("{good}%0a")),
        (Way::Path, format!("{good}%3D")),
        (Way::Path, format!("{good}+")),
        (Way::Path, format!("{good};x")),
        (Way::Path, good.replace('.', "%2e")),
        (Way::Path, good.replacen("eyJ", "%65yJ", 1)),
        (Way::Path, format!("{head}%2F{body}.{signature}")),
    ] {
        door.refuses(way, &shape, "malformed", &shape).await;
    }
    door.keeps_its_books().await;
}

fn three(token: &str) -> (String, String, &str) {
    let mut parts = token.split('.');
    let mut next = || parts.next().unwrap();
    (next().to_owned(), next().to_owned(), next())
}

/// The same bytes with an unused bit set, which a careless decoder overlooks.
fn respelled(part: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    assert_ne!(part.len() % 4, 0, "no unused bits in {part}");
    let (rest, last) = part.split_at(part.len() - 1);
    let value = ALPHABET.iter().position(|&letter| letter == last.as_bytes()[0]);
    let changed = char::from(ALPHABET[value.unwrap() | 1]);
    assert_ne!(last, changed.to_string());
    format!("{rest}{changed}")
}

/// Claims with blanks behind, so that their length leaves `rest` bytes beyond threes.
fn padded(user: u64, rest: usize) -> String {
    let mut claims = Claims::of(user).json();
    while (claims.len() + 1) % 3 != rest {
        claims.push(' ');
    }
    claims
}

/// A good token of exactly so many bytes.
fn sized(bytes: usize) -> String {
    for spare in 0..4 {
        let header = json!({ "alg": "HS256", "kid": "test", "x": "x".repeat(spare) }).to_string();
        let mut low = bytes / 2;
        while low < bytes {
            let claims = Claims::of(7).with("x", "x".repeat(low)).json();
            let token = Forge::sign(&header, &claims);
            if token.len() == bytes {
                return token;
            }
            low += (bytes.saturating_sub(token.len()) / 2).max(1);
            if token.len() > bytes {
                break;
            }
        }
    }
    panic!("no token of {bytes} bytes");
}

#[tokio::test]
async fn a_token_of_8_kib_is_the_largest() {
    let mut door = Door::new().await;
    for way in Way::ALL {
        door.opens(way, &sized(8192), "8 KiB").await;
        door.refuses(way, &sized(8193), "too_long", "8 KiB and one").await;
        door.refuses(way, &sized(12_000), "too_long", "12 kB").await;
    }
    for way in Way::ALL {
        for length in [20_000, 65_535, 70_000, 500_000] {
            let answer = way.upgrade(&"a".repeat(length)).send(&door.server).await;
            // The answer may be lost when what was not read yet resets the connection.
            if answer.status != 0 {
                is_refusal(&answer, 431, "head_too_large", &format!("{way:?} {length}"));
            }
        }
    }
    door.keeps_its_books().await;
}

#[tokio::test]
async fn more_than_one_token_is_none() {
    let server = TestServer::new().await;
    let (seven, eight) = (Forge::token(7), Forge::token(8));
    let protocol = "Sec-WebSocket-Protocol";
    for (one, other) in [(&seven, &eight), (&seven, &seven), (&seven, &"x".to_owned())] {
        let bearer = format!("Bearer {other}");
        let offered = format!("im.v2, im.bearer.{other}");
        for request in [
            Way::Path.upgrade(one).and("Authorization", &bearer),
            Way::Path.upgrade(one).and(protocol, &offered),
            Way::Protocol.upgrade(one).and("Authorization", &bearer),
            Way::Protocol.upgrade(one).and(protocol, &offered),
            Way::Protocol.upgrade(one).and(protocol, &format!("im.bearer.{other}")),
            Way::Header.upgrade(one).and("Authorization", &bearer),
            Way::Path.upgrade(one).and("Authorization", &bearer).and(protocol, &offered),
        ] {
            let answer = request.send(&server).await;
            let seen = (answer.status, answer.code());
            assert_eq!(seen, (400, "bad_request".to_owned()), "{request:?}");
        }
    }
}
