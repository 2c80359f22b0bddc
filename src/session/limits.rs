//! What one connection may do: how fast, how often wrong, and how soon alike.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::time::Duration;

use governor::clock::DefaultClock;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

use crate::config;
use crate::digest::digest128;
use crate::ids::UserId;
use crate::protocol::frame::Send;
use crate::store::PacketDigest;

/// Control frames a second that nobody needs more of, and how many at once.
const CONTROL_RATE: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);
const CONTROL_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);

/// One clock for all: making one asks the processor what it is, which costs a
/// virtual machine a twentieth of a whole connection.
static CLOCK: LazyLock<DefaultClock> = LazyLock::new(DefaultClock::default);

/// A minute: the stretch in which violations are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// How fast frames may come.
#[derive(Debug)]
pub(super) struct Rates {
    frames: Option<DefaultDirectRateLimiter>,
    control: DefaultDirectRateLimiter,
}

impl Rates {
    pub(super) fn new(limits: &config::Limits) -> Self {
        let frames = NonZeroU32::new(limits.messages_per_second).map(|rate| {
            let burst = NonZeroU32::new(limits.message_burst).unwrap_or(rate);
            RateLimiter::direct_with_clock(
                Quota::per_second(rate).allow_burst(burst),
                CLOCK.clone(),
            )
        });
        let control = Quota::per_second(CONTROL_RATE).allow_burst(CONTROL_BURST);
        Self { frames, control: RateLimiter::direct_with_clock(control, CLOCK.clone()) }
    }

    pub(super) fn allow_frame(&self) -> bool {
        self.frames.as_ref().is_none_or(|frames| frames.check().is_ok())
    }

    pub(super) fn allow_control(&self) -> bool {
        self.control.check().is_ok()
    }
}

/// When the client's last faults were.
#[derive(Debug)]
pub(super) struct Violations {
    max: usize,
    times: VecDeque<Instant>,
}

impl Violations {
    pub(super) fn new(max: usize) -> Self {
        Self { max, times: VecDeque::new() }
    }

    /// Counts a fault; false when there were too many within a minute.
    pub(super) fn count(&mut self, now: Instant) -> bool {
        while self.times.front().is_some_and(|&first| now - first >= MINUTE) {
            self.times.pop_front();
        }
        self.times.push_back(now);
        self.times.len() <= self.max
    }
}

/// Tells a resend from a second message that happens to be equal.
///
/// The document's client resends after 6 seconds; an equal packet on the same
/// connection sooner than `resend_after` is a message of its own. So each packet
/// has a *turn* among the equal ones of its burst, and the turn is part of what a
/// resend must have in common with the first try: the second "好" of a second is
/// another message, and its resend is a resend of just that one, on this
/// connection or the next.
#[derive(Debug)]
pub(super) struct Turns {
    resend_after: Duration,
    bursts: HashMap<[u8; 16], Burst>,
    /// When bursts began, oldest first.
    begun: VecDeque<(Instant, [u8; 16])>,
}

#[derive(Debug)]
struct Burst {
    began: Instant,
    packets: u32,
    /// Turns that came to nothing: the next equal packets are tries of these again.
    failed: Vec<u32>,
}

/// A packet's turn among the equal ones of its burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    members: [u8; 16],
    began: Instant,
    number: u32,
}

impl Turn {
    /// What a resend of just this packet has in common with it.
    pub(super) fn digest(self) -> PacketDigest {
        // The first of a burst keeps the plain digest: nearly every packet is one.
        PacketDigest(if self.number == 0 {
            self.members
        } else {
            digest128(&[&self.members, &self.number.to_be_bytes()])
        })
    }
}

impl Turns {
    pub(super) fn new(resend_after: Duration) -> Self {
        Self { resend_after, bursts: HashMap::new(), begun: VecDeque::new() }
    }

