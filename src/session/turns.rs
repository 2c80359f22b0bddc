//! Which of several equal packets one is: a resend, or a message of its own.

use std::collections::BTreeSet;
use std::time::Duration;

// Seeded, since it is the client that chooses what goes into the table.
use foldhash::{HashMap, HashMapExt};
use tokio::time::Instant;

use crate::digest::digest128;
use crate::ids::UserId;
use crate::protocol::frame::Send;
use crate::store::PacketDigest;

/// Tells a resend from a second message that happens to be equal.
///
/// The document's client resends after 6 seconds; an equal packet on the same
/// connection sooner than `resend_after` is a message of its own. So each packet
/// has a *turn* among the equal ones of its burst, and the turn is part of what a
/// resend must have in common with the first try: the second "好" of a second is
/// another message, and its resend is a resend of just that one, on this
/// connection or the next.
///
/// A fast connection sends thousands of packets within that time, nearly all of them
/// the only ones of their burst. So a packet takes 16 bytes in one table, in which
/// nothing is looked for when it is over: the tables of two stretches are kept, each
/// as long as `resend_after`, and the older is dropped as a whole.
#[derive(Debug)]
pub(super) struct Turns {
    resend_after: Duration,
    /// Stretches so far: no two have the same number.
    stretches: u32,
    /// The stretch that is now and the one before. An idle connection keeps neither.
    kept: Option<Box<(Stretch, Option<Stretch>)>>,
}

/// The bursts that began within a `resend_after`. Of one packet there is one at the most:
/// the next can only begin when this one is over, and so the stretch.
#[derive(Debug)]
struct Stretch {
    number: u32,
    began: Instant,
    bursts: HashMap<Key, Burst>,
    /// Turns that came to nothing: the next equal packets are tries of these again.
    failed: BTreeSet<(Key, u32)>,
}

/// The first half of what packets of a burst have in common. Two bursts that share it would
/// count as one, which loses neither: each packet still has a digest of its own.
type Key = u64;

#[derive(Debug)]
struct Burst {
    /// Microseconds after its stretch: less than `resend_after`, which is below 6 seconds.
    began: u32,
    packets: u32,
}

/// A packet's turn among the equal ones of its burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    members: [u8; 16],
    stretch: u32,
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

