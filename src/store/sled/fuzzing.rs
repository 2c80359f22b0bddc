//! A door for fuzzers to what reads the rows. Nothing else uses it.

use super::gone::{Erasure, Gone, Skipped};
use super::names::Names;
use super::read_state::{decode_floor, decode_islands, encode_floor, encode_islands};
use super::record::{
    CommitRecord, LogPiece, MessageView, decode_profile, decode_schema, encode_message,
    encode_profile, encode_schema,
};
use super::shelf::Packed;
use super::volume::VolumeRow;
use super::{codec, keys, revoked};

/// A row: its key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Adds to `body` the checksum without which no value is looked into.
pub fn seal(key: &[u8], body: &[u8]) -> Vec<u8> {
    codec::seal(body.to_vec(), key)
}

/// Reads a row and writes again what it says; nothing where it is not whole.
pub fn reread(key: &[u8], value: &[u8]) -> Option<Row> {
    match key.get(..1)? {
        keys::SCHEMA if key == keys::SCHEMA => {
            Some((keys::SCHEMA.to_vec(), encode_schema(decode_schema(value)?)))
        }
        keys::MESSAGES => message(key, value),
        keys::COMMITS if value.first() == Some(&2) => {
            let piece = LogPiece::decode(key, value)?;
            let key = keys::commit(piece.commit.first.get());
            let value = piece.encode(&key);
            Some((key, value))
        }
        keys::VOLUMES => {
            let row = VolumeRow::decode(key, value)?;
            Some((keys::volume(row.first), row.encode()))
        }
        keys::PACKED => {
            let pair = keys::parse_packed(key)?;
            let packed = Packed::decode(key, value)?;
            let key = keys::packed(pair);
            let value = packed.encode(&key);
            Some((key, value))
        }
        keys::COMMITS => {
            let commit = CommitRecord::decode(key, value)?;
            let key = keys::commit(commit.first.get());
            let value = commit.encode(&key);
            Some((key, value))
        }
        keys::PEERS => {
            let (user, peer) = keys::parse_peer(key)?;
            value.is_empty().then(|| (keys::peer(user, peer), Vec::new()))
        }
        keys::READ => match keys::parse_read(key)? {
            (pair, None) => {
                let floor = decode_floor(key, value)?;
                let key = keys::read(pair);
                let value = encode_floor(&key, floor);
                Some((key, value))
            }
            (pair, Some(chunk)) => {
                let islands = decode_islands(key, chunk, value)?;
                let key = keys::read_chunk(pair, chunk);
                let value = encode_islands(&key, chunk, &islands);
                Some((key, value))
            }
        },
        keys::NAMES => {
            let value = Names::decode(key, value)?.encode(key);
            Some((key.to_vec(), value))
        }
        keys::PROFILES => {
            let user = keys::parse_profile(key)?;
            let profile = decode_profile(key, value)?;
            let key = keys::profile(user);
            let value = encode_profile(&key, &profile);
            Some((key, value))
        }
        keys::GONE => {
            let pair = keys::parse_gone(key)?;
            let gone = Gone::decode(key, value)?;
            let key = keys::gone(pair);
            let value = gone.encode(&key);
            Some((key, value))
        }
        keys::SKIPPED if key == keys::SKIPPED => {
            Some((keys::SKIPPED.to_vec(), Skipped::decode(key, value)?.encode(keys::SKIPPED)))
        }
        keys::ERASURES => {
            let user = keys::parse_erasure(key)?;
            let erasure = Erasure::decode(key, value)?;
            let key = keys::erasure(user);
            let value = erasure.encode(&key);
            Some((key, value))
        }
        keys::REVOCATIONS if key == keys::REVOCATIONS => {
            Some((keys::REVOCATIONS.to_vec(), revoked::Tally::decode(value)?.encode()))
        }
        keys::REVOCATIONS => {
            let revocation = revoked::decode(key, value)?;
            let key = revoked::key(&revocation);
            let value = revoked::encode(&key, &revocation);
            Some((key, value))
        }
        _ => None,
    }
}

fn message(key: &[u8], value: &[u8]) -> Option<Row> {
    let record = MessageView::decode(key, value)?.to_record();
    let (id, ordinal) = (record.message.id.get(), record.message.ordinal);
    let stored_at = record.message.stored_at;
    let key = keys::message(keys::Pair::of(&record.message), id);
    let value = encode_message(&key, &record.into_draft(), ordinal, stored_at);
    Some((key, value))
}
