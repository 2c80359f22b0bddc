//! What is known by heart of inboxes, so that most who connect need no read: whether somebody
//! has one at all, how far it goes, and whether all of it was read.
//!
//! A read may wait for the disk, and so is handed to a thread of its own and back, which costs
//! more than all else that the server itself does for a new connection. Of those who come back
//! most have missed nothing, and that is answered from here.
//!
//! What stands here is certain, or it is not said. The writer enters what a commit changed
//! once it is durable and before anybody is told of it; of the time before, readers enter what
//! they found; and a walk through the rows enters all others who have an inbox, so that behind
//! it nobody who is not here has one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

// Seeded, since anybody may write to whomever they like.
use foldhash::HashMap;
use sled::Tree;

use super::keys;
use super::panics::caught;
use super::reader;
use super::shared::Shared;
use crate::ids::UserId;
use crate::store::{Cursor, Health, Page, Span, StoreError};

/// Inboxes of which something is kept: some 50 MB of them at the most. With more, all are
/// forgotten, and from then on only those count that are entered again.
pub(super) const KEPT: usize = if cfg!(test) { 64 } else { 1 << 20 };

/// Users whom the walk enters in one go.
const PIECE: usize = if cfg!(test) { 4 } else { 1024 };

/// How long the walk rests behind each piece: it takes a tenth of a processor at the most.
const REST: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 30 });

/// What is known of an inbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// A message in it, the newest that is known of; 0: none is.
    pub(super) head: u64,
    /// There never was a later one, gone or not.
    pub(super) is_head: bool,
    /// Nothing in it is unread.
    pub(super) is_read: bool,
}

/// What a commit leaves of an inbox that it changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) inbox: UserId,
    pub(super) state: State,
    /// Messages of it are gone with this commit.
    pub(super) is_removal: bool,
}

#[derive(Debug, Default)]
struct Table {
    states: HashMap<UserId, State>,
    /// Who is not in it has no inbox, and never had one.
    is_complete: bool,
    /// There were too many once: of who is not in it nothing is known.
    is_forgetful: bool,
    /// How often it was told that something is gone.
    removals: u64,
}

/// What is known of the inboxes of one open database.
#[derive(Debug, Default)]
pub(super) struct Inboxes {
    table: Mutex<Table>,
}

impl Inboxes {
    /// Enters what a commit changed. It is durable, and nobody was told of it yet.
    pub(super) fn enter(&self, changes: impl Iterator<Item = Change>) {
        let mut table = self.table();
        for Change { inbox, state, is_removal } in changes {
            table.make_room();
            table.removals += u64::from(is_removal);
            let known = table.states.entry(inbox).or_default();
            // The writer does not know by heart how far it goes where it has not added to it.
            let is_head = state.is_head || known.is_head && !is_removal;
            let head = known.head.max(state.head);
            *known = State { head, is_head, is_read: state.is_read };
        }
    }

    /// The page that a read of `span` would give, where it is certain that there is nothing
    /// in it. `head` was durable before this was called.
    pub(super) fn page(&self, inbox: UserId, span: Span, head: Cursor) -> Option<Page> {
        let table = self.table();
        let nothing = match table.states.get(&inbox) {
            None => table.is_complete,
            // What lies at or before the newest message is at or before the cursor.
            Some(state) if state.is_head && state.head <= span.after.get() => true,
            Some(state) => span.unread_only && state.is_read,
        };
        let end = span.until.map_or(head, |until| until.min(head));
        let up_to = end.max(span.after);
        nothing.then(|| Page { entries: Vec::new(), up_to, head, complete: true })
    }

    /// The newest message of an inbox, be it gone or not, where that is known for certain and
    /// it is not behind `head`.
    pub(super) fn head(&self, inbox: UserId, head: Cursor) -> Option<Cursor> {
        let table = self.table();
        match table.states.get(&inbox) {
            None => table.is_complete.then_some(Cursor::START),
            Some(state) => {
                let newest = Cursor(state.head);
                (state.is_head && newest <= head).then_some(newest)
            }
        }
    }

