//! The way in: messages wait in one line for each partition, and what waits together is
//! written together.
//!
//! One group is on its way at a time: a second one would only make both smaller, and each costs
//! the servers a round of their own. What has to go by itself holds up its own inbox, so that
//! that keeps its order, and nobody else.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::lanes::Lane;
use super::pace::Pace;
use super::shared::Shared;
use super::tries::WRITE;
use crate::ids::UserId;
use crate::store::{AppendError, Appended, Draft, Receipt};

/// Messages that wait to be looked at. Past it, who appends waits.
const LINE: usize = 256;

/// Messages that wait behind others of their inbox, or for the group to come back. Past it
/// the line is not looked at.
const WAITING: usize = 4096;

/// Inboxes with something on its way. Past it there is no further group.
const APART: usize = 4096;

/// Messages in a group. The servers take 1,000 at the most.
const GROUP: usize = 256;

/// Bytes of content in a group, at the most one message more: its leader holds them in memory.
const GROUP_BYTES: usize = 256 * 1024;

pub(super) type Reply = oneshot::Sender<Result<Appended, AppendError>>;

/// A message in line.
pub(super) struct Waiting {
    pub(super) draft: Draft,
    pub(super) since: Instant,
    pub(super) reply: Reply,
}

impl Waiting {
    /// Until when it is tried to write it. Counted from when it came, not from when it was its turn:
    /// else a node that ends while no server answers would wait once more for what is in line.
    pub(super) fn end(&self) -> Instant {
        self.since + WRITE
    }
}

/// The ways in, by partition.
pub(super) struct Lines(Vec<mpsc::Sender<Waiting>>);

impl Lines {
    /// Makes the lines; they end when this is dropped and what is in them is written.
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let lines = (0..shared.log.names.partitions()).map(|_| {
            let (line, drafts) = mpsc::channel(LINE);
            shared.tasks.spawn(Line::new(shared).run(drafts));
            line
        });
        Self(lines.collect())
    }

    /// The line of a partition.
    pub(super) fn of(&self, part: u64) -> Option<mpsc::Sender<Waiting>> {
        self.0.get(usize::try_from(part).ok()?).cloned()
    }
}

/// Puts a draft in line.
pub(super) async fn line_up(
    line: mpsc::Sender<Waiting>,
    draft: Draft,
) -> Result<Receipt<Appended>, AppendError> {
    let (reply, outcome) = oneshot::channel();
    let waiting = Waiting { draft, since: Instant::now(), reply };
    line.send(waiting).await.map_err(|_| AppendError::Unavailable)?;
    Ok(outcome.map(|outcome| outcome.unwrap_or(Err(AppendError::Unavailable))).boxed())
}

struct Line {
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    waiting: VecDeque<Waiting>,
    road: Arc<Road>,
    pace: Pace,
    /// Until when the next group waits for others.
    held: Option<Instant>,
}

/// What is on its way.
#[derive(Default)]
struct Road {
    taken: Mutex<Taken>,
    /// Something is done.
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    by_group: bool,
    /// When those in the last group were answered.
    answered: Option<Instant>,
    /// Inboxes with messages on their way.
    inboxes: HashSet<UserId>,
}

impl Road {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frees what it took once that is done, however it ended.
pub(super) struct OnItsWay {
    road: Arc<Road>,
    group: bool,
    inboxes: BTreeSet<UserId>,
}

impl OnItsWay {
    /// A group with all its inboxes.
    fn group(road: &Arc<Road>, inboxes: BTreeSet<UserId>) -> Self {
        let mut taken = road.taken();
        (taken.by_group, taken.answered) = (true, None);
        taken.inboxes.extend(&inboxes);
        Self { road: Arc::clone(road), group: true, inboxes }
    }

    /// All in the group are answered from now on: what comes later may come from them.
    pub(super) fn is_answered(&self) {
        self.road.taken().answered = Some(Instant::now());
    }

    /// What goes on when the group is done.
    fn part(&mut self, inbox: UserId) -> Self {
        self.inboxes.remove(&inbox);
        let inboxes = BTreeSet::from([inbox]);
        Self { road: Arc::clone(&self.road), group: false, inboxes }
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut taken = self.road.taken();
        taken.by_group &= !self.group;
        taken.inboxes.retain(|inbox| !self.inboxes.contains(inbox));
        self.road.freed.notify_one();
    }
}

impl Line {
    fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            lane: Arc::new(Lane::new(shared)),
            waiting: VecDeque::new(),
            road: Arc::default(),
            pace: Pace::default(),
            held: None,
        }
    }

    async fn run(mut self, mut drafts: mpsc::Receiver<Waiting>) {
        let mut open = true;
        while open || !self.waiting.is_empty() {
            if self.is_time()
                && let Some((group, on_its_way)) = self.next_group()
            {
                self.send_off(group, on_its_way);
            }
            let held = self.held;
            tokio::select! {
                () = sleep_until(held.unwrap_or_else(Instant::now)), if held.is_some() => {}
                () = self.road.freed.notified() => {}
                draft = drafts.recv(), if open && self.waiting.len() < WAITING => {
                    open = draft.is_some();
                    self.waiting.extend(draft);
                }
            }
            // Whatever is here by now goes along.
            while self.waiting.len() < WAITING
                && let Ok(draft) = drafts.try_recv()
            {
                self.waiting.push_back(draft);
            }
        }
    }

    /// Whether a group may go now.
    fn is_time(&mut self) -> bool {
        self.held = None;
        let taken = self.road.taken();
        if taken.by_group {
            return false;
        }
        let (waiting, now) = (self.waiting.len(), Instant::now());
        self.pace.is_back(now, GROUP, || {
            let answered = taken.answered.unwrap_or(now);
            self.waiting.iter().filter(|waiting| waiting.since <= answered).count()
        });
        let is_free = |waiting: &Waiting| !taken.inboxes.contains(&waiting.draft.to);
        if taken.inboxes.len() >= APART || !self.waiting.iter().any(is_free) {
            return false;
        }
        self.held = self.pace.until(waiting, now);
        self.held.is_none()
    }

    /// What can be written now, in the order in which it came; nothing where all has to wait.
    fn next_group(&mut self) -> Option<(Vec<Waiting>, OnItsWay)> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        let mut inboxes = BTreeSet::new();
        let mut later = VecDeque::new();
        let taken = self.road.taken();
        while group.len() < GROUP
            && bytes < GROUP_BYTES
            && let Some(waiting) = self.waiting.pop_front()
        {
            let inbox = waiting.draft.to;
            if taken.inboxes.contains(&inbox) {
                later.push_back(waiting);
                continue;
            }
            inboxes.insert(inbox);
            bytes += waiting.draft.content.len();
            group.push(waiting);
        }
        drop(taken);
        later.append(&mut self.waiting);
        self.waiting = later;
        if group.is_empty() {
            return None;
        }
        self.pace.went(group.len(), Instant::now());
        Some((group, OnItsWay::group(&self.road, inboxes)))
    }

    fn send_off(&mut self, group: Vec<Waiting>, mut on_its_way: OnItsWay) {
        let (lane, tasks) = (Arc::clone(&self.lane), self.shared.tasks.clone());
        self.shared.tasks.spawn(async move {
            for (inbox, apart) in lane.write_group(group, &on_its_way).await {
                let (lane, on_its_way) = (Arc::clone(&lane), on_its_way.part(inbox));
                tasks.spawn(async move {
                    let _on_its_way = on_its_way;
                    lane.one_by_one(apart).await;
                });
            }
            drop(on_its_way);
        });
    }
}
