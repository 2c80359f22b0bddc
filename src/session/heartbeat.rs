//! Is the client still there? A ping now and then, and a time to answer it.

use tokio::time::Instant;

use crate::config;

/// Pings, and whether they were answered.
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// When there is something to do.
    pub(super) next: Instant,
    waiting: bool,
}

/// What the heartbeat asks for.
pub(super) enum Beat {
    Wait,
    Ping,
    Dead,
}

impl Heartbeat {
    pub(super) fn new(limits: &config::Limits) -> Self {
        // Spread, so that those who came together are not pinged together.
        let first = limits.ping_interval.mul_f64(0.5 + fastrand::f64() / 2.0);
        Self { next: Instant::now() + first, waiting: false }
    }

    pub(super) fn due(&mut self, now: Instant, limits: &config::Limits) -> Beat {
        if now < self.next {
            return Beat::Wait;
        }
        if self.waiting {
            return Beat::Dead;
        }
        self.waiting = true;
        self.next = now + limits.pong_timeout;
        Beat::Ping
    }

    pub(super) fn pong(&mut self, now: Instant, limits: &config::Limits) {
        if std::mem::take(&mut self.waiting) {
            self.next = now + limits.ping_interval;
        }
    }

    /// The client took what had waited for it, so it is there. Its answer comes behind all of
    /// that, and may have come while nobody looked.
    pub(super) fn took(&mut self, now: Instant, limits: &config::Limits) {
        if self.waiting {
            self.next = now + limits.pong_timeout;
        }
    }
}
