//! The administrators' gate: a token for them, in the header and nowhere else.

use std::num::NonZeroU32;
use std::time::SystemTime;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tracing::warn;

use crate::admin::Who;
use crate::auth::{AdminVerifier, Refused};
use crate::server::handshake;
use crate::server::refusal::Refusal;
use crate::server::routes::Request;

/// Refused tokens a minute, before the answer is to stay away: all callers together, since
/// administrators are few. A good token is let in all the same.
const GUESSES: NonZeroU32 = NonZeroU32::MIN.saturating_add(199);

/// Whom the listener opens to.
#[derive(Debug)]
pub(in crate::server) struct Gate {
    verifier: AdminVerifier,
    guesses: DefaultDirectRateLimiter,
}

impl Gate {
    pub(in crate::server) fn new(verifier: AdminVerifier) -> Self {
        Self { verifier, guesses: RateLimiter::direct(Quota::per_minute(GUESSES)) }
    }

    /// Who asks.
    ///
    /// # Errors
    /// The one refusal that there is for all that open nothing here: no token, a user's,
    /// a ticket, one that is over. The log has the reason. Or that nobody can tell yet
    /// whether a token that is good otherwise was taken back: to be asked again.
    pub(super) fn admit(&self, request: &Request) -> Result<Who, Refusal> {
        let peer = request.arrival.peer.ip();
        // Before the token is looked at: what becomes known meanwhile counts for it.
        let waiting = self.verifier.is_waiting();
        let reason = match handshake::bearer(&request.headers)? {
            None => "no_token",
            Some(token) => match self.verifier.verify(token, SystemTime::now()) {
                Ok(admin) => {
                    let token = admin.token_id().map(str::to_owned);
                    return Ok(Who::Admin { user: admin.user(), token });
                }
                // A 401 would have its owner throw away a good token at every start.
                Err(Refused::Revoked) if waiting => {
                    return Err(Refusal::Unavailable("the store is being opened"));
                }
                Err(why) => why.reason(),
            },
        };
        warn!(%peer, reason, "an administrator's call was refused");
        match self.guesses.check() {
            Ok(()) => Err(Refusal::Unauthorized),
            Err(_) => Err(Refusal::Guessed("too many refused tokens")),
        }
    }
}
