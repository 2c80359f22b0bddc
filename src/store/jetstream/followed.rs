//! A stream that is followed: how far it was taken, and what came before its turn.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

use super::names::Names;
use super::raw::Raw;

/// How long what is missing may come after what lies behind it in the stream: two nodes that
/// wrote one after the other tell of it by ways of their own. Past it, it is read.
const PATIENCE: Duration = Duration::from_millis(100);

/// The same for what was read: who reads it there finds what is newest of each pair, and of
/// receipts written over since nothing can be told any more.
const PATIENCE_FOR_READS: Duration = Duration::from_secs(1);

/// How long after a try in vain to read it. Nothing else is told while it is tried.
const LATER: Duration = Duration::from_secs(1);

/// How much may wait for what is missing. Past it, that is read at once.
const EARLY: usize = 4096;

/// How much waits at the most while that cannot be read: what comes then is read later.
const EARLY_MAX: usize = 4 * EARLY;

/// For how long the leader of a stream must have nothing behind what was taken, although it
/// reaches further, until it is believed: longer than one that was cut off answers, which takes
/// up to twice ten seconds to notice. Nobody waits for it: whatever is written behind it shows at
/// once what is there and what is gone.
const GONE: Duration = Duration::from_secs(30);

/// Which streams a follower follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    Revocations,
    Others,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Messages(u64),
    Reads(u64),
    Profiles,
    Revocations,
}

/// For how long there has been nothing at a place where something should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nothing {
    /// It is new.
    Now,
    /// Not for long enough to be believed.
    Still,
    /// For so long that it must be gone.
    ForLong,
}

/// One stream that is followed.
pub(super) struct Followed {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) filter: String,
    /// The next sequence that was not yet taken.
    pub(super) next: u64,
    /// Where `next` stood at the last look that found it behind, and how far the stream
    /// reached then.
    pub(super) behind: Option<(u64, u64)>,
    /// What lies behind something that has not come yet, and until when that is waited for.
    early: BTreeMap<u64, Raw>,
    patience: Option<Instant>,
    /// Where `next` stood when the leader had nothing there nor behind it for the first time, how
    /// far it reached, and when that was.
    nothing: Option<(u64, u64, Instant)>,
}

impl Followed {
    fn new(kind: Kind, name: String, filter: String) -> Self {
        let early = BTreeMap::new();
        let (behind, patience, nothing) = (None, None, None);
        Self { kind, name, filter, next: 1, behind, early, patience, nothing }
    }

    /// Whether what comes before its turn waits. Of what the servers tell, in the order of the
    /// stream, nothing does: what is missing is lost.
    pub(super) fn is_told_by_nodes(&self) -> bool {
        matches!(self.kind, Kind::Messages(_) | Kind::Reads(_))
    }

    /// Keeps something until its turn; until when at the most.
    pub(super) fn keep(&mut self, raw: Raw, now: Instant) -> Instant {
        if self.early.len() < EARLY_MAX {
            self.early.insert(raw.seq, raw);
        }
        if self.early.len() == EARLY {
            self.patience = Some(now);
        }
        let patience = match self.kind {
            Kind::Reads(_) => PATIENCE_FOR_READS,
            Kind::Messages(_) | Kind::Profiles | Kind::Revocations => PATIENCE,
        };
        *self.patience.get_or_insert(now + patience)
    }

    /// What was kept and is next.
    pub(super) fn due(&mut self) -> Option<Raw> {
        while let Some(first) = self.early.first_entry() {
            if *first.key() > self.next {
                return None;
            }
            let (seq, raw) = first.remove_entry();
            if seq == self.next {
                return Some(raw);
            }
        }
        self.patience = None;
        None
    }

    /// Until when what is missing is waited for; nothing where nothing is.
    pub(super) fn patience(&self) -> Option<Instant> {
        self.patience.filter(|_| !self.early.is_empty())
    }

    /// Waits once more for what is missing, after a try in vain to read it.
    pub(super) fn wait_again(&mut self, now: Instant) {
        self.patience = self.patience().map(|_| now + LATER);
    }

    /// The last place of what is kept.
    pub(super) fn last_early(&self) -> Option<u64> {
        self.early.keys().next_back().copied()
    }

    /// Drops what was kept behind the end of the stream: it is nothing that lies there.
    pub(super) fn drop_early_behind(&mut self, last: u64) {
        self.early.retain(|seq, _| *seq <= last);
        self.patience = self.patience();
    }

    /// The places that are to be read first where everything up to `until` is to be taken; none
    /// where that was taken, or is due.
    pub(super) fn missing(&self, until: u64) -> Option<RangeInclusive<u64>> {
        let first = self.early.keys().next().copied();
        let until = first.map_or(until, |first| until.min(first.saturating_sub(1)));
        (self.next <= until).then_some(self.next..=until)
    }

