//! A look into a token without believing it, and what we would say to it.

use std::fmt::Write;
use std::time::SystemTime;

use crate::config::Auth;
use crate::telemetry::steers;

use super::claims::{Admin, Identity, Rules};
use super::json::{Json, from_base64url};
use super::keys::KeySet;
use super::refused::Refused;
use super::revocation::TokenRef;
use super::token::{Compact, check};

/// What is in a token, fit for a terminal. The signature is not.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The header, where it can be decoded.
    pub header: Option<String>,
    /// The claims, where they can be decoded. Anybody may have written them.
    pub claims: Option<String>,
    /// What this server says to the token.
    pub verdict: Verdict,
}

/// What this server says to a token.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It opens a session, unless it is revoked.
    User(Identity),
    /// It administers, unless it is revoked.
    Admin(Admin),
    /// It opens nothing.
    Refused(Refused),
}

/// Takes a token apart and says what would become of it here.
///
/// Whether it is revoked only a running server knows.
pub fn inspect(keys: &KeySet, auth: &Auth, token: &str, now: SystemTime) -> Inspection {
    let verdict = match check(keys, &Rules::user(auth), token, now) {
        Ok(identity) => Verdict::User(identity),
        Err(Refused::WrongAudience) => match check(keys, &Rules::admin(auth), token, now) {
            Ok(identity) => Verdict::Admin(Admin::new(identity)),
            Err(refused) => Verdict::Refused(refused),
        },
        Err(refused) => Verdict::Refused(refused),
    };
    let parts = Compact::split(token).ok();
    Inspection {
        header: parts.as_ref().and_then(|parts| show(parts.header)),
        claims: parts.as_ref().and_then(|parts| show(parts.claims)),
        verdict,
    }
}

/// A token of ours that somebody wants to take back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognized {
    /// What it is known by.
    pub token: TokenRef,
    /// Whether it is an administrator's.
    pub admin: bool,
}

/// Recognizes a token of ours, a user's or an administrator's, also one whose time has not
/// come: it opens nothing yet, and shall not.
///
/// # Errors
/// It opens nothing here and never will.
pub fn recognize(
    keys: &KeySet,
    auth: &Auth,
    token: &str,
    now: SystemTime,
) -> Result<Recognized, Refused> {
    let (user, admin) = (Rules::user(auth).at_any_time(), Rules::admin(auth).at_any_time());
    match check(keys, &user, token, now) {
        Ok(identity) => Ok(Recognized { token: identity.token(), admin: false }),
        Err(Refused::WrongAudience) => {
            let identity = check(keys, &admin, token, now)?;
            Ok(Recognized { token: identity.token(), admin: true })
        }
        Err(refused) => Err(refused),
    }
}

/// Lays out a part's JSON; what is not the JSON it should be is shown as it is.
fn show(part: &str) -> Option<String> {
    let bytes = from_base64url(part).ok()?;
    let laid_out =
        Json::parse(&bytes).ok().and_then(|json| serde_json::to_string_pretty(&json).ok());
    let text = match laid_out {
        Some(text) => text,
        None => str::from_utf8(&bytes).ok()?.to_owned(),
    };
    Some(for_terminal(&text))
}

/// Escapes what would steer a terminal or reorder its text, as JSON escapes it:
/// a token is a stranger's text.
fn for_terminal(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' || steers(c) {
            // Writing to a String cannot fail.
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::alg::Alg;
    use crate::auth::testing::{CLAIMS, auth, header, key, now, set, sign};

    #[test]
    fn a_token_is_shown_without_its_signature() {
        let keys = set([key(Alg::EdDsa)]);
        let signing = keys.signing_key().unwrap();
        let token = sign(signing, &header(signing), CLAIMS);
        let inspection = inspect(&keys, &auth(), &token, now());
        assert!(inspection.header.as_ref().unwrap().contains("\"alg\": \"EdDSA\""));
        assert!(inspection.claims.as_ref().unwrap().contains("\"sub\": \"7\""));
        let all = format!("{inspection:?}");
        assert!(!all.contains(token.rsplit('.').next().unwrap()));
        assert!(matches!(inspection.verdict, Verdict::User(user) if user.user().get() == 7));
    }

    #[test]
    fn the_verdict_is_the_verifiers() {
        let keys = set([key(Alg::EdDsa)]);
        let signing = keys.signing_key().unwrap();
        let admin = CLAIMS.replace(r#""aud":"imserver""#, r#""aud":"imserver-admin""#);
        let token = sign(signing, &header(signing), &admin);
        assert!(matches!(inspect(&keys, &auth(), &token, now()).verdict, Verdict::Admin(_)));

        let stranger = key(Alg::EdDsa);
        let token = sign(&stranger, &header(&stranger), CLAIMS);
        let inspection = inspect(&keys, &auth(), &token, now());
        assert!(inspection.claims.is_some());
        assert!(matches!(inspection.verdict, Verdict::Refused(Refused::BadSignature)));

        let nothing = inspect(&keys, &auth(), "no token", now());
        assert_eq!((nothing.header, nothing.claims), (None, None));
    }

    #[test]
    fn a_token_is_recognized_before_its_time_and_not_after() {
        let keys = set([key(Alg::EdDsa)]);
        let signing = keys.signing_key().unwrap();
        let later = CLAIMS.replace(r#""sub""#, r#""nbf":1800000500,"jti":"j","sub""#);
        let token = sign(signing, &header(signing), &later);
        assert!(matches!(
            inspect(&keys, &auth(), &token, now()).verdict,
            Verdict::Refused(Refused::NotYetValid)
        ));
        let recognized = recognize(&keys, &auth(), &token, now()).unwrap();
        assert_eq!(recognized.token.jti.as_deref(), Some("j"));
        assert!(!recognized.admin);
        let admin = later.replace(r#""aud":"imserver""#, r#""aud":"imserver-admin""#);
        let token = sign(signing, &header(signing), &admin);
        assert!(recognize(&keys, &auth(), &token, now()).unwrap().admin);
        let over = now() + std::time::Duration::from_secs(3631);
        assert_eq!(recognize(&keys, &auth(), &token, over), Err(Refused::Expired));
    }

    #[test]
    fn a_token_cannot_steer_the_terminal() {
        let keys = set([key(Alg::Hs256)]);
        let signing = keys.signing_key().unwrap();
        for evil in [
            "\u{1b}[2J",
            "\u{9b}2J",
            "\u{202e}",
            "\u{61c}\u{2028}",
            "{\"a\":1,\"a\":\"\u{1b}[2J\r\"}",
        ] {
            for claims in [evil.to_owned(), serde_json::to_string(evil).unwrap()] {
                let token = sign(signing, &header(signing), &claims);
                let shown = inspect(&keys, &auth(), &token, now()).claims.unwrap();
                let evil = ['\u{1b}', '\u{9b}', '\u{202e}', '\u{61c}', '\u{2028}', '\r'];
                assert!(!shown.contains(evil), "{shown:?}");
            }
        }
    }
}
