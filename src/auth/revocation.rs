//! What is taken back before its end, and what is kept of a token to know it again.
//!
//! Times are whole seconds since the Unix epoch, as tokens have them.

use std::borrow::Borrow;
use std::fmt;
use std::time::SystemTime;

use super::claims::{Identity, TOKEN_ID_MAX};
use super::fingerprint::Fingerprint;
use crate::epoch::seconds;
use crate::ids::UserId;

/// What is taken back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revocation {
    /// One token.
    Token {
        /// Its `jti`.
        jti: TokenId,
        /// When it has ended in any case, leeway included.
        until: u64,
    },
    /// All tokens of a user up to some moment, and those that do not say when they were issued.
    Subject {
        /// Whose.
        user: UserId,
        /// The latest `iat` that is covered.
        issued_up_to: u64,
        /// When the last of them has ended in any case, leeway included.
        until: u64,
    },
    /// All tokens of a user, also those to come, until the user is enabled again.
    Disabled {
        /// Whose.
        user: UserId,
    },
}

impl Revocation {
    /// Until when it must be kept; nothing where that is for ever.
    pub fn until(&self) -> Option<u64> {
        match self {
            Self::Token { until, .. } | Self::Subject { until, .. } => Some(*until),
            Self::Disabled { .. } => None,
        }
    }

    /// Whether no token that it covers can be alive any more.
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.until().is_some_and(|until| until <= seconds(now))
    }
}

/// A `jti`: 1 to 128 bytes of text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(Box<str>);

impl TokenId {
    /// Takes a text for a `jti`, where it could be one.
    pub fn new(text: &str) -> Option<Self> {
        (1..=TOKEN_ID_MAX).contains(&text.len()).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Borrow<str> for TokenId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What is kept of a token for as long as a connection lives by it: enough to know it
/// again when it is taken back, and nothing that would open another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRef {
    /// Whose it is.
    pub user: UserId,
    /// Its `jti`.
    pub jti: Option<Box<str>>,
    /// Its `iat`.
    pub issued_at: Option<u64>,
    /// The name of the key that signed it.
    pub kid: Option<Box<str>>,
    /// What that key is known by: another may be put in its place under the same name.
    pub key: Fingerprint,
    /// When it ends, leeway included.
    pub ends_at: u64,
}

impl TokenRef {
    /// Whether its time is over in any case.
    pub fn has_ended(&self, now: SystemTime) -> bool {
        self.ends_at <= seconds(now)
    }
}

impl Identity {
    /// What a connection keeps of the token.
    pub fn token(&self) -> TokenRef {
        TokenRef {
            user: self.user,
            jti: self.token_id().map(Into::into),
            issued_at: self.issued_at.map(seconds),
            kid: self.key_id().map(Into::into),
            key: self.key,
            // What began is not over.
            ends_at: seconds(self.ends_at) + 1,
        }
    }
}
