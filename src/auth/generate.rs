//! New keys.

use aws_lc_rs::encoding::{AsBigEndian, AsDer, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use pkcs1::RsaPrivateKey;
use pkcs8::PrivateKeyInfo;
use zeroize::Zeroizing;

use super::alg::{Alg, Curve, Family};
use super::json::{Json, Object, to_base64url};
use super::jwk::{Key, KeyFault};
use crate::digest::hex;

/// Good beyond 2030 (NIST SP 800-57 part 1, table 2), where 2048 bits are not.
const RSA_SIZE: KeySize = KeySize::Rsa3072;

/// Enough that two keys of a set never meet, and short enough to be read out.
pub(super) const KID_BYTES: usize = 8;

/// No key came into being.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The system gave no randomness, or the library no key.
    #[error("the cryptography library made no key; is the system's random source working?")]
    Library,
    /// The new key did not pass the check that every key must.
    #[error("the new key {0}")]
    Faulty(#[from] KeyFault),
}

impl From<Unspecified> for GenerateError {
    fn from(_: Unspecified) -> Self {
        Self::Library
    }
}

/// Makes a key for `alg`, with a random `kid`.
///
/// # Errors
/// Something is wrong with this machine; no other call is likely to do better.
pub fn generate(alg: Alg) -> Result<Key, GenerateError> {
    let mut members = Object::default();
    let mut text = |name: &str, value: &str| members.push(name, Json::text(value));
    text("kty", alg.family().key_type());
    if let Some(curve) = alg.family().curve() {
        text("crv", curve);
    }
    text("kid", &random_hex::<KID_BYTES>()?);
    text("alg", alg.name());
    text("use", "sig");
    match alg.family() {
        Family::Secret(size) => secret(&mut members, size)?,
        Family::Rsa => rsa(&mut members)?,
        Family::Curve(curve) => elliptic(&mut members, curve)?,
        Family::Ed25519 => ed25519(&mut members)?,
    }
    // The same check as for a key from a file: nothing is saved that could not
    // be loaded.
    Ok(Key::read(Json::Object(members))?)
}

/// Random bytes in hexadecimal.
pub(super) fn random_hex<const N: usize>() -> Result<String, Unspecified> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

fn push(members: &mut Object, name: &str, bytes: &[u8]) {
    members.push(name, Json::text(to_base64url(bytes)));
}

fn secret(members: &mut Object, size: usize) -> Result<(), GenerateError> {
    let mut secret = Zeroizing::new(vec![0; size]);
    rand::fill(&mut secret)?;
    push(members, "k", &secret);
    Ok(())
}

fn rsa(members: &mut Object) -> Result<(), GenerateError> {
    let pair = RsaKeyPair::generate(RSA_SIZE)?;
    let der: Pkcs8V1Der<'static> = pair.as_der()?;
    let info = PrivateKeyInfo::try_from(der.as_ref()).map_err(|_| GenerateError::Library)?;
    let key = RsaPrivateKey::try_from(info.private_key).map_err(|_| GenerateError::Library)?;
    for (name, number) in [
        ("n", key.modulus),
        ("e", key.public_exponent),
        ("d", key.private_exponent),
        ("p", key.prime1),
        ("q", key.prime2),
        ("dp", key.exponent1),
        ("dq", key.exponent2),
        ("qi", key.coefficient),
    ] {
        push(members, name, number.as_bytes());
    }
    Ok(())
}

fn elliptic(members: &mut Object, curve: &'static Curve) -> Result<(), GenerateError> {
    let pair = EcdsaKeyPair::generate(curve.signing)?;
    // The uncompressed point: a mark, x, y (SEC 1, section 2.3.3).
    let point = pair.public_key().as_ref();
    let (x, y) = point
        .get(1..)
        .and_then(|both| both.split_at_checked(curve.size))
        .ok_or(GenerateError::Library)?;
    push(members, "x", x);
    push(members, "y", y);
    push(members, "d", pair.private_key().as_be_bytes()?.as_ref());
    Ok(())
}

fn ed25519(members: &mut Object) -> Result<(), GenerateError> {
    let pair = Ed25519KeyPair::generate()?;
    push(members, "x", pair.public_key().as_ref());
    push(members, "d", pair.seed()?.as_be_bytes()?.as_ref());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_of_one_kind_share_nothing() {
        for alg in [Alg::Hs256, Alg::Hs512, Alg::Es384, Alg::EdDsa, Alg::Ed25519] {
            let [a, b] = [(); 2].map(|()| generate(alg).unwrap());
            assert!(a.can_sign() && a.is_private());
            assert_ne!(a.kid(), b.kid());
            let secret = if matches!(alg.family(), Family::Secret(_)) { "k" } else { "d" };
            let of = |key: &Key| key.members().get(secret).unwrap().as_text().unwrap().to_owned();
            assert_ne!(of(&a), of(&b));
        }
    }

    #[test]
    fn an_rsa_key_is_complete() {
        let key = generate(Alg::Ps384).unwrap();
        assert!(key.can_sign());
        assert_eq!(key.alg(), Alg::Ps384);
    }
}
