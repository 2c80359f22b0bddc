//! The way in: messages wait in one line for each partition, and what waits together is
//! written together.
//!
//! Of one inbox, messages are on their way in one group at a time, so that they keep their
//! order; those of others go past them.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::lanes::Lane;
use super::shared::Shared;
use crate::ids::UserId;
use crate::store::{AppendError, Appended, Draft, Receipt};

/// Messages that wait to be looked at. Past it, who appends waits.
const LINE: usize = 256;

/// Messages that wait behind others of their inbox, or for a group to come back. Past it
/// the line is not looked at.
const WAITING: usize = 4096;

/// Groups of a partition on their way at once: more of them would only be smaller, and each
/// costs the servers a round of their own.
const ON_THEIR_WAY: usize = 1;

/// How long a group waits to be as large as the one before it.
const HOLD: Duration = Duration::from_millis(1);

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
    /// Inboxes with messages on their way.
    busy: HashSet<UserId>,
    on_their_way: usize,
    /// How large the last group was.
    last: usize,
    /// Until when the next one waits to be as large.
    held: Option<Instant>,
    back: mpsc::Sender<Vec<UserId>>,
    came_back: mpsc::Receiver<Vec<UserId>>,
}

/// Tells the line that a group is done, however it ended.
struct OnItsWay {
    inboxes: Vec<UserId>,
    back: mpsc::Sender<Vec<UserId>>,
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        // There is room for all that can be on their way. A line that has ended needs no word.
        let _ = self.back.try_send(std::mem::take(&mut self.inboxes));
    }
}

impl Line {
    fn new(shared: &Arc<Shared>) -> Self {
        let (back, came_back) = mpsc::channel(ON_THEIR_WAY);
        Self {
            shared: Arc::clone(shared),
            lane: Arc::new(Lane::new(shared)),
            waiting: VecDeque::new(),
            busy: HashSet::new(),
            on_their_way: 0,
            last: 0,
            held: None,
            back,
            came_back,
        }
    }

    async fn run(mut self, mut drafts: mpsc::Receiver<Waiting>) {
        let mut open = true;
        while open || !self.waiting.is_empty() || self.on_their_way > 0 {
            while self.is_time()
                && let Some(group) = self.next_group()
            {
                self.send_off(group);
            }
            let held = self.held;
            tokio::select! {
                () = sleep_until(held.unwrap_or_else(Instant::now)), if held.is_some() => {}
                Some(inboxes) = self.came_back.recv() => {
                    self.on_their_way -= 1;
                    self.busy.retain(|inbox| !inboxes.contains(inbox));
                }
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

    /// Whether a group may go now. While it is smaller than the last one it waits a moment
    /// for those who were just answered and send again: a small group costs the servers as
    /// much as a large one.
    fn is_time(&mut self) -> bool {
        if self.on_their_way >= ON_THEIR_WAY || self.waiting.is_empty() {
            self.held = None;
            return false;
        }
        let now = Instant::now();
        let is_time = self.waiting.len() >= self.last || self.held.is_some_and(|end| end <= now);
        self.held = match is_time {
            true => None,
            false => self.held.or(Some(now + HOLD)),
        };
        is_time
    }

    /// What can be written now, in the order in which it came; nothing where all has to wait.
    fn next_group(&mut self) -> Option<Vec<Waiting>> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        let mut ours = HashSet::new();
        let mut later = VecDeque::new();
        while let Some(waiting) = self.waiting.pop_front() {
            let inbox = waiting.draft.to;
            if !ours.contains(&inbox) && self.busy.contains(&inbox) {
                later.push_back(waiting);
                continue;
            }
            ours.insert(inbox);
            bytes += waiting.draft.content.len();
            group.push(waiting);
            if group.len() >= GROUP || bytes >= GROUP_BYTES {
                break;
            }
        }
        later.append(&mut self.waiting);
        self.waiting = later;
        self.busy.extend(ours);
        self.last = group.len();
        (!group.is_empty()).then_some(group)
    }

    fn send_off(&mut self, group: Vec<Waiting>) {
        let mut inboxes: Vec<UserId> = group.iter().map(|waiting| waiting.draft.to).collect();
        inboxes.sort_unstable();
        inboxes.dedup();
        self.on_their_way += 1;
        let under_way = OnItsWay { inboxes, back: self.back.clone() };
        let lane = Arc::clone(&self.lane);
        self.shared.tasks.spawn(async move {
            let _under_way = under_way;
            lane.write_group(group).await;
        });
    }
}