    /// The turn of a packet that came in at `now`.
    pub(super) fn turn(&mut self, from: UserId, packet: &Send<'_>, now: Instant) -> Turn {
        self.forget(now);
        let members = digest128(&[
            &from.get().to_be_bytes(),
            &packet.to.get().to_be_bytes(),
            packet.content.as_bytes(),
            packet.timestamp.as_bytes(),
            packet.describe.as_bytes(),
        ]);
        let begun = &mut self.begun;
        let burst = self.bursts.entry(members).or_insert_with(|| {
            begun.push_back((now, members));
            Burst { began: now, packets: 0, failed: Vec::new() }
        });
        let number = burst.failed.pop().unwrap_or_else(|| {
            let number = burst.packets;
            burst.packets = number.saturating_add(1);
            number
        });
        Turn { members, began: burst.began, number }
    }

    /// Gives a turn back whose packet failed: the client sends the same packet again,
    /// and that is no further message but another try of this one.
    pub(super) fn give_back(&mut self, turn: Turn) {
        if let Some(burst) = self.bursts.get_mut(&turn.members)
            && burst.began == turn.began
        {
            burst.failed.push(turn.number);
            burst.failed.sort_unstable_by(|a, b| b.cmp(a));
        }
    }

    /// Ends the bursts that began too long ago.
    fn forget(&mut self, now: Instant) {
        while let Some(&(began, members)) = self.begun.front() {
            if now - began < self.resend_after {
                return;
            }
            self.begun.pop_front();
            if self.bursts.get(&members).is_some_and(|burst| burst.began == began) {
                self.bursts.remove(&members);
            }
        }
        // An idle connection keeps nothing.
        self.bursts = HashMap::new();
        self.begun = VecDeque::new();
    }
}

/// Who is told how often that the user is typing to them.
#[derive(Debug, Default)]
pub(super) struct Typing {
    last: HashMap<UserId, Instant>,
}

impl Typing {
    /// Once a second and peer.
    const EVERY: Duration = Duration::from_secs(1);

    /// Peers after whom those of long ago are forgotten.
    const TIDY_AT: usize = 16;

    /// Whether `peer` may be told now.
    pub(super) fn allow(&mut self, peer: UserId, now: Instant) -> bool {
        if self.last.len() >= Self::TIDY_AT {
            self.last.retain(|_, last| now - *last < Self::EVERY);
        }
        let recent = self.last.get(&peer).is_some_and(|last| now - *last < Self::EVERY);
        if !recent {
            self.last.insert(peer, now);
        }
        !recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    fn packet(content: &str) -> Send<'_> {
        Send {
            to: UserId::new(2).unwrap(),
            content: content.into(),
            timestamp: "1589790567".into(),
            describe: "".into(),
            client_id: None,
            resend: false,
        }
    }

    #[test]
    fn equal_packets_of_a_burst_differ_and_their_resends_match_them() {
        let me = UserId::new(1).unwrap();
        let start = Instant::now();
        let mut turns = Turns::new(Duration::from_secs(5));
        let first = turns.turn(me, &packet("好"), start).digest();
        let second = turns.turn(me, &packet("好"), at(start, 1.0)).digest();
        assert_ne!(first, second);
        assert_ne!(turns.turn(me, &packet("不"), at(start, 1.0)).digest(), first);
        assert_eq!(turns.turn(me, &packet("好"), at(start, 6.0)).digest(), first);
        assert_eq!(turns.turn(me, &packet("好"), at(start, 7.0)).digest(), second);

        let mut next_connection = Turns::new(Duration::from_secs(5));
        assert_eq!(next_connection.turn(me, &packet("好"), at(start, 7.0)).digest(), first);
        assert_eq!(next_connection.turn(me, &packet("好"), at(start, 7.0)).digest(), second);
    }

    #[test]
    fn nothing_is_kept_of_what_is_long_gone() {
        let me = UserId::new(1).unwrap();
        let start = Instant::now();
        let mut turns = Turns::new(Duration::from_secs(5));
        for i in 0..100 {
            turns.turn(me, &packet(&i.to_string()), start);
        }
        turns.turn(me, &packet("later"), at(start, 5.0));
        assert_eq!((turns.bursts.len(), turns.begun.len()), (1, 1));
    }

    #[test]
    fn violations_count_within_a_minute() {
        let start = Instant::now();
        let mut violations = Violations::new(2);
        assert!(violations.count(start));
        assert!(violations.count(at(start, 30.0)));
        assert!(violations.count(at(start, 61.0)));
        assert!(!violations.count(at(start, 62.0)));
    }
}
