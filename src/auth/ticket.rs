//! Tickets: tokens of the service's own that open one connection, soon.
//!
//! A browser can put a token into the URL or among the subprotocols and nowhere
//! else, and a URL ends in the logs of proxies. A ticket in a log is worth
//! nothing: it was used when it got there, or is over half a minute later.
//!
//! They are signed with a key that lives and dies with the process, so nobody
//! else's token is ever taken for one, none of them outlives a restart, and the
//! only thing to remember of them is which were used (`docs/adr/0008-tickets.md`).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::alg::Alg;
use super::claims::Identity;
use super::current::CurrentKeys;
use super::generate::{GenerateError, generate, random_hex};
use super::issue::{IssueError, TOKEN_ID_BYTES, sign};
use super::json::{from_base64url, to_base64url};
use super::jwk::Key;
use super::refused::Refused;
use super::revocation::Revocations;
use super::token::{Compact, check_signature};
use crate::ids::UserId;

/// How long a ticket may wait to be used: enough for a slow network, too short for
/// whoever reads logs.
const LIFE: Duration = Duration::from_secs(30);

/// The header of every ticket. The type alone tells a ticket from a token (RFC 8725,
/// section 3.11); what it says is believed after the signature.
static HEADER: LazyLock<String> =
    LazyLock::new(|| to_base64url(r#"{"alg":"HS256","typ":"im-ticket+jwt"}"#));

/// Neither a user's audience nor an administrator's: those have names of services.
const AUDIENCE: &str = "urn:imserver:ticket";

/// Issues tickets, and takes each of them once.
#[derive(Debug)]
pub struct Tickets {
    key: Key,
    /// The keys that the tokens behind the tickets were signed with.
    keys: CurrentKeys,
    /// Which of these were taken back meanwhile.
    revocations: Revocations,
    /// What was used, by its `exp`, until that is over.
    used: Mutex<BTreeSet<(u64, String)>>,
}

/// A new ticket.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The ticket itself.
    pub text: String,
    /// How long it may wait to be used.
    pub life: Duration,
}

/// What a ticket says. Neither name nor picture, which would stand in the URL: whoever
/// gives a ticket out has made them known before.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    aud: String,
    sub: String,
    jti: String,
    exp: u64,
    parent: Parent,
}

/// The token behind it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parent {
    exp: u64,
    /// Its end in milliseconds, which a leeway need not leave whole seconds.
    ends: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
}

impl Tickets {
    /// Makes a key for the tickets of this process. `keys` are those of the tokens, and
    /// `revocations` theirs too.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new(keys: &CurrentKeys, revocations: &Revocations) -> Result<Self, GenerateError> {
        Ok(Self {
            key: generate(Alg::Hs256)?,
            keys: keys.clone(),
            revocations: revocations.clone(),
            used: Mutex::default(),
        })
    }

    /// Issues a ticket for who came with a token.
    ///
    /// # Errors
    /// The cryptography library did not do its work.
    pub fn issue(&self, identity: &Identity, now: SystemTime) -> Result<Ticket, IssueError> {
        let seconds = |at: SystemTime| since_epoch(at).as_secs();
        let claims = Claims {
            aud: AUDIENCE.to_owned(),
            sub: identity.user.to_string(),
            jti: random_hex::<TOKEN_ID_BYTES>().map_err(|_| IssueError::Library)?,
            // The second that has begun is not taken off its life.
            exp: seconds(now) + 1 + LIFE.as_secs(),
            parent: Parent {
                exp: seconds(identity.expires_at),
                ends: u64::try_from(since_epoch(identity.ends_at).as_millis()).unwrap_or(u64::MAX),
                iat: identity.issued_at.map(seconds),
                jti: identity.token_id.clone(),
                kid: identity.key_id.clone(),
            },
        };
        Ok(Ticket { text: sign(&self.key, &HEADER, &claims)?, life: LIFE })
    }

    /// Takes a ticket and gives back who is behind it; nothing where `token` is none.
    ///
    /// It is used from then on, whatever becomes of the connection: a second one that
    /// comes at the same moment finds it used.
    pub fn redeem(&self, token: &str, now: SystemTime) -> Option<Result<Identity, Refused>> {
        let (header, _) = token.split_once('.')?;
        (header == *HEADER).then(|| self.take(token, now))
    }

    fn take(&self, token: &str, now: SystemTime) -> Result<Identity, Refused> {
        let compact = Compact::split(token)?;
        check_signature(&self.key, &compact)?;
        let claims = from_base64url(compact.claims).map_err(|_| Refused::Malformed)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| Refused::Malformed)?;
        if claims.aud != AUDIENCE {
            return Err(Refused::WrongAudience);
        }
        let seconds = since_epoch(now).as_secs();
        if claims.exp <= seconds {
            return Err(Refused::TicketExpired);
        }
        self.use_up(claims.exp, claims.jti, seconds)?;
        let identity = claims.parent.identity(&claims.sub)?;
        if identity.ends_at <= now {
            return Err(Refused::Expired);
        }
        if self.keys.get().find(identity.key_id()).is_none() {
            // The key was retired meanwhile, and with it all that it signed.
            return Err(Refused::UnknownKid);
        }
        self.revocations.check(&identity)?;
        Ok(identity)
    }

    /// Forgets what is over and so refused for that, which bounds what is remembered.
    fn use_up(&self, exp: u64, jti: String, now: u64) -> Result<(), Refused> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while used.first().is_some_and(|(exp, _)| *exp <= now) {
            used.pop_first();
        }
        if used.insert((exp, jti)) { Ok(()) } else { Err(Refused::TicketUsed) }
    }
}

impl Parent {
    fn identity(self, sub: &str) -> Result<Identity, Refused> {
        let at = |since| UNIX_EPOCH.checked_add(since).ok_or(Refused::TooLongLived);
        Ok(Identity {
            user: UserId::parse(sub).ok_or(Refused::BadSubject)?,
            name: None,
            picture: None,
            expires_at: at(Duration::from_secs(self.exp))?,
            ends_at: at(Duration::from_millis(self.ends))?,
            token_id: self.jti,
            issued_at: self.iat.map(Duration::from_secs).map(at).transpose()?,
            key_id: self.kid,
        })
    }
}

fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("life", &self.life).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