fn key(members: &[u8; 16]) -> Key {
    let [a, b, c, d, e, f, g, h, ..] = *members;
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

impl Turns {
    pub(super) fn new(resend_after: Duration) -> Self {
        Self { resend_after, stretches: 0, kept: None }
    }

    /// The turn of a packet that came in at `now`.
    pub(super) fn turn(&mut self, from: UserId, packet: &Send<'_>, now: Instant) -> Turn {
        let members = digest128(&[
            &from.get().to_be_bytes(),
            &packet.to.get().to_be_bytes(),
            packet.content.as_bytes(),
            packet.timestamp.as_bytes(),
            packet.describe.as_bytes(),
        ]);
        let key = key(&members);
        self.forget(now);
        let (present, before) = &mut **self.kept.get_or_insert_with(|| {
            self.stretches = self.stretches.wrapping_add(1);
            Box::new((Stretch::begin(self.stretches, now, 0), None))
        });
        let within = self.resend_after;
        let before = before.as_mut().filter(|before| before.is_running(key, now, within));
        let stretch = match before {
            // Begun anew since: no burst of one packet runs in both.
            Some(before) => before,
            None => present,
        };
        Turn { members, stretch: stretch.number, number: stretch.turn(key, now) }
    }

    /// Gives a turn back whose packet failed: the client sends the same packet again,
    /// and that is no further message but another try of this one.
    pub(super) fn give_back(&mut self, turn: Turn) {
        let Some((present, before)) = self.kept.as_deref_mut() else { return };
        let stretch = std::iter::once(present).chain(before).find(|s| s.number == turn.stretch);
        if let Some(stretch) = stretch {
            stretch.failed.insert((key(&turn.members), turn.number));
        }
    }

    /// Drops the stretches whose bursts are all over.
    pub(super) fn forget(&mut self, now: Instant) {
        let Some((present, before)) = self.kept.as_deref_mut() else { return };
        let age = now.saturating_duration_since(present.began);
        if age >= self.resend_after * 2 {
            self.kept = None;
        } else if age >= self.resend_after {
            self.stretches = self.stretches.wrapping_add(1);
            let next = Stretch::begin(self.stretches, now, present.bursts.len());
            *before = Some(std::mem::replace(present, next));
        }
    }
}

impl Stretch {
    /// A stretch that will have about as many bursts as the last.
    fn begin(number: u32, now: Instant, bursts: usize) -> Self {
        let bursts = HashMap::with_capacity(bursts);
        Self { number, began: now, bursts, failed: BTreeSet::new() }
    }

    /// Whether the burst of a packet began here and is not over.
    fn is_running(&self, key: Key, now: Instant, resend_after: Duration) -> bool {
        self.bursts.get(&key).is_some_and(|burst| {
            let began = self.began + Duration::from_micros(burst.began.into());
            now.saturating_duration_since(began) < resend_after
        })
    }

    /// The turn of one more packet of a burst, which may begin with it.
    fn turn(&mut self, key: Key, now: Instant) -> u32 {
        let burst = self.bursts.entry(key).or_insert_with(|| {
            let began = now.saturating_duration_since(self.began).as_micros();
            Burst { began: u32::try_from(began).unwrap_or(u32::MAX), packets: 0 }
        });
        if let Some(again) = self.failed.range((key, 0)..=(key, u32::MAX)).next().copied() {
            self.failed.remove(&again);
            return again.1;
        }
        let number = burst.packets;
        burst.packets = number.saturating_add(1);
        number
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RESEND_AFTER: Duration = Duration::from_secs(5);

    fn at(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    fn me() -> UserId {
        UserId::new(1).unwrap()
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
        let start = Instant::now();
        let mut turns = Turns::new(RESEND_AFTER);
        let first = turns.turn(me(), &packet("好"), start).digest();
        let second = turns.turn(me(), &packet("好"), at(start, 1.0)).digest();
        assert_ne!(first, second);
        assert_ne!(turns.turn(me(), &packet("不"), at(start, 1.0)).digest(), first);
        assert_eq!(turns.turn(me(), &packet("好"), at(start, 6.0)).digest(), first);
        assert_eq!(turns.turn(me(), &packet("好"), at(start, 7.0)).digest(), second);

        let mut next_connection = Turns::new(RESEND_AFTER);
        assert_eq!(next_connection.turn(me(), &packet("好"), at(start, 7.0)).digest(), first);
        assert_eq!(next_connection.turn(me(), &packet("好"), at(start, 7.0)).digest(), second);
    }

    #[test]
    fn nothing_is_kept_of_what_is_long_gone() {
        let start = Instant::now();
        let mut turns = Turns::new(RESEND_AFTER);
        for i in 0..100 {
            turns.turn(me(), &packet(&i.to_string()), start);
        }
        let bursts = |turns: &Turns| {
            let (present, before) = turns.kept.as_deref().unwrap();
            (present.bursts.len(), before.as_ref().map(|before| before.bursts.len()))
        };
        turns.turn(me(), &packet("later"), at(start, 5.0));
        assert_eq!(bursts(&turns), (1, Some(100)));
        turns.turn(me(), &packet("later still"), at(start, 10.0));
        assert_eq!(bursts(&turns), (1, Some(1)));
        turns.forget(at(start, 20.0));
        assert!(turns.kept.is_none());
    }

    /// The same told in the plainest way: all bursts there ever were.
    #[derive(Default)]
    struct Plain {
        bursts: Vec<Plainly>,
    }

    struct Plainly {
        content: u8,
        began: Instant,
        packets: u32,
        failed: BTreeSet<u32>,
    }

    impl Plain {
        /// The burst of the packet, and its turn in it.
        fn turn(&mut self, content: u8, now: Instant) -> (usize, u32) {
            let running =
                |burst: &Plainly| burst.content == content && now - burst.began < RESEND_AFTER;
            let at = self.bursts.iter().position(running).unwrap_or_else(|| {
                let failed = BTreeSet::new();
                self.bursts.push(Plainly { content, began: now, packets: 0, failed });
                self.bursts.len() - 1
            });
            let burst = &mut self.bursts[at];
            let number = burst.failed.pop_first().unwrap_or_else(|| {
                burst.packets += 1;
                burst.packets - 1
            });
            (at, number)
        }
    }

    proptest! {
        #[test]
        fn turns_are_told_as_by_one_who_forgets_nothing(
            steps in prop::collection::vec((0..4_u8, 0..4_000_u64, prop::option::of(0..20_usize)), 1..60),
        ) {
            let mut now = Instant::now();
            let (mut turns, mut plain) = (Turns::new(RESEND_AFTER), Plain::default());
            let mut given = Vec::new();
            for (content, later, fails) in steps {
                // Some stretches of nothing, and many ends of bursts to the millisecond.
                now += Duration::from_millis(if later > 3_000 { 5_000 } else { later / 250 * 250 });
                let turn = turns.turn(me(), &packet(&content.to_string()), now);
                let (burst, number) = plain.turn(content, now);
                prop_assert_eq!(turn.number, number);
                given.push((turn, burst));
                if let Some(back) = fails.filter(|&back| back < given.len()) {
                    let (turn, burst) = given.remove(given.len() - 1 - back);
                    turns.give_back(turn);
                    plain.bursts[burst].failed.insert(turn.number);
                }
            }
        }
    }
}
