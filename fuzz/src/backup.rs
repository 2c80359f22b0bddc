//! Backups, as a file or a stream could have been changed on its way.
//!
//! The first byte tells how the rest becomes a backup:
//!
//! - `f`: frames, each a kind, a length of two bytes and so many bytes. They get their
//!   checksums here; in a frame of the kind 4, the last one, `#` stands for the digest;
//! - `m`: edits of four bytes (what, where, where, with what) on a backup that is whole;
//! - anything else: as it is.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use imserver::store::sled::{Checker, Flaw, Header, Summary};

use crate::edit;

/// A backup that is whole.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let rows = [&row(b"S", b"2")[..], &row(b"M1", b"text")].concat();
    let parts: [(u8, &[u8]); 4] = [
        (1, br#"{"layout":2,"made":1589790567000,"messages":1}"#),
        (2, &rows),
        (3, b"audit.jsonl\n{}\n"),
        (4, br##"{"last_id":7,"messages":1,"rows":2,"sha256":"#"}"##),
    ];
    let mut described = Vec::new();
    for (kind, payload) in parts {
        described.push(kind);
        described.extend(u16::try_from(payload.len()).unwrap_or_default().to_be_bytes());
        described.extend(payload);
    }
    framed(&described)
});

const MAGIC: &[u8] = b"imserver backup 1\n";

type Read = Result<(Header, Summary), Flaw>;

/// Reads a backup in one piece and in many: that makes no difference.
pub fn check(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    let backup = match how {
        b'f' => framed(rest),
        b'm' => edit::apply(&GOOD, rest),
        _ => rest.to_vec(),
    };
    let whole = read(&backup, backup.len().max(1));
    for piece in [1, 7, 64] {
        assert_eq!(read(&backup, piece), whole, "in pieces of {piece}");
    }
    match how {
        b'f' => {}
        b'm' => assert_eq!(whole.is_ok(), backup == *GOOD, "{whole:?}"),
        _ => assert!(whole.is_err() || backup == *GOOD, "nobody wrote this backup"),
    }
    if whole.is_ok() {
        // Cut by a byte it is no backup, and with a byte more neither.
        let shorter = backup.get(..backup.len() - 1).unwrap_or_default();
        assert_eq!(read(shorter, 64), Err(Flaw::CutShort(shorter.len() as u64)));
        assert!(read(&[&backup[..], b"\0"].concat(), 64).is_err());
    }
}

fn read(backup: &[u8], piece: usize) -> Read {
    let mut checker = Checker::default();
    backup.chunks(piece).try_for_each(|piece| checker.feed(piece))?;
    checker.finish()
}

/// Writes the frames that `described` tells of.
fn framed(mut described: &[u8]) -> Vec<u8> {
    let mut backup = MAGIC.to_vec();
    while let Some((&[kind, high, low], rest)) = described.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        described = rest;
        let payload = if kind == 4 { with_digest(payload, &backup) } else { payload.to_vec() };
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let frame = [&[kind][..], &length.to_le_bytes(), &payload].concat();
        backup.extend_from_slice(&frame);
        backup.extend_from_slice(&crc32fast::hash(&frame).to_le_bytes());
    }
    backup
}

/// Puts the digest of `before` in the place of every `#`.
fn with_digest(payload: &[u8], before: &[u8]) -> Vec<u8> {
    let digest = digest(&SHA256, before);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let put = |byte: &u8| if *byte == b'#' { hex.clone().into_bytes() } else { vec![*byte] };
    payload.iter().flat_map(put).collect()
}

fn row(key: &[u8], value: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes();
    [&length(key)[..], &length(value), key, value].concat()
}
