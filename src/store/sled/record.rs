//! The values of the tree, each with its layout version and checksum.

use sled::IVec;

use super::codec::{Decoder, Encoder};
use super::keys::{self, Pair};
use crate::ids::{MessageId, Sender, UserId};
use crate::message::{ClientMsgId, Message, Profile, StoredAt};
use crate::store::{Draft, PacketDigest, ResendKey};

/// A message as it lies under its `M` key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageRecord {
    pub(super) message: Message,
    pub(super) client_id: Option<ClientMsgId>,
}

impl MessageRecord {
    /// The draft that it was stored from, as far as that is known.
    pub(super) fn into_draft(self) -> Draft {
        let Message { from, to, timestamp, content, .. } = self.message;
        let resend =
            self.client_id.map_or(ResendKey::None, |id| ResendKey::Client { id, again: false });
        Draft { from, to, timestamp, content, resend, origin: None }
    }
}

const MESSAGE: u8 = 1;

/// Encodes `draft` as the message `id`, the `ordinal`-th of its pair.
pub(super) fn encode_message(
    key: &[u8],
    draft: &Draft,
    ordinal: u64,
    stored_at: StoredAt,
) -> Vec<u8> {
    let client_id = match &draft.resend {
        ResendKey::Client { id, .. } => id.as_str(),
        ResendKey::None | ResendKey::Packet(_) => "",
    };
    let mut value = Encoder::new(MESSAGE, draft.content.len() + draft.timestamp.len() + 24);
    value
        .number(ordinal)
        .number(stored_at.0)
        .text(client_id)
        .text(&draft.timestamp)
        .text(&draft.content);
    value.seal(key)
}

/// A message as it lies in its row: checked, its texts not copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageView<'a> {
    pub(super) pair: Pair,
    pub(super) id: MessageId,
    pub(super) ordinal: u64,
    /// Empty where the client gave none.
    pub(super) client_id: &'a str,
    stored_at: StoredAt,
    timestamp: &'a str,
    content: &'a str,
}

impl<'a> MessageView<'a> {
    pub(super) fn decode(key: &[u8], value: &'a [u8]) -> Option<Self> {
        let (pair, id) = keys::parse_message(key)?;
        let mut read = Decoder::open(MESSAGE, key, value)?;
        let ordinal = read.number()?;
        let stored_at = StoredAt(read.number()?);
        let client_id = read.text()?;
        let timestamp = read.text()?;
        let content = read.text()?;
        let whole = read.at_end() && client_id.len() <= ClientMsgId::MAX;
        whole.then_some(Self { pair, id, ordinal, client_id, stored_at, timestamp, content })
    }

    pub(super) fn to_record(self) -> MessageRecord {
        let message = Message {
            id: self.id,
            from: self.pair.from,
            to: self.pair.to,
            ordinal: self.ordinal,
            stored_at: self.stored_at,
            timestamp: self.timestamp.to_owned(),
            content: self.content.to_owned(),
        };
        MessageRecord { message, client_id: ClientMsgId::new(self.client_id) }
    }
}

/// One id of a commit: where its message lies and what would be its resend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommitEntry {
    pub(super) pair: Pair,
    pub(super) ordinal: u64,
    pub(super) resend: ResendMark,
}

/// By what a later try of a message is known, beside its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ResendMark {
    None,
    Packet([u8; 16]),
    Client([u8; 16]),
}

impl ResendMark {
    /// The mark of `draft`; a client's own name is taken per sender.
    pub(super) fn of(draft: &Draft) -> Self {
        match &draft.resend {
            ResendKey::None => Self::None,
            ResendKey::Packet(PacketDigest(digest)) => Self::Packet(*digest),
            ResendKey::Client { id, .. } => {
                let mut named = draft.from.get().to_be_bytes().to_vec();
                named.extend_from_slice(id.as_str().as_bytes());
                Self::Client(crate::digest::digest128(&[&named]))
            }
        }
    }
}

/// All the ids of one commit, from its key's onward without a gap. One of which every
/// message is gone has no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommitRecord {
    pub(super) first: MessageId,
    pub(super) stored_at: StoredAt,
    /// `None` where the message is gone: nothing tells any more whose it was.
    pub(super) entries: Vec<Option<CommitEntry>>,
}

const COMMIT: u8 = 1;

/// In the place of a recipient: no user has this id.
const GONE: u64 = 0;

