//! One key of the set (RFC 7517, section 4; RFC 7518, section 6; RFC 8037).
//!
//! A key is checked once, when it is read, and completely: its algorithm, its
//! size, and that its private half belongs to its public half. What comes out
//! can sign or check tokens without a further question.

use std::fmt;
use std::time::SystemTime;

use jsonwebtoken::{DecodingKey, EncodingKey};

use super::alg::{Alg, Family};
use super::fingerprint::Fingerprint;
use super::json::{Json, Object};
use super::material::Material;
use crate::epoch::seconds;

/// How long a `kid` may be, in bytes. It travels in every token.
const KID_MAX: usize = 128;

/// Our own member of a key that was rotated out: when the last token that it signed has
/// ended, in seconds since the Unix epoch. It checks nothing from then on.
pub(super) const UNTIL: &str = "imserver_until";

/// What makes a key able to sign, where it has a public half (RFC 7518, section 6).
pub(super) const PRIVATE: [&str; 6] = ["d", "p", "q", "dp", "dq", "qi"];

/// A key with its one algorithm.
pub struct Key {
    kid: Option<String>,
    alg: Alg,
    private: bool,
    until: Option<u64>,
    verifying: DecodingKey,
    signing: Option<EncodingKey>,
    fingerprint: Fingerprint,
    /// As it stood in the file, so that saving the set loses nothing.
    members: Object,
}

/// What is wrong with a key, and what would be right. No secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentences say it all")]
#[non_exhaustive]
pub enum KeyFault {
    #[error("is not a JSON object; a key looks like {{\"kty\":\"OKP\",\"alg\":\"EdDSA\",…}}")]
    NotAnObject,
    #[error("has no {member:?}; {needed}")]
    Missing { member: &'static str, needed: String },
    #[error("has {member:?} with something else than a text")]
    NotText { member: &'static str },
    #[error(
        "has {member:?} with something else than base64url without padding (RFC 7515, section 2)"
    )]
    NotBase64Url { member: &'static str },
    #[error("has the unknown \"kty\" {0:?}; \"oct\", \"RSA\", \"EC\" and \"OKP\" are known")]
    UnknownType(String),
    #[error("has the unknown \"alg\" {found:?}; {needed}")]
    UnknownAlg { found: String, needed: String },
    #[error("has \"alg\" {alg} and {member:?} {found:?}, which do not go together; {needed}")]
    Mismatch { alg: Alg, member: &'static str, found: String, needed: String },
    #[error("has a \"kid\" that is empty, over {KID_MAX} bytes or holds control characters")]
    BadKid,
    #[error("has \"use\" {0:?}; only \"sig\" is of use here")]
    BadUse(String),
    #[error(
        "has \"key_ops\" that do not permit checking a signature; add \"verify\", or leave \
         \"key_ops\" out"
    )]
    BadOperations,
    #[error(
        "has a secret of {bits} bits, and {alg} needs at least {needed}; make one with \
         `imserver key generate --alg {alg}`"
    )]
    ShortSecret { alg: Alg, bits: usize, needed: usize },
    #[error(
        "has a secret that can be guessed; make a random one with `imserver key generate --alg \
         {alg}`"
    )]
    WeakSecret { alg: Alg },
    #[error("is an RSA key of {bits} bits; 2048 to 8192 are needed")]
    RsaSize { bits: usize },
    #[error(
        "has an RSA exponent \"e\" that is not an odd number from 3 to 2^32-1; \"AQAB\" is usual"
    )]
    RsaExponent,
    #[error(
        "has {member:?} with {found} bytes where {needed} are needed (RFC 7518, section 6.2.1)"
    )]
    Length { member: &'static str, found: usize, needed: usize },
    #[error("has {member:?} with a zero byte in front; leave it out (RFC 7518, section 6.3.1)")]
    LeadingZero { member: &'static str },
    #[error("is not a valid public key; was it cut or mixed with another?")]
    BadPublic,
    #[error(
        "has private members that are not valid or do not belong to its public ones; was it cut \
         or mixed with another?"
    )]
    BadPrivate,
    #[error(
        "has {UNTIL:?} with something else than seconds since 1970; leave it out, and \
         `imserver key rotate` sets it"
    )]
    BadUntil,
    #[error("has more than two primes (\"oth\"), which is not supported; use a two-prime key")]
    ManyPrimes,
}

impl Key {
    /// Its name, if it has one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm it is for.
    pub fn alg(&self) -> Alg {
        self.alg
    }

    /// Whether it holds anything that must stay secret.
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// When it checks nothing any more, in seconds since the Unix epoch.
    pub fn until(&self) -> Option<u64> {
        self.until
    }

