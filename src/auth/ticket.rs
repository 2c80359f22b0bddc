//! Tickets: tokens of the service's own that open one connection, soon.
//!
//! A browser can put a token into the URL or among the subprotocols and nowhere
//! else, and a URL ends in the logs of proxies. A ticket in a log is worth
//! nothing: it was used when it got there, or is over half a minute later.
//!
//! They are signed with a key that lives and dies with the process, so nobody
//! else's token is ever taken for one. Other nodes check them with its public half,
//! and the only thing to remember of them is which were used: by this process alone
//! or, where there are several nodes, by all of them in one [book](TicketBook)
//! (`docs/adr/0008-tickets.md`, `docs/adr/0018-what-nodes-share.md`).

mod book;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

pub use self::book::{BookUnavailable, OneNode, Spent, TicketBook, TicketDigest};
use super::alg::Alg;
use super::claims::Identity;
use super::current::CurrentKeys;
use super::fingerprint::Fingerprint;
use super::generate::{GenerateError, KID_BYTES, generate, random_hex};
use super::issue::{IssueError, TOKEN_ID_BYTES, sign};
use super::json::{Json, from_base64url, to_base64url};
use super::jwk::Key;
use super::refused::Refused;
use super::revocations::Revocations;
use super::token::{Compact, check_signature};
use crate::digest::digest128;
use crate::epoch::{milliseconds, seconds};
use crate::ids::UserId;

/// How long a ticket may wait to be used: enough for a slow network, too short for
/// whoever reads logs.
const LIFE: Duration = Duration::from_secs(30);

/// For how long other nodes know by which key this one's tickets are checked, once they
/// were told: much longer than a ticket lives, and soon over when the node is gone.
pub const KEY_LIFE: Duration = Duration::from_secs(2 * 60 * 60);

/// When they are told again.
const TELL_AGAIN: Duration = Duration::from_secs(60 * 60);

/// Until when it is enough that they were told, where they cannot be told again.
const TOLD_LONG_AGO: Duration = Duration::from_secs(110 * 60);

/// Keys of other nodes that are kept in mind; past it all are read anew.
const KEYS: usize = 256;

/// Unknown names of keys that are looked up at once: whoever makes them up waits, and
/// does not make the servers work.
const LOOKING: usize = 16;

/// How the header of every ticket begins. The type alone tells a ticket from a token (RFC
/// 8725, section 3.11); what it says is believed after the signature.
const HEADER_BEGIN: &str = r#"{"alg":"EdDSA","typ":"im-ticket+jwt""#;

/// Neither a user's audience nor an administrator's: those have names of services.
const AUDIENCE: &str = "urn:imserver:ticket";

/// Issues tickets, and takes each of them once.
#[derive(Debug)]
pub struct Tickets {
    key: Arc<Key>,
    kid: String,
    header: String,
    book: Arc<dyn TicketBook>,
    /// When the other nodes were told of the key.
    told: Mutex<Option<Instant>>,
    /// One at a time tells them.
    telling: tokio::sync::Mutex<()>,
    /// What other nodes sign with.
    others: Mutex<HashMap<String, Arc<Key>>>,
    looking: Semaphore,
    /// The keys that the tokens behind the tickets were signed with.
    keys: CurrentKeys,
    /// Which of these were taken back meanwhile.
    revocations: Revocations,
}

/// Why no ticket was issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// It could not be signed.
    #[error(transparent)]
    Sign(#[from] IssueError),
    /// The other nodes would not know it.
    #[error(transparent)]
    Book(#[from] BookUnavailable),
}

/// A new ticket.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The ticket itself.
    pub text: String,
    /// How long it may wait to be used.
    pub life: Duration,
}

/// A ticket of ours whose time has not run out. Whether it was used is not known.
#[derive(Debug)]
pub struct Shown {
    behind: Identity,
    ticket: Spent,
}

impl Shown {
    /// Whose it is.
    pub fn user(&self) -> UserId {
        self.behind.user
    }
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
    /// What its key is known by, for this ticket alone.
    key: String,
}

