//! What a rightly signed token must say to be believed (RFC 7519, section 4),
//! and what we then believe.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::Auth;
use crate::epoch;
use crate::ids::UserId;

use super::fingerprint::Fingerprint;
use super::json::{Json, Object};
use super::jwk::Key;
use super::profile::{check_name, check_picture};
use super::refused::Refused;

/// How long a `jti` may be, in bytes: revocations keep it.
pub(super) const TOKEN_ID_MAX: usize = 128;

/// A user, as a token told us. Only [`Verifier`](super::Verifier) makes one, and
/// [`Tickets`](super::Tickets) makes it again from a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(super) user: UserId,
    pub(super) name: Option<String>,
    pub(super) picture: Option<String>,
    pub(super) expires_at: SystemTime,
    pub(super) ends_at: SystemTime,
    pub(super) token_id: Option<String>,
    pub(super) issued_at: Option<SystemTime>,
    pub(super) key_id: Option<String>,
    pub(super) key: Fingerprint,
}

/// An administrator, as a token told us. Only
/// [`AdminVerifier`](super::AdminVerifier) makes one, and it opens no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin(Identity);

/// What a token's claims are compared with.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    issuer: String,
    audience: String,
    require_jti: bool,
    /// Whether its time must have come.
    begun: bool,
    leeway: Duration,
    max_lifetime: Duration,
}

impl Identity {
    /// The user.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// The name to show with the user's messages; never empty.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address of the picture to show; never empty.
    pub fn picture(&self) -> Option<&str> {
        self.picture.as_deref()
    }

    /// The token's `exp`, as it stands there: what clients are told.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// When a connection opened with the token must end: its `exp` and the leeway.
    pub fn ends_at(&self) -> SystemTime {
        self.ends_at
    }

    /// The token's `jti`, by which it is revoked.
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// The token's `iat`: a user's tokens are revoked up to one.
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.issued_at
    }

    /// The key that signed it: its connections end when that is retired.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }
}

impl Admin {
    pub(super) fn new(identity: Identity) -> Self {
        Self(identity)
    }

    /// Who it is, for the audit trail.
    pub fn user(&self) -> UserId {
        self.0.user()
    }

    /// When the token is over, leeway included.
    pub fn ends_at(&self) -> SystemTime {
        self.0.ends_at()
    }

    /// The token's `jti`, by which it is revoked.
    pub fn token_id(&self) -> Option<&str> {
        self.0.token_id()
    }
}

impl Rules {
    pub(super) fn user(auth: &Auth) -> Self {
        Self::new(auth, &auth.audience)
    }

    pub(super) fn admin(auth: &Auth) -> Self {
        Self::new(auth, &auth.admin_audience)
    }

    fn new(auth: &Auth, audience: &str) -> Self {
        Self {
            issuer: auth.issuer.clone(),
            audience: audience.to_owned(),
            require_jti: auth.require_jti,
            begun: true,
            leeway: auth.leeway,
            max_lifetime: auth.max_lifetime,
        }
    }

    /// The same for a token whose time has not come, which is to be known and not believed.
    pub(super) fn at_any_time(self) -> Self {
        Self { begun: false, require_jti: false, ..self }
    }

    /// Believes `claims`, which stand under a good signature of `key`, or
    /// says why not.
    pub(super) fn believe(
        &self,
        claims: &Object,
        key: &Key,
        now: SystemTime,
    ) -> Result<Identity, Refused> {
        self.check_issuer(claims)?;
        self.check_audience(claims)?;
        let times = self.check_times(claims, now)?;
        let user = claims.get("sub").and_then(Json::as_text).and_then(UserId::parse);
        Ok(Identity {
            user: user.ok_or(Refused::BadSubject)?,
            name: profile(claims, "name", |name| check_name(name).is_ok())?,
            picture: profile(claims, "picture", |picture| check_picture(picture).is_ok())?,
            expires_at: times.expires_at,
            ends_at: times.ends_at,
            token_id: self.token_id(claims)?,
            issued_at: times.issued_at,
            key_id: key.kid().map(str::to_owned),
            key: key.fingerprint(),
        })
    }

