//! Taking tokens back: from what somebody names to what the store keeps, and how it is
//! written down and shown.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::audit::{Act, Audit, AuditError};
use super::ledger;
use crate::auth::{KeySet, Recognized, Refused, Revocation, TokenId, recognize};
use crate::config::Auth;
use crate::epoch::seconds;
use crate::ids::UserId;

/// What somebody wants to be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The token itself, which must be one of ours.
    Token(String),
    /// A token by its `jti`.
    Jti(TokenId),
    /// All tokens of a user that are issued up to now.
    Subject(UserId),
}

/// What it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is to be kept; nothing where there is nothing left to be taken back.
    pub revocation: Option<Revocation>,
    /// What else there is to know about it.
    pub remark: Option<&'static str>,
}

/// Why nothing can be taken back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// The token opens nothing here, so that there is nothing to take back.
    #[error("this token opens nothing here: {0}; another issuer's token is revoked by its jti")]
    NotOurs(Refused),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] AuditError),
}

impl Plan {
    fn keep(revocation: Revocation) -> Self {
        Self { revocation: Some(revocation), remark: None }
    }

    fn nothing(remark: &'static str) -> Self {
        Self { revocation: None, remark: Some(remark) }
    }

    fn with(self, remark: &'static str) -> Self {
        Self { remark: Some(remark), ..self }
    }

    /// Finds what to keep, and for how long.
    ///
    /// # Errors
    /// Nothing can be taken back.
    pub fn new(
        target: &Target,
        keys: &KeySet,
        auth: &Auth,
        audit: &Audit,
        now: SystemTime,
    ) -> Result<Self, RevokeError> {
        match target {
            Target::Token(token) => match recognize(keys, auth, token, now) {
                Ok(token) => Ok(Self::of_token(token, auth)),
                Err(Refused::Expired) => {
                    Ok(Self::nothing("the token has expired: there is nothing to revoke"))
                }
                Err(refused) => Err(RevokeError::NotOurs(refused)),
            },
            Target::Jti(jti) => Self::of_jti(jti, auth, audit, now),
            Target::Subject(user) => Ok(Self::keep(of_user(*user, auth, now))),
        }
    }

    fn of_token(Recognized { token, .. }: Recognized, auth: &Auth) -> Self {
        let (user, until) = (token.user, token.ends_at);
        if let Some(jti) = token.jti.as_deref().and_then(TokenId::new) {
            return Self::keep(Revocation::Token { jti, until });
        }
        match token.issued_at {
            Some(issued_up_to) => {
                let issued = UNIX_EPOCH.checked_add(Duration::from_secs(issued_up_to));
                let until = issued.map_or(until, |at| until.max(ends_at_the_latest(at, auth)));
                Self::keep(Revocation::Subject { user, issued_up_to, until }).with(
                    "the token has no jti: all tokens of its user with the same or an earlier iat \
                     go with it",
                )
            }
            None => Self::keep(Revocation::Subject { user, issued_up_to: 0, until }).with(
                "the token has neither jti nor iat: all tokens of its user without iat go with it",
            ),
        }
    }

    fn of_jti(
        jti: &TokenId,
        auth: &Auth,
        audit: &Audit,
        now: SystemTime,
    ) -> Result<Self, RevokeError> {
        let known = ledger::find(audit, jti.as_str())?;
        let ends = known.and_then(|entry| humantime::parse_rfc3339_weak(&entry.until).ok());
        let until = ends.map(|ends| seconds(ends.checked_add(auth.leeway).unwrap_or(ends)) + 1);
        Ok(match until {
            Some(until) if until <= seconds(now) => {
                Self::nothing("by the ledger the token has expired: there is nothing to revoke")
            }
            Some(until) => Self::keep(Revocation::Token { jti: jti.clone(), until }),
            None => {
                let until = ends_at_the_latest(now, auth);
                Self::keep(Revocation::Token { jti: jti.clone(), until }).with(
                    "the ledger knows no token with this jti: was it issued elsewhere, or \
                     mistyped? It is revoked for as long as any token may live",
                )
            }
        })
    }
}

/// All tokens that a user has by `now`.
pub fn of_user(user: UserId, auth: &Auth, now: SystemTime) -> Revocation {
    let (issued_up_to, until) = (seconds(now), ends_at_the_latest(now, auth));
    Revocation::Subject { user, issued_up_to, until }
}

/// When every token has ended that was issued by `issued`, leeway and the second that has
/// begun included.
pub fn ends_at_the_latest(issued: SystemTime, auth: &Auth) -> u64 {
    let whole = auth.max_lifetime.saturating_add(auth.leeway).saturating_add(auth.leeway);
    seconds(issued).saturating_add(whole.as_secs()).saturating_add(2)
}

/// The act of taking something back.
pub fn act(revocation: &Revocation) -> Act {
    let of_tokens = Act::new("token.revoke");
    match Shown::from(revocation) {
        Shown::Token { jti, until } => of_tokens.with("jti", jti).with("until", until),
        Shown::Subject { sub, issued_up_to, until } => {
            of_tokens.with("sub", sub).with("issuedUpTo", issued_up_to).with("until", until)
        }
        Shown::User { sub } => Act::new("user.disable").with("sub", sub),
    }
}

/// The act of letting a user in again.
pub fn enable(user: UserId) -> Act {
    Act::new("user.enable").with("sub", user.get())
}

