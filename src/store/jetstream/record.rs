//! A message as it lies in its stream, with the way to those before it.
//!
//! Everything is in the payload: a client's timestamp may hold what no header can. The
//! subject says from whom and to whom, the sequence the id.

use bytes::Bytes;

use super::codec::{Reader, Writer};
use super::names::Names;
use super::raw::Raw;
use crate::digest::digest128;
use crate::ids::{ConnectionId, ID_END, Sender, UserId};
use crate::message::{ClientMsgId, Message, StoredAt};
use crate::store::{Exported, PacketDigest, StoreError};

/// The version of this form.
const VERSION: u8 = 1;

/// The same, with the id that the message had before it was moved here.
const MOVED: u8 = 2;

/// The same, where messages before it were written in one go with it: of these it says how
/// far before it they lie, since nobody knew yet where that would be.
const GROUPED: u8 = 3;

/// From here on, what stands in a chain in the place of a sequence is the place of a message
/// within the group that is being written.
const IN_GROUP: u64 = 1 << 62;

/// Sequences in one message at the most: the length of a page of the chain.
pub(super) const CHAIN_PAGE: u64 = 32;

/// A message's way to those of its pair before it.
///
/// One read of the newest and one of every 32nd before it give the sequences of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// The how-manieth of its pair it is, from 1.
    pub(super) ordinal: u64,
    /// The sequence of the message before `page`; 0: it is gone, or there never was one.
    pub(super) before: u64,
    /// The sequences of the messages right before it, rising: ordinals
    /// `ordinal - page.len()` to `ordinal - 1`.
    pub(super) page: Vec<u64>,
    /// A print of the name that the client gave to each of these; 0: none. So a name is
    /// looked for without reading every message.
    pub(super) prints: Vec<u32>,
}

impl Chain {
    /// The first of a pair, or the first behind what is gone.
    pub(super) fn first(ordinal: u64) -> Self {
        Self { ordinal, ..Self::default() }
    }

    /// What follows a message that is written in one go with the next, at this place of the
    /// group.
    pub(super) fn next_in_group(&self, place: u64, print: u32) -> Self {
        self.next(IN_GROUP.saturating_add(place), print)
    }

    /// The same chain once it is known where the first of the group lies.
    pub(super) fn settled(mut self, first: u64) -> Self {
        for seq in self.page.iter_mut().chain([&mut self.before]) {
            if let Some(place) = seq.checked_sub(IN_GROUP) {
                *seq = first.saturating_add(place);
            }
        }
        self
    }

    /// Writes it for the message at `place` of a group.
    fn write_grouped(&self, to: &mut Writer, place: u64) {
        let back = |seq: u64| seq.checked_sub(IN_GROUP).map(|before| place.saturating_sub(before));
        let known = self.page.partition_point(|seq| *seq < IN_GROUP);
        let (known, near) = self.page.split_at(known);
        to.number(self.ordinal);
        to.number(match back(self.before) {
            Some(back) => back << 1 | 1,
            None => self.before << 1,
        });
        to.rising(known);
        to.number(near.len() as u64);
        near.iter().filter_map(|seq| back(*seq)).for_each(|back| to.number(back));
    }

    /// Reads it where it stands with sequences alone; the prints follow.
    fn read(bytes: &mut Reader<'_>) -> Option<Self> {
        let (ordinal, before, page) = (bytes.number()?, bytes.number()?, bytes.rising()?);
        Some(Self { ordinal, before, page, prints: Vec::new() })
    }

    /// Reads what [`Chain::write_grouped`] wrote, of the message at `seq`; the prints follow.
    fn read_grouped(bytes: &mut Reader<'_>, seq: u64) -> Option<Self> {
        let ordinal = bytes.number()?;
        let before = match bytes.number()? {
            back if back & 1 == 1 => seq.checked_sub(back >> 1)?,
            before => before >> 1,
        };
        let mut page = bytes.rising()?;
        let near = bytes.number()?;
        if near > CHAIN_PAGE {
            return None;
        }
        for _ in 0..near {
            page.push(seq.checked_sub(bytes.number()?)?);
        }
        Some(Self { ordinal, before, page, prints: Vec::new() })
    }

    /// Whether all that it names of the message at `seq` lie before it, in their order: what
    /// follows a chain comes to its end.
    fn leads_back(&self, seq: u64) -> bool {
        let named = Some(self.before).filter(|before| *before > 0);
        named.into_iter().chain(self.page.iter().copied()).chain([seq]).is_sorted_by(|a, b| a < b)
    }

    /// What follows it, where it lies at `seq` and its name has this print.
    pub(super) fn next(&self, seq: u64, print: u32) -> Self {
        let ordinal = self.ordinal + 1;
        if self.ordinal.is_multiple_of(CHAIN_PAGE) {
            return Self { ordinal, before: seq, ..Self::default() };
        }
        let (mut page, mut prints) = (self.page.clone(), self.prints.clone());
        page.push(seq);
        prints.push(print);
        Self { ordinal, before: self.before, page, prints }
    }
}

