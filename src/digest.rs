//! Short names for long things: the first 128 bits of SHA-256.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(digest128(&[b"ab", b"c"]), digest128(&[b"a", b"bc"]));
        assert_eq!(digest128(&[b"ab", b"c"]), digest128(&[b"ab", b"c"]));
    }
}
