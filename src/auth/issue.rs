//! New tokens, signed with the set's signing key.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::crypto;
use serde::Serialize;

use crate::config::Auth;
use crate::epoch;
use crate::ids::UserId;

use super::generate::random_hex;
use super::json::to_base64url;
use super::jwk::Key;
use super::keys::KeySet;
use super::profile::{ProfileFault, check_own_name, check_picture};
use super::token::TOKEN_MAX;

/// 128 bits: nobody guesses one, and no two are equal (RFC 7519, section 4.1.7).
pub(super) const TOKEN_ID_BYTES: usize = 16;

/// What a new token shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whom it is for. The system has no [`UserId`], so no token can be its.
    pub user: UserId,
    /// The name to show with the user's messages.
    pub name: Option<String>,
    /// The address of the picture to show.
    pub picture: Option<String>,
    /// For how long it lives; counted in whole seconds.
    pub ttl: Duration,
    /// Whether it is an administrator's instead of a user's.
    pub admin: bool,
}

/// A new token, and what the audit trail keeps of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token itself. Whoever has it is the user.
    pub token: String,
    /// Its `jti`, by which it is revoked.
    pub id: String,
    /// Its `exp`.
    pub expires_at: SystemTime,
}

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// There is no key to sign with.
    #[error(
        "no key of the set can sign: all are public, or \"key_ops\" leaves out \"sign\"; add one \
         with `imserver key generate --alg EdDSA`, or have the token issued where the private key is"
    )]
    NoSigningKey,
    /// It would not live at all.
    #[error("a token must live for a second at least; give it a longer time to live")]
    NoLifetime,
    /// It would live for longer than any token may.
    #[error(
        "a token may live for {} at most (auth.max_lifetime); give it a shorter time to live",
        humantime::format_duration(*.0)
    )]
    TooLongLived(Duration),
    /// Its name or picture would be refused.
    #[error(transparent)]
    Profile(#[from] ProfileFault),
    /// It would be refused for its size.
    #[error("the token would be over 8 KiB; shorten the picture's address")]
    TooLarge,
    /// The library did not sign.
    #[error("the cryptography library signed nothing; is the system's random source working?")]
    Library,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: String,
    jti: &'a str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<&'a str>,
}

/// Issues a token that our own verifiers believe.
///
/// # Errors
/// Each is a sentence for whoever asked; nothing was issued.
pub fn issue(
    keys: &KeySet,
    auth: &Auth,
    request: &Request,
    now: SystemTime,
) -> Result<Issued, IssueError> {
    let key = keys.signing_key().ok_or(IssueError::NoSigningKey)?;
    if request.ttl.as_secs() == 0 {
        return Err(IssueError::NoLifetime);
    }
    if request.ttl > auth.max_lifetime {
        return Err(IssueError::TooLongLived(auth.max_lifetime));
    }
    let name = request.name.as_deref().filter(|name| !name.is_empty());
    let picture = request.picture.as_deref().filter(|picture| !picture.is_empty());
    name.map_or(Ok(()), check_own_name)?;
    picture.map_or(Ok(()), check_picture)?;

    let iat = epoch::seconds(now);
    let exp = iat.saturating_add(request.ttl.as_secs());
    let expires_at = UNIX_EPOCH
        .checked_add(Duration::from_secs(exp))
        .ok_or(IssueError::TooLongLived(auth.max_lifetime))?;
    let id = random_hex::<TOKEN_ID_BYTES>().map_err(|_| IssueError::Library)?;
    let header = Header { alg: key.alg().name(), typ: "JWT", kid: key.kid() };
    let claims = Claims {
        iss: &auth.issuer,
        aud: if request.admin { &auth.admin_audience } else { &auth.audience },
        sub: request.user.to_string(),
        jti: &id,
        iat,
        exp,
        name,
        picture,
    };
    let token = sign(key, &part(&header)?, &claims)?;
    if token.len() > TOKEN_MAX {
        return Err(IssueError::TooLarge);
    }
    Ok(Issued { token, id, expires_at })
}

/// Signs `claims` below a header that is encoded already.
pub(super) fn sign(key: &Key, header: &str, claims: &impl Serialize) -> Result<String, IssueError> {
    let signing = key.signing().ok_or(IssueError::NoSigningKey)?;
    let signed = format!("{header}.{}", part(claims)?);
    let signature = crypto::sign(signed.as_bytes(), signing, key.alg().algorithm())
        .map_err(|_| IssueError::Library)?;
    Ok(format!("{signed}.{signature}"))
}

