//! Reads of the tree: bounded pages, on blocking threads, never beyond what is durable.
//!
//! sled shows rows before they are durable, so that every read of messages takes the
//! `head` it may go up to.

mod departed;
mod history;
mod inbox;
mod list;
mod lookup;
mod marks;
mod named;
mod reads;
mod rows;
mod source;
#[cfg(test)]
mod tests;
mod users;

use self::departed::{departed, is_gone, is_gone_before};
pub(super) use self::departed::{erasures, gone, skipped};
pub(super) use self::history::{history, pairs};
pub(super) use self::inbox::{inbox_head, page};
pub(super) use self::list::conversations;
pub(super) use self::lookup::{commit, commits, message, peers, profile};
pub(super) use self::marks::{Mark, marks, unread_up_to};
pub(super) use self::named::{collect_names, find_named};
pub(super) use self::reads::{floor, islands, read_state};
pub(super) use self::rows::{Row, Rows, last, newest, packed, row};
pub(super) use self::users::{talking_from, users};
use super::room::is_full;
use crate::store::StoreError;

type Result<T> = std::result::Result<T, StoreError>;

pub(super) fn unreadable(error: sled::Error) -> StoreError {
    match &error {
        // A write found no room, of which reading hears too: nothing is damaged by that.
        sled::Error::Io(cause) if is_full(cause) => StoreError::Unavailable,
        _ => StoreError::Damaged(error.to_string()),
    }
}

pub(super) fn not_whole(what: &str, key: &[u8]) -> StoreError {
    StoreError::Damaged(format!("the {what} record under {key:02x?} is not whole"))
}
