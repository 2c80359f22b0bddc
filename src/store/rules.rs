//! What the configuration says of appends, to whichever store.

use std::time::Duration;

use crate::config;

#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// How long an equal packet is a resend.
    pub(super) resend_window: Duration,
    /// How long a client's name for a packet is known.
    pub(super) dedup_window: Duration,
    /// Unread messages that an inbox may have.
    pub(super) unread_max: u64,
}

impl Rules {
    pub(super) fn of(config: &config::Store, limits: &config::Limits) -> Self {
        Self {
            resend_window: config.resend_window,
            dedup_window: config.dedup_window,
            unread_max: limits.unread_per_user,
        }
    }
}
