//! What a look at all of a store checks beyond the census: more than a start has to know, or
//! has the time to read.

use std::collections::HashMap;

use super::rows::known_names;
use super::{Damage, Tally, packed};
use crate::store::StoreError;
use crate::store::sled::gone::Gone;
use crate::store::sled::keys::{self, Pair};
use crate::store::sled::log::Log;
use crate::store::sled::names::{self, BLOCK, Collector};
use crate::store::sled::reader;
use crate::store::sled::record::MessageView;
use crate::store::sled::volume::Volume;

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
        let mut pairs = reader::pairs(user, peer).into_iter();
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
    let (last, names) = (HashMap::new(), HashMap::new());
    let mut walk = Walk { log, gone: departures(log)?, last, names };
    for volume in log.shelf.volumes().iter() {
        let (found, dead) = walk.through(volume)?;
        let committed = committed(volume)?;
        let row = &volume.row;
        if found != committed || found.messages != row.messages || dead != row.dead {
            return Err(format!(
                "the volume {} holds {} messages, of which {dead} are gone, but its commits name \
                 {}, and {} and {} had been counted",
                row.name(),
                found.messages,
                committed.messages,
                row.messages,
                row.dead
            ));
        }
    }
    for (pair, Gone { ordinal, .. }) in packed(log, log.shelf.packed_up_to())? {
        if walk.last_of(pair) < ordinal {
            return Err(format!("the last message to {} in a volume is missing", pair.to));
        }
    }
    Ok(())
}

/// A walk through all volumes, the oldest first.
struct Walk<'a> {
    log: &'a Log,
    gone: HashMap<Pair, Gone>,
    /// The ordinal of the last message of each pair that was met and is not gone.
    last: HashMap<Pair, u64>,
    /// The names in the stretch of each pair that is not full yet.
    names: HashMap<Pair, Collector>,
}

impl Walk<'_> {
    fn gone_of(&self, pair: Pair) -> Gone {
        self.gone.get(&pair).copied().unwrap_or_default()
    }

    /// How far the messages of a pair have come.
    fn last_of(&self, pair: Pair) -> u64 {
        self.last.get(&pair).copied().unwrap_or_else(|| self.gone_of(pair).ordinal)
    }

    /// Tallies the messages of the next volume, and counts those that are gone.
    fn through(&mut self, volume: &Volume) -> Result<(Tally, u64), Damage> {
        let (mut found, mut dead) = (Tally::default(), 0);
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
                if *id <= self.gone_of(*pair).id {
                    dead += 1;
                } else {
                    self.meet(&message)?;
                }
            }
        }
        Ok((found, dead))
    }

    /// Looks at a message that is not gone: it follows the last one of its pair, and the names
    /// of a stretch that is full with it are written down.
    fn meet(&mut self, message: &MessageView<'_>) -> Result<(), Damage> {
        let MessageView { pair, id, ordinal, client_id, .. } = *message;
        if ordinal != self.last_of(pair) + 1 {
            return Err(format!("a message before {id} is missing"));
        }
        self.last.insert(pair, ordinal);
        let collector = self.names.entry(pair).or_default();
        collector.add(id, client_id);
        if let Some(stretch) = names::full_with(ordinal) {
            let live = std::mem::take(collector).finish();
            let cut = self.gone_of(pair).ordinal > (stretch - 1) * BLOCK;
            known_names(self.log, pair, stretch, live.as_ref(), cut)?;
        }
        Ok(())
    }
}

/// Tallies what the commits of a volume name.
fn committed(volume: &Volume) -> Result<Tally, Damage> {
    let mut committed = Tally::default();
    for number in 0..volume.commit_blocks() {
        let block = volume.commit_block(number).map_err(|error| error.to_string())?;
        block.iter().for_each(|commit| committed.add_commit(commit));
    }
    Ok(committed)
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
