//! A stream that is followed: how far it was taken, and what came before its turn.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::names::Names;
use super::raw::Raw;

/// How long what is missing may come after what lies behind it in the stream: two nodes that
/// wrote one after the other tell of it by ways of their own. Past it, it is read.
const PATIENCE: Duration = Duration::from_millis(100);

/// How much may wait for what is missing. Past it, that is read at once.
const EARLY: usize = 4096;

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
}

impl Followed {
    fn new(kind: Kind, name: String, filter: String) -> Self {
        let early = BTreeMap::new();
        Self { kind, name, filter, next: 1, behind: None, early, patience: None }
    }

    /// Whether what comes before its turn waits. Of what the servers tell, in the order of the
    /// stream, nothing does: what is missing is lost.
    pub(super) fn is_told_by_nodes(&self) -> bool {
        matches!(self.kind, Kind::Messages(_) | Kind::Reads(_))
    }

    /// Keeps something until its turn; until when at the most.
    pub(super) fn keep(&mut self, raw: Raw, now: Instant) -> Instant {
        self.early.insert(raw.seq, raw);
        if self.early.len() >= EARLY {
            self.patience = Some(now);
        }
        *self.patience.get_or_insert(now + PATIENCE)
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

    /// Waits once more as long for what is missing.
    pub(super) fn wait_again(&mut self, now: Instant) {
        self.patience = Some(now + PATIENCE);
    }

    /// Drops what was kept: it will be read, or is nothing that lies there.
    pub(super) fn drop_early(&mut self) {
        (self.early, self.patience) = (BTreeMap::new(), None);
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
        stream.drop_early();
        assert_eq!((stream.patience(), stream.due()), (None, None));
    }

    #[test]
    fn not_too_much_waits() {
        let (mut stream, now) = (messages(), Instant::now());
        for seq in 0..EARLY as u64 - 1 {
            assert_eq!(stream.keep(at(2 + seq), now), now + PATIENCE);
        }
        assert_eq!(stream.keep(at(1_000_000), now), now);
        assert_eq!(stream.patience(), Some(now));
    }
}