impl CommitRecord {
    pub(super) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut value = Encoder::new(COMMIT, 16 + self.entries.len() * 32);
        value.number(self.stored_at.0).number(self.entries.len() as u64);
        for entry in &self.entries {
            let Some(entry) = entry else {
                value.number(GONE);
                continue;
            };
            value.number(entry.pair.to.get()).number(entry.pair.from.get()).number(entry.ordinal);
            match entry.resend {
                ResendMark::None => value.byte(0),
                ResendMark::Packet(digest) => value.byte(1).bytes(&digest),
                ResendMark::Client(digest) => value.byte(2).bytes(&digest),
            };
        }
        value.seal(key)
    }

    /// Decodes the places of a commit, whether the messages lie behind them or not.
    pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let first = keys::parse_commit(key)?;
        let (value, _) = split(value)?;
        let mut read = Decoder::open(COMMIT, key, value)?;
        let stored_at = StoredAt(read.number()?);
        let count = read.number()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let to = match read.number()? {
                GONE => {
                    entries.push(None);
                    continue;
                }
                to => UserId::new(to)?,
            };
            let from = Sender::new(read.number()?)?;
            let ordinal = read.number()?;
            let resend = match read.byte()? {
                0 => ResendMark::None,
                1 => ResendMark::Packet(read.array()?),
                2 => ResendMark::Client(read.array()?),
                _ => return None,
            };
            entries.push(Some(CommitEntry { pair: Pair { to, from }, ordinal, resend }));
        }
        let whole = read.at_end() && entries.iter().any(Option::is_some);
        whole.then_some(Self { first, stored_at, entries })
    }

    /// Where those of its messages lie that are not gone, ids rising.
    pub(super) fn places(&self) -> impl Iterator<Item = (Pair, u64)> {
        let ids = self.first.get()..;
        self.entries.iter().zip(ids).filter_map(|(entry, id)| Some((entry.as_ref()?.pair, id)))
    }

    /// How many of its messages are there.
    pub(super) fn messages(&self) -> u64 {
        self.places().count() as u64
    }

    /// The last id of the commit.
    pub(super) fn last(&self) -> u64 {
        self.first.get() + self.entries.len() as u64 - 1
    }

    /// The entry of `id`, where the commit holds it and the message is not gone.
    pub(super) fn entry(&self, id: MessageId) -> Option<&CommitEntry> {
        let at = id.get().checked_sub(self.first.get())?;
        self.entries.get(usize::try_from(at).ok()?)?.as_ref()
    }

    /// The place of a message that is not gone, to make it so.
    pub(super) fn place_mut(&mut self, id: u64) -> Option<&mut Option<CommitEntry>> {
        let at = usize::try_from(id.checked_sub(self.first.get())?).ok()?;
        self.entries.get_mut(at).filter(|place| place.is_some())
    }
}

/// A piece of a commit as it lies in the log: the places, and behind them the messages.
///
/// One row for some dozen messages, which makes it three times as cheap to write as a row
/// for each. Each message carries its own checksum, so that one is read without the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogPiece {
    pub(super) commit: CommitRecord,
    /// The values of those messages that are not gone, ids rising.
    pub(super) values: Vec<IVec>,
}

const LOG_PIECE: u8 = 2;

/// Splits the row of a commit into the sealed places and the messages behind them.
fn split(value: &[u8]) -> Option<(&[u8], Option<Decoder<'_>>)> {
    if value.first() != Some(&LOG_PIECE) {
        return Some((value, None));
    }
    let mut rest = Decoder::unsealed(value.get(1..)?);
    let places = rest.number()?;
    Some((rest.bytes(places)?, Some(rest)))
}

impl LogPiece {
    pub(super) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let places = self.commit.encode(key);
        let bytes: usize = self.values.iter().map(|value| value.len() + 3).sum();
        let mut piece = Encoder::new(LOG_PIECE, places.len() + bytes + 8);
        piece.number(places.len() as u64).bytes(&places);
        for value in &self.values {
            piece.number(value.len() as u64).bytes(value);
        }
        piece.unsealed()
    }

    /// Decodes a piece and checks each message in it: that it is whole, and the one that its
    /// place names.
    pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let commit = CommitRecord::decode(key, value)?;
        let mut rest = split(value)?.1?;
        let mut values = Vec::new();
        for (entry, id) in commit.entries.iter().zip(commit.first.get()..) {
            let Some(entry) = entry else { continue };
            let len = rest.number()?;
            let value = rest.bytes(len)?;
            let view = MessageView::decode(&keys::message(entry.pair, id), value)?;
            if view.ordinal != entry.ordinal {
                return None;
            }
            values.push(IVec::from(value));
        }
        rest.at_end().then_some(Self { commit, values })
    }

    /// Its messages that are not gone: pair, id and value.
    pub(super) fn messages(&self) -> impl Iterator<Item = (Pair, u64, &IVec)> {
        self.commit.places().zip(&self.values).map(|((pair, id), value)| (pair, id, value))
    }
}