/// The print of a name, never 0; that of none is.
pub(super) fn print(name: Option<&ClientMsgId>) -> u32 {
    let print = |name: &ClientMsgId| {
        let [a, b, c, d, ..] = digest128(&[name.as_str().as_bytes()]);
        u32::from_le_bytes([a, b, c, d]).max(1)
    };
    name.map_or(0, print)
}

/// A message as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// The partition it lies in.
    pub(super) part: u64,
    /// Its sequence there.
    pub(super) seq: u64,
    /// The message.
    pub(super) message: Message,
    /// The sender's own name for it.
    pub(super) client_id: Option<ClientMsgId>,
    /// What its packet was known by.
    pub(super) digest: Option<PacketDigest>,
    /// The connection it came in on.
    pub(super) origin: Option<ConnectionId>,
    /// The way to those before it.
    pub(super) chain: Chain,
    /// The id that it had before it was moved here, where it could not keep that.
    pub(super) old: Option<u64>,
}

/// What goes into the payload.
pub(super) struct Body<'a> {
    pub(super) chain: &'a Chain,
    pub(super) stored_at: StoredAt,
    pub(super) timestamp: &'a str,
    pub(super) content: &'a str,
    pub(super) client_id: Option<&'a ClientMsgId>,
    pub(super) digest: Option<PacketDigest>,
    pub(super) origin: Option<ConnectionId>,
}

impl Body<'_> {
    pub(super) fn write(&self) -> Bytes {
        self.write_moved(None)
    }

    /// The same for a message that had another id before it was moved here.
    pub(super) fn write_moved(&self, old: Option<u64>) -> Bytes {
        let mut to = Writer(Vec::with_capacity(self.content.len() + 160));
        match old {
            None => to.0.push(VERSION),
            Some(old) => {
                to.0.push(MOVED);
                to.number(old);
            }
        }
        to.number(self.chain.ordinal);
        to.number(self.chain.before);
        to.rising(&self.chain.page);
        self.write_rest(to)
    }

    /// The same at `place` of a group, by a chain of [`Chain::next_in_group`].
    pub(super) fn write_grouped(&self, place: u64) -> Bytes {
        let mut to = Writer(Vec::with_capacity(self.content.len() + 160));
        to.0.push(GROUPED);
        self.chain.write_grouped(&mut to, place);
        self.write_rest(to)
    }

    fn write_rest(&self, mut to: Writer) -> Bytes {
        for print in &self.chain.prints {
            to.number(u64::from(*print));
        }
        to.number(self.stored_at.0);
        to.bytes(self.timestamp.as_bytes());
        to.bytes(self.client_id.map_or("", ClientMsgId::as_str).as_bytes());
        to.bytes(self.digest.as_ref().map_or(&[], |digest| &digest.0));
        to.bytes(self.origin.map(|origin| origin.to_string()).unwrap_or_default().as_bytes());
        to.0.extend_from_slice(self.content.as_bytes());
        to.0.into()
    }
}

impl Kept {
    /// Reads a message of a partition's stream.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where it is none.
    pub(super) fn parse(names: &Names, part: u64, raw: &Raw) -> Result<Self, StoreError> {
        Self::read(names, part, raw).ok_or_else(|| {
            StoreError::Damaged(format!(
                "what lies at {} of the stream {} is no message of this version",
                raw.seq,
                names.messages(part)
            ))
        })
    }

    fn read(names: &Names, part: u64, raw: &Raw) -> Option<Self> {
        let (to, from): (UserId, Sender) = Names::pair(&raw.subject)?;
        let mut bytes = Reader(&raw.payload);
        let mut old = None;
        let mut chain = match bytes.byte()? {
            VERSION => Chain::read(&mut bytes)?,
            MOVED => {
                old = Some(bytes.number()?);
                Chain::read(&mut bytes)?
            }
            GROUPED => Chain::read_grouped(&mut bytes, raw.seq)?,
            _ => return None,
        };
        let prints = chain.page.iter().map(|_| u32::try_from(bytes.number()?).ok());
        chain.prints = prints.collect::<Option<_>>()?;
        if !chain.leads_back(raw.seq) {
            return None;
        }
        let stored_at = StoredAt(bytes.number()?);
        let timestamp = bytes.text()?.to_owned();
        let client_id = ClientMsgId::new(bytes.text()?);
        let digest = match bytes.bytes()? {
            [] => None,
            digest => Some(PacketDigest(digest.try_into().ok()?)),
        };
        let origin = ConnectionId::parse(bytes.text()?);
        let content = std::str::from_utf8(bytes.0).ok()?.to_owned();
        let id = names.id(part, raw.seq)?;
        let ordinal = Some(chain.ordinal).filter(|ordinal| (1..ID_END).contains(ordinal))?;
        let message = Message { id, from, to, ordinal, stored_at, timestamp, content };
        Some(Self { part, seq: raw.seq, message, client_id, digest, origin, chain, old })
    }

