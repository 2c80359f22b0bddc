//! What a look at all of a store checks beyond the census: more than a start has to know, or
//! has the time to read.

use std::collections::HashMap;

use super::rows::known_names;
use super::{Damage, Tally, packed};
use crate::ids::Sender;
use crate::store::StoreError;
use crate::store::sled::gone::Gone;
use crate::store::sled::keys::{self, Pair};
use crate::store::sled::log::Log;
use crate::store::sled::names::{self, BLOCK, Collector};
use crate::store::sled::reader;
use crate::store::sled::record::MessageView;

/// Every peer row is there for messages that are there, or that are gone. More than a start
/// has to know: a row without a message shows nobody anything.
pub(in super::super) fn peers(log: &Log) -> Result<(), Damage> {
    let begun = |pair: Pair| {
        let known = reader::last(log, pair)?.is_some();
        Ok::<bool, StoreError>(known || reader::gone(log, pair)?.ordinal > 0)
    };
    for row in log.scan_prefix(keys::PEERS) {
        let (key, _) = row.map_err(|error| error.to_string())?;
        let (user, peer) = keys::parse_peer(&key)
            .ok_or_else(|| format!("the peer record under {key:02x?} is not whole"))?;
        let back = match peer {
            Sender::User(peer) => Some(Pair { to: peer, from: user.into() }),
            Sender::System => None,
        };
        let mut pairs = std::iter::once(Pair { to: user, from: peer }).chain(back);
        let found = pairs.try_fold(false, |found, pair| Ok(found || begun(pair)?));
        if !found.map_err(|error: StoreError| error.to_string())? {
            let peer = peer.get();
            return Err(format!("users {user} and {peer} are said to have written to each other"));
        }
    }
    Ok(())
}

/// Reads all volumes: every block is whole, the commits and the messages that are not gone
/// name each other one to one, and the ordinals of each pair run on from volume to volume and
/// into the log.
pub(in super::super) fn volumes(log: &Log) -> Result<(), Damage> {
    let gone = departures(log)?;
    let gone_of = |pair: Pair| gone.get(&pair).copied().unwrap_or_default();
    let mut last: HashMap<Pair, u64> = HashMap::new();
    let mut names: HashMap<Pair, Collector> = HashMap::new();
    for volume in log.shelf.volumes().iter() {
        let (mut found, mut committed, mut dead) = (Tally::default(), Tally::default(), 0);
        let mut before = None;
        for number in 0..volume.blocks() {
            let block = volume.block(number).map_err(|error| error.to_string())?;
            for (pair, id, value) in block.iter() {
                let key = keys::message(*pair, *id);
                let message = MessageView::decode(&key, value)
                    .ok_or_else(|| format!("the message record under {key:02x?} is not whole"))?;
                let here = (*pair, *id);
                let in_range = (volume.row.first..=volume.row.last).contains(id);
                if !in_range || before.is_some_and(|before| before >= here) {
                    return Err(format!("the message {id} lies where it does not belong"));
                }
                before = Some(here);
                found.add(*pair, *id, message.ordinal);
                if *id <= gone_of(*pair).id {
                    dead += 1;
                    continue;
                }
                let expected = last.get(pair).copied().unwrap_or_else(|| gone_of(*pair).ordinal);
                if message.ordinal != expected + 1 {
                    return Err(format!("a message before {id} is missing"));
                }
                last.insert(*pair, message.ordinal);
                let collector = names.entry(*pair).or_default();
                collector.add(message.id, message.client_id);
                if let Some(stretch) = names::full_with(message.ordinal) {
                    let live = std::mem::take(collector).finish();
                    let cut = gone_of(*pair).ordinal > (stretch - 1) * BLOCK;
                    known_names(log, *pair, stretch, live.as_ref(), cut)?;
                }
            }
        }
        for number in 0..volume.commit_blocks() {
            let block = volume.commit_block(number).map_err(|error| error.to_string())?;
            for commit in block.iter() {
                for (entry, id) in commit.entries.iter().zip(commit.first.get()..) {
                    if let Some(entry) = entry {
                        committed.add(entry.pair, id, entry.ordinal);
                    }
                }
            }
        }
        if found != committed || found.messages != volume.row.messages || dead != volume.row.dead {
            return Err(format!(
                "the volume {} holds {} messages, of which {dead} are gone, but its commits name \
                 {}, and {} and {} had been counted",
                volume.row.name(),
                found.messages,
                committed.messages,
                volume.row.messages,
                volume.row.dead
            ));
        }
    }
    for (pair, Gone { ordinal, .. }) in packed(log, log.shelf.packed_up_to())? {
        let found = last.get(&pair).copied().unwrap_or_else(|| gone_of(pair).ordinal);
        if found < ordinal {
            return Err(format!("the last message to {} in a volume is missing", pair.to));
        }
    }
    Ok(())
}

/// Up to where each pair is gone.
fn departures(log: &Log) -> Result<HashMap<Pair, Gone>, Damage> {
    let rows = log.scan_prefix(keys::GONE).map(|row| {
        let (key, value) = row.map_err(|error| error.to_string())?;
        let found = keys::parse_gone(&key).zip(Gone::decode(&key, &value));
        found.ok_or_else(|| format!("the record of what is gone under {key:02x?} is not whole"))
    });
    rows.collect()
}
