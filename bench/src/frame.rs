//! Frames to send: masked templates with a few bytes patched in.
//!
//! The generator shares its cores with the server, so whatever it spends on
//! formatting is missing there.

use crate::scan::digits;

/// Digits of a sequence; ten, like the timestamps of the document.
const DIGITS: usize = 10;

/// The content of one pair's messages: who, which, and filling up to a size.
#[derive(Debug)]
pub struct Content {
    run: String,
    prefix: String,
    filling: String,
}

/// What a delivered content turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recognised {
    /// This pair's message with that sequence, whole.
    Sequence(u64),
    /// Left over from another run in the same inbox.
    Foreign,
    /// Of this run, and not as it was sent.
    Corrupt,
}

impl Content {
    /// Makes contents of `bytes` bytes (at least 32) for one pair of a run.
    #[must_use]
    pub fn new(run: u32, pair: usize, bytes: usize) -> Self {
        let run_tag = format!("{run:08x}.");
        let prefix = format!("{run_tag}{pair:05}.");
        // Not one letter over and over: a store that compresses would win by it.
        let mut state = run ^ 0x9e37_79b9;
        let mut letter = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            char::from(b'a' + u8::try_from(state % 26).unwrap_or_default())
        };
        let filling = (prefix.len() + DIGITS..bytes.max(32)).map(|_| letter()).collect();
        Self { run: run_tag, prefix, filling }
    }

    /// The content with zeros for its sequence, and where those stand.
    #[must_use]
    pub fn zeroed(&self) -> (String, usize) {
        let Self { prefix, filling, .. } = self;
        (format!("{prefix}{}{filling}", "0".repeat(DIGITS)), prefix.len())
    }

    /// Says what `content` is.
    #[must_use]
    pub fn recognise(&self, content: &[u8]) -> Recognised {
        let Some(rest) = content.strip_prefix(self.prefix.as_bytes()) else {
            let ours = content.starts_with(self.run.as_bytes());
            return if ours { Recognised::Corrupt } else { Recognised::Foreign };
        };
        match digits(rest) {
            Some((sequence, filling)) if filling == self.filling.as_bytes() => {
                Recognised::Sequence(sequence)
            }
            _ => Recognised::Corrupt,
        }
    }
}

/// A masked WebSocket frame of which a few bytes change from message to message.
#[derive(Debug)]
pub struct Template {
    frame: Vec<u8>,
    header: usize,
}

impl Template {
    /// Prepares a frame with this payload.
    #[must_use]
    pub fn new(opcode: u8, payload: &[u8]) -> Self {
        let mut frame = Vec::with_capacity(payload.len() + 14);
        write_frame(opcode, payload, &mut frame);
        Self { header: frame.len() - payload.len(), frame }
    }

    /// Appends the frame to `out`, with other bytes at these places of its payload.
    pub fn write(&self, changes: &[(usize, &[u8])], out: &mut Vec<u8>) {
        let start = out.len() + self.header;
        out.extend_from_slice(&self.frame);
        for (at, bytes) in changes {
            let Some(place) = out.get_mut(start + at..start + at + bytes.len()) else {
                continue;
            };
            let mask = MASK.iter().cycle().skip(at % 4);
            let masked = bytes.iter().zip(mask).map(|(byte, mask)| byte ^ mask);
            place.iter_mut().zip(masked).for_each(|(place, masked)| *place = masked);
        }
    }
}

/// A sequence as it stands in a content.
#[must_use]
pub fn decimal(sequence: u64) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    let mut rest = sequence;
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    digits
}

/// The mask of every frame. Masks protect proxies from scripts in browsers, and
/// there are neither here; a server has to undo it all the same.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x9e];

/// Opcode of a text frame.
pub const TEXT: u8 = 1;
/// Opcode of a frame of bytes.
pub const BINARY: u8 = 2;
/// Opcode of a close frame.
pub const CLOSE: u8 = 8;
/// Opcode of a ping.
pub const PING: u8 = 9;
/// Opcode of a pong.
pub const PONG: u8 = 10;

/// Appends one masked WebSocket frame to `out`.
pub fn write_frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => out.push(0x80 | short),
        (_, Ok(medium)) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_changes_what_it_is_told_to_and_nothing_else() {
        for length in [20, 125, 126, 300] {
            let payload: Vec<u8> =
                (0..length).collect::<Vec<u16>>().iter().map(|n| *n as u8).collect();
            let mut expected = payload.clone();
            expected[3..13].copy_from_slice(b"1234567890");
            expected[17] = b'!';
            let (mut whole, mut patched) = (Vec::new(), vec![b'x']);
            write_frame(BINARY, &expected, &mut whole);
            Template::new(BINARY, &payload)
                .write(&[(3, &decimal(1_234_567_890)), (17, b"!")], &mut patched);
            assert_eq!(patched[1..], whole);
        }
    }

    #[test]
    fn another_run_is_foreign_and_another_pair_or_filling_is_corrupt() {
        let text = |content: &Content| format!("{}0000000001{}", content.prefix, content.filling);
        let content = Content::new(7, 3, 60);
        let recognise = |text: String| content.recognise(text.as_bytes());
        assert_eq!(recognise(text(&content)), Recognised::Sequence(1));
        assert_eq!(recognise(text(&Content::new(8, 3, 60))), Recognised::Foreign);
        assert_eq!(recognise(text(&Content::new(7, 4, 60))), Recognised::Corrupt);
        assert_eq!(recognise(text(&content) + "!"), Recognised::Corrupt);
        assert_eq!(recognise("hello".to_owned()), Recognised::Foreign);
    }
}
