//! From an export to a store: all of it, or nothing.

use std::collections::{HashMap, HashSet};
use std::io::BufRead;
use std::path::Path;

use super::fingerprint::Findings;
use super::gone::{Gone, Skipped};
use super::keys::{self, Pair};
use super::names::{self, Collector};
use super::read_state::{Island, ReadState, encode_floor, encode_islands};
use super::record::{self, CommitEntry, CommitRecord, MessageRecord, ResendMark};
use super::revoked::{self, Tally};
use super::staging::{FillError, Staging};
use crate::ids::{MessageId, Sender};
use crate::message::{ClientMsgId, StoredAt};
use crate::store::{self, Digest, Exported, LINES_VERSION, Line, Record};

/// Messages of a commit record at the most: as many as the writer puts into one.
const COMMIT: usize = 512;

/// How long a line may be, in bytes: the longest content, every byte of it escaped.
const LINE_MAX: u64 = 16 << 20;

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A line is not as it should be.
    #[error("line {line}: {what}; nothing was imported")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// It cannot be read.
    #[error("the lines cannot be read: {0}; nothing was imported")]
    Io(#[from] std::io::Error),
    /// The lines are right, but cannot become a store.
    #[error(transparent)]
    Fill(#[from] FillError),
}

/// Makes the store that was exported in `dir`, which must be empty or absent.
///
/// # Errors
/// [`ImportError`]; `dir` is then as empty as it was.
pub fn import(lines: impl BufRead, dir: &Path, cache_bytes: u64) -> Result<Findings, ImportError> {
    let mut lines = Lines { source: lines, number: 0, line: Vec::new() };
    // Looked at before the directory is: most mistakes are of the file.
    let (last_id, lapsed) = lines.first()?;
    let mut import = Import {
        staging: Staging::begin(dir, cache_bytes)?,
        pairs: HashMap::new(),
        revoked: HashSet::new(),
        commit: None,
        last: 0,
        lapsed,
        ordinals: 0,
    };
    let mut digest = Digest::default();
    loop {
        let Some(line) = lines.next()? else {
            return Err(lines.wrong("it is cut short: the last line has the kind `end`".to_owned()));
        };
        if matches!(line, Line::End { .. }) {
            let counted = digest.end();
            if line != counted {
                return Err(lines.wrong(format!(
                    "this is not the end of the lines before it, which would be {}",
                    counted.write()
                )));
            }
            break;
        }
        digest.add(&line, &line.write());
        let record = line.record().map_err(|what| lines.wrong(what))?;
        match import.take(record) {
            Ok(()) => {}
            Err(Refusal::Wrong(what)) => return Err(lines.wrong(what)),
            Err(Refusal::Fill(error)) => return Err(error.into()),
        }
    }
    if lines.next()?.is_some() {
        return Err(lines.wrong("something stands behind the last line".to_owned()));
    }
    let skipped = last_id.checked_sub(import.ordinals).filter(|_| last_id >= import.last);
    let Some(skipped) = skipped else {
        let what = format!("the first line says that ids end at {last_id}, but others need more");
        return Err(ImportError::Line { line: 1, what });
    };
    Ok(import.finish(Skipped { ids: skipped, up_to: last_id, lapsed }, &digest)?)
}

/// The lines of a file, counted.
struct Lines<R> {
    source: R,
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn wrong(&self, what: String) -> ImportError {
        ImportError::Line { line: self.number, what }
    }

    fn next(&mut self) -> Result<Option<Line>, ImportError> {
        use std::io::Read;
        self.number += 1;
        self.line.clear();
        let mut limited = self.source.by_ref().take(LINE_MAX);
        if limited.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        let text = std::str::from_utf8(&self.line)
            .map_err(|_| self.wrong("it is not UTF-8 text".to_owned()))?;
        let Some(text) = text.strip_suffix('\n') else {
            return Err(self.wrong("it is cut short: a line ends with a line feed".to_owned()));
        };
        Line::read(text).map(Some).map_err(|what| self.wrong(what))
    }

    /// The last id that was given, and the last one that has lapsed, as the first line says.
    fn first(&mut self) -> Result<(u64, u64), ImportError> {
        let what = "this is no export of imserver: it begins with a line of the kind `export`";
        let first = match self.next() {
            // Another kind of file, whatever is wrong with its first line.
            Err(ImportError::Line { .. }) if !self.line.starts_with(b"{") => None,
            read => read?,
        };
        let first = first.ok_or_else(|| self.wrong(what.to_owned()))?;
        let Line::Export { version, user_id, last_id, lapsed_up_to, .. } = first else {
            return Err(self.wrong(what.to_owned()));
        };
        if version != LINES_VERSION {
            let what = format!("it has version {version}, and this imserver knows {LINES_VERSION}");
            return Err(self.wrong(what));
        }
        if let Some(user) = user_id {
            return Err(self.wrong(format!(
                "these are the data of user {user} alone; a store is made of an export of everything"
            )));
        }
        let id = |digits: &str| match digits {
            "0" => Ok(0),
            digits => MessageId::parse(digits)
                .map(MessageId::get)
                .ok_or_else(|| self.wrong(format!("{digits:?} is no message id"))),
        };
        let (last_id, lapsed) = (id(&last_id)?, id(lapsed_up_to.as_deref().unwrap_or("0"))?);
        match lapsed <= last_id {
            true => Ok((last_id, lapsed)),
            false => Err(self.wrong(format!("{lapsed} has lapsed, but ids end at {last_id}"))),
        }
    }
}

/// A store under construction.
struct Import {
    staging: Staging,
    pairs: HashMap<Pair, State>,
    commit: Option<CommitRecord>,
    /// The rows of revocations.
    revoked: HashSet<Vec<u8>>,
    /// The last id that came by.
    last: u64,
    /// No message has an id up to this one.
    lapsed: u64,
    /// Ordinals of all pairs: ids that messages have, or had.
    ordinals: u64,
}

/// How far the messages of a pair go.
#[derive(Default)]
struct State {
    ordinal: u64,
    id: u64,
    /// One of them is there, and not gone.
    begun: bool,
    read: ReadState,
    names: Collector,
}

/// Why a record is not taken.
enum Refusal {
    Wrong(String),
    Fill(FillError),
}

impl From<FillError> for Refusal {
    fn from(error: FillError) -> Self {
        Self::Fill(error)
    }
}

impl Import {
    fn take(&mut self, record: Record) -> Result<(), Refusal> {
        match record {
            Record::Profile(user, profile) => {
                let key = keys::profile(user);
                Ok(self.staging.insert(&key, &record::encode_profile(&key, &profile))?)
            }
            Record::Revocation(revocation) => {
                let key = revoked::key(&revocation);
                self.staging.insert(&key, &revoked::encode(&key, &revocation))?;
                self.revoked.insert(key);
                Ok(())
            }
            Record::Gone(gone) => self.gone(gone),
            Record::Message(message) => self.message(message),
        }
    }

    fn gone(&mut self, gone: store::Gone) -> Result<(), Refusal> {
        let store::Gone { from, to, ordinal, id } = gone;
        let pair = Pair { to, from };
        if self.pairs.contains_key(&pair) {
            let what = format!(
                "what is gone from {} to {to} stands before its messages, once",
                from.get()
            );
            return Err(Refusal::Wrong(what));
        }
        if ordinal == 0 || ordinal > id.get() {
            return Err(Refusal::Wrong(format!("{ordinal} messages cannot end with the id {id}")));
        }
        self.add_ordinals(ordinal)?;
        let mut state = State { ordinal, id: id.get(), ..State::default() };
        state.read.floor.ordinal = ordinal;
        state.read.floor.id = id.get();
        self.pairs.insert(pair, state);
        self.last = self.last.max(id.get());
        let key = keys::gone(pair);
        let row = Gone { ordinal, id: id.get() };
        Ok(self.staging.insert(&key, &row.encode(&key))?)
    }

    fn add_ordinals(&mut self, count: u64) -> Result<(), Refusal> {
        let sum = self.ordinals.checked_add(count);
        self.ordinals = sum.ok_or(Refusal::Wrong("there cannot be so many messages".to_owned()))?;
        Ok(())
    }

    fn message(&mut self, exported: Exported) -> Result<(), Refusal> {
        let Exported { message, client_id, read } = exported;
        let pair = Pair::of(&message);
        let id = message.id.get();
        if id <= self.lapsed {
            let what = format!("ids up to {} have lapsed, and {id} is one", self.lapsed);
            return Err(Refusal::Wrong(what));
        }
        if let Some(before) =
            self.commit.as_ref().map(CommitRecord::last).filter(|&last| id <= last)
        {
            return Err(Refusal::Wrong(format!(
                "messages stand in the order of their ids, and {id} does not come behind {before}"
            )));
        }
        if self.pairs.get(&pair).is_none_or(|state| !state.begun) {
            self.begin(pair)?;
        }
        self.add_ordinals(1)?;
        let state = self.pairs.entry(pair).or_default();
        let expected = state.ordinal.saturating_add(1);
        if message.ordinal != expected || id <= state.id {
            return Err(Refusal::Wrong(format!(
                "the next message from {} to {} has the ordinal {expected} and an id above {}, \
                 not {} and {id}",
                pair.from.get(),
                pair.to,
                state.id,
                message.ordinal,
            )));
        }
        (state.ordinal, state.id, state.begun) = (message.ordinal, id, true);
        if read {
            let nothing = |_| Ok::<Vec<Island>, FillError>(Vec::new());
            state.read.mark(message.ordinal, id, nothing)?;
        }
        state.names.add(message.id, client_id.as_ref().map_or("", ClientMsgId::as_str));
        let full = names::full_with(message.ordinal);
        let names = full.and_then(|_| std::mem::take(&mut state.names).finish());
        if let Some((stretch, names)) = full.zip(names) {
            let key = keys::names(pair, stretch);
            self.staging.insert(&key, &names.encode(&key))?;
        }
        self.last = self.last.max(id);
        let (message_id, ordinal, stored_at) = (message.id, message.ordinal, message.stored_at);
        let draft = MessageRecord { message, client_id }.into_draft();
        let key = keys::message(pair, id);
        let value = record::encode_message(&key, &draft, ordinal, stored_at);
        self.staging.insert(&key, &value)?;
        let entry = CommitEntry { pair, ordinal, resend: ResendMark::of(&draft) };
        self.commit(message_id, stored_at, entry)
    }

    /// Adds a message to the commit that holds the one before it, where that can be.
    fn commit(
        &mut self,
        id: MessageId,
        stored_at: StoredAt,
        entry: CommitEntry,
    ) -> Result<(), Refusal> {
        if let Some(commit) = &mut self.commit
            && commit.last() + 1 == id.get()
            && commit.stored_at == stored_at
            && commit.entries.len() < COMMIT
        {
            commit.entries.push(Some(entry));
            return Ok(());
        }
        let commit = CommitRecord { first: id, stored_at, entries: vec![Some(entry)] };
        match self.commit.replace(commit) {
            Some(full) => Ok(self.write_commit(&full)?),
            None => Ok(()),
        }
    }

    fn write_commit(&mut self, commit: &CommitRecord) -> Result<(), FillError> {
        let key = keys::commit(commit.first.get());
        self.staging.insert(&key, &commit.encode(&key))
    }

    /// Lets the two find each other.
    fn begin(&mut self, pair: Pair) -> Result<(), FillError> {
        self.staging.insert(&keys::peer(pair.to, pair.from), &[])?;
        match pair.from {
            Sender::User(from) => self.staging.insert(&keys::peer(from, pair.to.into()), &[]),
            Sender::System => Ok(()),
        }
    }

    fn finish(mut self, skipped: Skipped, digest: &Digest) -> Result<Findings, FillError> {
        if let Some(commit) = self.commit.take() {
            self.write_commit(&commit)?;
        }
        let rows = self.revoked.len() as u64;
        if rows > 0 {
            let tally = Tally { rows, decrees: rows };
            self.staging.insert(keys::REVOCATIONS, &tally.encode())?;
        }
        for (pair, State { read, .. }) in std::mem::take(&mut self.pairs) {
            if read.floor.ordinal == 0 && read.floor.beyond == 0 {
                continue;
            }
            let key = keys::read(pair);
            self.staging.insert(&key, &encode_floor(&key, read.floor))?;
            for (chunk, islands) in read.chunks.iter().filter(|(_, islands)| !islands.is_empty()) {
                let key = keys::read_chunk(pair, *chunk);
                self.staging.insert(&key, &encode_islands(&key, *chunk, islands))?;
            }
        }
        if skipped.ids > 0 || skipped.lapsed > 0 {
            self.staging.insert(keys::SKIPPED, &skipped.encode(keys::SKIPPED))?;
        }
        self.staging.publish(|found| match found.digest == *digest {
            true => Ok(()),
            false => Err("what came out of the lines is not what they say".to_owned()),
        })
    }
}
