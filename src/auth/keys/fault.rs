//! What is wrong with a key set, in sentences for the operator.

use std::fmt;

use crate::auth::json::Json;
use crate::auth::jwk::{KeyFault, read_kid};

/// What is wrong with a key set, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetFault {
    /// It is not JSON, or a member stands twice in it.
    #[error("is not a key set: {0}")]
    NotJson(String),
    /// It is another form of keys.
    #[error(
        "is not a key set but a key in PEM form; write it as a JWK into {{\"keys\":[…]}} (RFC 7517, \
         section 5), as README.md shows"
    )]
    Pem,
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
    pub(super) number: usize,
    pub(super) kid: Option<String>,
}

impl KeyPlace {
    pub(in crate::auth) fn of(index: usize, jwk: &Json) -> Self {
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
