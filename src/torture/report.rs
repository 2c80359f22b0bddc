//! What came of it: counts, and the four that must be zero.

use std::fmt;
use std::time::Duration;

use super::ledger::Ledger;

/// Broken promises that are told in full; of more only the count.
const TOLD: usize = 20;

/// What is known after some rounds.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rounds begun.
    pub rounds: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Messages marked as read, for certain.
    pub marked: u64,
    /// Packets sent again.
    pub resent: u64,
    /// Connections made anew under load.
    pub reconnects: u64,
    /// The longest time from starting the server until it served.
    pub longest_start: Duration,
    /// Acknowledged or shown, and gone.
    pub lost: u64,
    /// Stored more than once, or again under another id.
    pub twice: u64,
    /// Messages out of order.
    pub disorder: u64,
    /// Messages marked as read that are unread again.
    pub unmarked: u64,
    told: Vec<String>,
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    Lost(String),
    Twice(String),
    Disorder(String),
    Unmarked(String),
}

impl Report {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.lost + self.twice + self.disorder + self.unmarked == 0
    }

    pub(super) fn count(&mut self, ledger: &Ledger) {
        self.acknowledged = ledger.acknowledged();
        self.marked = ledger.marked();
        self.resent = ledger.resent;
        self.reconnects = ledger.reconnects;
    }

    pub(super) fn note(&mut self, faults: &[Fault]) {
        for fault in faults {
            let (count, what) = match fault {
                Fault::Lost(what) => (&mut self.lost, what),
                Fault::Twice(what) => (&mut self.twice, what),
                Fault::Disorder(what) => (&mut self.disorder, what),
                Fault::Unmarked(what) => (&mut self.unmarked, what),
            };
            *count += 1;
            if self.told.len() < TOLD {
                self.told.push(format!("in round {}: {what}", self.rounds));
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rounds                  {}", self.rounds)?;
        writeln!(f, "messages acknowledged   {}", self.acknowledged)?;
        writeln!(f, "  sent again            {}", self.resent)?;
        writeln!(f, "  marked as read        {}", self.marked)?;
        writeln!(f, "reconnects under load   {}", self.reconnects)?;
        writeln!(f, "longest restart         {:.2} s", self.longest_start.as_secs_f64())?;
        writeln!(f, "acknowledged and lost   {}", self.lost)?;
        writeln!(f, "stored twice            {}", self.twice)?;
        writeln!(f, "order breaks            {}", self.disorder)?;
        write!(f, "read flags lost         {}", self.unmarked)?;
        for told in &self.told {
            write!(f, "\n{told}")?;
        }
        Ok(())
    }
}
