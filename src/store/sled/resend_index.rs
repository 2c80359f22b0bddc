//! The packets of the last minutes, so that a resend is known without a look at the disk.
//!
//! Generations instead of a queue of expiries: an entry costs a slot in a table
//! and nothing else, and a whole generation is dropped at once. Time is the
//! process's own, so that a jump of the clock neither forgets nor keeps.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

// Seeded, since it is the client that chooses what goes into the tables.
use foldhash::{HashMap, HashMapExt};

/// Generations a window is cut into: an entry lives at most an eighth too long.
const GENERATIONS: u32 = 8;

/// Digest → message id, for one kind of resend key.
#[derive(Debug)]
pub(super) struct ResendIndex {
    window: Duration,
    /// Newest first, each with the time it was begun.
    generations: VecDeque<(Instant, HashMap<[u8; 16], u64>)>,
}

impl ResendIndex {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, generations: VecDeque::new() }
    }

    /// For how long an entry is kept.
    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// The message that the packet became, if it did so within the window.
    pub(super) fn get(&self, digest: &[u8; 16]) -> Option<u64> {
        self.generations.iter().find_map(|(_, entries)| entries.get(digest).copied())
    }

    pub(super) fn insert(&mut self, digest: [u8; 16], id: u64, now: Instant) {
        let newest = self.generations.front();
        let full = newest.is_none_or(|(begun, _)| now - *begun >= self.window / GENERATIONS);
        if full {
            // About as large as the last, so that it need not grow while messages wait.
            let entries = newest.map_or(0, |(_, entries)| entries.len());
            self.generations.push_front((now, HashMap::with_capacity(entries)));
        }
        if let Some((_, entries)) = self.generations.front_mut() {
            entries.insert(digest, id);
        }
    }

    /// Drops what is older than the window.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.youngest_of_last().is_some_and(|at| now.duration_since(at) >= self.window) {
            self.generations.pop_back();
        }
    }

    /// No entry of the last generation is younger than this: it ended when the next began.
    fn youngest_of_last(&self) -> Option<Instant> {
        let last = self.generations.len().checked_sub(1)?;
        match last.checked_sub(1).and_then(|next| self.generations.get(next)) {
            Some((begun, _)) => Some(*begun),
            None => self.generations.back().map(|(begun, _)| *begun + self.window / GENERATIONS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lives_for_the_window_and_at_most_an_eighth_longer() {
        let window = Duration::from_secs(80);
        let start = Instant::now();
        let mut index = ResendIndex::new(window);
        for second in 0..200u8 {
            let now = start + Duration::from_secs(u64::from(second));
            index.expire(now);
            index.insert([second; 16], u64::from(second), now);
            for other in 0..=second {
                let age = second - other;
                let found = index.get(&[other; 16]);
                if age < 80 {
                    assert_eq!(found, Some(u64::from(other)));
                } else if age > 91 {
                    assert_eq!(found, None, "age {age}");
                }
            }
        }
        index.expire(start + Duration::from_secs(1000));
        assert!(index.generations.is_empty());
    }
}
