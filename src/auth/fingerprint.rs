//! By what a key is known again whatever it is called.

use std::fmt;

use super::alg::Alg;
use crate::digest::digest128;

/// A digest of what a key checks signatures with, and of its algorithm: equal where, and
/// only where, tokens of the one are good with the other. Private members, the `kid` and the
/// order of members have no part in it.
///
/// That of a secret must not be shown: whoever guesses the secret would know it by that. So
/// it has no text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// Of a key for `alg`, of these numbers in the order that its family has them in.
    pub(crate) fn of(alg: Alg, material: [&[u8]; 2]) -> Self {
        let [first, second] = material;
        Self(digest128(&[b"key", alg.name().as_bytes(), first, second]))
    }

    /// The same for one ticket: it tells whoever reads the ticket no more than the
    /// signature of the token behind it.
    pub(super) fn for_ticket(self, ticket: &str) -> [u8; 16] {
        digest128(&[b"key of a ticket", ticket.as_bytes(), &self.0])
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use crate::auth::alg::Alg;
    use crate::auth::json::{Json, Object};
    use crate::auth::jwk::Key;
    use crate::auth::testing::{jwk, key, public_half, replace};

    fn read(members: Object) -> Key {
        Key::read(Json::Object(members)).unwrap()
    }

    #[test]
    fn a_key_is_known_by_what_it_checks_with_and_its_algorithm() {
        for alg in Alg::ALL {
            let members = jwk(alg);
            let known = read(members.clone()).fingerprint();
            let mut renamed = members.clone();
            replace(&mut renamed, "kid", Json::text("another"));
            assert_eq!(read(renamed).fingerprint(), known, "{alg}");
            assert_eq!(read(members.clone()).rotated_out(5).unwrap().fingerprint(), known);
            if !alg.name().starts_with("HS") {
                let public = read(public_half(&read(members)));
                assert_eq!(public.fingerprint(), known, "{alg}");
            }
        }
        let all: Vec<_> = Alg::ALL.map(|alg| key(alg).fingerprint()).into();
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(one), "{index}");
        }
        for alg in [Alg::Hs256, Alg::Es256, Alg::EdDsa] {
            assert_ne!(key(alg).fingerprint(), key(alg).fingerprint(), "{alg}");
        }
    }

    #[test]
    fn nothing_of_it_is_shown() {
        assert_eq!(format!("{:?}", key(Alg::Hs256).fingerprint()), "…");
    }
}
