//! Tokens: what is believed is exactly what was signed, and was right to sign.
//!
//! The first byte tells how the rest becomes a token:
//!
//! - `h`, `e`: a header line and claims, rightly signed with our HS256 or our EdDSA key;
//!   an empty header line stands for the right one;
//! - `p`: the same, signed as HS256 with the public half of the EdDSA key for a secret;
//! - `m`: edits of four bytes (what, where, where, with what) on a token that is good;
//! - anything else: as it is. Nobody signed it.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use imserver::auth::{CurrentKeys, Identity, KeySet, Revocations, TOKEN_MAX, Verifier};
use imserver::config::Auth;
use serde_json::{Map, Value};

use crate::edit;
use crate::strict;

/// The time of all tokens here, in seconds.
const NOW: u64 = 1_800_000_000;

/// A secret that is none, and the example pair of RFC 8037, appendix A.
const SECRET: &str = "Everybody may read this key: it signs for fuzzers.";
const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const POINT: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

/// A token that is good, before anybody edits it.
const GOOD: (&str, &str) = (
    r#"{"alg":"HS256","typ":"JWT","kid":"h"}"#,
    r#"{"iss":"imserver","aud":"imserver","sub":"7","jti":"a","iat":1800000000,"exp":1800003600}"#,
);

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signer {
    /// Our HS256 key.
    Secret,
    /// Our EdDSA key.
    Pair,
    /// Somebody who has read our public key.
    Anybody,
}

/// Makes a token of `data` and asks for it.
pub fn check(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    match how {
        b'h' => signed(Signer::Secret, rest),
        b'e' => signed(Signer::Pair, rest),
        b'p' => signed(Signer::Anybody, rest),
        b'm' => edited(rest),
        _ => {
            let Ok(token) = str::from_utf8(rest) else { return };
            assert!(verify(token).is_none(), "nobody signed {token}");
        }
    }
}

fn edited(edits: &[u8]) {
    let good = sign(Signer::Secret, GOOD.0.as_bytes(), GOOD.1.as_bytes());
    let token = edit::apply(good.as_bytes(), edits);
    let Ok(token) = String::from_utf8(token) else { return };
    assert_eq!(verify(&token).is_some(), token == good, "{token}");
}

fn signed(signer: Signer, data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, claims) = data.split_at(end);
    let claims = claims.strip_prefix(b"\n").unwrap_or_default();
    let header = match (header, signer) {
        ([], Signer::Pair) => br#"{"alg":"EdDSA","kid":"e"}"#,
        ([], _) => GOOD.0.as_bytes(),
        (header, _) => header,
    };
    let token = sign(signer, header, claims);
    let found = verify(&token);
    let text = |bytes| str::from_utf8(bytes).ok().and_then(strict::object);
    let judged = match (text(header), text(claims)) {
        (Some(header), Some(claims)) if is_ours(&header, signer) && token.len() <= TOKEN_MAX => {
            is_right(&claims).then_some(claims)
        }
        _ => None,
    };
    match (found, judged) {
        (Some(identity), Some(claims)) => says_what_was_signed(&identity, &claims),
        (Some(identity), None) => panic!("{identity:?} should not be believed"),
        // Which addresses of pictures could do harm is a question of its own.
        (None, Some(claims)) => assert!(claims.contains_key("picture"), "{claims:?}"),
        (None, None) => {}
    }
}

fn verify(token: &str) -> Option<Identity> {
    static VERIFIER: LazyLock<Verifier> = LazyLock::new(verifier);
    VERIFIER.verify(token, at(NOW)).ok()
}

fn verifier() -> Verifier {
    imserver::auth::install_provider();
    let secret = URL_SAFE_NO_PAD.encode(SECRET);
    let keys = format!(
        r#"{{"keys":[{{"kid":"h","kty":"oct","alg":"HS256","k":"{secret}"}},
                     {{"kid":"e","kty":"OKP","alg":"EdDSA","crv":"Ed25519","x":"{POINT}"}}]}}"#
    );
    match KeySet::parse(keys.as_bytes()) {
        Ok(keys) => {
            Verifier::new(&CurrentKeys::new(keys), &Revocations::default(), &Auth::default())
        }
        Err(fault) => panic!("our own key set {fault}"),
    }
}

