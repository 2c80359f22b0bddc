//! Which of several equal packets one is: a resend, or a message of its own.

use std::collections::{BTreeSet, VecDeque};
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
/// Nothing that comes later than `resend_after` behind the first is a message of its own, on
/// this connection: a later burst has no more turns than the first, and what comes beyond them is
/// one of them once more.
///
/// A fast connection sends thousands of packets within that time, nearly all of them
/// the only ones of their burst. So a packet takes 16 bytes in one table, in which
/// nothing is looked for when it is over: the tables of two stretches are kept, each
/// as long as `resend_after`, and the older leaves as a whole.
#[derive(Debug)]
pub(super) struct Turns {
    /// In milliseconds, as are all spans here: a session is kept small.
    resend_after: u32,
    /// How long an equal packet is a resend at all.
    window: u32,
    /// Stretches so far: no two have the same number.
    stretches: u32,
    /// An idle connection keeps nothing.
    kept: Option<Box<Kept>>,
}

/// What is known of the packets of the last while.
#[derive(Debug)]
struct Kept {
    /// The stretch that is now.
    present: Stretch,
    /// The one before, in which bursts may still run.
    before: Option<Stretch>,
    past: Past,
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

/// How many packets the bursts had that are over, of the last `window`.
#[derive(Debug, Default)]
struct Past {
    /// The oldest first.
    stretches: VecDeque<Over>,
    bursts: usize,
}

/// A stretch whose bursts are all over: how many packets each had, by key.
#[derive(Debug)]
struct Over {
    began: Instant,
    bursts: Box<[(Key, u32)]>,
}

/// Bursts that are over and still known of one connection. More than the rate limit lets
/// through: who sends faster may, as on another connection, have an odd packet taken for new.
const PAST: usize = 4096;

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

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

impl Turns {
    /// By `limits.resend_after` and `store.resend_window`.
    pub(super) fn new(resend_after: Duration, window: Duration) -> Self {
        let (resend_after, window) = (millis(resend_after), millis(window));
        Self { resend_after, window, stretches: 0, kept: None }
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
        let within = self.resend_after();
        let kept = self.kept.get_or_insert_with(|| {
            self.stretches = self.stretches.wrapping_add(1);
            let present = Stretch::begin(self.stretches, now, 0);
            Box::new(Kept { present, before: None, past: Past::default() })
        });
        let (stretch, number) = kept.turn(key, now, within);
        Turn { members, stretch, number }
    }

    /// Gives a turn back whose packet failed: the client sends the same packet again,
    /// and that is no further message but another try of this one.
    pub(super) fn give_back(&mut self, turn: Turn) {
        let Some(kept) = self.kept.as_deref_mut() else { return };
        let stretches = std::iter::once(&mut kept.present).chain(&mut kept.before);
        if let Some(stretch) = stretches.into_iter().find(|s| s.number == turn.stretch) {
            stretch.failed.insert((key(&turn.members), turn.number));
        }
    }

    /// Begins a new stretch where it is time, and drops what nobody asks for any more.
    pub(super) fn forget(&mut self, now: Instant) {
        let after = self.resend_after();
        let window = Duration::from_millis(self.window.into());
        let Some(kept) = self.kept.as_deref_mut() else { return };
        let age = now.saturating_duration_since(kept.present.began);
        if age >= after {
            self.stretches = self.stretches.wrapping_add(1);
            let next = Stretch::begin(self.stretches, now, kept.present.bursts.len());
            let over = std::mem::replace(&mut kept.present, next);
            let over = match age >= after * 2 {
                true => [kept.before.take(), Some(over)],
                false => [kept.before.replace(over), None],
            };
            over.into_iter().flatten().for_each(|over| kept.past.add(over));
        }
        kept.past.forget(now, window);
        if kept.is_empty() {
            self.kept = None;
        }
    }

    fn resend_after(&self) -> Duration {
        Duration::from_millis(self.resend_after.into())
    }
}

impl Kept {
    /// The stretch in which the burst of a packet began, and the packet's turn.
    fn turn(&mut self, key: Key, now: Instant, resend_after: Duration) -> (u32, u32) {
        // Begun anew since: no burst of one packet runs in both.
        let running = self.before.as_mut().filter(|s| s.is_running(key, now, resend_after));
        let is_before = running.is_some();
        let stretch = running.unwrap_or(&mut self.present);
        let (at, number) = (stretch.number, stretch.turn(key, now));
        // The first of its burst is the first again, whatever there was.
        if number == 0 {
            return (at, 0);
        }
        let in_the_last = || {
            let before = self.before.as_ref().filter(|_| !is_before)?;
            before.bursts.get(&key).map(|burst| burst.packets)
        };
        let first = self.past.first(key).or_else(in_the_last);
        (at, first.and_then(|packets| number.checked_rem(packets)).unwrap_or(number))
    }

    fn is_empty(&self) -> bool {
        let stretches = std::iter::once(&self.present).chain(&self.before);
        self.past.stretches.is_empty() && stretches.into_iter().all(|s| s.bursts.is_empty())
    }
}

impl Past {
    /// Takes in a stretch whose bursts are all over.
    fn add(&mut self, over: Stretch) {
        if over.bursts.is_empty() || over.bursts.len() > PAST {
            return;
        }
        let mut bursts: Box<[_]> =
            over.bursts.iter().map(|(key, burst)| (*key, burst.packets)).collect();
        bursts.sort_unstable();
        self.bursts += bursts.len();
        self.stretches.push_back(Over { began: over.began, bursts });
        while self.bursts > PAST {
            self.drop_oldest();
        }
    }

