//! The key set (RFC 7517, section 5): which keys check tokens, and which signs.

mod changing;
mod fault;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use zeroize::Zeroizing;

pub use self::fault::{KeyPlace, SetFault};
use super::alg::Alg;
use super::fingerprint::Fingerprint;
use super::json::{Json, JsonFault, Object};
use super::jwk::Key;
use super::provided::Provided;

/// More than the text of the largest key, an RSA key of 8192 bits: 6.5 kB.
const KEY_TEXT: usize = 8 * 1024;

/// The keys that tokens are checked with, each under its own name.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    /// An identity provider's, which are in no file. Where both name a key alike, the
    /// file's is the one that is meant.
    provided: Arc<Provided>,
    /// Members of the file beside `keys`, kept so that saving loses nothing.
    others: Others,
}

#[derive(Clone, Default)]
struct Others(Object);

/// What an operator may know of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// Its name, if it has one.
    pub kid: Option<String>,
    /// The one algorithm it is for.
    pub alg: Alg,
    /// Whether it could sign.
    pub can_sign: bool,
    /// Whether it is the one that does.
    pub signs: bool,
    /// When it checks nothing any more, in seconds since the Unix epoch.
    pub until: Option<u64>,
}

impl KeySet {
    /// This set of the file beside a provider's keys that are known already.
    pub(super) fn beside(self, provided: Arc<Provided>) -> Self {
        Self { provided, ..self }
    }

    /// A provider's keys that stand beside this set.
    pub(super) fn provided(&self) -> &Arc<Provided> {
        &self.provided
    }

    /// Reads a set from its JSON text. It may be empty.
    ///
    /// # Errors
    /// Names the first key that cannot be used; nothing of the set should be.
    pub fn parse(text: &[u8]) -> Result<Self, SetFault> {
        let (jwks, others) = jwks_of(text)?;
        let mut keys = Vec::with_capacity(jwks.len());
        for (index, jwk) in jwks.into_iter().enumerate() {
            let place = KeyPlace::of(index, &jwk);
            let key = Key::read(jwk).map_err(|fault| SetFault::Key { place, fault })?;
            keys.push(Arc::new(key));
        }
        check_names(&keys)?;
        Ok(Self { keys, provided: Arc::default(), others: Others(others) })
    }

    /// The key that signs: the last one that can.
    pub fn signing_key(&self) -> Option<&Key> {
        self.keys.iter().rev().map(Arc::as_ref).find(|key| key.can_sign())
    }

    /// What an operator may know of each key, in the order of the file.
    pub fn list(&self) -> Vec<KeyEntry> {
        let signing = self.signing_key();
        let entry = |key: &Arc<Key>| KeyEntry {
            kid: key.kid().map(str::to_owned),
            alg: key.alg(),
            can_sign: key.can_sign(),
            signs: signing.is_some_and(|signing| std::ptr::eq(signing, Arc::as_ptr(key))),
            until: key.until(),
        };
        self.keys.iter().map(entry).collect()
    }

    /// The names of the provider's keys that mean a key of the file here.
    pub fn shadowed(&self) -> Vec<&str> {
        let provided = self.provided.keys.iter().filter_map(|key| key.kid());
        provided.filter(|kid| self.keys.iter().any(|key| key.kid() == Some(*kid))).collect()
    }

    /// Whether there is a key to check tokens with, of the file or of the provider.
    pub fn opens_to_anybody(&self, now: SystemTime) -> bool {
        !self.provided.keys.is_empty() || self.keys.iter().any(|key| !key.is_over(now))
    }

    /// Whether there is no key in it.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether its file must be kept from other users.
    pub fn holds_secrets(&self) -> bool {
        self.keys.iter().any(|key| key.is_private())
    }

