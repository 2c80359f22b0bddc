//! A digest over all that a store says, whatever the layout it says it in.

use super::census::Census;
use super::export;
use super::log::Log;
use crate::store::{Digest, Line, StoreError};

/// What was found in a store that was read from end to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The highest message id that was given or passed over; 0: none.
    pub last_id: u64,
    /// How many messages are there.
    pub messages: u64,
    /// The digest over all that an export of it would say.
    pub digest: Digest,
}

/// Reads everything that an export would hold.
pub(super) fn of(log: &Log, census: Census) -> Result<Findings, StoreError> {
    let mut digest = Digest::default();
    export::all(log, u64::MAX, &mut |record| {
        let line = Line::from(record);
        digest.add(&line, &line.write());
        Ok::<(), StoreError>(())
    })?;
    Ok(Findings { last_id: census.last_id, messages: digest.messages(), digest })
}
