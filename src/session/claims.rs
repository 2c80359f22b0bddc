//! What a session takes from the token behind it.

use std::future::Future;
use std::pin::pin;
use std::time::SystemTime;

use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout_at};

use super::{Ended, Gone};
use crate::auth::Identity;
use crate::protocol::close::Close;
use crate::store::ClaimedProfile;

/// The name and the picture that the token brought.
pub(crate) fn profile(identity: &Identity) -> ClaimedProfile {
    ClaimedProfile {
        name: identity.name().map(str::to_owned),
        picture: identity.picture().map(str::to_owned),
    }
}

/// When the token is over: by a clock that nobody sets, and by the one on the wall.
///
/// The first one stands still while a machine sleeps, and whoever sets the second one back
/// must not make a token live longer.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    alarm: Instant,
    wall: SystemTime,
}

impl End {
    pub(super) fn of(identity: &Identity) -> Self {
        let wall = identity.ends_at();
        let left = wall.duration_since(SystemTime::now()).unwrap_or_default();
        Self { alarm: Instant::now() + left, wall }
    }

    /// When to look again at the latest.
    pub(super) fn alarm(&self) -> Instant {
        self.alarm
    }

    pub(super) fn has_come(&self, now: Instant) -> bool {
        now >= self.alarm || SystemTime::now() >= self.wall
    }

    /// Has the peer take what is said before the token is over: one that takes a byte now and
    /// then would keep the connection for as long as it likes. Gives whether it had to be
    /// waited for.
    pub(super) async fn before(
        self,
        saying: impl Future<Output = Result<(), Gone>> + Send,
    ) -> Result<bool, Ended> {
        let mut saying = pin!(saying);
        // Nearly all take it at once, and no idle connection has room for a timer for the others.
        if let Some(said) = saying.as_mut().now_or_never() {
            said?;
            return Ok(false);
        }
        match Box::pin(timeout_at(self.alarm, saying)).await {
            Ok(said) => {
                said?;
                Ok(true)
            }
            Err(_) => Err(Ended::Close(Close::TokenExpired)),
        }
    }
}