/// A revocation as it is listed, with times as people read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Shown {
    /// One token.
    Token {
        /// Its `jti`.
        jti: String,
        /// When it is over by itself.
        until: String,
    },
    /// All tokens of a user up to some moment.
    Subject {
        /// The user.
        sub: u64,
        /// The latest `iat` that is covered.
        issued_up_to: String,
        /// When it is over by itself.
        until: String,
    },
    /// A user.
    User {
        /// Who.
        sub: u64,
    },
}

impl From<&Revocation> for Shown {
    fn from(revocation: &Revocation) -> Self {
        match revocation {
            Revocation::Token { jti, until } => {
                Self::Token { jti: jti.as_str().to_owned(), until: shown(*until) }
            }
            Revocation::Subject { user, issued_up_to, until } => Self::Subject {
                sub: user.get(),
                issued_up_to: shown(*issued_up_to),
                until: shown(*until),
            },
            Revocation::Disabled { user } => Self::User { sub: user.get() },
        }
    }
}

impl Shown {
    /// What it was made from; nothing where it was not.
    pub fn revocation(&self) -> Option<Revocation> {
        let at = |text: &str| humantime::parse_rfc3339(text).ok().map(seconds);
        Some(match self {
            Self::Token { jti, until } => {
                Revocation::Token { jti: TokenId::new(jti)?, until: at(until)? }
            }
            Self::Subject { sub, issued_up_to, until } => Revocation::Subject {
                user: UserId::new(*sub)?,
                issued_up_to: at(issued_up_to)?,
                until: at(until)?,
            },
            Self::User { sub } => Revocation::Disabled { user: UserId::new(*sub)? },
        })
    }
}

/// The last second of the year 9999: beyond it no time can be written.
const LAST: u64 = 253_402_300_799;

/// Seconds since the Unix epoch as people read them.
pub fn shown(seconds: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_secs(seconds.min(LAST));
    humantime::format_rfc3339_seconds(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Who;
    use crate::auth::{Alg, Issued, Request, generate, issue};

    struct Desk {
        keys: KeySet,
        auth: Auth,
        audit: Audit,
        _folder: tempfile::TempDir,
    }

    impl Desk {
        fn new() -> Self {
            crate::auth::install_provider();
            let folder = tempfile::tempdir().unwrap();
            let mut keys = KeySet::default();
            keys.add(generate(Alg::Hs256).unwrap()).unwrap();
            let audit = Audit::open(folder.path()).unwrap();
            Self { keys, auth: Auth::default(), audit, _folder: folder }
        }

        fn issue(&self, admin: bool, now: SystemTime) -> Issued {
            let ttl = Duration::from_secs(60);
            let request = Request { user: user(7), name: None, picture: None, ttl, admin };
            let issued = issue(&self.keys, &self.auth, &request, now).unwrap();
            let act = ledger::issue(&request, &issued, None, now);
            self.audit.append(&Who::shell(), &act).unwrap();
            issued
        }

        fn plan(&self, target: &Target) -> Result<Plan, RevokeError> {
            Plan::new(target, &self.keys, &self.auth, &self.audit, SystemTime::now())
        }
    }

    fn user(id: u64) -> UserId {
        UserId::new(id).unwrap()
    }

    fn jti(text: &str) -> Target {
        Target::Jti(TokenId::new(text).unwrap())
    }

    #[test]
    fn a_token_and_its_name_come_to_the_same() {
        let desk = Desk::new();
        for admin in [false, true] {
            let now = SystemTime::now();
            let issued = desk.issue(admin, now);
            let by_token = desk.plan(&Target::Token(issued.token.clone())).unwrap();
            let by_name = desk.plan(&jti(&issued.id)).unwrap();
            assert_eq!(by_token, by_name);
            let until = by_token.revocation.unwrap().until().unwrap();
            let life = until - seconds(now);
            assert!((90..=92).contains(&life), "its life and the leeway: {life}");
        }
    }

    #[test]
    fn what_is_over_needs_no_revocation() {
        let desk = Desk::new();
        let issued = desk.issue(false, SystemTime::now() - Duration::from_secs(600));
        for target in [Target::Token(issued.token.clone()), jti(&issued.id)] {
            let plan = desk.plan(&target).unwrap();
            assert_eq!(plan.revocation, None);
            assert!(plan.remark.unwrap().contains("has expired"));
        }
    }

    #[test]
    fn a_strangers_token_is_refused_and_a_strange_name_taken_at_its_word() {
        let (desk, other) = (Desk::new(), Desk::new());
        let issued = other.issue(false, SystemTime::now());
        let error = desk.plan(&Target::Token(issued.token)).unwrap_err().to_string();
        assert!(error.contains("opens nothing here"), "{error}");
        let plan = desk.plan(&jti(&issued.id)).unwrap();
        assert!(plan.remark.unwrap().contains("ledger knows no token"));
        let life = plan.revocation.unwrap().until().unwrap() - seconds(SystemTime::now());
        assert!(life >= desk.auth.max_lifetime.as_secs() + desk.auth.leeway.as_secs());
    }

    #[test]
    fn no_time_is_too_late_to_be_written() {
        let revocation = Revocation::Subject { user: user(7), issued_up_to: 0, until: u64::MAX };
        let Shown::Subject { until, .. } = Shown::from(&revocation) else { panic!("of a user") };
        assert_eq!(until, "9999-12-31T23:59:59Z");
        assert_eq!(act(&revocation).name(), "token.revoke");
    }
}
