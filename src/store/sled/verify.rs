//! Looking at a store that nobody has open, without touching it.

use std::io;
use std::path::Path;

use super::aside::Aside;
use super::census;
use super::fingerprint::{self, Findings};
use super::panics::guarded;
use super::refusal::{OpenError, damaged, unusable};

/// Reads every row of the store in `dir`, in a copy of it, and checks that all fits
/// together: both ways, as far as two things name each other.
///
/// # Errors
/// What is in the way, or does not fit; the directory is left as it was.
pub fn verify(dir: &Path, cache_bytes: u64) -> Result<Findings, OpenError> {
    if !dir.exists() {
        return Err(unusable(dir, io::ErrorKind::NotFound.into()));
    }
    let aside = Aside::open(dir, cache_bytes)?;
    let log = &aside.log;
    guarded(dir, || {
        census::peers(log).map_err(|what| damaged(dir, what))?;
        census::volumes(log).map_err(|what| damaged(dir, what))?;
        fingerprint::of(log, aside.census).map_err(|error| damaged(dir, error.to_string()))
    })
}
