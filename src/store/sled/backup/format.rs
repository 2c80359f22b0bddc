//! The file of a backup: frames, each with its checksum, between a line that says what
//! it is and a digest over all of it. `docs/backup.md` describes it for others.
//!
//! What was cut short has no end frame; what was changed fails a checksum, and what
//! was exchanged for something with a good one fails the digest.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::digest::hex;

/// How every backup begins: what it is, and the version of its framing.
pub(super) const MAGIC: &[u8] = b"imserver backup 1\n";

/// The kind and the length of a frame stand before it, its checksum behind it.
const BEFORE: usize = 5;
const BEHIND: usize = 4;

/// No frame is longer: a length above it is damage, not a reason to take memory.
const FRAME_MAX: usize = 16 << 20;

/// What a frame of rows is filled to.
const ROWS_BYTES: usize = 64 << 10;

const HEADER: u8 = 1;
const ROWS: u8 = 2;
const FILE: u8 = 3;
const END: u8 = 4;

/// What stands at the beginning of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The layout version of the rows.
    pub layout: u64,
    /// When it was begun, in milliseconds since the Unix epoch.
    pub made: u64,
    /// How many messages there were then; the end says how many were copied.
    pub messages: u64,
}

/// What stands at the end of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The highest message id in it; 0: none.
    pub last_id: u64,
    /// How many messages it holds.
    pub messages: u64,
    /// How many rows of any kind.
    pub rows: u64,
    /// SHA-256 over everything before, in hexadecimal.
    pub sha256: String,
}

/// What is wrong with a backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It begins like something else.
    #[error("it is no backup of imserver, or one of another version")]
    Foreign,
    /// It ends too soon.
    #[error("it is cut short: it ends after {0} bytes without its closing frame")]
    CutShort(u64),
    /// A checksum or a number does not fit.
    #[error("it is damaged at byte {at}: {what}")]
    Damaged {
        /// Where the frame begins.
        at: u64,
        /// What does not fit.
        what: &'static str,
    },
}

/// A piece of a backup, as it is read.
#[derive(Clone, Debug)]
pub(super) enum Frame {
    Header(Header),
    Rows(Rows),
    /// A further piece of a file beside the database.
    File(String, Bytes),
    End(Summary),
}

/// Writes a backup, frame by frame.
pub(super) struct Framer {
    digest: Context,
    rows: Vec<u8>,
    rows_count: u64,
}

impl Framer {
    /// Begins a backup and gives its first bytes.
    pub(super) fn begin(header: &Header) -> (Self, Bytes) {
        let mut framer = Self { digest: Context::new(&SHA256), rows: Vec::new(), rows_count: 0 };
        framer.digest.update(MAGIC);
        let frame = framer.frame(HEADER, &json(header));
        (framer, [MAGIC, &frame].concat().into())
    }

    /// Adds a row; gives a frame once one is full.
    pub(super) fn row(&mut self, key: &[u8], value: &[u8]) -> Option<Bytes> {
        self.rows_count += 1;
        self.rows.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.rows.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.rows.extend_from_slice(key);
        self.rows.extend_from_slice(value);
        (self.rows.len() >= ROWS_BYTES).then(|| self.full())
    }

    fn full(&mut self) -> Bytes {
        let rows = std::mem::take(&mut self.rows);
        self.frame(ROWS, &rows)
    }

    /// Adds a piece of a file beside the database.
    pub(super) fn file(&mut self, name: &str, piece: &[u8]) -> Bytes {
        let payload = [name.as_bytes(), b"\n", piece].concat();
        self.frame(FILE, &payload)
    }

    /// Ends the backup and gives its last bytes.
    pub(super) fn end(mut self, last_id: u64, messages: u64) -> Bytes {
        let mut last = BytesMut::new();
        if !self.rows.is_empty() {
            last.extend_from_slice(&self.full());
        }
        let sha256 = hex(self.digest.clone().finish().as_ref());
        let summary = Summary { last_id, messages, rows: self.rows_count, sha256 };
        last.extend_from_slice(&self.frame(END, &json(&summary)));
        last.freeze()
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) -> Bytes {
        let mut frame = Vec::with_capacity(BEFORE + payload.len() + BEHIND);
        frame.push(kind);
        frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        frame.extend_from_slice(payload);
        frame.extend_from_slice(&crc32fast::hash(&frame).to_le_bytes());
        self.digest.update(&frame);
        frame.into()
    }
}

/// Takes a backup apart as its bytes come in, and notices everything that is not as it
/// was written.
pub(super) struct Parser {
    buffer: BytesMut,
    digest: Context,
    /// Bytes taken out of the buffer so far.
    at: u64,
    rows: u64,
    ended: bool,
}