    /// Takes note that the leader has nothing from the next place on, although it reaches up
    /// to `until` at the least.
    pub(super) fn has_nothing(&mut self, until: u64, now: Instant) -> Nothing {
        match self.nothing {
            Some((next, far, since)) if next == self.next && until <= far => {
                if now < since + GONE {
                    Nothing::Still
                } else {
                    Nothing::ForLong
                }
            }
            _ => {
                self.nothing = Some((self.next, until, now));
                Nothing::Now
            }
        }
    }
}

/// The streams of a share, messages before the marks on them.
pub(super) fn followed(names: &Names, share: Share) -> Vec<Followed> {
    if share == Share::Revocations {
        return vec![Followed::new(
            Kind::Revocations,
            names.revocations(),
            names.all_revocations(),
        )];
    }
    let mut streams = Vec::new();
    for part in 0..names.partitions() {
        let kind = Kind::Messages(part);
        streams.push(Followed::new(kind, names.messages(part), names.all_messages(part)));
        let kind = Kind::Reads(part);
        streams.push(Followed::new(kind, names.reads(part), names.all_reads(part)));
    }
    streams.push(Followed::new(Kind::Profiles, names.profiles(), names.all_profiles()));
    streams
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn at(seq: u64) -> Raw {
        Raw { subject: String::new(), seq, payload: Bytes::new() }
    }

    fn messages() -> Followed {
        followed(&Names::new("im", 1), Share::Others).remove(0)
    }

    #[test]
    fn what_comes_early_waits_for_its_turn() {
        let (mut stream, now) = (messages(), Instant::now());
        let later = now + PATIENCE / 2;
        assert_eq!(stream.patience(), None);
        assert_eq!(stream.keep(at(4), now), now + PATIENCE);
        assert_eq!(stream.keep(at(3), later), now + PATIENCE, "as long as the first of them");
        assert_eq!(stream.due(), None);
        stream.next = 3;
        assert_eq!(stream.due(), Some(at(3)));
        // Somebody else has read the next one meanwhile.
        stream.next = 5;
        assert_eq!(stream.due(), None);
        assert_eq!(stream.patience(), None);
        assert_eq!(stream.keep(at(7), later), later + PATIENCE, "anew");
        stream.drop_early_behind(6);
        assert_eq!((stream.patience(), stream.due()), (None, None));
    }

    #[test]
    fn what_was_read_is_waited_for_longer() {
        let (mut stream, now) =
            (followed(&Names::new("im", 1), Share::Others).remove(1), Instant::now());
        assert_eq!(stream.kind, Kind::Reads(0));
        assert_eq!(stream.keep(at(4), now), now + PATIENCE_FOR_READS);
    }

    #[test]
    fn what_came_early_is_not_read() {
        let (mut stream, now) = (messages(), Instant::now());
        stream.next = 3;
        assert_eq!(stream.missing(7), Some(3..=7));
        for seq in [5, 6, 9] {
            stream.keep(at(seq), now);
        }
        assert_eq!(stream.missing(3), Some(3..=3));
        assert_eq!(stream.missing(9), Some(3..=4));
        stream.next = 5;
        assert_eq!(stream.missing(9), None, "it is due first");
        assert_eq!((stream.due(), stream.due()), (Some(at(5)), None));
        stream.next = 6;
        assert_eq!(stream.due(), Some(at(6)));
        stream.next = 7;
        stream.drop_early_behind(8);
        assert_eq!(stream.missing(8), Some(7..=8));
        stream.next = 9;
        assert_eq!(stream.missing(8), None);
    }

    #[test]
    fn nothing_is_believed_once_it_was_said_for_long() {
        let (mut stream, now) = (messages(), Instant::now());
        assert_eq!(stream.has_nothing(5, now), Nothing::Now);
        assert_eq!(stream.has_nothing(5, now + GONE / 2), Nothing::Still);
        assert_eq!(stream.has_nothing(4, now + GONE), Nothing::ForLong);
        assert_eq!(stream.has_nothing(6, now + GONE), Nothing::Now, "that was written since");
        // Something was there after all: what is behind that is another matter.
        stream.next = 2;
        assert_eq!(stream.has_nothing(6, now + 2 * GONE), Nothing::Now);
        assert_eq!(stream.has_nothing(6, now + 3 * GONE), Nothing::ForLong);
    }

    #[test]
    fn not_too_much_waits() {
        let (mut stream, now) = (messages(), Instant::now());
        for seq in 0..EARLY as u64 - 1 {
            assert_eq!(stream.keep(at(2 + seq), now), now + PATIENCE);
        }
        assert_eq!(stream.keep(at(1_000_000), now), now);
        assert_eq!(stream.patience(), Some(now));
        for seq in 0..EARLY_MAX as u64 {
            stream.keep(at(2_000_000 + seq), now);
        }
        assert_eq!(stream.early.len(), EARLY_MAX);
    }
}