fn part(value: &impl Serialize) -> Result<String, IssueError> {
    // Texts and numbers in a struct: that always becomes JSON.
    serde_json::to_vec(value).map(to_base64url).map_err(|_| IssueError::Library)
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("id", &self.id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::alg::Alg;
    use crate::auth::claims::Rules;
    use crate::auth::json::Json;
    use crate::auth::testing::{auth, jwk, key, now, public_half, set};
    use crate::auth::token::check;

    fn request() -> Request {
        Request {
            user: UserId::new(7).unwrap(),
            name: Some("小明".to_owned()),
            picture: Some("https://example.com/a.png".to_owned()),
            ttl: Duration::from_secs(3600),
            admin: false,
        }
    }

    #[test]
    fn what_we_issue_we_believe() {
        let mut auth = auth();
        auth.require_jti = true;
        for alg in Alg::ALL {
            let keys = set([key(alg)]);
            let issued = issue(&keys, &auth, &request(), now()).unwrap();
            let identity = check(&keys, &Rules::user(&auth), &issued.token, now()).unwrap();
            assert_eq!(identity.user().get(), 7);
            assert_eq!(identity.name(), Some("小明"));
            assert_eq!(identity.picture(), Some("https://example.com/a.png"));
            assert_eq!(identity.token_id(), Some(issued.id.as_str()));
            assert_eq!(identity.issued_at(), Some(now()));
            assert_eq!(identity.key_id(), Some(alg.name()));
            assert_eq!(issued.expires_at, now() + Duration::from_secs(3600));
            assert_eq!(identity.ends_at(), issued.expires_at + auth.leeway);
            let debug = format!("{issued:?}");
            assert!(!debug.contains(&issued.token), "{debug}");
        }
    }

    #[test]
    fn an_administrators_token_is_nobody_elses() {
        let (keys, auth) = (set([key(Alg::EdDsa)]), auth());
        let issued = issue(&keys, &auth, &Request { admin: true, ..request() }, now()).unwrap();
        assert!(check(&keys, &Rules::admin(&auth), &issued.token, now()).is_ok());
        assert!(check(&keys, &Rules::user(&auth), &issued.token, now()).is_err());
    }

    #[test]
    fn no_two_tokens_have_one_id() {
        let (keys, auth) = (set([key(Alg::Hs256)]), auth());
        let [a, b] = [(); 2].map(|()| issue(&keys, &auth, &request(), now()).unwrap());
        assert_ne!(a.id, b.id);
        assert_eq!(a.id.len(), 32);
    }

    #[test]
    fn a_single_key_without_kid_issues_too() {
        let mut nameless = jwk(Alg::Hs256);
        nameless.take("kid");
        let keys = set([Key::read(Json::Object(nameless)).unwrap()]);
        let issued = issue(&keys, &auth(), &request(), now()).unwrap();
        assert!(check(&keys, &Rules::user(&auth()), &issued.token, now()).is_ok());
    }

    #[test]
    fn what_would_be_refused_is_not_issued() {
        let (keys, auth) = (set([key(Alg::Hs256)]), auth());
        let fails = |request: Request| issue(&keys, &auth, &request, now()).unwrap_err();
        for (ttl, sentence) in [
            (Duration::ZERO, "at least"),
            (Duration::from_millis(999), "at least"),
            (auth.max_lifetime + Duration::from_secs(1), "30days"),
            (Duration::MAX, "30days"),
        ] {
            let error = fails(Request { ttl, ..request() }).to_string();
            assert!(error.contains(sentence), "{error}");
        }
        assert!(
            issue(&keys, &auth, &Request { ttl: auth.max_lifetime, ..request() }, now()).is_ok()
        );
        for (name, picture) in [
            ("n".repeat(129), String::new()),
            ("a\nb".to_owned(), String::new()),
            (String::new(), "javascript:alert(1)".to_owned()),
            (String::new(), "data:,x".to_owned()),
            (String::new(), "a\nb".to_owned()),
            (String::new(), "p".repeat(10_000)),
        ] {
            let request = Request { name: Some(name), picture: Some(picture), ..request() };
            assert!(matches!(fails(request), IssueError::Profile(_)));
        }
    }

    #[test]
    fn a_public_set_issues_nothing() {
        let public = Key::read(Json::Object(public_half(&key(Alg::EdDsa)))).unwrap();
        let error = issue(&set([public]), &auth(), &request(), now()).unwrap_err();
        assert!(matches!(error, IssueError::NoSigningKey));
    }
}
