//! A door for fuzzers to what reads administrators' bodies. Nothing else uses it.

use super::notifications::{self, Recipients};
use super::{read, revocations, tokens};
use crate::admin::revoke::Target;
use crate::auth;

/// A notification that may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// To whom, rising; nothing where that is everybody.
    pub to: Option<Vec<u64>>,
    /// What.
    pub content: String,
    /// When, as it is told.
    pub timestamp: String,
    /// The name by which it is known again.
    pub name: String,
}

/// Reads what `POST /admin/tokens` is asked for.
pub fn token(text: &str) -> Option<auth::Request> {
    read::<tokens::Wanted>(text).ok()?.request().ok()
}

/// Reads what `POST /admin/revocations` is to take back.
pub fn revocation(text: &str) -> Option<Target> {
    read::<revocations::Wanted>(text).ok()?.target().ok()
}

/// Reads what `POST /admin/notifications` is to send, of so many bytes at the most.
pub fn notification(text: &str, content_max: usize) -> Option<Notification> {
    let (to, notice) = read::<notifications::Wanted>(text).ok()?.notice(content_max).ok()?;
    let to = match to {
        Recipients::All => None,
        Recipients::These(users) => Some(users.iter().map(|user| user.get()).collect()),
    };
    let name = notice.name.as_str().to_owned();
    Some(Notification { to, content: notice.content, timestamp: notice.timestamp, name })
}
