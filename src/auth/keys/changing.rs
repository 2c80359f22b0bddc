//! How an operator changes a key set: adds a key, rotates the one that signs, retires one.

use std::sync::Arc;
use std::time::SystemTime;

use super::{KeyPlace, KeySet, SetFault, check_names};
use crate::auth::jwk::Key;

impl KeySet {
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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::alg::Alg;
    use crate::auth::claims::Rules;
    use crate::auth::json::Json;
    use crate::auth::jwk::KeyFault;
    use crate::auth::refused::Refused;
    use crate::auth::testing::{
        CLAIMS, NOW, auth, header, jwk, key, now, public_half, set, sign, verify,
    };
    use crate::auth::token::check;

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
}
