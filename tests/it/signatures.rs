//! Forged, broken, respelled and oversized tokens.

use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{Answer, Claims, Door, Forge, Setup, TestServer, Upgrade, Way, b64};

/// Signs good claims of user 7 under a header as it is.
fn under(header: &str) -> String {
    Forge::sign(header, &Claims::of(7).json())
}

fn with_header(name: &str, value: Value) -> String {
    let mut header = Forge::header();
    header[name] = value;
    under(&header.to_string())
}

/// The signed part of a token, and its signature.
fn parts(token: &str) -> (&str, Vec<u8>) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    (signed, URL_SAFE_NO_PAD.decode(signature).unwrap())
}

#[tokio::test]
async fn an_algorithm_is_the_keys_and_never_the_tokens_choice() {
    let mut door = Door::new().await;
    let algorithms = [
        "none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS384", "HS512", "RS256", "PS256",
        "ES256", "ES384", "EdDSA", "Ed25519", "dir", "A256GCM",
    ];
    for way in Way::ALL {
        for algorithm in algorithms {
            let token = with_header("alg", json!(algorithm));
            door.refuses(way, &token, "wrong_alg", algorithm).await;
            let (signed, _) = parts(&token);
            door.refuses(way, &format!("{signed}."), "wrong_alg", algorithm)
                .await;
            door.refuses(way, signed, "malformed", algorithm).await;
        }
        for (name, other) in [("HS384", HMAC_SHA384), ("HS512", HMAC_SHA512)] {
            let header = json!({ "alg": name, "kid": "test" }).to_string();
            let claims = Claims::of(7).json();
            let token = Forge::sign_with(&header, &claims, other, Forge::secret());
            door.refuses(way, &token, "wrong_alg", name).await;
        }
        for odd in [json!(null), json!(7), json!(["HS256"]), json!({})] {
            let token = with_header("alg", odd.clone());
            door.refuses(way, &token, "bad_header", &odd.to_string())
                .await;
        }
        door.refuses(way, &under(r#"{"kid":"test"}"#), "wrong_alg", "no alg")
            .await;
    }
    door.keeps_its_books().await;
}

#[tokio::test]
async fn no_bit_of_a_signature_may_differ_and_no_byte_be_missing() {
    let mut door = Door::new().await;
    let token = Forge::token(7);
    let (signed, signature) = parts(&token);
    for bit in 0..256 {
        let mut flipped = signature.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let token = format!("{signed}.{}", b64(&flipped));
        let what = format!("bit {bit} flipped");
        door.refuses(Way::Path, &token, "bad_signature", &what)
            .await;
    }
    let foreign = Forge::token(8);
    let longer = [signature.as_slice(), &[0]].concat();
    let twice = [signature.as_slice(), &signature].concat();
    for way in Way::ALL {
        for length in 0..32 {
            let token = format!("{signed}.{}", b64(&signature[..length]));
            let what = format!("{length} bytes of it");
            door.refuses(way, &token, "bad_signature", &what).await;
        }
        for (what, signature) in [
            ("zeroes", vec![0; 32]),
            ("ones", vec![255; 32]),
            ("a byte more", longer.clone()),
            ("twice", twice.clone()),
            ("another token's", parts(&foreign).1),
        ] {
            let token = format!("{signed}.{}", b64(&signature));
            door.refuses(way, &token, "bad_signature", what).await;
        }
        for secret in [
            &b""[..],
            b"1",
            b"secret",
            b"test",
            &[0; 32],
            &Forge::secret()[..31],
        ] {
            let (header, claims) = (Forge::header().to_string(), Claims::of(7).json());
            let token = Forge::sign_with(&header, &claims, HMAC_SHA256, secret);
            door.refuses(way, &token, "bad_signature", "another secret")
                .await;
        }
        door.opens(way, &token, "as it was signed").await;
    }
    door.keeps_its_books().await;
}

#[tokio::test]
async fn a_token_has_one_spelling() {
    let mut door = Door::new().await;
    let good = Forge::token(7);
    let (head, body, signature) = three(&good);
    let mut shapes = [
        "a",
        ".",
        "..",
        "...",
        "....",
        "a.b",
        "a.b.c",
        "W10.W10.W10",
        "bnVsbA.bnVsbA.AA",
    ]
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
        (
            respelled(&encoded(r#"{"alg":"HS256","kid":"test" }"#)),
            body.clone(),
        ),
        (
            head.clone(),
            respelled(&encoded(&format!("{} ", padded(7, 1)))),
        ),
        (head.clone(), encoded("")),
        (head.clone(), encoded("[]")),
        (head.clone(), encoded("null")),
        (head.clone(), encoded("\"7\"")),
        (head.clone(), encoded("{")),
        (head.clone(), encoded("{},{}")),
        (head.clone(), encoded(&format!("{}x", Claims::of(7).json()))),
        (
            head.clone(),
            encoded(&format!("\u{feff}{}", Claims::of(7).json())),
        ),
        (
            head.clone(),
            encoded(&format!("{}\0", Claims::of(7).json())),
        ),
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
    let value = ALPHABET
        .iter()
        .position(|&letter| letter == last.as_bytes()[0]);
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

#[tokio::test]
async fn a_header_asks_for_nothing() {
    let mut door = Door::new().await;
    let own = b64(b"an attacker's own secret, of good length");
    let rows = [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(["b64"])),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("jku", json!("https://127.0.0.1:1/keys.json")),
        (
            "jwk",
            json!({ "kty": "oct", "alg": "HS256", "kid": "test", "k": own }),
        ),
        ("x5u", json!("https://127.0.0.1:1/chain.pem")),
        ("x5c", json!(["MIIB"])),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("enc", json!("A256GCM")),
        ("typ", json!(5)),
        ("typ", json!(null)),
        ("kid", json!(null)),
        ("kid", json!(7)),
        ("kid", json!(["test"])),
        ("kid", json!({ "test": 1 })),
    ];
    for way in Way::ALL {
        for (name, value) in &rows {
            let what = format!("{name}: {value}");
            let token = with_header(name, value.clone());
            door.refuses(way, &token, "bad_header", &what).await;
        }
        // The attacker's own key is no more looked at than the good one.
        let header = json!({ "alg": "HS256", "kid": "test", "jwk": rows[6].1 }).to_string();
        let secret = b"an attacker's own secret, of good length";
        let token = Forge::sign_with(&header, &Claims::of(7).json(), HMAC_SHA256, secret);
        door.refuses(way, &token, "bad_header", "a key of its own")
            .await;
        for typ in ["JWT", "at+jwt", "anything"] {
            door.opens(way, &with_header("typ", json!(typ)), typ).await;
        }
        door.opens(
            way,
            &with_header("x-own", json!([{}])),
            "an unknown parameter",
        )
        .await;
    }
    door.keeps_its_books().await;
}

#[tokio::test]
async fn a_kid_is_a_name_and_never_a_place() {
    let mut door = Door::new().await;
    let kids = [
        "",
        "other",
        "TEST",
        "test ",
        " test",
        "test\0",
        "../../../../dev/null",
        "/dev/null",
        "certs/keys.json",
        "|sleep 10",
        "$(sleep 10)",
        "x' UNION SELECT '1';--",
        "' OR 1=1--",
        "http://127.0.0.1:1/",
        "file:///dev/null",
        "0",
        "*",
        "..",
        "%2e%2e",
    ];
    let header = |kid: &str| json!({ "alg": "HS256", "kid": kid }).to_string();
    for way in Way::ALL {
        for kid in kids {
            for secret in [Forge::secret(), b"", b"1"] {
                let claims = Claims::of(7).json();
                let token = Forge::sign_with(&header(kid), &claims, HMAC_SHA256, secret);
                door.refuses(way, &token, "unknown_kid", kid).await;
            }
        }
        let token = under(&header(&"k".repeat(10_000)));
        door.refuses(way, &token, "too_long", "a kid of 10 kB")
            .await;
        // The set holds a single key, which then needs no name.
        door.opens(way, &under(r#"{"alg":"HS256"}"#), "no kid")
            .await;
    }
    door.keeps_its_books().await;
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
        door.refuses(way, &sized(8193), "too_long", "8 KiB and one")
            .await;
        door.refuses(way, &sized(12_000), "too_long", "12 kB").await;
    }
    for way in Way::ALL {
        for length in [20_000, 65_535, 70_000, 500_000] {
            let Answer { status, body, .. } =
                way.upgrade(&"a".repeat(length)).send(&door.server).await;
            // The answer may be lost when what was not read yet resets the connection.
            assert!(
                matches!(status, 431 | 414 | 0),
                "{way:?} {length}: {status}"
            );
            assert_eq!(body, "");
        }
    }
    door.keeps_its_books().await;
}

#[tokio::test]
async fn nobody_is_who_a_forged_token_says() {
    let setup = Setup::new()
        .set("limits.connections_per_user", "1")
        .set("limits.connections", "1");
    let server = setup.start().await;
    let claims = Claims::of(777_000_777).with("name", "Zaphod-777");
    for _ in 0..200 {
        let header = Forge::header().to_string();
        let token = Forge::sign_with(&header, &claims.json(), HMAC_SHA256, b"guessed");
        assert_eq!(Upgrade::token(&token).send(&server).await.status, 401);
    }
    let log = server.log() + &crate::support::admin(&server, "/metrics").await.body;
    for claimed in ["777000777", "777_000_777", "Zaphod"] {
        assert!(!log.contains(claimed), "{claimed}: {log}");
    }
    // Their only place was not taken for a moment.
    let token = claims.token();
    assert_eq!(Upgrade::token(&token).send(&server).await.status, 101);
}

#[tokio::test]
async fn more_than_one_token_is_none() {
    let server = TestServer::new().await;
    let (seven, eight) = (Forge::token(7), Forge::token(8));
    let protocol = "Sec-WebSocket-Protocol";
    for (one, other) in [
        (&seven, &eight),
        (&seven, &seven),
        (&seven, &"x".to_owned()),
    ] {
        let bearer = format!("Bearer {other}");
        let offered = format!("im.v2, im.bearer.{other}");
        for request in [
            Way::Path.upgrade(one).and("Authorization", &bearer),
            Way::Path.upgrade(one).and(protocol, &offered),
            Way::Protocol.upgrade(one).and("Authorization", &bearer),
            Way::Protocol.upgrade(one).and(protocol, &offered),
            Way::Protocol
                .upgrade(one)
                .and(protocol, &format!("im.bearer.{other}")),
            Way::Header.upgrade(one).and("Authorization", &bearer),
            Way::Path
                .upgrade(one)
                .and("Authorization", &bearer)
                .and(protocol, &offered),
        ] {
            let answer = request.send(&server).await;
            let seen = (answer.status, answer.code());
            assert_eq!(seen, (400, "bad_request".to_owned()), "{request:?}");
        }
    }
}
