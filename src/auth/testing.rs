//! What the tests of this room share: keys of every kind.

use std::sync::LazyLock;

use super::alg::{Alg, Family};
use super::generate::generate;
use super::json::{Json, Object};
use super::jwk::Key;
use super::keys::KeySet;

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
