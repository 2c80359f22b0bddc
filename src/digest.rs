//! Short names for long things: the first 128 bits of SHA-256; and how bytes are written out.

use aws_lc_rs::digest::{Context, SHA256};

/// The digest of `parts`, each behind its length so that no two lists run together.
pub(crate) fn digest128(parts: &[&[u8]]) -> [u8; 16] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut short = [0; 16];
    for (short, long) in short.iter_mut().zip(context.finish().as_ref()) {
        *short = *long;
    }
    short
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(digest128(&[b"ab", b"c"]), digest128(&[b"a", b"bc"]));
        assert_eq!(digest128(&[b"ab", b"c"]), digest128(&[b"ab", b"c"]));
    }
}
