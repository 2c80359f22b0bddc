//! A frame of the journal: the rows of one commit, and where it stands among the others.
//!
//! Four bytes that no text contains, a CRC-32 over everything behind it, then as numbers of eight
//! bytes, the lowest first: the frame's own number, up to which one sled had everything on the
//! disk when it was written, its place in the file, and how long the rows are that follow. The
//! next frame begins at the next multiple of eight.

/// UTF-8 has neither the first nor the last of these bytes: no message can look like a frame.
const MAGIC: [u8; 4] = [0xfe, b'I', b'M', 0xff];

/// What stands before the rows.
const HEADER: usize = 40;

/// Where frames begin, as a divisor of their places.
pub(super) const ALIGN: usize = 8;

/// A frame that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) number: u64,
    /// Up to which frame everything was with sled, on the disk.
    pub(super) settled: u64,
    /// The rows, as they were encoded.
    pub(super) rows: &'a [u8],
    /// Where the next frame begins.
    pub(super) end: usize,
}

/// The frame with these rows, which is to lie at `place`.
pub(super) fn encode(number: u64, settled: u64, place: u64, rows: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER);
    for part in [number, settled, place, rows.len() as u64] {
        header.extend_from_slice(&part.to_le_bytes());
    }
    let sum = checksum(&[&header, rows]);
    let size = (HEADER + rows.len()).next_multiple_of(ALIGN);
    let mut frame = Vec::with_capacity(size);
    for part in [&MAGIC[..], &sum.to_le_bytes(), &header, rows] {
        frame.extend_from_slice(part);
    }
    frame.resize(size, 0);
    frame
}

/// The frame at `place` in the bytes of a file, if there is a whole one.
pub(super) fn decode(file: &[u8], place: usize) -> Option<Frame<'_>> {
    let (magic, rest) = file.get(place..)?.split_first_chunk::<4>()?;
    if *magic != MAGIC {
        return None;
    }
    let (sum, summed) = rest.split_first_chunk::<4>()?;
    let (number, rest) = summed.split_first_chunk::<8>()?;
    let (settled, rest) = rest.split_first_chunk::<8>()?;
    let (written_at, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let rows = rest.get(..length)?;
    let summed = summed.get(..HEADER - 8 + length)?;
    if checksum(&[summed]) != u32::from_le_bytes(*sum)
        || u64::from_le_bytes(*written_at) != place as u64
    {
        return None;
    }
    Some(Frame {
        number: u64::from_le_bytes(*number),
        settled: u64::from_le_bytes(*settled),
        rows,
        end: (place + HEADER + length).next_multiple_of(ALIGN),
    })
}

/// CRC-32, as rows have it: against what is torn or rots, not against an attacker.
fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}