    /// The key that a token names. Without a name: the single one of the file, if that
    /// holds no other.
    pub(super) fn find(&self, kid: Option<&str>) -> Option<&Key> {
        match (kid, self.keys.as_slice()) {
            (Some(_), keys) => {
                let mut all = keys.iter().chain(&self.provided.keys);
                all.find(|key| key.kid() == kid).map(Arc::as_ref)
            }
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    /// Whether a key that was found under this name is still the one that would be.
    pub(super) fn still_has(&self, kid: Option<&str>, key: Fingerprint) -> bool {
        self.find(kid).is_some_and(|found| found.fingerprint() == key)
    }

    /// The text of its file.
    pub(super) fn to_text(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        let keys = self.keys.iter().map(|key| Json::Object(key.members().clone())).collect();
        let mut set = self.others.0.clone();
        set.push("keys", Json::List(keys));
        // Room for all of it at once: a buffer that grows leaves copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity((self.keys.len() + 1) * KEY_TEXT));
        serde_json::to_writer_pretty(&mut *text, &set)?;
        text.push(b'\n');
        Ok(text)
    }
}

/// The keys of a set, not looked at yet, and its other members.
pub(super) fn jwks_of(text: &[u8]) -> Result<(Vec<Json>, Object), SetFault> {
    if text.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Err(SetFault::Pem);
    }
    let set = Json::parse(text).map_err(|fault| match fault {
        JsonFault::Syntax(sentence) | JsonFault::Duplicate(sentence) => SetFault::NotJson(sentence),
    })?;
    let mut others = set.into_object().ok_or(SetFault::NoList)?;
    let Some(Json::List(jwks)) = others.take("keys") else {
        return Err(SetFault::NoList);
    };
    Ok((jwks, others))
}

fn check_names(keys: &[Arc<Key>]) -> Result<(), SetFault> {
    let mut seen = HashSet::new();
    for (index, key) in keys.iter().enumerate() {
        let place = || KeyPlace { number: index + 1, kid: key.kid().map(str::to_owned) };
        match key.kid() {
            None if keys.len() > 1 => return Err(SetFault::NoKid(place())),
            Some(kid) if !seen.insert(kid) => return Err(SetFault::SameKid(place())),
            _ => {}
        }
    }
    Ok(())
}

impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{jwk, key, public_half, replace, set};

    #[test]
    fn the_last_key_that_can_sign_signs() {
        let public = Key::read(Json::Object(public_half(&key(Alg::EdDsa)))).unwrap();
        let keys = set([key(Alg::Hs256), key(Alg::Es256), public]);
        let entries = keys.list();
        let brief: Vec<_> =
            entries.iter().map(|entry| (entry.alg, entry.can_sign, entry.signs)).collect();
        assert_eq!(
            brief,
            [(Alg::Hs256, true, false), (Alg::Es256, true, true), (Alg::EdDsa, false, false)]
        );
        assert_eq!(entries[1].kid.as_deref(), Some("ES256"));
        assert!(keys.holds_secrets());
    }

    #[test]
    fn what_is_saved_reads_back_with_all_members() {
        let mut odd = jwk(Alg::Es256);
        odd.push("own", Json::parse(br#"{"a":[1,2.5,null,true]}"#).unwrap());
        let mut keys = set(Alg::ALL.map(key));
        keys.keys.retain(|key| key.kid() != Some("ES256"));
        keys.add(Key::read(Json::Object(odd)).unwrap()).unwrap();
        keys.others.0.push("comment", Json::text("ours"));
        let text = keys.to_text().unwrap();
        let again = KeySet::parse(&text).unwrap();
        assert_eq!(again.list(), keys.list());
        assert_eq!(again.to_text().unwrap(), text);
        assert!(str::from_utf8(&text).unwrap().contains("2.5"));
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for bad in ["", "{", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "7"] {
            let error = KeySet::parse(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("is not a key set"), "{error}");
        }
        // "invalid number" once, which led nobody to a remedy.
        let pem = KeySet::parse(b"\n-----BEGIN PUBLIC KEY-----\n").unwrap_err().to_string();
        assert!(pem.starts_with("is not a key set but a key in PEM form"), "{pem}");
        assert!(KeySet::parse(br#"{"keys":[]}"#).unwrap().is_empty());
        let error = KeySet::parse(br#"{"keys":[5]}"#).unwrap_err().to_string();
        assert!(error.starts_with("key 1 is not a JSON object"), "{error}");
    }

    #[test]
    fn nothing_that_is_said_of_a_set_holds_a_secret() {
        let keys = set(Alg::ALL.map(key));
        let said = format!(
            "{keys:?} {:?} {:?}",
            keys.list(),
            crate::auth::CurrentKeys::new(KeySet::default())
        );
        for key in &keys.keys {
            for member in ["k", "d", "p", "q", "dp", "dq", "qi"] {
                if let Some(secret) = key.members().get(member).and_then(Json::as_text) {
                    assert!(!said.contains(secret));
                }
            }
        }
        // Nor an error, wherever the secret stands wrongly.
        let secret = keys.find(Some("HS512")).unwrap().members().get("k").unwrap().clone();
        for member in ["kty", "alg", "use", "key_ops", "k", "d", "x", "crv"] {
            for alg in [Alg::Hs256, Alg::EdDsa] {
                let mut members = jwk(alg);
                replace(&mut members, member, secret.clone());
                if let Err(error) = Key::read(Json::Object(members)) {
                    let said = format!("{error} {error:?}");
                    assert!(!said.contains(&secret.as_text().unwrap()[..8]), "{said}");
                }
            }
        }
    }
}
