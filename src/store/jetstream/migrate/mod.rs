//! Moving house: a store of one machine, as it lies in its folder, into the streams.
//!
//! The folder is only read. The streams are marked as *moving* when they are made, which
//! nothing serves, and as whole once both sides were read and agree, pair by pair. In
//! between every step can be cut short and made again: see `load.rs`.
//!
//! The audit log comes along, line by line (`acts.rs`).
//!
//! With one partition every message keeps its id. With several the id says where a message
//! lies, so that it gets a new one, larger than all before; its old one stays with it.

mod acts;
mod compare;
mod holdings;
mod load;
mod marks;
mod moving;
mod plan;
mod seats;
mod target;

use std::sync::Arc;
use std::time::Duration;

pub use self::acts::{Acts, Lines as ActLines};
use self::plan::Plan;
use self::target::Target;
pub(super) use self::target::names;
use super::OpenError;
use crate::config;
use crate::store::StoreError;
use crate::store::sled::Departure;

/// How far a move has come.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// The folder is read.
    Reading {
        /// Messages that were.
        done: u64,
        /// Messages in it.
        all: u64,
    },
    /// Profiles and messages are written.
    Moving {
        /// Messages that are there.
        done: u64,
        /// How many will be.
        all: u64,
    },
    /// What was read is written, pair by pair.
    Marking {
        /// Pairs that are there.
        done: u64,
        /// How many will be.
        all: u64,
    },
    /// The streams are read and compared with the folder.
    Comparing {
        /// Messages that were.
        done: u64,
        /// How many there must be.
        all: u64,
    },
    /// A stream takes nothing at present.
    Waiting {
        /// Its name.
        stream: &'a str,
        /// For how long.
        waited: Duration,
    },
}

/// Who is told how far it has come.
pub type Watch<'a> = dyn Fn(Step<'_>) + Send + Sync + 'a;

/// What a comparison came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Messages in the folder.
    pub messages: u64,
    /// Pairs of sender and recipient in it.
    pub pairs: u64,
    /// Lines of its audit log.
    pub acts: u64,
    /// The digest over all that it holds but these, which an export of it has too.
    pub digest: String,
    /// In what the streams differ, each in a sentence that names the pair.
    pub differences: Vec<String>,
}

/// Why a store was not moved, or could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The servers or the streams are not as they must be.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is something else in the streams.
    #[error("{0}")]
    Occupied(String),
    /// A stream took nothing for too long.
    #[error("the stream {stream} takes nothing for a minute: {why}")]
    Stalled {
        /// Its name.
        stream: String,
        /// What was last heard.
        why: String,
    },
    /// One of the two sides cannot be read.
    #[error("it cannot go on: {0}")]
    Store(#[from] StoreError),
    /// The audit log of the folder is not as it must be.
    #[error("the audit log cannot be moved: {0}")]
    Acts(String),
    /// Both sides were read, and they do not agree.
    #[error("the folder and the streams do not agree")]
    Differs(Comparison),
}

/// Sees whether the servers and the streams are fit for a move, or for a comparison.
///
/// # Errors
/// What is in the way. Nothing was changed.
pub async fn look(config: &config::Store, only_compare: bool) -> Result<(), MigrateError> {
    let target = Target::connect(config).await?;
    match only_compare {
        true => target.find(config).await.map(drop),
        false => target.may_be_moved_into(config).await,
    }
}

/// Moves a store into the streams that `config` names, which are made, and the audit log that
/// `acts` gives, or goes on with a move that was cut short.
///
/// # Errors
/// What is in the way. Whatever was moved stays there: the next call goes on with it.
pub async fn migrate(
    config: &config::Store,
    from: Departure,
    acts: &Acts<'_>,
    watch: &Watch<'_>,
) -> Result<Comparison, MigrateError> {
    let count = acts::count(acts)?;
    let target = Target::connect(config).await?;
    target.may_be_moved_into(config).await?;
    let from = Arc::new(from);
    let plan = Plan::of(&from, watch)?;
    let target = target.prepare(config, &plan).await?;
    moving::run(&target, config, &from, &plan, watch).await?;
    acts::run(&target, acts, watch).await?;
    let mut comparison = compare::run(&target, &plan, watch).await?;
    comparison.acts = count;
    comparison.differences.extend(acts::differences(&target, acts, false).await?);
    if !comparison.differences.is_empty() {
        return Err(MigrateError::Differs(comparison));
    }
    target.open(config).await?;
    Ok(comparison)
}

/// Compares a store, and its audit log, with the streams into which they were moved.
///
/// # Errors
/// What is in the way, and [`MigrateError::Differs`].
pub async fn compare(
    config: &config::Store,
    from: Departure,
    acts: &Acts<'_>,
    watch: &Watch<'_>,
) -> Result<Comparison, MigrateError> {
    let count = acts::count(acts)?;
    let target = Target::connect(config).await?;
    let target = target.find(config).await?;
    let plan = Plan::of(&from, watch)?;
    let mut comparison = compare::run(&target, &plan, watch).await?;
    comparison.acts = count;
    comparison.differences.extend(acts::differences(&target, acts, true).await?);
    match comparison.differences.is_empty() {
        true => Ok(comparison),
        false => Err(MigrateError::Differs(comparison)),
    }
}

/// Removes the streams of a move that has not come to its end, and says how many they were.
///
/// # Errors
/// [`MigrateError::Occupied`] where they are of none, and what else is in the way.
pub async fn abandon(config: &config::Store) -> Result<usize, MigrateError> {
    Target::connect(config).await?.abandon(config).await
}
