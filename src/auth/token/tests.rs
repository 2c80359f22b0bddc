//! Tokens that are believed, and a long list of those that are not.

mod anything;
mod claims;
mod form;
mod keys;
mod verifiers;
mod wycheproof;

use std::sync::LazyLock;
use std::time::Duration;

use super::*;
use crate::auth::alg::Alg;
use crate::auth::json::to_base64url;
use crate::auth::testing::*;
use crate::ids::UserId;

/// The signing key of most tests, alone in its set.
static KEYS: LazyLock<KeySet> = LazyLock::new(|| set([key(Alg::Hs256)]));

fn the_key() -> &'static Key {
    KEYS.signing_key().unwrap()
}

fn with_header(header: &str) -> Result<Identity, Refused> {
    verify(&KEYS, &sign(the_key(), header, CLAIMS))
}

fn with_claims(claims: &str) -> Result<Identity, Refused> {
    verify(&KEYS, &sign(the_key(), &header(the_key()), claims))
}

/// The usual claims with these members instead of or beside the usual ones.
fn with(changes: &[(&str, &str)]) -> Result<Identity, Refused> {
    let usual = [
        ("iss", r#""imserver""#),
        ("aud", r#""imserver""#),
        ("sub", r#""7""#),
        ("exp", "1800003600"),
    ];
    let kept = usual.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    let members: Vec<String> = kept
        .chain(changes.iter().filter(|(_, value)| !value.is_empty()))
        .map(|(name, value)| format!("{name:?}:{value}"))
        .collect();
    with_claims(&format!("{{{}}}", members.join(",")))
}