impl Tickets {
    /// Makes a key for the tickets of this process. `keys` are those of the tokens,
    /// `revocations` theirs too, and `book` what all nodes know of tickets.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new(
        keys: &CurrentKeys,
        revocations: &Revocations,
        book: Arc<dyn TicketBook>,
    ) -> Result<Self, GenerateError> {
        let key = generate(Alg::EdDsa)?;
        let kid = key.kid().unwrap_or_default().to_owned();
        Ok(Self {
            key: Arc::new(key),
            header: header(&kid),
            kid,
            book,
            told: Mutex::default(),
            telling: tokio::sync::Mutex::default(),
            others: Mutex::default(),
            looking: Semaphore::new(LOOKING),
            keys: keys.clone(),
            revocations: revocations.clone(),
        })
    }

    /// Issues a ticket for who came with a token. Every node takes it.
    ///
    /// # Errors
    /// The cryptography library did not do its work, or the other nodes cannot be told how
    /// to check it.
    pub async fn issue(&self, identity: &Identity, now: SystemTime) -> Result<Ticket, TicketError> {
        self.tell().await?;
        let jti = random_hex::<TOKEN_ID_BYTES>().map_err(|_| IssueError::Library)?;
        let claims = Claims {
            aud: AUDIENCE.to_owned(),
            sub: identity.user.to_string(),
            // The second that has begun is not taken off its life.
            exp: seconds(now) + 1 + LIFE.as_secs(),
            parent: Parent {
                exp: seconds(identity.expires_at),
                ends: milliseconds(identity.ends_at),
                iat: identity.issued_at.map(seconds),
                jti: identity.token_id.clone(),
                kid: identity.key_id.clone(),
                key: to_base64url(identity.key.for_ticket(&jti)),
            },
            jti,
        };
        Ok(Ticket { text: sign(&self.key, &self.header, &claims)?, life: LIFE })
    }

    /// Sees to it that other nodes know how to check our tickets.
    async fn tell(&self) -> Result<(), BookUnavailable> {
        let told_within = |time| locked(&self.told).is_some_and(|told| told.elapsed() < time);
        if told_within(TELL_AGAIN) {
            return Ok(());
        }
        let _telling = match told_within(TOLD_LONG_AGO) {
            // Somebody is at it, and there is time.
            true => match self.telling.try_lock() {
                Ok(telling) => telling,
                Err(_) => return Ok(()),
            },
            false => self.telling.lock().await,
        };
        if told_within(TELL_AGAIN) {
            return Ok(());
        }
        let began = Instant::now();
        match self.book.announce(&self.kid, self.public_half()).await {
            Ok(()) => *locked(&self.told) = Some(began),
            Err(_) if told_within(TOLD_LONG_AGO) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn public_half(&self) -> String {
        let member = |name| self.key.members().get(name).and_then(Json::as_text);
        let x = member("x").unwrap_or_default();
        let (alg, kid) = (Alg::EdDsa.name(), &self.kid);
        serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "alg": alg, "kid": kid, "x": x })
            .to_string()
    }

    /// Looks at a ticket, which is not used by that; nothing where `token` is none.
    ///
    /// All that can be said of it but for one thing, so that who comes with one that is good for
    /// nothing learns no more than who comes with such a token.
    pub async fn look(&self, token: &str, now: SystemTime) -> Option<Result<Shown, Refused>> {
        let (header, _) = token.split_once('.')?;
        let header = from_base64url(header).ok()?;
        if !header.starts_with(HEADER_BEGIN.as_bytes()) {
            return None;
        }
        Some(self.check(token, &header, now).await)
    }

    /// Takes a ticket and gives back who is behind it.
    ///
    /// It is used from then on, whatever becomes of the connection: a second one that
    /// comes at the same moment, at whichever node, finds it used.
    ///
    /// # Errors
    /// It was used before, nobody can say, or the token behind it was taken back meanwhile.
    pub async fn spend(&self, shown: Shown, now: SystemTime) -> Result<Identity, Refused> {
        let Shown { behind, ticket } = shown;
        match self.book.spend(ticket).await {
            Ok(true) => {}
            Ok(false) => return Err(Refused::TicketUsed),
            Err(BookUnavailable) => return Err(Refused::TicketUndecided),
        }
        self.stands(&behind, now)?;
        Ok(behind)
    }

    async fn check(&self, token: &str, header: &[u8], now: SystemTime) -> Result<Shown, Refused> {
        let compact = Compact::split(token)?;
        let header: Header = serde_json::from_slice(header).map_err(|_| Refused::Malformed)?;
        let key = self.key(&header.kid).await?;
        check_signature(&key, &compact)?;
        let claims = from_base64url(compact.claims).map_err(|_| Refused::Malformed)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| Refused::Malformed)?;
        if claims.aud != AUDIENCE {
            return Err(Refused::WrongAudience);
        }
        let second = seconds(now);
        if claims.exp <= second {
            return Err(Refused::TicketExpired);
        }
        let ticket = digest128(&[header.kid.as_bytes(), claims.jti.as_bytes()]);
        let ticket = Spent { ticket, exp: claims.exp, now: second };
        let behind = self.behind(claims)?;
        self.stands(&behind, now)?;
        Ok(Shown { behind, ticket })
    }

    /// Whether the token behind a ticket is still good.
    fn stands(&self, behind: &Identity, now: SystemTime) -> Result<(), Refused> {
        if behind.ends_at <= now {
            return Err(Refused::Expired);
        }
        self.revocations.check(behind)
    }

    /// Who is behind a ticket, if the key of their token is still there: it may have been
    /// retired or exchanged meanwhile, and with it goes all that it signed.
    fn behind(&self, Claims { sub, jti, parent, .. }: Claims) -> Result<Identity, Refused> {
        let keys = self.keys.get();
        let key = keys.find(parent.kid.as_deref()).ok_or(Refused::UnknownKid)?.fingerprint();
        if to_base64url(key.for_ticket(&jti)) != parent.key {
            return Err(Refused::UnknownKid);
        }
        parent.identity(&sub, key)
    }

    /// The key of a node's tickets.
    async fn key(&self, kid: &str) -> Result<Arc<Key>, Refused> {
        if kid == self.kid {
            return Ok(Arc::clone(&self.key));
        }
        // Of no other form are ours; nor is anything else asked for.
        let is_ours = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if kid.len() != 2 * KID_BYTES || !kid.bytes().all(is_ours) {
            return Err(Refused::UnknownKid);
        }
        if let Some(key) = locked(&self.others).get(kid) {
            return Ok(Arc::clone(key));
        }
        let looking = self.looking.acquire().await;
        let found = self.book.key(kid).await.map_err(|BookUnavailable| Refused::TicketUndecided)?;
        drop(looking);
        let found =
            found.and_then(|jwk| Json::parse(&jwk).ok()).and_then(|jwk| Key::read(jwk).ok());
        let is_its =
            |key: &Key| key.kid() == Some(kid) && key.alg() == Alg::EdDsa && !key.is_private();
        let key = Arc::new(found.filter(is_its).ok_or(Refused::UnknownKid)?);
        let mut others = locked(&self.others);
        if others.len() >= KEYS {
            others.clear();
        }
        others.insert(kid.to_owned(), Arc::clone(&key));
        Ok(key)
    }
}

/// The rest of a header, behind [`HEADER_BEGIN`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    #[serde(rename = "alg")]
    _alg: String,
    #[serde(rename = "typ")]
    _typ: String,
    kid: String,
}

fn header(kid: &str) -> String {
    to_base64url(format!("{HEADER_BEGIN},\"kid\":\"{kid}\"}}"))
}

impl Parent {
    fn identity(self, sub: &str, key: Fingerprint) -> Result<Identity, Refused> {
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
            key,
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("life", &self.life).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
