//! The keys of the one tree: a tag, then ids in big-endian, so that their order
//! as bytes is their order as numbers.
//!
//! | key | what lies there |
//! |---|---|
//! | `J` first-id | a piece of a commit: the messages in it, and which pair each belongs to |
//! | `W` first-id | a volume: a file with the messages of a closed range of ids |
//! | `L` to from | the last message of a pair that lies in a volume, and in which others do |
//! | `P` user peer | nothing: the two have written to each other |
//! | `R` reader peer | up to where the reader has read the peer's messages |
//! | `R` reader peer chunk | the messages read beyond that, by ordinal |
//! | `N` to from stretch | the names that clients gave to the messages of a stretch |
//! | `A` user | a profile |
//! | `G` to from | up to where the messages of a pair are gone |
//! | `K` | ids that were never given to a message here, and up to where they have lapsed |
//! | `E` user | the user is being erased |
//! | `V` until kind what | a revocation, the first to be over first |
//! | `S` | the schema version |
//! | `M` to from id | a message, where there is no log that holds it: in volumes, in backups, and in layouts 1 and 2 |

use crate::ids::{MessageId, Sender, UserId};
use crate::message::Message;

/// The messages from `from` in `to`'s inbox: one direction of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pair {
    pub(super) to: UserId,
    pub(super) from: Sender,
}

impl Pair {
    pub(super) fn of(message: &Message) -> Self {
        Self { to: message.to, from: message.from }
    }
}

pub(super) const SCHEMA: &[u8] = b"S";
pub(super) const VOLUMES: &[u8] = b"W";
pub(super) const PACKED: &[u8] = b"L";
pub(super) const MESSAGES: &[u8] = b"M";
pub(super) const COMMITS: &[u8] = b"J";
pub(super) const PEERS: &[u8] = b"P";
pub(super) const READ: &[u8] = b"R";
pub(super) const NAMES: &[u8] = b"N";
pub(super) const PROFILES: &[u8] = b"A";
pub(super) const GONE: &[u8] = b"G";
pub(super) const SKIPPED: &[u8] = b"K";
pub(super) const ERASURES: &[u8] = b"E";
pub(super) const REVOCATIONS: &[u8] = b"V";

fn key<const N: usize>(tag: &[u8], parts: [u64; N]) -> Vec<u8> {
    let mut key = Vec::with_capacity(tag.len() + 8 * N);
    key.extend_from_slice(tag);
    for part in parts {
        key.extend_from_slice(&part.to_be_bytes());
    }
    key
}

pub(super) fn message(pair: Pair, id: u64) -> Vec<u8> {
    key(MESSAGES, [pair.to.get(), pair.from.get(), id])
}

pub(super) fn commit(first: u64) -> Vec<u8> {
    key(COMMITS, [first])
}

/// The volume that begins with the message `first`.
pub(super) fn volume(first: u64) -> Vec<u8> {
    key(VOLUMES, [first])
}

/// Which volumes hold messages of a pair.
pub(super) fn packed(pair: Pair) -> Vec<u8> {
    key(PACKED, [pair.to.get(), pair.from.get()])
}

pub(super) fn peer(user: UserId, peer: Sender) -> Vec<u8> {
    key(PEERS, [user.get(), peer.get()])
}

pub(super) fn peers_of(user: UserId) -> Vec<u8> {
    key(PEERS, [user.get()])
}

/// Where the peers of the users from `id` on begin.
pub(super) fn peers_from(id: u64) -> Vec<u8> {
    key(PEERS, [id])
}

/// Where the profiles of the users from `id` on begin.
pub(super) fn profiles_from(id: u64) -> Vec<u8> {
    key(PROFILES, [id])
}

/// The floor of a pair, and the prefix of its chunks: the floor sorts first.
pub(super) fn read(pair: Pair) -> Vec<u8> {
    key(READ, [pair.to.get(), pair.from.get()])
}

/// Behind all that was read by anybody.
pub(super) fn read_end() -> Vec<u8> {
    vec![b'R' + 1]
}

pub(super) fn read_chunk(pair: Pair, chunk: u64) -> Vec<u8> {
    key(READ, [pair.to.get(), pair.from.get(), chunk])
}

/// The names in a stretch of a pair, counted from 1.
pub(super) fn names(pair: Pair, stretch: u64) -> Vec<u8> {
    key(NAMES, [pair.to.get(), pair.from.get(), stretch])
}

pub(super) fn profile(user: UserId) -> Vec<u8> {
    key(PROFILES, [user.get()])
}

pub(super) fn gone(pair: Pair) -> Vec<u8> {
    key(GONE, [pair.to.get(), pair.from.get()])
}

/// What is gone of an inbox.
pub(super) fn gone_of(inbox: UserId) -> Vec<u8> {
    key(GONE, [inbox.get()])
}

/// Where what is gone of the inboxes from `id` on begins.
pub(super) fn gone_from(id: u64) -> Vec<u8> {
    key(GONE, [id])
}

