//! The signature algorithms that a key may be for.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm,
};
use jsonwebtoken::Algorithm;

/// A signature algorithm (RFC 7518, section 3.1; RFC 8037; RFC 9864).
///
/// `EdDSA` and `Ed25519` are two names of the same signature. A key has one of
/// them and its tokens must carry that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Alg {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
    Ed25519,
}

/// What a key for an algorithm is made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Family {
    /// A secret of at least so many bytes (RFC 7518, section 3.2).
    Secret(usize),
    Rsa,
    Curve(&'static Curve),
    Ed25519,
}

/// An elliptic curve and the one signature that is made with it.
#[derive(Debug)]
pub(super) struct Curve {
    /// As `crv` has it.
    pub(super) name: &'static str,
    /// The length of a coordinate, in bytes.
    pub(super) size: usize,
    pub(super) signing: &'static EcdsaSigningAlgorithm,
    pub(super) verifying: &'static EcdsaVerificationAlgorithm,
}

static P256: Curve = Curve {
    name: "P-256",
    size: 32,
    signing: &ECDSA_P256_SHA256_FIXED_SIGNING,
    verifying: &ECDSA_P256_SHA256_FIXED,
};

static P384: Curve = Curve {
    name: "P-384",
    size: 48,
    signing: &ECDSA_P384_SHA384_FIXED_SIGNING,
    verifying: &ECDSA_P384_SHA384_FIXED,
};

impl Alg {
    /// Every algorithm there is a key for.
    pub const ALL: [Self; 13] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
        Self::Ed25519,
    ];

    /// The name in key sets and token headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    pub(super) fn family(self) -> Family {
        match self {
            Self::Hs256 => Family::Secret(32),
            Self::Hs384 => Family::Secret(48),
            Self::Hs512 => Family::Secret(64),
            Self::Rs256 | Self::Rs384 | Self::Rs512 => Family::Rsa,
            Self::Ps256 | Self::Ps384 | Self::Ps512 => Family::Rsa,
            Self::Es256 => Family::Curve(&P256),
            Self::Es384 => Family::Curve(&P384),
            Self::EdDsa | Self::Ed25519 => Family::Ed25519,
        }
    }

    /// What the signing library calls it.
    pub(super) fn algorithm(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Hs384 => Algorithm::HS384,
            Self::Hs512 => Algorithm::HS512,
            Self::Rs256 => Algorithm::RS256,
            Self::Rs384 => Algorithm::RS384,
            Self::Rs512 => Algorithm::RS512,
            Self::Ps256 => Algorithm::PS256,
            Self::Ps384 => Algorithm::PS384,
            Self::Ps512 => Algorithm::PS512,
            Self::Es256 => Algorithm::ES256,
            Self::Es384 => Algorithm::ES384,
            Self::EdDsa | Self::Ed25519 => Algorithm::EdDSA,
        }
    }
}

impl Family {
    /// As `kty` has it (RFC 7518, section 6.1).
    pub(super) fn key_type(self) -> &'static str {
        match self {
            Self::Secret(_) => "oct",
            Self::Rsa => "RSA",
            Self::Curve(_) => "EC",
            Self::Ed25519 => "OKP",
        }
    }

    /// As `crv` has it, where the key type knows curves.
    pub(super) fn curve(self) -> Option<&'static str> {
        match self {
            Self::Secret(_) | Self::Rsa => None,
            Self::Curve(curve) => Some(curve.name),
            Self::Ed25519 => Some("Ed25519"),
        }
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No algorithm has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an algorithm known here; one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, \
     PS512, ES256, ES384, EdDSA and Ed25519 is needed, in this case"
)]
pub struct UnknownAlg;

impl FromStr for Alg {
    type Err = UnknownAlg;

    fn from_str(name: &str) -> Result<Self, UnknownAlg> {
        Self::ALL.into_iter().find(|alg| alg.name() == name).ok_or(UnknownAlg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_and_none_has_no_name() {
        for alg in Alg::ALL {
            assert_eq!(alg.name().parse(), Ok(alg));
        }
        for bad in ["none", "None", "nOnE", "", "hs256", "HS256 ", "ES512", "ES256K"] {
            assert_eq!(bad.parse::<Alg>(), Err(UnknownAlg), "{bad:?}");
        }
    }
}