fn sign(signer: Signer, header: &[u8], claims: &[u8]) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", encode(header), encode(claims));
    let mac = |secret: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        encode(hmac::sign(&key, signed.as_bytes()).as_ref())
    };
    let signature = match signer {
        Signer::Secret => mac(SECRET.as_bytes()),
        Signer::Anybody => mac(&decode(POINT)),
        Signer::Pair => match Ed25519KeyPair::from_seed_unchecked(&decode(SEED)) {
            Ok(pair) => {
                assert_eq!(pair.public_key().as_ref(), decode(POINT));
                encode(pair.sign(signed.as_bytes()).as_ref())
            }
            Err(error) => panic!("the example of RFC 8037 is no key: {error}"),
        },
    };
    format!("{signed}.{signature}")
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap_or_default()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Whether the header names the key that signed, by its one algorithm, and asks for
/// nothing else.
fn is_ours(header: &Map<String, Value>, signer: Signer) -> bool {
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    let names = match signer {
        Signer::Secret => (Some("h"), Some("HS256")),
        Signer::Pair => (Some("e"), Some("EdDSA")),
        Signer::Anybody => return false,
    };
    let never = ["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "cty", "enc"];
    (text("kid"), text("alg")) == names
        && header.get("typ").is_none_or(Value::is_string)
        && !never.iter().any(|name| header.contains_key(*name))
}

/// Whether the contract lets us believe these claims.
fn is_right(claims: &Map<String, Value>) -> bool {
    let auth = Auth::default();
    let (leeway, max_lifetime) = (auth.leeway.as_secs(), auth.max_lifetime.as_secs());
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let number = |name: &str| claims.get(name).and_then(Value::as_u64);
    // Missing, or a number of seconds that is not further ahead than clocks may differ.
    let past = |name: &str| match claims.get(name) {
        None => true,
        Some(time) => time.as_u64().is_some_and(|time| time <= NOW + leeway),
    };
    let short = |name: &str, least: usize, most: usize| match claims.get(name) {
        None => true,
        Some(value) => value.as_str().is_some_and(|text| (least..=most).contains(&text.len())),
    };
    let audience = match claims.get("aud") {
        Some(Value::Array(list)) => {
            list.iter().all(Value::is_string)
                && list.iter().any(|one| one.as_str() == Some(&auth.audience))
        }
        other => other.and_then(Value::as_str) == Some(&auth.audience),
    };
    let lifetime = number("exp").map(|exp| exp.saturating_sub(number("iat").unwrap_or(NOW)));
    text("iss") == Some(&auth.issuer)
        && audience
        && subject(claims).is_some()
        && number("exp").is_some_and(|exp| exp.saturating_add(leeway) > NOW)
        && lifetime.is_some_and(|lifetime| lifetime <= max_lifetime)
        && past("nbf")
        && past("iat")
        && short("jti", 1, 128)
        && short("name", 0, 128)
        && short("picture", 0, 2048)
}

/// The subject, if it is a user's id as a user's id is written.
fn subject(claims: &Map<String, Value>) -> Option<u64> {
    let sub = claims.get("sub")?.as_str()?;
    let id: u64 = sub.parse().ok()?;
    ((1..1 << 53).contains(&id) && id.to_string() == sub).then_some(id)
}

fn says_what_was_signed(identity: &Identity, claims: &Map<String, Value>) {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let time = |name: &str| claims.get(name).and_then(Value::as_u64).map(at);
    assert_eq!(Some(identity.user().get()), subject(claims));
    assert_eq!(Some(identity.expires_at()), time("exp"));
    assert_eq!(identity.ends_at(), identity.expires_at() + Auth::default().leeway);
    assert_eq!(identity.issued_at(), time("iat"));
    assert_eq!(identity.token_id(), text("jti"));
    assert_eq!(identity.name(), text("name").filter(|name| !name.is_empty()));
    assert_eq!(identity.picture(), text("picture").filter(|picture| !picture.is_empty()));
}
