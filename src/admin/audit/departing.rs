//! The log of a folder on its way into a stream.

use std::path::Path;

use super::folder::Folder;
use super::read::Fault;
use super::shared::topic;
use super::{AuditError, FILE};
use crate::store::jetstream::Topic;
use crate::store::jetstream::migrate::ActLines;

/// The lines of the log in `dir`, each with what it is about; none where there is no log. What
/// a power cut has left behind the last whole one stays where it is: nothing of it was reported
/// as done.
///
/// # Errors
/// The file cannot be opened. A broken line comes in its place, and says what to do.
pub fn departing(dir: &Path) -> Result<ActLines, AuditError> {
    if !dir.join(FILE).exists() {
        return Ok(Box::new(std::iter::empty()));
    }
    let path = Folder::at(dir).path();
    let lines = Folder::at(dir).lines()?;
    let whole = lines.take_while(|line| !matches!(line, Err((_, Fault::Torn))));
    let folder = dir.to_owned();
    Ok(Box::new(whole.map(move |line| -> Result<(Topic, String), String> {
        let line = line.map_err(|(number, why)| {
            format!(
                "line {number} of {} is broken: {why}. `imserver audit verify --folder {}` says \
                 the same; move the file away to leave it behind",
                path.display(),
                folder.display()
            )
        })?;
        Ok((topic(&line), line.text))
    })))
}
