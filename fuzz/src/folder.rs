//! A folder for one input, in memory where the system has a place for that: what is
//! tried is synced thousands of times a second.

use std::path::Path;

/// Gives `with` an empty folder, and removes it.
pub(crate) fn with<T>(with: impl FnOnce(&Path) -> T) -> T {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    match made {
        Ok(folder) => with(folder.path()),
        Err(error) => panic!("no folder to work in: {error}"),
    }
}