    fn check_issuer(&self, claims: &Object) -> Result<(), Refused> {
        match claims.get("iss").and_then(Json::as_text) {
            Some(issuer) if issuer == self.issuer => Ok(()),
            _ => Err(Refused::WrongIssuer),
        }
    }

    /// One text, or a list of nothing but texts (RFC 7519, section 4.1.3).
    fn check_audience(&self, claims: &Object) -> Result<(), Refused> {
        let audiences = match claims.get("aud") {
            Some(Json::List(audiences)) => audiences.as_slice(),
            Some(audience) => std::slice::from_ref(audience),
            None => &[],
        };
        let is_ours = |audience: &Json| audience.as_text() == Some(self.audience.as_str());
        if audiences.iter().all(|audience| audience.as_text().is_some())
            && audiences.iter().any(is_ours)
        {
            Ok(())
        } else {
            Err(Refused::WrongAudience)
        }
    }

    fn check_times(&self, claims: &Object, now: SystemTime) -> Result<Times, Refused> {
        // On a clock before 1970 every token is from the future or lives too long.
        let now = epoch::since(now);
        let latest_begin = now.saturating_add(self.leeway);
        let exp = time(claims, "exp")?.ok_or(Refused::BadClaim("exp"))?;
        let end = exp.saturating_add(self.leeway);
        if end <= now {
            return Err(Refused::Expired);
        }
        if time(claims, "nbf")?.is_some_and(|nbf| self.begun && nbf > latest_begin) {
            return Err(Refused::NotYetValid);
        }
        let iat = time(claims, "iat")?;
        if iat.is_some_and(|iat| self.begun && iat > latest_begin) {
            return Err(Refused::IssuedInFuture);
        }
        if exp.saturating_sub(iat.unwrap_or(now)) > self.max_lifetime {
            return Err(Refused::TooLongLived);
        }
        // Out of range only where max_lifetime is some billions of years.
        let at = |since: Duration| UNIX_EPOCH.checked_add(since).ok_or(Refused::TooLongLived);
        Ok(Times {
            expires_at: at(exp)?,
            ends_at: at(end)?,
            issued_at: iat.and_then(|iat| UNIX_EPOCH.checked_add(iat)),
        })
    }

    fn token_id(&self, claims: &Object) -> Result<Option<String>, Refused> {
        let Some(jti) = claims.get("jti") else {
            return if self.require_jti { Err(Refused::MissingTokenId) } else { Ok(None) };
        };
        match jti.as_text() {
            Some(jti) if (1..=TOKEN_ID_MAX).contains(&jti.len()) => Ok(Some(jti.to_owned())),
            _ => Err(Refused::BadClaim("jti")),
        }
    }
}

/// The times that a token names, once they were found good.
struct Times {
    expires_at: SystemTime,
    ends_at: SystemTime,
    issued_at: Option<SystemTime>,
}

/// A time since the epoch. RFC 7519 would let it have a fraction; nobody sends
/// one, and the two ways to round it are one too many.
fn time(claims: &Object, claim: &'static str) -> Result<Option<Duration>, Refused> {
    let seconds = match claims.get(claim) {
        None => return Ok(None),
        Some(Json::Integer(seconds)) => u64::try_from(*seconds).ok(),
        Some(_) => None,
    };
    let seconds = seconds.ok_or(Refused::BadClaim(claim))?;
    Ok(Some(Duration::from_secs(seconds)))
}

fn profile(
    claims: &Object,
    claim: &'static str,
    is_good: impl Fn(&str) -> bool,
) -> Result<Option<String>, Refused> {
    let Some(value) = claims.get(claim) else {
        return Ok(None);
    };
    match value.as_text() {
        // An empty one says the same as none.
        Some("") => Ok(None),
        Some(text) if is_good(text) => Ok(Some(text.to_owned())),
        _ => Err(Refused::BadProfile(claim)),
    }
}
