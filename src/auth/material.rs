//! What a key is made of (RFC 7518, section 6; RFC 8037, section 2), checked:
//! its size, and that its private half belongs to its public half.
//!
//! The library refuses some bad keys only when they are used, and some public
//! ones under which anybody can sign not at all. An operator should hear of
//! them when the set is loaded.

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ED25519, EcdsaKeyPair, Ed25519KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
};
use jsonwebtoken::{DecodingKey, EncodingKey};
use pkcs1::UintRef;
use pkcs1::der::Encode;
use zeroize::Zeroizing;

use super::alg::{Alg, Curve, Family};
use super::fingerprint::Fingerprint;
use super::json::{Object, from_base64url};
use super::jwk::{KeyFault, text};
use super::secret;

/// What the signature library can check (`RSA_PKCS1_2048_8192_SHA256`).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The private members of an RSA key (RFC 7518, section 6.3.2).
const RSA_PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// The points of Ed25519 whose order is small (8 at most), without the sign of
/// x: their y, in each of its encodings, as libsodium lists them. Under such a
/// "public key" anybody can sign; 32 zero bytes are one of them.
const SMALL_ORDER: [[u8; 32]; 7] = [
    y(0x00, 0x00, 0x00),
    y(0x01, 0x00, 0x00),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    y(0xec, 0xff, 0x7f),
    y(0xed, 0xff, 0x7f),
    y(0xee, 0xff, 0x7f),
];

/// The two halves of a key as the library takes them, and what they are known by. `signing`
/// is there wherever the key has private members.
pub(super) struct Material {
    pub(super) verifying: DecodingKey,
    pub(super) signing: Option<EncodingKey>,
    pub(super) fingerprint: Fingerprint,
}

impl Material {
    /// Checks the members that make up a key for `alg`.
    pub(super) fn read(members: &Object, alg: Alg) -> Result<Self, KeyFault> {
        match alg.family() {
            Family::Secret(least) => secret_key(members, alg, least),
            Family::Rsa => rsa_key(members, alg),
            Family::Curve(curve) => curve_key(members, alg, curve),
            Family::Ed25519 => ed25519_key(members, alg),
        }
    }
}

fn secret_key(members: &Object, alg: Alg, least: usize) -> Result<Material, KeyFault> {
    let k = bytes(members, "k")?;
    if k.len() < least {
        return Err(KeyFault::ShortSecret { alg, bits: k.len() * 8, needed: least * 8 });
    }
    if secret::is_weak(&k) {
        return Err(KeyFault::WeakSecret { alg });
    }
    Ok(Material {
        verifying: DecodingKey::from_secret(&k),
        signing: Some(EncodingKey::from_secret(&k)),
        fingerprint: Fingerprint::of(alg, [&k, &[]]),
    })
}

fn rsa_key(members: &Object, alg: Alg) -> Result<Material, KeyFault> {
    let n = number(members, "n")?;
    let e = number(members, "e")?;
    let leading = n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = n.len() * 8 - leading;
    if !RSA_BITS.contains(&bits) {
        return Err(KeyFault::RsaSize { bits });
    }
    // The library takes any of these, and with 1 everybody can sign.
    if e.len() > 4 || e.as_slice() <= [1].as_slice() || is_even(&e) {
        return Err(KeyFault::RsaExponent);
    }
    if is_even(&n) {
        return Err(KeyFault::BadPublic);
    }
    let public_key = rsa::PublicKeyComponents { n: n.as_slice(), e: e.as_slice() };
    public_key
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .map_err(|_| KeyFault::BadPublic)?;
    let verifying = DecodingKey::from_rsa_raw_components(&n, &e);
    let fingerprint = Fingerprint::of(alg, [&n, &e]);
    if !RSA_PRIVATE.iter().any(|member| members.has(member)) {
        return Ok(Material { verifying, signing: None, fingerprint });
    }
    if members.has("oth") {
        return Err(KeyFault::ManyPrimes);
    }
    let d = bytes(members, "d")?;
    let p = bytes(members, "p")?;
    let q = bytes(members, "q")?;
    let dp = bytes(members, "dp")?;
    let dq = bytes(members, "dq")?;
    let qi = bytes(members, "qi")?;
    rsa::KeyPair::from_components(&rsa::KeyPairComponents {
        public_key,
        d: d.as_slice(),
        p: p.as_slice(),
        q: q.as_slice(),
        dP: dp.as_slice(),
        dQ: dq.as_slice(),
        qInv: qi.as_slice(),
    })
    .map_err(|_| KeyFault::BadPrivate)?;
    let encode = || -> Result<Zeroizing<Vec<u8>>, pkcs1::der::Error> {
        let key = pkcs1::RsaPrivateKey {
            modulus: UintRef::new(&n)?,
            public_exponent: UintRef::new(&e)?,
            private_exponent: UintRef::new(&d)?,
            prime1: UintRef::new(&p)?,
            prime2: UintRef::new(&q)?,
            exponent1: UintRef::new(&dp)?,
            exponent2: UintRef::new(&dq)?,
            coefficient: UintRef::new(&qi)?,
            other_prime_infos: None,
        };
        key.to_der().map(Zeroizing::new)
    };
    let der = encode().map_err(|_| KeyFault::BadPrivate)?;
    Ok(Material { verifying, signing: Some(EncodingKey::from_rsa_der(&der)), fingerprint })
}

