//! Read flags of a pair, as they were at one moment.
//!
//! A mark between the read of the floor and that of a chunk can let a new floor swallow
//! an island that the old one did not hold: then neither was seen. The set only grows,
//! so a floor that is still the same was the same all the time.

use std::ops::RangeInclusive;

use sled::Tree;

use super::super::keys::{self, Pair};
use super::super::read_state::{Floor, Island, ReadState, chunk_of, decode_floor, decode_islands};
use super::{Result, not_whole, unreadable};

/// The whole read state of a pair.
pub(in super::super) fn read_state(tree: &Tree, pair: Pair) -> Result<ReadState> {
    loop {
        let state = read_rows(tree, pair)?;
        if is_still(tree, pair, state.floor)? {
            return Ok(state);
        }
    }
}

/// The read state of a pair as far as it concerns some of its messages.
pub(super) fn read_state_of(
    tree: &Tree,
    pair: Pair,
    ordinals: RangeInclusive<u64>,
) -> Result<ReadState> {
    loop {
        let mut state = ReadState { floor: floor(tree, pair)?, ..ReadState::default() };
        if state.floor.beyond > 0 {
            let first = *ordinals.start().max(&(state.floor.ordinal + 1));
            for chunk in chunk_of(first)..=chunk_of(*ordinals.end()) {
                state.chunks.insert(chunk, islands(tree, pair, chunk)?);
            }
        }
        if is_still(tree, pair, state.floor)? {
            return Ok(state);
        }
    }
}

/// Whether the islands that were read beside `known` belong to it.
fn is_still(tree: &Tree, pair: Pair, known: Floor) -> Result<bool> {
    Ok(known.beyond == 0 || floor(tree, pair)?.ordinal == known.ordinal)
}

fn read_rows(tree: &Tree, pair: Pair) -> Result<ReadState> {
    let mut state = ReadState::default();
    for row in tree.scan_prefix(keys::read(pair)) {
        let (key, value) = row.map_err(unreadable)?;
        let whole = match keys::parse_read(&key) {
            Some((_, None)) => decode_floor(&key, &value).map(|floor| state.floor = floor),
            Some((_, Some(chunk))) => decode_islands(&key, chunk, &value)
                .map(|islands| _ = state.chunks.insert(chunk, islands)),
            None => None,
        };
        whole.ok_or_else(|| not_whole("read", &key))?;
    }
    Ok(state)
}

/// The floor of a pair alone: enough to count.
pub(in super::super) fn floor(tree: &Tree, pair: Pair) -> Result<Floor> {
    let key = keys::read(pair);
    match tree.get(&key).map_err(unreadable)? {
        Some(value) => decode_floor(&key, &value).ok_or_else(|| not_whole("read", &key)),
        None => Ok(Floor::default()),
    }
}

/// The islands of one chunk of a pair.
pub(in super::super) fn islands(tree: &Tree, pair: Pair, chunk: u64) -> Result<Vec<Island>> {
    let key = keys::read_chunk(pair, chunk);
    match tree.get(&key).map_err(unreadable)? {
        Some(value) => decode_islands(&key, chunk, &value).ok_or_else(|| not_whole("read", &key)),
        None => Ok(Vec::new()),
    }
}
