//! Erasing a user, as it is written down.
//!
//! First of all every token is revoked that the user has: their connections end by it, and
//! no client of theirs comes back by itself and writes down anew who they are.

use super::audit::Act;
use crate::ids::UserId;

/// The act of erasing a user.
pub fn act(user: UserId) -> Act {
    Act::new("user.erase").with("sub", user.get())
}
