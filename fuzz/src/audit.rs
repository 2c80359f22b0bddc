//! The audit log, as a power cut, a bad disk or somebody with an editor could leave it.
//!
//! Input that begins with `m` is edits of four bytes (what, where, where, with what) on a
//! log that is whole; anything else is the log itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use imserver::admin::audit::{Act, Audit, AuditError, FILE, Fault, Verified, Who};

use crate::{edit, folder};

/// A log of four acts.
const GOOD: &str = include_str!("../good/audit.jsonl");

/// Reads the log, adds an act, and reads it again.
pub fn check(data: &[u8]) {
    let log = match data.split_first() {
        Some((b'm', edits)) => edit::apply(GOOD.as_bytes(), edits),
        _ => data.to_vec(),
    };
    folder::with(|dir| try_log(dir, &log));
}

fn try_log(dir: &Path, log: &[u8]) {
    let path = dir.join(FILE);
    let placed = fs::write(&path, log)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)));
    let (Ok(()), Ok(audit)) = (placed, Audit::open(dir)) else { panic!("no log in {dir:?}") };
    let before = read(&audit);
    stands_in_the_log(&before, log);

    let act = Act::new("fuzz").with("n", 1);
    match audit.append(&Who::Shell("fuzz".to_owned()), &act) {
        Ok(line) => {
            let after = read(&audit);
            match &before.fault {
                // A rest of a line is set aside, and named.
                None | Some((_, Fault::Torn)) => {
                    assert_eq!(after.fault, None, "{before:?}");
                    assert!(after.lines > before.lines);
                    assert_eq!(after.newest, Some(line.hash));
                }
                Some(fault) => assert_eq!(after.fault.as_ref(), Some(fault)),
            }
        }
        Err(AuditError::Broken { .. }) => {
            let mended = matches!(&before.fault, None | Some((_, Fault::Torn)));
            assert!(!mended, "{before:?} could have gone on");
            assert_eq!(read(&audit), before, "a refused act changes nothing");
        }
        Err(error) => panic!("{error}"),
    }
}

fn read(audit: &Audit) -> Verified {
    match audit.verify(None) {
        Ok(verified) => verified,
        Err(error) => panic!("{error}"),
    }
}

/// The lines that were believed stand in the log as they were written: nobody who cannot
/// reckon a SHA-256 changes as much as a letter of the good ones.
fn stands_in_the_log(read: &Verified, log: &[u8]) {
    let lines = usize::try_from(read.lines).unwrap_or(usize::MAX);
    let good: Vec<&[u8]> = GOOD.lines().map(str::as_bytes).take(lines).collect();
    let found: Vec<&[u8]> = log.split(|byte| *byte == b'\n').take(good.len()).collect();
    assert!(lines <= GOOD.lines().count(), "nobody wrote {lines} lines");
    assert!(found == good, "{lines} lines were believed, of which one was changed");
}
