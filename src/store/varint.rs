//! Numbers in LEB128, as both stores write them: seven bits a byte, the lowest first.

/// Adds a number.
#[inline]
pub(super) fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number off the front; nothing where it is cut off, or has more than 64 bits.
#[inline]
pub(super) fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        let placed = bits << shift;
        if placed >> shift != bits {
            return None;
        }
        number |= placed;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_is_longer_than_a_number() {
        let numbers = [0, 1, 127, 128, 1 << 53, u64::MAX];
        let mut bytes = Vec::new();
        numbers.iter().for_each(|number| write(&mut bytes, *number));
        let mut left = bytes.as_slice();
        assert_eq!(numbers.map(|_| read(&mut left)), numbers.map(Some));
        assert!(left.is_empty());
        for bad in [&[][..], &[0x80], &[0xff; 11], &[0x80; 9], &[0xff; 9]] {
            assert_eq!(read(&mut &*bad), None, "{bad:x?}");
        }
    }
}
