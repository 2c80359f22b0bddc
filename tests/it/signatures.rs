//! Forged tokens, and those whose header asks for more than to be checked.

use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{Claims, Door, Forge, Setup, Upgrade, Way, b64};

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
            door.refuses(way, &format!("{signed}."), "wrong_alg", algorithm).await;
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
            door.refuses(way, &token, "bad_header", &odd.to_string()).await;
        }
        door.refuses(way, &under(r#"{"kid":"test"}"#), "wrong_alg", "no alg").await;
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
        door.refuses(Way::Path, &token, "bad_signature", &what).await;
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
        for secret in [&b""[..], b"1", b"secret", b"test", &[0; 32], &Forge::secret()[..31]] {
            let (header, claims) = (Forge::header().to_string(), Claims::of(7).json());
            let token = Forge::sign_with(&header, &claims, HMAC_SHA256, secret);
            door.refuses(way, &token, "bad_signature", "another secret").await;
        }
        door.opens(way, &token, "as it was signed").await;
    }
    door.keeps_its_books().await;
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
        ("jwk", json!({ "kty": "oct", "alg": "HS256", "kid": "test", "k": own })),
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
        door.refuses(way, &token, "bad_header", "a key of its own").await;
        for typ in ["JWT", "at+jwt", "anything"] {
            door.opens(way, &with_header("typ", json!(typ)), typ).await;
        }
        door.opens(way, &with_header("x-own", json!([{}])), "an unknown parameter").await;
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
        door.refuses(way, &token, "too_long", "a kid of 10 kB").await;
        // The set holds a single key, which then needs no name.
        door.opens(way, &under(r#"{"alg":"HS256"}"#), "no kid").await;
    }
    door.keeps_its_books().await;
}

#[tokio::test]
async fn nobody_is_who_a_forged_token_says() {
    let setup = Setup::new().set("limits.connections_per_user", "1").set("limits.connections", "1");
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
