//! From a token to an [`Identity`], or to the reason why not.
//!
//! The order is the point: size, form, header, key, signature, and only then
//! the claims (RFC 8725, section 3). The header chooses among our keys and
//! nothing else; what it could make us fetch, skip or unpack is refused.

use std::sync::Arc;
use std::time::SystemTime;

use jsonwebtoken::crypto;

use crate::config::Auth;

use super::claims::{Admin, Identity, Rules};
use super::current::CurrentKeys;
use super::json::{Json, JsonFault, Object, from_base64url};
use super::jwk::Key;
use super::keys::KeySet;
use super::refused::Refused;
use super::revocation::TokenRef;
use super::revocations::Revocations;
use super::watch::Watch;

/// How long a token may be, in bytes.
pub const TOKEN_MAX: usize = 8 * 1024;

/// Header parameters with which a token asks for more than to be checked with
/// our key: extensions, keys of its own, another form (RFC 7515, section 4.1;
/// RFC 7797; RFC 7516).
const REFUSED_PARAMETERS: [&str; 9] =
    ["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "cty", "enc"];

/// Checks users' tokens.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: CurrentKeys,
    revocations: Revocations,
    /// Shared: each connection has a verifier.
    rules: Arc<Rules>,
}

/// Checks administrators' tokens: the same, for another audience.
#[derive(Clone, Debug)]
pub struct AdminVerifier {
    keys: CurrentKeys,
    revocations: Revocations,
    rules: Rules,
}

impl Verifier {
    /// Makes a verifier that follows `keys` when they are replaced, and `revocations`.
    pub fn new(keys: &CurrentKeys, revocations: &Revocations, auth: &Auth) -> Self {
        let (keys, revocations) = (keys.clone(), revocations.clone());
        Self { keys, revocations, rules: Arc::new(Rules::user(auth)) }
    }

    /// Believes a token, or says why not.
    ///
    /// # Errors
    /// The token opens nothing. Log the reason, count it, and tell the client
    /// no more than that its token is invalid.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, Refused> {
        let identity = check_now(&self.keys, &self.rules, token, now)?;
        self.revocations.check(&identity)?;
        Ok(identity)
    }

    /// Whether a token that was believed before still would be, its end aside: it was not
    /// taken back, and the key that signed it is in the set, not another in its place.
    pub fn stands(&self, token: &TokenRef) -> bool {
        let has_key = self.keys.get().still_has(token.kid.as_deref(), token.key);
        has_key && !self.revocations.cover(token)
    }

    /// Tells when [`Verifier::stands`] may have another answer than before.
    pub fn watch(&self) -> Watch {
        Watch::new(&self.keys, &self.revocations)
    }
}

impl AdminVerifier {
    /// Makes a verifier that follows `keys` when they are replaced, and `revocations`.
    pub fn new(keys: &CurrentKeys, revocations: &Revocations, auth: &Auth) -> Self {
        let (keys, revocations) = (keys.clone(), revocations.clone());
        Self { keys, revocations, rules: Rules::admin(auth) }
    }

    /// Believes a token, or says why not.
    ///
    /// # Errors
    /// As [`Verifier::verify`].
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Admin, Refused> {
        let identity = check_now(&self.keys, &self.rules, token, now)?;
        self.revocations.check(&identity)?;
        Ok(Admin::new(identity))
    }

    /// Whether it is not known yet which tokens were taken back, so that none is believed.
    pub fn is_waiting(&self) -> bool {
        self.revocations.are_pending()
    }
}

/// Checks with the keys in force, and says where they lack one.
fn check_now(
    keys: &CurrentKeys,
    rules: &Rules,
    token: &str,
    now: SystemTime,
) -> Result<Identity, Refused> {
    let checked = check(&keys.get(), rules, token, now);
    if checked == Err(Refused::UnknownKid) {
        keys.miss();
    }
    checked
}

pub(super) fn check(
    keys: &KeySet,
    rules: &Rules,
    token: &str,
    now: SystemTime,
) -> Result<Identity, Refused> {
    let compact = Compact::split(token)?;
    let header = object(compact.header)?;
    let key = choose_key(keys, &header)?;
    if key.is_over(now) {
        // It stands in the set for as long as nobody edits that.
        return Err(Refused::UnknownKid);
    }
    check_signature(key, &compact)?;
    let claims = object(compact.claims)?;
    rules.believe(&claims, key, now)
}

/// The parts of a JWS in compact form (RFC 7515, section 7.1), still encoded.
pub(super) struct Compact<'a> {
    pub(super) header: &'a str,
    pub(super) claims: &'a str,
    signature: &'a str,
    /// What is signed: header, dot, claims.
    signed: &'a str,
}

impl<'a> Compact<'a> {
    pub(super) fn split(token: &'a str) -> Result<Self, Refused> {
        if token.len() > TOKEN_MAX {
            return Err(Refused::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Refused::Malformed)?;
        // With a fourth part the claims have a dot in them, which no base64url has.
        if claims.contains('.') {
            return Err(Refused::Malformed);
        }
        Ok(Self { header, claims, signature, signed })
    }
}

/// Decodes a part that is one JSON object.
pub(super) fn object(part: &str) -> Result<Object, Refused> {
    let bytes = from_base64url(part).map_err(|_| Refused::Malformed)?;
    let json = Json::parse(&bytes).map_err(|fault| match fault {
        JsonFault::Syntax(_) => Refused::Malformed,
        JsonFault::Duplicate(_) => Refused::DuplicateMember,
    })?;
    json.into_object().ok_or(Refused::Malformed)
}

/// Checks the header and finds the one key that the token may be signed with.
fn choose_key<'a>(keys: &'a KeySet, header: &Object) -> Result<&'a Key, Refused> {
    if let Some(parameter) = REFUSED_PARAMETERS.into_iter().find(|name| header.has(name)) {
        return Err(Refused::Header(parameter));
    }
    // Identity providers differ in what they write there, so any text will do.
    text(header, "typ")?;
    let key = match text(header, "kid")? {
        Some(kid) => keys.find(Some(kid)).ok_or(Refused::UnknownKid)?,
        None => keys.find(None).ok_or(Refused::MissingKid)?,
    };
    if text(header, "alg")? != Some(key.alg().name()) {
        return Err(Refused::WrongAlg);
    }
    Ok(key)
}

fn text<'a>(header: &'a Object, parameter: &'static str) -> Result<Option<&'a str>, Refused> {
    let Some(value) = header.get(parameter) else {
        return Ok(None);
    };
    value.as_text().map(Some).ok_or(Refused::Header(parameter))
}

pub(super) fn check_signature(key: &Key, compact: &Compact<'_>) -> Result<(), Refused> {
    // The library decodes it again; we see to it that there is one spelling.
    from_base64url(compact.signature).map_err(|_| Refused::Malformed)?;
    let algorithm = key.alg().algorithm();
    let signed = compact.signed.as_bytes();
    match crypto::verify(compact.signature, signed, key.verifying(), algorithm) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(Refused::BadSignature),
    }
}

#[cfg(test)]
mod tests;
