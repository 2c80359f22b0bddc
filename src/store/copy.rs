//! All that a store holds, on its way out: as a copy of it, or as records.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Record, StoreError};

/// A copy of a store under way.
#[derive(Debug)]
pub struct Backup {
    /// How many messages there are, for people who wait.
    pub messages: u64,
    /// Its bytes, in order; who takes none for a minute loses it. It is complete only where
    /// the bytes say so themselves: a process can end in the middle.
    pub chunks: mpsc::Receiver<Result<Bytes, StoreError>>,
}

/// What a store holds, on its way out.
#[derive(Debug)]
pub struct Export {
    /// The highest id that was given when it began, or is given to a message here; 0: none.
    pub last_id: u64,
    /// Up to here ids have lapsed: clients may know some of them, and no message of these
    /// records has one. 0: none.
    pub lapsed: u64,
    /// The records in pieces; who takes none for a minute loses them. An error is the last,
    /// and an end without [`Piece::End`] is none.
    pub pieces: mpsc::Receiver<Result<Piece, StoreError>>,
}

/// Some of an export.
#[derive(Debug)]
pub enum Piece {
    /// Further records.
    Records(Vec<Record>),
    /// That was all.
    End,
}
