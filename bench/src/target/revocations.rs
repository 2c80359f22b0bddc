//! Revocations in force before a server starts: an import of nothing else.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;

/// Users of their own, who never connect.
const FIRST_USER: u64 = 1 << 36;
/// None of them is over while anything is measured.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Writes `count` revocations as `imserver import` reads them, every second one of a single
/// token and the others of all tokens that a user had.
pub(super) fn write(path: &Path, count: u64) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (issued_up_to, until) = (now.as_secs(), (now + LIFETIME).as_secs());
    let mut file = BufWriter::new(File::options().write(true).create_new(true).open(path)?);
    let made = u64::try_from(now.as_millis())?;
    let first = json!({"kind": "export", "version": 1, "made": made, "lastId": "0"});
    writeln!(file, "{first}")?;
    let mut sum = [0; 4];
    for number in 0..count {
        // The digest is over the lines with their members in this order.
        let line = match number % 2 {
            0 => {
                format!(r#"{{"kind":"revokedToken","jti":"bench-gone-{number}","until":{until}}}"#)
            }
            _ => format!(
                r#"{{"kind":"revokedTokens","userId":{},"issuedUpTo":{issued_up_to},"until":{until}}}"#,
                FIRST_USER + number
            ),
        };
        add(&mut sum, digest(&SHA256, line.as_bytes()).as_ref());
        writeln!(file, "{line}")?;
    }
    let digest: String = sum.iter().rev().map(|word| format!("{word:016x}")).collect();
    let last = json!({"kind": "end", "messages": 0, "records": count, "digest": digest});
    writeln!(file, "{last}")?;
    file.flush()?;
    Ok(())
}

/// Adds a hash to the sum of all, both numbers of 256 bits with the least word first.
fn add(sum: &mut [u64; 4], hash: &[u8]) {
    let mut carry = false;
    for (sum, bytes) in sum.iter_mut().zip(hash.chunks_exact(8)) {
        let word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        let (some, over) = sum.overflowing_add(word);
        let (all, more) = some.overflowing_add(u64::from(carry));
        *sum = all;
        carry = over || more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_carries_from_word_to_word_and_off_the_end() {
        let mut sum = [u64::MAX, u64::MAX, 0, u64::MAX];
        let mut one = [0; 32];
        one[0] = 1;
        add(&mut sum, &one);
        assert_eq!(sum, [0, 0, 1, u64::MAX]);
        add(&mut sum, &[0xff; 32]);
        assert_eq!(sum, [u64::MAX, u64::MAX, 0, u64::MAX]);
    }

    #[test]
    fn as_many_lines_are_written_as_were_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        write(&path, 5).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let count = |kind| text.matches(&format!(r#""kind":"{kind}""#)).count();
        assert_eq!(["export", "revokedToken", "revokedTokens", "end"].map(count), [1, 3, 2, 1]);
    }
}
