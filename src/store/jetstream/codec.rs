//! Numbers and texts as bytes, texts behind their length.

use crate::store::varint;

/// Writes values one behind the other.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn number(&mut self, number: u64) {
        varint::write(&mut self.0, number);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Rising numbers, each as its distance from the one before.
    pub(super) fn rising(&mut self, numbers: &[u64]) {
        self.number(numbers.len() as u64);
        let mut last = 0;
        for number in numbers {
            self.number(number.saturating_sub(last));
            last = *number;
        }
    }
}

/// Reads them again; nothing where they are not there.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        varint::read(&mut self.0)
    }

    pub(super) fn fixed(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.fixed(length)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(super) fn rising(&mut self) -> Option<Vec<u64>> {
        let count = usize::try_from(self.number()?).ok()?;
        // Each takes a byte at least.
        if count > self.0.len() {
            return None;
        }
        let mut numbers = Vec::with_capacity(count);
        let mut last = 0u64;
        for _ in 0..count {
            last = last.checked_add(self.number()?)?;
            numbers.push(last);
        }
        Some(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let mut writer = Writer::default();
        let numbers = [0, 1, 127, 128, 1 << 53, u64::MAX];
        numbers.iter().for_each(|number| writer.number(*number));
        writer.bytes("名".as_bytes());
        writer.rising(&numbers);
        let mut reader = Reader(&writer.0);
        for number in numbers {
            assert_eq!(reader.number(), Some(number));
        }
        assert_eq!(reader.text(), Some("名"));
        assert_eq!(reader.rising().as_deref(), Some(&numbers[..]));
        assert_eq!(reader.byte(), None);
    }

    #[test]
    fn what_is_cut_off_or_too_large_is_nothing() {
        assert_eq!(Reader(&[5, 1]).bytes(), None);
        assert_eq!(Reader(&[0xff, 0xff, 0xff, 0x7f, 1]).rising(), None);
    }
}
