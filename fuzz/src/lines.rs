//! Lines of an export, as people and other programs may write them.

use std::io::Cursor;

use imserver::store::sled::{import, verify};
use imserver::store::{Digest, Line};

use crate::folder;

/// Bytes of memory for a store that holds nearly nothing.
const CACHE: u64 = 1 << 20;

/// Reads each line and writes it again. Where all of them are right they get the last line
/// that they need, and are imported: what comes out is a store that is whole, or nothing.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let mut digest = Digest::default();
    let mut right = true;
    for (at, text) in text.lines().enumerate() {
        let Ok(line) = Line::read(text) else {
            right = false;
            continue;
        };
        let written = line.write();
        assert_eq!(Line::read(&written).as_ref(), Ok(&line), "{text}");
        let first = at == 0 && matches!(line, Line::Export { .. });
        match line.clone().record() {
            Ok(record) => {
                let again = Line::from(record.clone());
                assert_eq!(again.record(), Ok(record), "{text}");
            }
            Err(why) => {
                assert!(!why.is_empty());
                right &= first;
            }
        }
        if !first {
            digest.add(&line, &written);
        }
    }
    if right && text.ends_with('\n') {
        let whole = format!("{text}{}\n", digest.end().write());
        folder::with(|dir| {
            let dir = dir.join("data");
            match import(Cursor::new(whole), &dir, CACHE) {
                Ok(findings) => {
                    assert_eq!(findings.digest, digest);
                    let found = verify(&dir, CACHE);
                    assert_eq!(found.ok(), Some(findings), "{text}");
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    let left = dir.read_dir().map_or(0, Iterator::count);
                    assert_eq!(left, 0, "{error}: something was left behind");
                }
            }
        });
    }
}
