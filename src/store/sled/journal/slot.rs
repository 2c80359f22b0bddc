//! One of the journal's two files.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// How far ahead room is made in the file. What is written into room that is there needs
/// nothing but its own bytes on the disk: half the time, and half the work.
const AHEAD: u64 = 1 << 20;

/// What room is made of.
const ZEROS: &[u8] = &[0; 64 << 10];

#[derive(Debug)]
pub(super) struct Slot {
    file: File,
    /// Where the next frame goes.
    pub(super) at: u64,
    /// Up to where the file was ever written.
    room: u64,
    /// The last frame in it; 0: none.
    pub(super) last: u64,
}

impl Slot {
    /// Makes the file, or empties it.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Self { file, at: 0, room: 0, last: 0 })
    }

    /// Brings a frame to the disk.
    pub(super) fn write(&mut self, number: u64, frame: &[u8]) -> io::Result<()> {
        let end = self.at.saturating_add(frame.len() as u64);
        if end > self.room {
            self.make_room(end.next_multiple_of(AHEAD))?;
        }
        self.file.write_all_at(frame, self.at)?;
        self.file.sync_data()?;
        self.at = end;
        self.last = number;
        Ok(())
    }

    fn make_room(&mut self, up_to: u64) -> io::Result<()> {
        while self.room < up_to {
            self.file.write_all_at(ZEROS, self.room)?;
            self.room += ZEROS.len() as u64;
        }
        Ok(())
    }
}
