//! How far something long has come, for whoever watches: a bar on a terminal, nothing elsewhere.

use std::io::Read;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Counts messages, of which it will be told how many there are.
    pub(super) fn messages(what: &'static str) -> Self {
        Self::new(what, 0, "{msg} {wide_bar} {human_pos} of {human_len} messages, {eta} left")
    }

    /// Counts the bytes of a file.
    pub(super) fn bytes(what: &'static str, all: u64) -> Self {
        Self::new(what, all, "{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left")
    }

    fn new(what: &'static str, all: u64, style: &str) -> Self {
        // It draws on standard error, and only where that is a terminal.
        let bar = ProgressBar::new(all).with_message(what);
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(super) fn at(&self, done: u64, all: u64) {
        self.0.set_length(all.max(done));
        self.0.set_position(done);
    }

    /// Moves on as `source` is read.
    pub(super) fn reading<R: Read>(&self, source: R) -> impl Read {
        self.0.wrap_read(source)
    }

    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}