    /// What leaves the store of it.
    pub(super) fn exported(self, read: bool) -> Exported {
        Exported { message: self.message, client_id: self.client_id, read }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_names_all_before_it() {
        // Message n lies at 10 n.
        let mut chain = Chain::first(1);
        for ordinal in 1..100 {
            assert_eq!(chain.ordinal, ordinal);
            let begin = (ordinal - 1) / CHAIN_PAGE * CHAIN_PAGE;
            let page: Vec<u64> = (begin + 1..ordinal).map(|number| number * 10).collect();
            assert_eq!((chain.before, &chain.page), (begin * 10, &page));
            chain = chain.next(ordinal * 10, 0);
        }
    }

    #[test]
    fn a_message_of_a_group_knows_those_before_it_once_it_has_a_place() {
        let names = Names::new("im", 1);
        let (to, from) = (UserId::new(2).unwrap(), Sender::System);
        // Thirty messages lie at 10 n, then come forty in one go, every second of the group.
        let mut chain = Chain::first(1);
        for ordinal in 1..=30 {
            chain = chain.next(ordinal * 10, 1);
        }
        let (first, mut at) = (1000, chain.clone());
        for place in (0..80).step_by(2) {
            let body = Body {
                chain: &chain,
                stored_at: StoredAt(1),
                timestamp: "",
                content: "c",
                client_id: None,
                digest: None,
                origin: None,
            };
            let payload = body.write_grouped(place);
            let raw = Raw { subject: names.message(to, from), seq: first + place, payload };
            let kept = Kept::parse(&names, 0, &raw).unwrap();
            assert_eq!(kept.chain, at, "as if each had been written by itself");
            assert_eq!(chain.clone().settled(first), at);
            for end in 0..raw.payload.len() - 1 {
                let cut = Raw { payload: raw.payload.slice(..end), ..raw.clone() };
                assert!(Kept::parse(&names, 0, &cut).is_err(), "{end}");
            }
            chain = chain.next_in_group(place, 1);
            at = at.next(first + place, 1);
        }
        assert!(at.ordinal > 2 * CHAIN_PAGE, "over more than one page");
    }

    #[test]
    fn a_message_comes_back_as_it_was() {
        let names = Names::new("im", 3);
        let (to, from) = (UserId::new(2).unwrap(), Sender::System);
        let chain = Chain { ordinal: 35, before: 900, page: vec![901, 1000], prints: vec![0, 7] };
        let name = ClientMsgId::new("名").unwrap();
        let origin = Some(ConnectionId::draw());
        let body = Body {
            chain: &chain,
            stored_at: StoredAt(1_700_000_000_000),
            timestamp: "\n\0",
            content: "\r\n",
            client_id: Some(&name),
            digest: Some(PacketDigest([7; 16])),
            origin,
        };
        let part = names.part(to);
        let raw = Raw { subject: names.message(to, from), seq: 1234, payload: body.write() };
        let moved = Raw { payload: body.write_moved(Some(77)), ..raw.clone() };
        let moved = Kept::parse(&names, part, &moved).unwrap();
        assert_eq!(moved.old, Some(77));
        assert_eq!(
            Kept { old: None, ..moved },
            Kept::parse(&names, part, &raw).unwrap(),
            "but for that it is the same"
        );
        let kept = Kept::parse(&names, part, &raw).unwrap();
        assert_eq!(kept.chain, chain);
        assert_eq!(
            (kept.message.timestamp.as_str(), kept.message.content.as_str()),
            ("\n\0", "\r\n")
        );
        assert_eq!((kept.client_id, kept.origin), (Some(name.clone()), origin));
        assert_eq!(kept.digest, Some(PacketDigest([7; 16])));
        assert_eq!(Some(kept.message.id), names.id(part, 1234));
        for end in 0..raw.payload.len() - 2 {
            let cut = Raw { payload: raw.payload.slice(..end), ..raw.clone() };
            assert!(Kept::parse(&names, part, &cut).is_err(), "{end}");
        }
        // Who follows it would never come to the end.
        for (before, page) in
            [(1234, vec![]), (1235, vec![]), (901, vec![901]), (0, vec![5, 5]), (0, vec![5, 1234])]
        {
            let prints = vec![0; page.len()];
            let chain = Chain { before, page, prints, ..chain.clone() };
            let payload = Body { chain: &chain, ..body }.write();
            let ahead = Raw { payload, ..raw.clone() };
            assert!(Kept::parse(&names, part, &ahead).is_err(), "{chain:?}");
        }
        // The next one of its pair would have none.
        for ordinal in [0, ID_END, u64::MAX] {
            let chain = Chain { ordinal, ..chain.clone() };
            let payload = Body { chain: &chain, ..body }.write();
            assert!(
                Kept::parse(&names, part, &Raw { payload, ..raw.clone() }).is_err(),
                "{ordinal}"
            );
        }
    }
}
