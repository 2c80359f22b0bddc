//! Senders and receivers, and the account they keep together.
//!
//! Everything runs on one thread, so the account needs no locks: a pair's
//! sender and receiver write into the same ledger.

mod loops;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::frame::Content;
use crate::ledger::{Ledger, Tally};
use crate::link::Link;
use crate::pacer::Pacer;

/// A drain without any progress for so long is over; the rest is lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it must stay quiet after the last delivery, for duplicates to show.
const QUIET: Duration = Duration::from_millis(300);

/// One sender and one recipient.
#[derive(Debug)]
pub struct Pair {
    /// The sending user.
    pub sender: u64,
    /// The receiving user.
    pub recipient: u64,
    /// What its messages say.
    pub content: Content,
    /// What became of them.
    pub ledger: RefCell<Ledger>,
    /// The recipient writes back: what reaches the sender's connection is counted where
    /// they listen.
    pub mutual: bool,
}

impl Pair {
    /// Pair number `index` of a run: user `2 * index + first` sends to the next.
    #[must_use]
    pub fn new(run: u32, index: usize, first: u64, bytes: u16) -> Rc<Self> {
        let sender = first + 2 * index as u64;
        Rc::new(Self {
            sender,
            recipient: sender + 1,
            content: Content::new(run, index, usize::from(bytes)),
            ledger: RefCell::default(),
            mutual: false,
        })
    }
}

/// What all pairs of a run share.
#[derive(Debug)]
pub struct Load {
    /// What all times are counted from.
    pub clock: Instant,
    /// Messages acknowledged so far.
    pub acknowledged: Cell<u64>,
    /// Messages delivered so far, each once.
    pub delivered: Cell<u64>,
    /// Frames received by anybody so far; stands still when all is quiet.
    frames: Cell<u64>,
    /// Messages sent within this span count for latencies.
    span: Cell<(u64, u64)>,
    /// Sent (or due) to success, in microseconds.
    pub to_success: RefCell<Histogram<u64>>,
    /// Sent (or due) to delivered, in microseconds.
    pub to_delivery: RefCell<Histogram<u64>>,
    /// Due to sent, in microseconds: how late the generator itself was.
    pub lateness: RefCell<Histogram<u64>>,
    /// Failures by code, and connections that broke by why.
    pub troubles: RefCell<BTreeMap<String, u64>>,
    stop_sending: Cell<bool>,
    finish: CancellationToken,
}

impl Load {
    /// An empty account.
    ///
    /// # Errors
    /// None in practice: the histograms' bounds are constants.
    pub fn new() -> Result<Rc<Self>> {
        // A microsecond to a minute, three digits.
        let histogram = || Histogram::new_with_bounds(1, 60_000_000, 3).map(RefCell::new);
        Ok(Rc::new(Self {
            clock: Instant::now(),
            acknowledged: Cell::new(0),
            delivered: Cell::new(0),
            frames: Cell::new(0),
            span: Cell::new((u64::MAX, u64::MAX)),
            to_success: histogram()?,
            to_delivery: histogram()?,
            lateness: histogram()?,
            troubles: RefCell::default(),
            stop_sending: Cell::new(false),
            finish: CancellationToken::new(),
        }))
    }

    /// Nanoseconds since the run began.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// From now on, what is sent counts for latencies.
    pub fn begin_span(&self) {
        self.span.set((self.now(), u64::MAX));
    }

    /// What is sent from now on does not count any more.
    pub fn end_span(&self) {
        self.span.set((self.span.get().0, self.now()));
    }

    /// Senders answer for what is in flight and send nothing new.
    pub fn stop_sending(&self) {
        self.stop_sending.set(true);
    }

    /// Runs a sender that keeps `window` messages in flight, `budget` in all.
    pub async fn send_closed(self: Rc<Self>, pair: Rc<Pair>, link: Link, window: u64, budget: u64) {
        self.note(self.closed_loop(&pair, link, window, budget).await);
    }

    /// Runs a sender that sends what `pacer` says is due for pair `index`.
    pub async fn send_open(
        self: Rc<Self>,
        pair: Rc<Pair>,
        link: Link,
        pacer: Arc<Pacer>,
        index: u64,
    ) {
        self.note(self.open_loop(&pair, link, &pacer, index).await);
    }

    /// Runs a receiver until the run is finished.
    pub async fn receive(self: Rc<Self>, pair: Rc<Pair>, link: Link, mark_read: bool) {
        self.note(self.receive_loop(&pair, link, mark_read).await);
    }

    /// Waits for what is still on its way, ends all connections and sums up.
    pub async fn finish(
        &self,
        pairs: &[Rc<Pair>],
        mut senders: JoinSet<()>,
        mut receivers: JoinSet<()>,
    ) -> Tally {
        self.stop_sending();
        self.wait_for(|| senders_idle(pairs)).await;
        let _ =
            tokio::time::timeout(PATIENCE, async { while senders.join_next().await.is_some() {} })
                .await;
        senders.shutdown().await;
        self.wait_for(|| pairs.iter().all(|pair| pair.ledger.borrow().owed() == 0)).await;
        self.wait_for_quiet().await;
        self.finish.cancel();
        let _ = tokio::time::timeout(PATIENCE, async {
            while receivers.join_next().await.is_some() {}
        })
        .await;
        receivers.shutdown().await;
        let mut tally = Tally::default();
        pairs.iter().for_each(|pair| tally.add(&pair.ledger.borrow().tally()));
        tally
    }

    fn record(&self, histogram: &RefCell<Histogram<u64>>, since: u64, now: u64) {
        let (from, to) = self.span.get();
        if (from..to).contains(&since) {
            let micros = now.saturating_sub(since).div_ceil(1000);
            histogram.borrow_mut().saturating_record(micros.max(1));
        }
    }

    fn count(&self, counter: &Cell<u64>) {
        counter.set(counter.get() + 1);
    }

    fn trouble(&self, what: String) {
        *self.troubles.borrow_mut().entry(what).or_default() += 1;
    }

    fn note(&self, ended: Result<()>) {
        if let Err(error) = ended {
            self.trouble(format!("{error:#}"));
        }
    }

    /// Waits until `done`, or until nothing has moved for [`PATIENCE`].
    async fn wait_for(&self, done: impl Fn() -> bool) {
        let mut last = (self.frames.get(), Instant::now());
        while !done() && last.1.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if self.frames.get() != last.0 {
                last = (self.frames.get(), Instant::now());
            }
        }
    }

    async fn wait_for_quiet(&self) {
        let begun = Instant::now();
        let mut last = (self.frames.get(), Instant::now());
        while last.1.elapsed() < QUIET && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if self.frames.get() != last.0 {
                last = (self.frames.get(), Instant::now());
            }
        }
    }
}

fn senders_idle(pairs: &[Rc<Pair>]) -> bool {
    pairs.iter().all(|pair| pair.ledger.borrow().in_flight() == 0)
}