pub(super) fn erasure(user: UserId) -> Vec<u8> {
    key(ERASURES, [user.get()])
}

/// Takes a key apart again: its tag and the numbers behind it.
fn parts<const N: usize>(tag: &[u8], key: &[u8]) -> Option<[u64; N]> {
    let rest = key.strip_prefix(tag)?;
    if rest.len() != 8 * N {
        return None;
    }
    let mut parts = [0; N];
    for (part, bytes) in parts.iter_mut().zip(rest.chunks_exact(8)) {
        *part = u64::from_be_bytes(bytes.try_into().ok()?);
    }
    Some(parts)
}

pub(super) fn parse_message(key: &[u8]) -> Option<(Pair, MessageId)> {
    let [to, from, id] = parts(MESSAGES, key)?;
    Some((Pair { to: UserId::new(to)?, from: Sender::new(from)? }, MessageId::new(id)?))
}

pub(super) fn parse_commit(key: &[u8]) -> Option<MessageId> {
    let [first] = parts(COMMITS, key)?;
    MessageId::new(first)
}

pub(super) fn parse_volume(key: &[u8]) -> Option<MessageId> {
    let [first] = parts(VOLUMES, key)?;
    MessageId::new(first)
}

pub(super) fn parse_packed(key: &[u8]) -> Option<Pair> {
    let [to, from] = parts(PACKED, key)?;
    Some(Pair { to: UserId::new(to)?, from: Sender::new(from)? })
}

pub(super) fn parse_peer(key: &[u8]) -> Option<(UserId, Sender)> {
    let [user, peer] = parts(PEERS, key)?;
    Some((UserId::new(user)?, Sender::new(peer)?))
}

/// A key under `R`: the pair, and the chunk where it is not the floor.
pub(super) fn parse_read(key: &[u8]) -> Option<(Pair, Option<u64>)> {
    let (to, from, chunk) = match parts::<2>(READ, key) {
        Some([to, from]) => (to, from, None),
        None => {
            let [to, from, chunk] = parts(READ, key)?;
            (to, from, Some(chunk))
        }
    };
    Some((Pair { to: UserId::new(to)?, from: Sender::new(from)? }, chunk))
}

pub(super) fn parse_profile(key: &[u8]) -> Option<UserId> {
    let [user] = parts(PROFILES, key)?;
    UserId::new(user)
}

pub(super) fn parse_gone(key: &[u8]) -> Option<Pair> {
    let [to, from] = parts(GONE, key)?;
    Some(Pair { to: UserId::new(to)?, from: Sender::new(from)? })
}

pub(super) fn parse_erasure(key: &[u8]) -> Option<UserId> {
    let [user] = parts(ERASURES, key)?;
    UserId::new(user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ID_END;
    use proptest::prelude::*;

    fn pair() -> impl Strategy<Value = Pair> {
        (1..ID_END, 0..ID_END).prop_map(|(to, from)| Pair {
            to: UserId::new(to).unwrap(),
            from: Sender::new(from).unwrap(),
        })
    }

    proptest! {
        #[test]
        fn keys_come_back_as_they_went_in(pair in pair(), id in 1..ID_END, chunk: u64) {
            prop_assert_eq!(
                parse_message(&message(pair, id)),
                Some((pair, MessageId::new(id).unwrap()))
            );
            prop_assert_eq!(parse_commit(&commit(id)), MessageId::new(id));
            prop_assert_eq!(parse_volume(&volume(id)), MessageId::new(id));
            prop_assert_eq!(parse_packed(&packed(pair)), Some(pair));
            prop_assert_eq!(parse_peer(&peer(pair.to, pair.from)), Some((pair.to, pair.from)));
            prop_assert_eq!(parse_read(&read(pair)), Some((pair, None)));
            prop_assert_eq!(parse_read(&read_chunk(pair, chunk)), Some((pair, Some(chunk))));
            prop_assert_eq!(parse_profile(&profile(pair.to)), Some(pair.to));
            prop_assert_eq!(parse_gone(&gone(pair)), Some(pair));
            prop_assert_eq!(parse_erasure(&erasure(pair.to)), Some(pair.to));
        }

        #[test]
        fn keys_sort_as_the_numbers_in_them(a in pair(), b in pair(), x in 1..ID_END, y in 1..ID_END) {
            prop_assert_eq!(message(a, x).cmp(&message(b, y)), (a, x).cmp(&(b, y)));
            prop_assert_eq!(commit(x).cmp(&commit(y)), x.cmp(&y));
            prop_assert!(read(a) < read_chunk(a, 0));
        }

        #[test]
        fn no_bytes_make_a_parser_panic(key: Vec<u8>) {
            let _ = (parse_message(&key), parse_commit(&key), parse_peer(&key));
            let _ = (parse_read(&key), parse_profile(&key), parse_gone(&key));
            let _ = (parse_erasure(&key), parse_volume(&key), parse_packed(&key));
        }
    }
}