    /// How often something went: to be asked before a read whose outcome is to be entered.
    pub(super) fn removals(&self) -> u64 {
        self.table().removals
    }

    /// Enters that a read from the start up to `head` found nothing unread.
    pub(super) fn found_nothing_unread(&self, inbox: UserId, head: Cursor) {
        if let Some(state) = self.table().states.get_mut(&inbox) {
            // Else something came while it was read.
            state.is_read |= state.head <= head.get();
        }
    }

    /// Enters the newest message that a read found, before which there had been so many
    /// `removals`.
    pub(super) fn found_head(&self, inbox: UserId, newest: Cursor, removals: u64) {
        let mut table = self.table();
        if table.removals == removals
            && let Some(state) = table.states.get_mut(&inbox)
            && state.head <= newest.get()
        {
            *state = State { head: newest.get(), is_head: true, ..*state };
        }
    }

    /// Enters some users who have an inbox, or had one.
    fn there_are(&self, users: &[UserId]) {
        let mut table = self.table();
        for &user in users {
            table.make_room();
            // Of those of whom more is known it stays.
            table.states.entry(user).or_default();
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing under this lock can be left half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn make_room(&mut self) {
        if self.states.len() >= KEPT {
            let removals = self.removals;
            *self = Self { removals, is_forgetful: true, ..Self::default() };
        }
    }
}

/// Walks through all who have an inbox, or had one, until they are all entered. Ends early
/// where they are too many, or the database is closed or opened anew: what is not known is
/// read.
pub(super) fn walk(shared: &Shared) {
    match caught(|| walk_on(shared)) {
        Ok(()) | Err(StoreError::Unavailable) => {}
        Err(error) => shared.met(&error),
    }
}

fn walk_on(shared: &Shared) -> Result<(), StoreError> {
    let began = shared.suspensions();
    let (mut from, mut users) = (Some(0), Vec::with_capacity(PIECE));
    let mut entered = 0;
    while let Some(first) = from
        && shared.health() != Health::Closed
    {
        // Held for a piece only: whoever closes the database waits for it.
        let log = shared.log()?;
        if shared.suspensions() != began {
            return Ok(());
        }
        from = some_users(&log, first, &mut users)?;
        entered += users.len();
        if entered >= KEPT {
            return Ok(());
        }
        log.inboxes.there_are(&users);
        if from.is_none() {
            let mut table = log.inboxes.table();
            table.is_complete = !table.is_forgetful;
        }
        drop(log);
        users.clear();
        thread::sleep(REST);
    }
    Ok(())
}

/// Some of those from the id `from` on who have written to somebody or were written to, or of
/// whose inbox something is gone; says where to go on.
fn some_users(
    tree: &Tree,
    mut from: u64,
    users: &mut Vec<UserId>,
) -> Result<Option<u64>, StoreError> {
    let (mut talking, mut parted) = (reader::talking_from(tree, from)?, parted_from(tree, from)?);
    while users.len() < PIECE {
        let Some(user) = [talking, parted].into_iter().flatten().min() else { return Ok(None) };
        users.push(user);
        from = user.get() + 1;
        // Each is looked up again only once it was taken.
        if talking == Some(user) {
            talking = reader::talking_from(tree, from)?;
        }
        if parted == Some(user) {
            parted = parted_from(tree, from)?;
        }
    }
    Ok(Some(from))
}

/// The first user from `id` on of whose inbox something is gone.
fn parted_from(tree: &Tree, id: u64) -> Result<Option<UserId>, StoreError> {
    let Some(row) = tree.range(keys::gone_from(id)..=keys::gone_from(u64::MAX)).next() else {
        return Ok(None);
    };
    let (key, _) = row.map_err(reader::unreadable)?;
    let pair = keys::parse_gone(&key).ok_or_else(|| reader::not_whole("gone", &key))?;
    Ok(Some(pair.to))
}
