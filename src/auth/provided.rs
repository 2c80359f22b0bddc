//! Keys that an identity provider publishes: a stranger's text, of which only what checks
//! signatures and holds no secret is taken.
//!
//! Providers put more into their sets than is of use here: keys for encryption, algorithms
//! yet to come. One such key does not spoil the others, as it would in a file of our own.

use std::sync::Arc;

use super::alg::Alg;
use super::json::{Json, Object};
use super::jwk::{Key, KeyFault, PRIVATE, UNTIL};
use super::keys::{KeyPlace, SetFault, jwks_of};

/// The public keys of a provider, each under its own name.
#[derive(Debug, Default)]
pub struct Provided {
    pub(super) keys: Vec<Arc<Key>>,
    passed_over: Vec<PassedOver>,
}

/// A key of a provider that is not taken, and why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place} {why}")]
pub struct PassedOver {
    place: KeyPlace,
    why: Why,
}

/// Why a key of a provider is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("holds a secret, which whoever can ask for it has")]
    Secret,
    #[error("has no \"kid\", by which a token could name it")]
    NoKid,
    #[error("has the \"kid\" of a key before it")]
    SameKid,
    #[error("{0}")]
    Fault(KeyFault),
}

/// Why nothing of a provider's set is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProvidedFault {
    /// It is none.
    #[error("the answer {0}")]
    Set(SetFault),
    /// It is one, without any key that is of use.
    #[error("the answer has no key that tokens can be checked with{}", first(.0))]
    NothingOfUse(Vec<PassedOver>),
}

fn first(passed_over: &[PassedOver]) -> String {
    passed_over.first().map(|first| format!(": {first}")).unwrap_or_default()
}

impl Provided {
    /// Takes what is of use from the text of a set.
    ///
    /// # Errors
    /// There is nothing.
    pub fn parse(text: &[u8]) -> Result<Self, ProvidedFault> {
        let (jwks, _) = jwks_of(text).map_err(ProvidedFault::Set)?;
        let mut provided = Self::default();
        for (index, jwk) in jwks.into_iter().enumerate() {
            let place = KeyPlace::of(index, &jwk);
            match provided.read(jwk) {
                Ok(key) => provided.keys.push(Arc::new(key)),
                Err(why) => provided.passed_over.push(PassedOver { place, why }),
            }
        }
        if provided.keys.is_empty() {
            return Err(ProvidedFault::NothingOfUse(provided.passed_over));
        }
        Ok(provided)
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// What was not taken.
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    fn read(&self, jwk: Json) -> Result<Key, Why> {
        let mut members = jwk.into_object().ok_or(Why::Fault(KeyFault::NotAnObject))?;
        // Before anything else is looked at: no sentence is to be made of what is in it.
        let secret = PRIVATE.into_iter().chain(["k", "oth"]).any(|name| members.has(name));
        if secret || members.get("kty").and_then(Json::as_text) == Some("oct") {
            return Err(Why::Secret);
        }
        // When our keys end is ours to say.
        members.take(UNTIL);
        if let Some(alg) = usual_alg(&members) {
            members.push("alg", Json::text(alg.name()));
        }
        let key = Key::read(Json::Object(members)).map_err(Why::Fault)?;
        match key.kid() {
            None => Err(Why::NoKid),
            Some(kid) if self.keys.iter().any(|key| key.kid() == Some(kid)) => Err(Why::SameKid),
            Some(_) => Ok(key),
        }
    }
}

/// The algorithm of a key that names none, as many providers' do. A curve has but one;
/// with RSA it is the one that OpenID Connect has every provider sign with.
fn usual_alg(members: &Object) -> Option<Alg> {
    if members.has("alg") {
        return None;
    }
    let text = |name| members.get(name).and_then(Json::as_text);
    match (text("kty")?, text("crv")) {
        ("RSA", _) => Some(Alg::Rs256),
        ("EC", Some("P-256")) => Some(Alg::Es256),
        ("EC", Some("P-384")) => Some(Alg::Es384),
        ("OKP", Some("Ed25519")) => Some(Alg::EdDsa),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
