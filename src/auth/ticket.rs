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
use super::generate::{GenerateError, generate, random_hex};
use super::issue::{IssueError, TOKEN_ID_BYTES, sign};
use super::json::{from_base64url, to_base64url};
use super::jwk::Key;
use super::keys::CurrentKeys;
use super::refused::Refused;
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
    /// Makes a key for the tickets of this process. `keys` are those of the tokens.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new(keys: &CurrentKeys) -> Result<Self, GenerateError> {
        Ok(Self { key: generate(Alg::Hs256)?, keys: keys.clone(), used: Mutex::default() })
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
mod tests {
    use super::*;
    use crate::auth::claims::Rules;
    use crate::auth::testing::{auth, header, key, now, set, verify};
    use crate::auth::token::{TOKEN_MAX, check};

    const SECOND: Duration = Duration::from_secs(1);

    fn desk() -> (Tickets, Identity) {
        crate::auth::install_provider();
        let key = key(Alg::Hs256);
        let claims = r#"{"iss":"imserver","aud":"imserver","sub":"7","jti":"j","iat":1800000000,
            "exp":1800003600,"name":"小明","picture":"www.example.com/a.png"}"#;
        let token = crate::auth::testing::sign(&key, &header(&key), claims);
        let keys = set([key]);
        let identity = verify(&keys, &token).unwrap();
        (Tickets::new(&CurrentKeys::new(keys)).unwrap(), identity)
    }

    fn redeem(tickets: &Tickets, ticket: &Ticket, now: SystemTime) -> Result<Identity, Refused> {
        tickets.redeem(&ticket.text, now).expect("a ticket")
    }

    #[test]
    fn a_ticket_stands_for_the_token_behind_it() {
        let (tickets, identity) = desk();
        let ticket = tickets.issue(&identity, now()).unwrap();
        let behind = redeem(&tickets, &ticket, now()).unwrap();
        assert_eq!(behind, Identity { name: None, picture: None, ..identity });
        let debug = format!("{ticket:?}");
        assert!(!debug.contains(&ticket.text), "{debug}");
    }

    #[test]
    fn a_ticket_is_good_once() {
        let (tickets, identity) = desk();
        let ticket = tickets.issue(&identity, now()).unwrap();
        let outcomes = std::thread::scope(|scope| {
            let take = || redeem(&tickets, &ticket, now());
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        assert!(refused.into_iter().all(|why| *why == Refused::TicketUsed));
    }

    #[test]
    fn a_ticket_lives_for_thirty_seconds_and_is_then_forgotten() {
        let (tickets, identity) = desk();
        let [early, late, unused] = [(); 3].map(|()| tickets.issue(&identity, now()).unwrap());
        assert!(redeem(&tickets, &early, now()).is_ok());
        assert!(redeem(&tickets, &late, now() + LIFE).is_ok());
        let over = now() + LIFE + SECOND;
        for ticket in [&early, &late, &unused] {
            assert_eq!(redeem(&tickets, ticket, over), Err(Refused::TicketExpired));
        }
        assert_eq!(tickets.used.lock().unwrap().len(), 2);
        let next = tickets.issue(&identity, over).unwrap();
        assert!(redeem(&tickets, &next, over).is_ok());
        assert_eq!(tickets.used.lock().unwrap().len(), 1, "those before are over");
    }

    #[test]
    fn a_ticket_does_not_outlive_the_token_behind_it() {
        let (tickets, identity) = desk();
        let (last, end) = (identity.ends_at - SECOND, identity.ends_at);
        let [timely, late] = [(); 2].map(|()| tickets.issue(&identity, last).unwrap());
        assert_eq!(redeem(&tickets, &timely, last).unwrap().ends_at, end);
        assert_eq!(redeem(&tickets, &late, end), Err(Refused::Expired));
    }

    #[test]
    fn a_ticket_ends_with_the_key_of_the_token_behind_it() {
        let (tickets, identity) = desk();
        let ticket = tickets.issue(&identity, now()).unwrap();
        tickets.keys.replace(set([key(Alg::Es256)]));
        assert_eq!(redeem(&tickets, &ticket, now()), Err(Refused::UnknownKid));
    }

    #[test]
    fn tickets_and_tokens_are_never_taken_for_each_other() {
        let (tickets, identity) = desk();
        let (others, _) = desk();
        let ticket = tickets.issue(&identity, now()).unwrap();
        let keys = tickets.keys.get();
        for rules in [Rules::user(&auth()), Rules::admin(&auth())] {
            assert!(check(&keys, &rules, &ticket.text, now()).is_err());
            let nameless = set([Key::read(super::super::json::Json::Object({
                let mut members = crate::auth::testing::jwk(Alg::Hs256);
                members.take("kid");
                members
            }))
            .unwrap()]);
            assert!(check(&nameless, &rules, &ticket.text, now()).is_err());
        }
        assert_eq!(redeem(&others, &ticket, now()), Err(Refused::BadSignature), "a restart");
        let key = key(Alg::Hs256);
        let token = crate::auth::testing::sign(&key, &header(&key), "{}");
        assert!(tickets.redeem(&token, now()).is_none());
        for forged in [format!("{}.e30.", *HEADER), format!("{}.e30", *HEADER), HEADER.clone()] {
            assert!(!matches!(tickets.redeem(&forged, now()), Some(Ok(_))), "{forged}");
        }
        let (signed, signature) = ticket.text.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let other = to_base64url(
            String::from_utf8(from_base64url(claims).unwrap().to_vec())
                .unwrap()
                .replace("\"sub\":\"7\"", "\"sub\":\"8\""),
        );
        let forged = Ticket { text: format!("{header}.{other}.{signature}"), life: LIFE };
        assert_eq!(redeem(&tickets, &forged, now()), Err(Refused::BadSignature));
    }

    #[test]
    fn the_largest_ticket_fits_where_a_token_does() {
        let (tickets, identity) = desk();
        let worst = Some("\u{1}".repeat(128));
        let identity = Identity {
            user: UserId::new(crate::ids::ID_END - 1).unwrap(),
            picture: Some("p".repeat(2048)),
            token_id: worst.clone(),
            key_id: worst,
            ..identity
        };
        let ticket = tickets.issue(&identity, now()).unwrap();
        assert!(ticket.text.len() < TOKEN_MAX / 2, "{}", ticket.text.len());
    }
}