const PROFILE: u8 = 1;

pub(super) fn encode_profile(key: &[u8], profile: &Profile) -> Vec<u8> {
    let mut value = Encoder::new(PROFILE, profile.name.len() + profile.picture.len());
    value.text(&profile.name).text(&profile.picture);
    value.seal(key)
}

pub(super) fn decode_profile(key: &[u8], value: &[u8]) -> Option<Profile> {
    let mut read = Decoder::open(PROFILE, key, value)?;
    let name = read.text()?.to_owned();
    let picture = read.text()?.to_owned();
    read.at_end().then_some(Profile { name, picture })
}

/// What the writer knows at the start: the layout of everything else.
///
/// Since 2 messages may be gone. A store of version 1, of which none is, is one of
/// version 2 but for its number. Since 3 the messages lie in the log, and those of closed
/// ranges of ids in volumes. Since 4 there is a journal beside the database while it is open;
/// closed, it is one of version 3 but for its number.
pub(super) const SCHEMA_VERSION: u64 = 4;

/// The first layout with a log.
pub(super) const LOG_VERSION: u64 = 3;

/// A row for each message: as backups hold them, and stores did before there was a log.
pub(super) const ROWS_VERSION: u64 = 2;

/// Whether this version can open what lies in that layout.
pub(super) fn is_known(version: u64) -> bool {
    (1..=SCHEMA_VERSION).contains(&version)
}

const SCHEMA: u8 = 1;

pub(super) fn encode_schema(version: u64) -> Vec<u8> {
    let mut value = Encoder::new(SCHEMA, 8);
    value.number(version);
    value.seal(keys::SCHEMA)
}

pub(super) fn decode_schema(value: &[u8]) -> Option<u64> {
    let mut read = Decoder::open(SCHEMA, keys::SCHEMA, value)?;
    let version = read.number()?;
    read.at_end().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ID_END;
    use proptest::prelude::*;

    fn mark() -> impl Strategy<Value = ResendMark> {
        prop_oneof![
            Just(ResendMark::None),
            any::<[u8; 16]>().prop_map(ResendMark::Packet),
            any::<[u8; 16]>().prop_map(ResendMark::Client),
        ]
    }

    fn entry() -> impl Strategy<Value = CommitEntry> {
        (1..ID_END, 0..ID_END, 1..u64::MAX, mark()).prop_map(|(to, from, ordinal, resend)| {
            let pair = Pair { to: UserId::new(to).unwrap(), from: Sender::new(from).unwrap() };
            CommitEntry { pair, ordinal, resend }
        })
    }

    proptest! {
        #[test]
        fn a_message_comes_back(
            id in 1..ID_END, ordinal in 1..u64::MAX, at: u64, timestamp in ".{0,32}",
            content in "\\PC{1,200}", name in proptest::option::of("[a-z]{1,64}"),
        ) {
            let resend = match &name {
                Some(name) => ResendKey::Client { id: ClientMsgId::new(name).unwrap(), again: false },
                None => ResendKey::None,
            };
            let pair = Pair { to: UserId::new(2).unwrap(), from: Sender::new(1).unwrap() };
            let draft = Draft { from: pair.from, to: pair.to, timestamp, content, resend, origin: None };
            let key = keys::message(pair, id);
            let value = encode_message(&key, &draft, ordinal, StoredAt(at));
            let record = MessageView::decode(&key, &value).unwrap().to_record();
            prop_assert_eq!(record.client_id, name.and_then(|n| ClientMsgId::new(&n)));
            prop_assert_eq!(record.message, Message {
                id: MessageId::new(id).unwrap(), from: pair.from, to: pair.to, ordinal,
                stored_at: StoredAt(at), timestamp: draft.timestamp, content: draft.content,
            });
        }

        #[test]
        fn a_commit_comes_back(
            first in 1..ID_END, at: u64,
            mut entries in prop::collection::vec(proptest::option::of(entry()), 0..130), last in entry(),
        ) {
            // One that is not gone there always is.
            entries.push(Some(last));
            let record = CommitRecord {
                first: MessageId::new(first).unwrap(), stored_at: StoredAt(at), entries,
            };
            let key = keys::commit(first);
            prop_assert_eq!(CommitRecord::decode(&key, &record.encode(&key)), Some(record));
        }

        #[test]
        fn a_profile_comes_back(name: String, picture: String) {
            let profile = Profile { name, picture };
            let key = keys::profile(UserId::new(9).unwrap());
            prop_assert_eq!(decode_profile(&key, &encode_profile(&key, &profile)), Some(profile));
        }
    }
}
