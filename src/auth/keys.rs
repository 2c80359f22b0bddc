//! The key set (RFC 7517, section 5): which keys check tokens, and which signs.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use zeroize::Zeroizing;

use super::alg::Alg;
use super::fingerprint::Fingerprint;
use super::json::{Json, JsonFault, Object};
use super::jwk::{Key, KeyFault, read_kid};
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

/// What is wrong with a key set, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetFault {
    /// It is not JSON, or a member stands twice in it.
    #[error("is not a key set: {0}")]
    NotJson(String),
    /// It has no list of keys.
    #[error("is not a key set; {{\"keys\":[…]}} is needed (RFC 7517, section 5)")]
    NoList,
    /// One of its keys cannot be used.
    #[error("{place} {fault}")]
    Key {
        /// Which one.
        place: KeyPlace,
        /// Why.
        fault: KeyFault,
    },
    /// Two keys have one name.
    #[error("{0} has the \"kid\" of a key before it; give every key its own")]
    SameKid(KeyPlace),
    /// There is none to be rotated out.
    #[error(
        "has no key that signs, so that there is none to rotate; add one with `imserver key generate`"
    )]
    NoSigningKey,
    /// It holds no key of this name.
    #[error("has no key with the \"kid\" {0:?}; `imserver key list` shows them")]
    NoSuchKey(String),
    /// Without it nobody could come in.
    #[error(
        "has no other key, so that nobody could come in without this one; make another first, with `imserver key rotate`"
    )]
    OnlyKey,
    /// A key has no name where it needs one.
    #[error(
        "{0} has no \"kid\", which only the single key of a set may lack; give it one, any text \
         that no other key has (tokens issued without a \"kid\" are then refused)"
    )]
    NoKid(KeyPlace),
}

/// A key of the file, as a sentence names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPlace {
    number: usize,
    kid: Option<String>,
}

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

    /// Adds a key, which signs from then on if it can.
    ///
    /// # Errors
    /// When another key has its name, or one of them has none; the set is then
    /// as it was.
    pub fn add(&mut self, key: Key) -> Result<(), SetFault> {
        self.keys.push(Arc::new(key));
        let checked = check_names(&self.keys);
        if checked.is_err() {
            self.keys.pop();
        }
        checked
    }

    /// Lets `next` sign from now on, and the key that signed check up to `until` and sign no
    /// more: without the members that only signing needs.
    ///
    /// # Errors
    /// When there is no key that signs, or the two cannot be told apart; the set is then as
    /// it was.
    pub fn rotate(&mut self, next: Key, until: u64) -> Result<(), SetFault> {
        let signing =
            self.keys.iter().rposition(|key| key.can_sign()).ok_or(SetFault::NoSigningKey)?;
        let place = |key: &Key| KeyPlace { number: signing + 1, kid: key.kid().map(str::to_owned) };
        let Some(key) = self.keys.get(signing) else { return Err(SetFault::NoSigningKey) };
        let checking =
            key.rotated_out(until).map_err(|fault| SetFault::Key { place: place(key), fault })?;
        self.add(next)?;
        if let Some(key) = self.keys.get_mut(signing) {
            *key = Arc::new(checking);
        }
        Ok(())
    }

    /// Takes a key out of the set.
    ///
    /// # Errors
    /// When it is not there, or nothing would be left; the set is then as it was.
    pub fn retire(&mut self, kid: &str) -> Result<(), SetFault> {
        let found = self.keys.iter().position(|key| key.kid() == Some(kid));
        let found = found.ok_or_else(|| SetFault::NoSuchKey(kid.to_owned()))?;
        if self.keys.len() == 1 {
            return Err(SetFault::OnlyKey);
        }
        self.keys.remove(found);
        Ok(())
    }

    /// Takes out the keys whose time is over; gives their names.
    pub fn sweep(&mut self, now: SystemTime) -> Vec<String> {
        let over = self.keys.extract_if(.., |key| key.is_over(now));
        over.map(|key| key.kid().unwrap_or_default().to_owned()).collect()
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

impl KeyPlace {
    pub(super) fn of(index: usize, jwk: &Json) -> Self {
        let kid = match jwk {
            Json::Object(members) => read_kid(members).ok().flatten(),
            _ => None,
        };
        Self { number: index + 1, kid }
    }
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.number)?;
        self.kid.as_ref().map_or(Ok(()), |kid| write!(f, " ({kid:?})"))
    }
}

impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::auth::claims::Rules;
    use crate::auth::refused::Refused;
    use crate::auth::testing::{
        CLAIMS, NOW, auth, header, jwk, key, now, public_half, replace, set, sign, verify,
    };
    use crate::auth::token::check;

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
    fn a_key_that_is_rotated_out_checks_to_its_end_and_signs_no_more() {
        for alg in Alg::ALL {
            let mut keys = set([key(alg)]);
            let old = keys.signing_key().unwrap();
            let token = sign(old, &header(old), CLAIMS);
            keys.rotate(crate::auth::generate(Alg::EdDsa).unwrap(), NOW + 10).unwrap();
            // Also once it was saved.
            let keys = KeySet::parse(&keys.to_text().unwrap()).unwrap();
            let entries = keys.list();
            assert_eq!((entries[0].can_sign, entries[0].until), (false, Some(NOW + 10)));
            assert!(entries[1].signs && entries[1].until.is_none());
            assert!(verify(&keys, &token).is_ok(), "{alg}");
            let rules = Rules::user(&auth());
            let over = now() + Duration::from_secs(10);
            assert_eq!(check(&keys, &rules, &token, over), Err(Refused::UnknownKid));
            let members = keys.keys[0].members();
            assert!(!["d", "p", "q", "dp", "dq", "qi"].iter().any(|name| members.has(name)));

            let mut keys = keys;
            assert!(keys.sweep(now()).is_empty());
            assert_eq!(keys.sweep(over), [alg.name()]);
            assert_eq!(keys.list().len(), 1);
        }
    }

    #[test]
    fn a_set_that_cannot_be_rotated_stays_as_it_is() {
        let public = Key::read(Json::Object(public_half(&key(Alg::EdDsa)))).unwrap();
        let mut keys = set([public]);
        let error = keys.rotate(key(Alg::Es256), 5).unwrap_err();
        assert_eq!(error, SetFault::NoSigningKey);
        let mut keys = set([key(Alg::Es256)]);
        let before = keys.to_text().unwrap();
        assert!(matches!(keys.rotate(key(Alg::Es256), 5), Err(SetFault::SameKid(_))));
        assert_eq!(keys.retire("ES256"), Err(SetFault::OnlyKey));
        assert!(matches!(keys.retire("x"), Err(SetFault::NoSuchKey(_))));
        assert_eq!(keys.to_text().unwrap(), before);
        keys.add(key(Alg::EdDsa)).unwrap();
        keys.retire("ES256").unwrap();
        assert_eq!(keys.list().len(), 1);
        for bad in [Json::text("5"), Json::Integer(-1), Json::Null, Json::Float(1.5)] {
            let mut members = jwk(Alg::EdDsa);
            members.push(crate::auth::jwk::UNTIL, bad);
            assert_eq!(Key::read(Json::Object(members)).unwrap_err(), KeyFault::BadUntil);
        }
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
    fn a_set_names_every_key_once() {
        let mut keys = set([key(Alg::Hs256)]);
        let error = keys.add(key(Alg::Hs256)).unwrap_err();
        assert!(error.to_string().starts_with("key 2 (\"HS256\") has the \"kid\""), "{error}");
        assert_eq!(keys.list().len(), 1);

        let mut nameless = jwk(Alg::EdDsa);
        nameless.take("kid");
        let nameless = || Key::read(Json::Object(nameless.clone())).unwrap();
        assert!(matches!(keys.add(nameless()), Err(SetFault::NoKid(_))));
        let mut keys = set([nameless()]);
        let error = keys.add(key(Alg::Hs256)).unwrap_err();
        assert!(error.to_string().starts_with("key 1 has no \"kid\""), "{error}");
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for bad in ["", "{", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "7"] {
            let error = KeySet::parse(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("is not a key set"), "{error}");
        }
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
