//! What the tests of this room share: keys of every kind, and tokens said word for word.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::crypto;

use crate::config::Auth;

use super::alg::{Alg, Family};
use super::claims::{Identity, Rules};
use super::generate::generate;
use super::json::{Json, Object, to_base64url};
use super::jwk::Key;
use super::keys::KeySet;
use super::refused::Refused;
use super::token::check;

/// The time in all tests, in seconds.
pub(super) const NOW: u64 = 1_800_000_000;

/// Claims that are believed at [`NOW`].
pub(super) const CLAIMS: &str =
    r#"{"iss":"imserver","aud":"imserver","sub":"7","iat":1800000000,"exp":1800003600}"#;

pub(super) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

pub(super) fn auth() -> Auth {
    Auth { keys: "keys.json".into(), ..Auth::default() }
}

/// An RSA key takes a second to make; the algorithms may share one here.
static RSA: LazyLock<Object> = LazyLock::new(|| generate(Alg::Rs256).unwrap().members().clone());

/// A key for `alg`, named after it.
pub(super) fn jwk(alg: Alg) -> Object {
    let mut members = match alg.family() {
        Family::Rsa => RSA.clone(),
        _ => generate(alg).unwrap().members().clone(),
    };
    replace(&mut members, "alg", Json::text(alg.name()));
    replace(&mut members, "kid", Json::text(alg.name()));
    members
}

pub(super) fn replace(members: &mut Object, name: &str, value: Json) {
    members.take(name);
    members.push(name, value);
}

pub(super) fn key(alg: Alg) -> Key {
    Key::read(Json::Object(jwk(alg))).unwrap()
}

pub(super) fn set(keys: impl IntoIterator<Item = Key>) -> KeySet {
    let mut set = KeySet::default();
    for key in keys {
        set.add(key).unwrap();
    }
    set
}

/// The key as others may have it.
pub(super) fn public_half(key: &Key) -> Object {
    let mut members = key.members().clone();
    for private in ["d", "p", "q", "dp", "dq", "qi"] {
        members.take(private);
    }
    members
}

/// A token with this header and these claims, whatever they are, rightly signed.
pub(super) fn sign(key: &Key, header: &str, claims: &str) -> String {
    sign_parts(key, &to_base64url(header), &to_base64url(claims))
}

pub(super) fn sign_parts(key: &Key, header: &str, claims: &str) -> String {
    let signed = format!("{header}.{claims}");
    let signing = key.signing().unwrap();
    let signature = crypto::sign(signed.as_bytes(), signing, key.alg().algorithm()).unwrap();
    format!("{signed}.{signature}")
}

/// The header that a token of this key has.
pub(super) fn header(key: &Key) -> String {
    format!(r#"{{"alg":"{}","kid":"{}"}}"#, key.alg(), key.kid().unwrap())
}

pub(super) fn verify(keys: &KeySet, token: &str) -> Result<Identity, Refused> {
    check(keys, &Rules::user(&auth()), token, now())
}
