//! How large the segments of sled's log are.
//!
//! sled puts a page that is larger than a quarter of a segment into a file of its own, never
//! syncs that file, and may bring the log that names it to the disk at once, on threads of
//! its own: a power cut in that moment leaves a log that names what is not there, and a
//! database that sled cannot open. A page holds 17 rows at the most, and a row one message
//! of 48 KiB, or [`PIECE_BYTES`](super::commit::PIECE_BYTES) of smaller ones: a quarter of
//! these segments takes such a page.

use std::fs;
use std::path::Path;

/// Bytes of a segment of new databases; a power of two, and 16 MiB at the most.
const BYTES: usize = 4 << 20;

/// Bytes of a segment of the database in this folder, which cannot change, or of the one to
/// be made there. sled writes them down in `conf`, a line for each setting.
pub(super) fn bytes(database: &Path) -> usize {
    let settings = fs::read(database.join("conf")).unwrap_or_default();
    let lines = settings.split(|&byte| byte == b'\n');
    let written = lines.filter_map(|line| line.strip_prefix(b"segment_size: ")).next();
    let number = written.and_then(|digits| std::str::from_utf8(digits).ok());
    // What is no size sled refuses by itself.
    number.and_then(|digits| digits.parse().ok()).filter(|&n| is_size(n)).unwrap_or(BYTES)
}

/// Whether sled takes it, which panics over any other.
fn is_size(bytes: usize) -> bool {
    bytes.is_power_of_two() && (256..=16 << 20).contains(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sled::commit::PLACE_BYTES;

    /// The largest content that the configuration allows (`limits.content_bytes`).
    const LARGEST: usize = 48 << 10;

    #[test]
    fn the_largest_page_fits_into_a_quarter() {
        // A node is split when it is next visited with more than 16 rows.
        let page = 17 * (LARGEST + 4 * PLACE_BYTES + 1024);
        assert!(page < BYTES / 4 - 1024, "{page}");
    }

    #[test]
    fn a_database_keeps_the_size_it_was_made_with() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(bytes(folder.path()), BYTES);
        let old = sled::Config::new().path(folder.path()).open().unwrap();
        assert_eq!(bytes(folder.path()), 512 << 10);
        drop(old);
        for nonsense in ["", "segment_size: ", "segment_size: 12\n", "segment_size: 99999999999"] {
            fs::write(folder.path().join("conf"), nonsense).unwrap();
            assert_eq!(bytes(folder.path()), BYTES, "{nonsense:?}");
        }
    }
}
