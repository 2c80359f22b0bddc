//! Whom we believe: the key set that tokens are checked and signed with.
#![expect(dead_code, reason = "the tokens come next")]

mod alg;
mod generate;
mod json;
mod jwk;
mod key_file;
mod keys;
mod material;
mod secret;
#[cfg(test)]
mod testing;

pub use alg::{Alg, UnknownAlg};
pub use generate::{GenerateError, generate};
pub use jwk::{Key, KeyFault};
pub use key_file::{FileFault, KeySetError};
pub use keys::{CurrentKeys, KeyEntry, KeyPlace, KeySet, SetFault};

/// Names the cryptography that signs and checks tokens, for the whole process.
///
/// The library would choose by its features and panic at the first token where
/// a dependency has switched on a second one. Call it before the first token;
/// calling it again changes nothing.
pub fn install_provider() {
    // An error says that a provider is in place already, which is all we want.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}
