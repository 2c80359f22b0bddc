//! Erasing a user: what goes first, and how it is written down.

use std::time::{SystemTime, UNIX_EPOCH};

use super::audit::Act;
use crate::auth::Revocation;
use crate::config::Auth;
use crate::ids::UserId;

/// The act of erasing a user.
pub fn act(user: UserId) -> Act {
    Act::new("user.erase").with("sub", user.get())
}

/// What is revoked before anything is erased: every token that the user has by `now`.
///
/// Their connections end by it, and no client of theirs comes back by itself and writes
/// down anew who they are.
pub fn tokens(user: UserId, auth: &Auth, now: SystemTime) -> Revocation {
    let issued_up_to = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // The longest that one may live which says that it was issued now, or a little later.
    let life = auth.max_lifetime.saturating_add(auth.leeway.saturating_mul(2));
    let until = issued_up_to.saturating_add(life.as_secs()).saturating_add(2);
    Revocation::Subject { user, issued_up_to, until }
}
