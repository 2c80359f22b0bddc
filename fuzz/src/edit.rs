//! Edits of four bytes each: what, where (two bytes), with what.

/// Does them to `bytes`, one after the other.
pub(crate) fn apply(bytes: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for edit in edits.chunks_exact(4) {
        let &[what, high, low, with] = edit else { continue };
        let at = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
        match what % 4 {
            0 => bytes.insert(at, with),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            _ => bytes.get_mut(at).into_iter().for_each(|byte| *byte = with),
        }
    }
    bytes
}
