//! The ledger of issued tokens: the lines of the audit log that tell of one.
//!
//! It holds what a token is known by and never the token, so that whoever reads it can
//! revoke one and not use it.

use std::collections::HashMap;
use std::time::SystemTime;

use serde_json::Value;

use super::audit::{Act, Audit, AuditError, Fault, Line};
use crate::auth::{Issued, Request};

/// The act of issuing a token.
pub const ISSUE: &str = "token.issue";

/// The act of issuing what was asked for. It is written down before the token leaves the
/// process: one that nobody knows of cannot be revoked.
pub fn issue(request: &Request, issued: &Issued, key: Option<&str>, now: SystemTime) -> Act {
    let time = |time| humantime::format_rfc3339_seconds(time).to_string();
    Act::new(ISSUE)
        .with("jti", issued.id.as_str())
        .with("sub", request.user.get())
        .with("kid", key)
        .with("issued", time(now))
        .with("until", time(issued.expires_at))
        .with("admin", request.admin)
}

/// The token with this `jti`, if it was issued here.
///
/// # Errors
/// The log cannot be read. What follows a broken line is not looked at.
pub fn find(audit: &Audit, jti: &str) -> Result<Option<Entry>, AuditError> {
    Ok(audit.issue_of(jti)?.and_then(|line| Entry::of(&line)))
}

/// What the ledger knows of the tokens that one key signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outstanding {
    /// How many have not expired.
    pub tokens: usize,
    /// When the last of them does, as it stands there.
    pub until: String,
}

/// The tokens that have not expired.
#[derive(Clone, Debug, Default)]
pub struct Alive {
    /// By the name of their key.
    pub by_key: HashMap<String, Outstanding>,
    /// The line of the log that is broken, and how: what follows it was not looked at.
    pub broken: Option<(u64, Fault)>,
}

/// The tokens that have not expired, as far as the log tells of them.
///
/// # Errors
/// The log cannot be opened.
pub fn outstanding(audit: &Audit, now: SystemTime) -> Result<Alive, AuditError> {
    let mut found = Alive::default();
    for line in audit.lines()? {
        let line = match line {
            Ok(line) => line,
            // Nothing of it was reported as done.
            Err((_, Fault::Torn)) => break,
            Err(fault) => {
                found.broken = Some(fault);
                break;
            }
        };
        let Some(entry) = Entry::of(&line) else { continue };
        let alive = humantime::parse_rfc3339_weak(&entry.until).is_ok_and(|until| until > now);
        if let Some(kid) = entry.kid.filter(|_| alive) {
            let known = found.by_key.entry(kid).or_default();
            known.tokens += 1;
            // These texts sort as the times do.
            if entry.until > known.until {
                known.until = entry.until;
            }
        }
    }
    Ok(found)
}

/// An issued token, as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    /// By which it is revoked.
    pub jti: String,
    /// Whom it is for.
    pub sub: u64,
    /// The key that signed it.
    pub kid: Option<String>,
    /// When it was issued.
    pub issued: String,
    /// Until when it is good.
    pub until: String,
    /// Whether it is an administrator's.
    pub admin: bool,
    /// Who had it issued.
    pub by: String,
}

impl Entry {
    /// What a line of the audit log says of a token, if it tells of one.
    pub fn of(line: &Line) -> Option<Self> {
        if line.act != ISSUE {
            return None;
        }
        let text = |name: &str| line.details.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            jti: text("jti")?,
            sub: line.details.get("sub")?.as_u64()?,
            kid: text("kid"),
            issued: text("issued")?,
            until: text("until")?,
            admin: line.details.get("admin")?.as_bool()?,
            by: line.who.clone(),
        })
    }
}