impl Parser {
    pub(super) fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            digest: Context::new(&SHA256),
            at: 0,
            rows: 0,
            ended: false,
        }
    }

    /// Hands it bytes, as many as there are.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, once it is there as a whole.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Flaw> {
        if self.at == 0 && !self.take_magic()? {
            return Ok(None);
        }
        let at = self.at;
        let damaged = |what| Flaw::Damaged { at, what };
        if self.ended {
            return match self.buffer.is_empty() {
                true => Ok(None),
                false => Err(damaged("something stands behind its end")),
            };
        }
        let Some([kind, a, b, c, d]) = self.buffer.first_chunk::<BEFORE>().copied() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        if len > FRAME_MAX {
            return Err(damaged("the length of a frame"));
        }
        if self.buffer.len() < BEFORE + len + BEHIND {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(BEFORE + len + BEHIND).freeze();
        self.at += frame.len() as u64;
        let whole = frame.clone();
        let body = frame.split_to(BEFORE + len);
        if frame.get_u32_le() != crc32fast::hash(&body) {
            return Err(damaged("the checksum of a frame"));
        }
        let payload = body.slice(BEFORE..);
        let is_first = at == MAGIC.len() as u64;
        let frame = match kind {
            HEADER if is_first => Frame::Header(parse(&payload).ok_or(damaged("the header"))?),
            _ if is_first => return Err(damaged("the header is missing")),
            ROWS => {
                let rows = Rows(payload);
                self.rows += rows.count().ok_or(damaged("the rows of a frame"))?;
                Frame::Rows(rows)
            }
            FILE => {
                let (name, piece) = split_line(&payload).ok_or(damaged("the name of a file"))?;
                Frame::File(name, piece)
            }
            END => {
                let summary: Summary = parse(&payload).ok_or(damaged("the closing frame"))?;
                if summary.sha256 != hex(self.digest.clone().finish().as_ref()) {
                    return Err(damaged("the digest of the whole"));
                }
                if summary.rows != self.rows {
                    return Err(damaged("the number of rows"));
                }
                self.ended = true;
                Frame::End(summary)
            }
            _ => return Err(damaged("the kind of a frame")),
        };
        self.digest.update(&whole);
        Ok(Some(frame))
    }

    fn take_magic(&mut self) -> Result<bool, Flaw> {
        let begin = self.buffer.get(..MAGIC.len()).unwrap_or(&self.buffer);
        if !MAGIC.starts_with(begin) {
            return Err(Flaw::Foreign);
        }
        if begin.len() < MAGIC.len() {
            return Ok(false);
        }
        self.digest.update(MAGIC);
        self.buffer.advance(MAGIC.len());
        self.at = MAGIC.len() as u64;
        Ok(true)
    }

    /// There are no more bytes: was that all?
    pub(super) fn finish(&self) -> Result<(), Flaw> {
        match self.ended && self.buffer.is_empty() {
            true => Ok(()),
            false => Err(Flaw::CutShort(self.at + self.buffer.len() as u64)),
        }
    }
}

/// Rows as they lie in a frame.
#[derive(Clone, Debug)]
pub(super) struct Rows(Bytes);

impl Rows {
    pub(super) fn iter(&self) -> RowIter<'_> {
        RowIter(&self.0)
    }

    /// How many there are; nothing where they are not whole.
    fn count(&self) -> Option<u64> {
        let mut rows = self.iter();
        let count = rows.by_ref().count() as u64;
        rows.0.is_empty().then_some(count)
    }
}

/// Walks through the rows of a frame.
pub(super) struct RowIter<'a>(&'a [u8]);

impl<'a> Iterator for RowIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = self.0.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key) as usize)?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value) as usize)?;
        self.0 = rest;
        Some((key, value))
    }
}

fn split_line(payload: &Bytes) -> Option<(String, Bytes)> {
    let end = payload.iter().position(|&byte| byte == b'\n')?;
    let name = std::str::from_utf8(payload.get(..end)?).ok()?.to_owned();
    Some((name, payload.slice(end + 1..)))
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    // Numbers and text alone: there is nothing that could not be written.
    serde_json::to_vec(value).unwrap_or_default()
}

fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Option<T> {
    serde_json::from_slice(payload).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written() -> Vec<u8> {
        let header = Header { layout: 2, made: 1_589_790_567_000, messages: 3 };
        let (mut framer, begin) = Framer::begin(&header);
        let mut bytes = begin.to_vec();
        for number in 0..40u8 {
            let value = vec![number; 3000];
            bytes.extend(framer.row(&[b'M', number], &value).into_iter().flatten());
        }
        bytes.extend(framer.file("audit.jsonl", b"{}\n"));
        bytes.extend(framer.end(7, 3));
        bytes
    }

    /// Reads it in pieces of a size; gives how many rows there are.
    fn read(bytes: &[u8], piece: usize) -> Result<u64, Flaw> {
        let mut parser = Parser::new();
        let mut rows = 0;
        for piece in bytes.chunks(piece) {
            parser.feed(piece);
            while let Some(frame) = parser.next()? {
                if let Frame::Rows(found) = frame {
                    rows += found.iter().count() as u64;
                }
            }
        }
        parser.finish()?;
        Ok(rows)
    }

    #[test]
    fn what_was_written_is_read_in_any_pieces() {
        let bytes = written();
        for piece in [1, 7, 1000, bytes.len()] {
            assert_eq!(read(&bytes, piece), Ok(40), "{piece}");
        }
    }

    #[test]
    fn every_shorter_file_is_cut_short() {
        let bytes = written();
        for len in (0..bytes.len()).step_by(997).chain(bytes.len() - 300..bytes.len()) {
            assert_eq!(read(&bytes[..len], 4096), Err(Flaw::CutShort(len as u64)));
        }
    }

    #[test]
    fn a_frame_left_out_is_noticed_though_every_checksum_holds() {
        let (mut framer, begin) = Framer::begin(&Header { layout: 2, made: 0, messages: 0 });
        let left_out = framer.file("a", b"1");
        let rest = [framer.file("a", b"2"), framer.end(0, 0)].concat();
        assert_eq!(read(&[&begin[..], &left_out, &rest].concat(), 64), Ok(0));
        let flaw = read(&[&begin[..], &rest].concat(), 64).unwrap_err();
        assert!(flaw.to_string().contains("digest"), "{flaw}");
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_noticed(at: proptest::sample::Index, bit in 0..8u8) {
            let mut bytes = written();
            let at = at.index(bytes.len());
            bytes[at] ^= 1u8 << bit;
            prop_assert!(read(&bytes, 4096).is_err());
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            let _ = read(&bytes, 16);
            let _ = read(&[MAGIC, &bytes].concat(), 16);
        }
    }
}