    /// Whether that time has come.
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| until <= seconds(now))
    }

    /// The same key for checking alone, up to a time: without the private members, where it
    /// can do without them.
    pub(super) fn rotated_out(&self, until: u64) -> Result<Self, KeyFault> {
        let mut members = self.members.clone();
        if !matches!(self.alg.family(), Family::Secret(_)) {
            for private in PRIVATE {
                members.take(private);
            }
        }
        for (name, value) in [
            ("key_ops", Json::List(vec![Json::text("verify")])),
            (UNTIL, Json::Integer(until.into())),
        ] {
            members.take(name);
            members.push(name, value);
        }
        Self::read(Json::Object(members))
    }

    /// Whether it can sign: it has private members and `key_ops` permits it.
    pub fn can_sign(&self) -> bool {
        self.signing.is_some()
    }

    /// What it is known by, whatever it is called.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) fn verifying(&self) -> &DecodingKey {
        &self.verifying
    }

    pub(super) fn signing(&self) -> Option<&EncodingKey> {
        self.signing.as_ref()
    }

    pub(super) fn members(&self) -> &Object {
        &self.members
    }

    /// Checks a key.
    pub(super) fn read(jwk: Json) -> Result<Self, KeyFault> {
        let members = jwk.into_object().ok_or(KeyFault::NotAnObject)?;
        let kid = read_kid(&members)?;
        let alg = read_alg(&members)?;
        let material = Material::read(&members, alg)?;
        let private = material.signing.is_some();
        let may_sign = read_operations(&members, alg, private)?;
        let until = read_until(&members)?;
        Ok(Self {
            kid,
            alg,
            private,
            until,
            verifying: material.verifying,
            signing: material.signing.filter(|_| may_sign),
            fingerprint: material.fingerprint,
            members,
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("alg", &self.alg)
            .field("can_sign", &self.can_sign())
            .finish_non_exhaustive()
    }
}

/// The name of a key, checked; also wanted where the rest of it is faulty.
pub(super) fn read_kid(members: &Object) -> Result<Option<String>, KeyFault> {
    let Some(kid) = members.get("kid") else {
        return Ok(None);
    };
    let kid = kid.as_text().ok_or(KeyFault::NotText { member: "kid" })?;
    if kid.is_empty() || kid.len() > KID_MAX || kid.chars().any(char::is_control) {
        return Err(KeyFault::BadKid);
    }
    Ok(Some(kid.to_owned()))
}

fn read_until(members: &Object) -> Result<Option<u64>, KeyFault> {
    match members.get(UNTIL) {
        None => Ok(None),
        Some(Json::Integer(until)) => {
            u64::try_from(*until).map(Some).map_err(|_| KeyFault::BadUntil)
        }
        Some(_) => Err(KeyFault::BadUntil),
    }
}

fn read_alg(members: &Object) -> Result<Alg, KeyFault> {
    let needed = "\"oct\", \"RSA\", \"EC\" or \"OKP\" is needed".to_owned();
    let kty = text(members, "kty", needed)?;
    let fitting: Vec<&str> =
        Alg::ALL.into_iter().filter(|alg| alg.family().key_type() == kty).map(Alg::name).collect();
    if fitting.is_empty() {
        return Err(KeyFault::UnknownType(shown(kty)));
    }
    let fitting = format!("a key of type {kty:?} needs exactly one of {}", fitting.join(", "));
    let name = text(members, "alg", fitting.clone())?;
    let Ok(alg) = name.parse::<Alg>() else {
        return Err(KeyFault::UnknownAlg { found: shown(name), needed: fitting });
    };
    let family = alg.family();
    if family.key_type() != kty {
        let found = kty.to_owned();
        return Err(KeyFault::Mismatch { alg, member: "kty", found, needed: fitting });
    }
    if let Some(curve) = family.curve() {
        let needed = format!("{alg} needs \"crv\" {curve:?}");
        let found = text(members, "crv", needed.clone())?;
        if found != curve {
            return Err(KeyFault::Mismatch { alg, member: "crv", found: shown(found), needed });
        }
    }
    Ok(alg)
}

/// Checks `use` and `key_ops` (RFC 7517, sections 4.2 and 4.3), and says
/// whether the key may sign.
///
/// Every key here checks signatures. A private key that is marked for signing
/// alone, as browsers export them, may check with its public half.
fn read_operations(members: &Object, alg: Alg, private: bool) -> Result<bool, KeyFault> {
    if let Some(usage) = members.get("use") {
        let usage = usage.as_text().ok_or(KeyFault::NotText { member: "use" })?;
        if usage != "sig" {
            return Err(KeyFault::BadUse(shown(usage)));
        }
    }
    let Some(operations) = members.get("key_ops") else {
        return Ok(private);
    };
    let operations = operations.as_list().ok_or(KeyFault::BadOperations)?;
    let permits = |name| operations.iter().any(|item| item.as_text() == Some(name));
    let has_public_half = !matches!(alg.family(), Family::Secret(_));
    if permits("verify") || (permits("sign") && private && has_public_half) {
        Ok(private && permits("sign"))
    } else {
        Err(KeyFault::BadOperations)
    }
}

/// A member that must be a text.
pub(super) fn text<'a>(
    members: &'a Object,
    member: &'static str,
    needed: String,
) -> Result<&'a str, KeyFault> {
    let value = members.get(member).ok_or(KeyFault::Missing { member, needed })?;
    value.as_text().ok_or(KeyFault::NotText { member })
}

/// So much of a value as may stand in a sentence: a secret that was pasted
/// into the wrong member is longer than any name that belongs there.
fn shown(value: &str) -> String {
    const LONGEST: usize = 16;
    if value.len() > LONGEST { "…".to_owned() } else { value.to_owned() }
}

#[cfg(test)]
mod tests;
