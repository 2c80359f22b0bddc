//! Why a token is not believed.

/// Why a token is not believed.
///
/// For the log and for a metric: the client is told that its token is invalid
/// and no more (RFC 6750, section 3.1), so that nobody can ask us about tokens
/// they do not understand. Nothing here holds any part of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is over [`TOKEN_MAX`](super::TOKEN_MAX).
    #[error("it is over 8 KiB")]
    TooLong,
    /// It is not a JWS in compact form, or not JSON inside.
    #[error(
        "it is not a JWS in compact form, three parts in canonical base64url of which two are JSON \
         objects; was it cut?"
    )]
    Malformed,
    /// A member stands twice in its header or claims.
    #[error("a member of its header or claims stands twice")]
    DuplicateMember,
    /// Its header has a parameter that we never follow, or one of a wrong type.
    #[error("its header has a {0:?} that is not accepted")]
    Header(&'static str),
    /// It names no key, and there is more than one.
    #[error("its header has no \"kid\", and the key set does not hold exactly one key")]
    MissingKid,
    /// It names a key that is not in the set.
    #[error("its \"kid\" names no key of the set")]
    UnknownKid,
    /// Its `alg` is not its key's.
    #[error("its \"alg\" is not the one that its key is for")]
    WrongAlg,
    /// Its signature is not its key's.
    #[error("its signature does not hold")]
    BadSignature,
    /// It is from another issuer.
    #[error("its \"iss\" is missing or not the configured issuer")]
    WrongIssuer,
    /// It is meant for somebody else.
    #[error("its \"aud\" is missing or does not contain the configured audience")]
    WrongAudience,
    /// Its subject is no user.
    #[error("its \"sub\" is not a text holding a decimal user id from 1 to 2^53-1")]
    BadSubject,
    /// A claim is missing or is not of the type it has to be.
    #[error("its {0:?} is missing, of a wrong type or out of range")]
    BadClaim(&'static str),
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("its \"nbf\" is in the future")]
    NotYetValid,
    /// It claims to be made later than now.
    #[error("its \"iat\" is in the future; is one of the clocks wrong?")]
    IssuedInFuture,
    /// It would live for longer than we let any token.
    #[error("it lives for longer than auth.max_lifetime")]
    TooLongLived,
    /// It cannot be revoked by itself, and that is asked for.
    #[error("it has no \"jti\", which auth.require_jti asks for")]
    MissingTokenId,
    /// It was taken back: it alone, all of its user's up to some moment, or the user.
    #[error("it was revoked")]
    Revoked,
    /// Its `name` or `picture` cannot be shown to others.
    #[error("its {0:?} is not a text, too long, or could do harm where it is shown")]
    BadProfile(&'static str),
    /// It is a ticket that opened a connection before.
    #[error("it is a ticket that was used before; each is good once")]
    TicketUsed,
    /// It is a ticket that was not used in its time.
    #[error("it is a ticket whose time is over")]
    TicketExpired,
    /// It may be a good ticket, and nobody can say now whether it was used.
    #[error("it is a ticket of which nobody can say now whether it was used")]
    TicketUndecided,
}

impl Refused {
    /// The label in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::DuplicateMember => "duplicate_member",
            Self::Header(_) => "bad_header",
            Self::MissingKid => "missing_kid",
            Self::UnknownKid => "unknown_kid",
            Self::WrongAlg => "wrong_alg",
            Self::BadSignature => "bad_signature",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::BadSubject => "bad_subject",
            Self::BadClaim(_) => "bad_claim",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInFuture => "issued_in_future",
            Self::TooLongLived => "too_long_lived",
            Self::MissingTokenId => "missing_jti",
            Self::Revoked => "revoked",
            Self::BadProfile(_) => "bad_profile",
            Self::TicketUsed => "ticket_used",
            Self::TicketExpired => "ticket_expired",
            Self::TicketUndecided => "ticket_undecided",
        }
    }
}
