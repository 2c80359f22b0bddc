//! What a session takes from the token behind it.

use std::time::SystemTime;

use tokio::time::Instant;

use crate::auth::Identity;
use crate::store::ClaimedProfile;

/// The name and the picture that the token brought.
pub(crate) fn profile(identity: &Identity) -> ClaimedProfile {
    ClaimedProfile {
        name: identity.name().map(str::to_owned),
        picture: identity.picture().map(str::to_owned),
    }
}

/// When the token is over, by a clock that nobody sets.
pub(super) fn end(identity: &Identity) -> Instant {
    let left = identity.ends_at().duration_since(SystemTime::now());
    Instant::now() + left.unwrap_or_default()
}