fn curve_key(members: &Object, alg: Alg, curve: &'static Curve) -> Result<Material, KeyFault> {
    let x = exactly(members, "x", curve.size)?;
    let y = exactly(members, "y", curve.size)?;
    // The uncompressed point (SEC 1, section 2.3.3).
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    ParsedPublicKey::new(curve.verifying, &point).map_err(|_| KeyFault::BadPublic)?;
    let verifying = DecodingKey::from_ec_der(&point);
    let fingerprint = Fingerprint::of(alg, [&x, &y]);
    if !members.has("d") {
        return Ok(Material { verifying, signing: None, fingerprint });
    }
    let d = exactly(members, "d", curve.size)?;
    let pair = EcdsaKeyPair::from_private_key_and_public_key(curve.signing, &d, &point)
        .map_err(|_| KeyFault::BadPrivate)?;
    let der = pair.to_pkcs8v1().map_err(|_| KeyFault::BadPrivate)?;
    let signing = Some(EncodingKey::from_ec_der(der.as_ref()));
    Ok(Material { verifying, signing, fingerprint })
}

fn ed25519_key(members: &Object, alg: Alg) -> Result<Material, KeyFault> {
    let x = exactly(members, "x", 32)?;
    ParsedPublicKey::new(&ED25519, x.as_slice()).map_err(|_| KeyFault::BadPublic)?;
    if has_small_order(&x) {
        return Err(KeyFault::BadPublic);
    }
    let verifying = DecodingKey::from_ed_der(&x);
    let fingerprint = Fingerprint::of(alg, [&x, &[]]);
    if !members.has("d") {
        return Ok(Material { verifying, signing: None, fingerprint });
    }
    let d = exactly(members, "d", 32)?;
    let pair =
        Ed25519KeyPair::from_seed_and_public_key(&d, &x).map_err(|_| KeyFault::BadPrivate)?;
    let der = pair.to_pkcs8v1().map_err(|_| KeyFault::BadPrivate)?;
    let signing = Some(EncodingKey::from_ed_der(der.as_ref()));
    Ok(Material { verifying, signing, fingerprint })
}

fn bytes(members: &Object, member: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
    let needed = "the key is not complete without it".to_owned();
    from_base64url(text(members, member, needed)?).map_err(|_| KeyFault::NotBase64Url { member })
}

/// An unsigned number in its shortest form (RFC 7518, section 2).
fn number(members: &Object, member: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
    let bytes = bytes(members, member)?;
    if bytes.first() == Some(&0) {
        return Err(KeyFault::LeadingZero { member });
    }
    Ok(bytes)
}

fn exactly(
    members: &Object,
    member: &'static str,
    needed: usize,
) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
    let bytes = bytes(members, member)?;
    if bytes.len() != needed {
        return Err(KeyFault::Length { member, found: bytes.len(), needed });
    }
    Ok(bytes)
}

fn is_even(number: &[u8]) -> bool {
    number.last().is_none_or(|byte| byte % 2 == 0)
}

fn has_small_order(point: &[u8]) -> bool {
    let mut y = point.to_vec();
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    SMALL_ORDER.iter().any(|small| y == small)
}

/// A number as Ed25519 encodes it: the first byte, thirty of the middle, the last.
const fn y(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    let [a, .., b] = &mut bytes;
    *a = first;
    *b = last;
    bytes
}
