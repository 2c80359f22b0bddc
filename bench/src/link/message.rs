//! A message that is said many times, each time with another sequence.

use crate::frame::{Template, decimal};

/// A message, and the two places where its sequence stands in decimal digits: in the
/// content, and where the protocol names a message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) frame: Template,
    pub(super) places: [usize; 2],
}

impl Message {
    /// Appends it with this sequence to `out`.
    pub(super) fn write(&self, sequence: u64, out: &mut Vec<u8>) {
        let digits = decimal(sequence);
        self.frame.write(&self.places.map(|place| (place, &digits[..])), out);
    }
}
