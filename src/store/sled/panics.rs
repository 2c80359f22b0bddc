//! Panics of sled over damage, which become errors.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::LazyLock;

use super::refusal::{OpenError, damaged};
use crate::store::StoreError;

thread_local! {
    /// Set while a panic of this thread is expected and answered.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
    /// What the last panic that was expected said, and where in the code.
    static SAID: Cell<Option<String>> = const { Cell::new(None) };
}

/// Of the words of a panic, the most that go into an error.
const SAID_MAX: usize = 160;

/// Keeps panics that become our error from being shown: their own words would only
/// frighten beside it, so they stand in it. Set up once and for good, since every thread
/// shares the hook.
static QUIET: LazyLock<()> = LazyLock::new(|| {
    let others = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !EXPECTED.get() {
            others(panic);
            return;
        }
        let payload = panic.payload();
        let words = payload.downcast_ref::<&str>().copied();
        let words = words.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let line = words.and_then(|words| words.lines().next()).unwrap_or("no word of why");
        let said: String = line.chars().take(SAID_MAX).collect();
        SAID.set(Some(match panic.location() {
            Some(at) => {
                let file = Path::new(at.file()).file_name().unwrap_or_default();
                format!("{said} ({}:{})", file.display(), at.line())
            }
            None => said,
        }));
    }));
});

/// Runs what may meet a damaged file: sled answers some damage with a panic.
pub(super) fn guarded<T>(
    dir: &Path,
    work: impl FnOnce() -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    LazyLock::force(&QUIET);
    EXPECTED.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(false);
    outcome.unwrap_or_else(|_| {
        let said = SAID.take().unwrap_or_default();
        Err(damaged(dir, format!("the database cannot be read: {said}")))
    })
}

/// Runs what reads a store that is open. A panic, which the log shows, becomes damage that
/// was met: so whoever works in the background says why before they end.
pub(super) fn caught<T, E: From<StoreError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let what = "the database failed in the middle of a read".to_owned();
        Err(StoreError::Damaged(what).into())
    })
}
