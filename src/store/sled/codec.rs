//! Bytes of a stored value: numbers as varints, text behind its length, and a
//! checksum over key and value, because sled gives back damaged rows without a word.

use crate::store::varint;

/// Collects a value, to be sealed at the end.
#[derive(Debug)]
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    /// Starts a value of the given layout version.
    pub(super) fn new(version: u8, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + 16);
        bytes.push(version);
        Self(bytes)
    }

    /// Starts bytes of which something else says what they are.
    pub(super) fn bare(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(super) fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        varint::write(&mut self.0, number);
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.number(text.len() as u64).bytes(text.as_bytes())
    }

    /// How long it is so far.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Ends a value whose parts have checksums of their own.
    pub(super) fn unsealed(self) -> Vec<u8> {
        self.0
    }

    /// Ends the value with the checksum that ties it to its key.
    pub(super) fn seal(self, key: &[u8]) -> Vec<u8> {
        seal(self.0, key)
    }
}

/// Adds its checksum to a value.
pub(super) fn seal(mut value: Vec<u8>, key: &[u8]) -> Vec<u8> {
    let sum = checksum(key, &value);
    value.extend_from_slice(&sum.to_le_bytes());
    value
}

/// CRC-32: against rot and misplaced rows, not against an attacker, who could
/// write what they like into the file anyway.
fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

/// Walks through a value; every step may find that there is no more.
#[derive(Debug)]
pub(super) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// Opens a sealed value, if its checksum and layout version hold.
    pub(super) fn open(version: u8, key: &[u8], value: &'a [u8]) -> Option<Self> {
        let (body, sum) = value.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*sum) != checksum(key, body) {
            return None;
        }
        let (&found, rest) = body.split_first()?;
        (found == version).then_some(Self(rest))
    }

    /// Walks through bytes that stand under no checksum of their own.
    pub(super) fn unsealed(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        varint::read(&mut self.0)
    }

    pub(super) fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N as u64)?.try_into().ok()
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let len = self.number()?;
        std::str::from_utf8(self.bytes(len)?).ok()
    }

    /// The length of the checksum that a sealed value ends with.
    pub(super) const CHECKSUM: usize = 4;

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    /// Whether the whole value was taken, as it must be.
    pub(super) fn at_end(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_sealed_opens(key: Vec<u8>, number: u64, text: String, tail: [u8; 3]) {
            let mut value = Encoder::new(7, 0);
            value.number(number).text(&text).bytes(&tail).byte(9);
            let value = value.seal(&key);
            let mut read = Decoder::open(7, &key, &value).unwrap();
            prop_assert_eq!(read.number(), Some(number));
            prop_assert_eq!(read.text(), Some(text.as_str()));
            prop_assert_eq!(read.array(), Some(tail));
            prop_assert_eq!(read.byte(), Some(9));
            prop_assert!(read.at_end());
        }

        #[test]
        fn a_flipped_bit_is_noticed(key: Vec<u8>, text: String, at: proptest::sample::Index, bit in 0..8u8) {
            let mut value = Encoder::new(1, 0);
            value.text(&text);
            let mut value = value.seal(&key);
            let at = at.index(value.len());
            value[at] ^= 1u8 << bit;
            prop_assert!(Decoder::open(1, &key, &value).is_none());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let mut read = Decoder(&bytes);
            while read.number().is_some() {}
            let mut read = Decoder(&bytes);
            while read.text().is_some() {}
        }
    }

    #[test]
    fn a_value_under_another_key_does_not_open() {
        let value = Encoder::new(1, 0).seal(b"a");
        assert!(Decoder::open(1, b"a", &value).is_some());
        assert!(Decoder::open(1, b"b", &value).is_none());
        assert!(Decoder::open(2, b"a", &value).is_none());
    }
}
