//! Whom we believe: the key set, the tokens that it checks and signs, and the
//! [`Identity`] that comes out of a good one.
//!
//! A token is taken apart and refused here, before any of its claims is used
//! for anything (RFC 8725, section 3). Nothing outside this room can make an
//! [`Identity`], so code that holds one need not ask again.

mod alg;
mod claims;
mod current;
mod fingerprint;
mod generate;
mod inspect;
mod issue;
mod json;
mod jwk;
mod key_file;
mod keys;
mod material;
mod profile;
mod provided;
mod refused;
mod revocation;
mod revocations;
mod secret;
#[cfg(test)]
mod testing;
mod ticket;
mod token;
mod watch;

pub use alg::{Alg, UnknownAlg};
pub use claims::{Admin, Identity};
pub use current::CurrentKeys;
pub use fingerprint::Fingerprint;
pub use generate::{GenerateError, generate};
pub use inspect::{Inspection, Recognized, Verdict, inspect, recognize};
pub use issue::{IssueError, Issued, Request, issue};
pub use jwk::{Key, KeyFault};
pub use key_file::{FileFault, KeySetError};
pub use keys::{KeyEntry, KeyPlace, KeySet, SetFault};
pub use profile::{ProfileFault, check_name, check_picture};
pub use provided::{PassedOver, Provided, ProvidedFault};
pub use refused::Refused;
pub use revocation::{Revocation, TokenId, TokenRef};
pub use revocations::Revocations;
pub use ticket::{
    BookUnavailable, KEY_LIFE, OneNode, Shown, Spent, Ticket, TicketBook, TicketDigest,
    TicketError, Tickets,
};
pub use token::{AdminVerifier, TOKEN_MAX, Verifier};
pub use watch::Watch;

/// Names the cryptography that signs and checks tokens, for the whole process.
///
/// The library would choose by its features and panic at the first token where
/// a dependency has switched on a second one. Call it before the first token;
/// calling it again changes nothing.
pub fn install_provider() {
    // An error says that a provider is in place already, which is all we want.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}