    /// How many packets the first burst had that is still known.
    fn first(&self, key: Key) -> Option<u32> {
        self.stretches.iter().find_map(|Over { bursts, .. }| {
            let found = bursts.binary_search_by_key(&key, |(key, _)| *key).ok()?;
            bursts.get(found).map(|(_, packets)| *packets)
        })
    }

    /// Drops stretches as old as `window`, which is how long the store knows a packet. Kept for
    /// longer than their first packets are known, they would make a resend of a new message.
    fn forget(&mut self, now: Instant, window: Duration) {
        while let Some(oldest) = self.stretches.front()
            && now.saturating_duration_since(oldest.began) >= window
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(Over { bursts, .. }) = self.stretches.pop_front() {
            self.bursts = self.bursts.saturating_sub(bursts.len());
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
    const WINDOW: Duration = Duration::from_secs(120);

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
        let mut turns = Turns::new(RESEND_AFTER, WINDOW);
        let first = turns.turn(me(), &packet("好"), start).digest();
        let second = turns.turn(me(), &packet("好"), at(start, 1.0)).digest();
        assert_ne!(first, second);
        assert_ne!(turns.turn(me(), &packet("不"), at(start, 1.0)).digest(), first);
        assert_eq!(turns.turn(me(), &packet("好"), at(start, 6.0)).digest(), first);
        assert_eq!(turns.turn(me(), &packet("好"), at(start, 7.0)).digest(), second);

        let mut next_connection = Turns::new(RESEND_AFTER, WINDOW);
        assert_eq!(next_connection.turn(me(), &packet("好"), at(start, 7.0)).digest(), first);
        assert_eq!(next_connection.turn(me(), &packet("好"), at(start, 7.0)).digest(), second);
    }

    #[test]
    fn what_comes_later_is_no_message_of_its_own() {
        let start = Instant::now();
        let mut turns = Turns::new(RESEND_AFTER, WINDOW);
        let mut number =
            |content: &str, seconds| turns.turn(me(), &packet(content), at(start, seconds)).number;
        assert_eq!([number("好", 0.0), number("不", 0.0), number("不", 1.0)], [0, 0, 1]);
        // Resent once more than it need be, soon, and with others between.
        assert_eq!([number("好", 6.0), number("好", 6.5)], [0, 0]);
        assert_eq!([0.0, 0.1, 0.2, 0.3].map(|later| number("不", 7.0 + later)), [0, 1, 0, 1]);
        assert_eq!([0.0, 0.1, 0.2].map(|later| number("不", 60.0 + later)), [0, 1, 0]);
        // When the first ones are forgotten everywhere, they begin anew.
        assert_eq!([number("好", 300.0), number("好", 300.5)], [0, 1]);
    }

    #[test]
    fn nothing_is_kept_of_what_is_long_gone() {
        let start = Instant::now();
        let mut turns = Turns::new(RESEND_AFTER, WINDOW);
        for i in 0..100 {
            turns.turn(me(), &packet(&i.to_string()), start);
        }
        let bursts = |turns: &Turns| {
            let kept = turns.kept.as_deref().unwrap();
            let before = kept.before.as_ref().map(|before| before.bursts.len());
            (kept.present.bursts.len(), before, kept.past.bursts)
        };
        turns.turn(me(), &packet("later"), at(start, 5.0));
        assert_eq!(bursts(&turns), (1, Some(100), 0));
        turns.turn(me(), &packet("later still"), at(start, 10.0));
        assert_eq!(bursts(&turns), (1, Some(1), 100));
        turns.forget(at(start, 20.0));
        assert_eq!(bursts(&turns), (0, None, 102));
        turns.forget(at(start, 120.0));
        assert_eq!(bursts(&turns), (0, None, 2));
        turns.forget(at(start, 130.0));
        assert!(turns.kept.is_none());
    }

    #[test]
    fn who_sends_much_takes_no_more_room() {
        let start = Instant::now();
        let mut turns = Turns::new(RESEND_AFTER, WINDOW);
        for second in 0..100 {
            for i in 0..300 {
                let content = format!("{second} {i}");
                turns.turn(me(), &packet(&content), at(start, second.into()));
            }
        }
        let past = &turns.kept.as_deref().unwrap().past;
        assert!((PAST / 2..=PAST).contains(&past.bursts), "{}", past.bursts);
        let there: usize = past.stretches.iter().map(|over| over.bursts.len()).sum();
        assert_eq!(there, past.bursts);
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
            let first = self.bursts.iter().position(|burst| burst.content == content).unwrap();
            let first = Some(&self.bursts[first]).filter(|_| first != at).map(|b| b.packets);
            let burst = &mut self.bursts[at];
            let number = burst.failed.pop_first().unwrap_or_else(|| {
                burst.packets += 1;
                burst.packets - 1
            });
            (at, number % first.unwrap_or(u32::MAX))
        }
    }

    proptest! {
        #[test]
        fn turns_are_told_as_by_one_who_forgets_nothing(
            steps in prop::collection::vec((0..4_u8, 0..4_000_u64, prop::option::of(0..20_usize)), 1..60),
        ) {
            let mut now = Instant::now();
            let mut turns = Turns::new(RESEND_AFTER, WINDOW * 60);
            let mut plain = Plain::default();
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
