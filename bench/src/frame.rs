//! Frames to send: a masked template with twenty digits patched in.
//!
//! The generator shares its cores with the server, so whatever it spends on
//! JSON is missing there.

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

/// A message frame, masked, in which only the sequence is still to be written.
#[derive(Debug)]
pub struct Template {
    frame: Vec<u8>,
    /// Where the digits stand in `frame`, with the mask that lies on them.
    places: [(usize, [u8; DIGITS]); 2],
}

impl Template {
    /// Prepares messages from `from` to `to`.
    #[must_use]
    pub fn new(from: u64, to: u64, content: &Content, mask: [u8; 4]) -> Self {
        let zeros = "0".repeat(DIGITS);
        let Content { prefix, filling, .. } = content;
        let before = format!(
            r#"{{"fromId":{from},"toId":{to},"type":0,"content":"{prefix}{zeros}{filling}"#
        );
        let text = format!(r#"{before}","timestamp":"{zeros}","Describe":""}}"#);
        let in_content = before.len() - filling.len() - DIGITS;
        let in_timestamp = before.len() + r#"","timestamp":""#.len();
        let mut frame = Vec::with_capacity(text.len() + 14);
        write_frame(TEXT, text.as_bytes(), mask, &mut frame);
        let header = frame.len() - text.len();
        let place = |at: usize| {
            let mut under = [0; DIGITS];
            let shifted = mask.iter().cycle().skip(at % 4);
            under.iter_mut().zip(shifted).for_each(|(under, mask)| *under = *mask);
            (header + at, under)
        };
        Self { frame, places: [place(in_content), place(in_timestamp)] }
    }

    /// Appends the message with this sequence to `out`.
    pub fn write(&self, sequence: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        let mut digits = [b'0'; DIGITS];
        let mut rest = sequence;
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
        for (at, under) in &self.places {
            let Some(place) = out.get_mut(start + at..start + at + DIGITS) else {
                continue;
            };
            let masked = digits.iter().zip(under).map(|(digit, mask)| digit ^ mask);
            place.iter_mut().zip(masked).for_each(|(byte, masked)| *byte = masked);
        }
    }
}

/// Appends a mark-read frame for `ids` to `out`.
pub fn write_mark_read(user: u64, ids: &[u64], mask: [u8; 4], out: &mut Vec<u8>) {
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    let text = format!(
        r#"{{"fromId":{user},"toId":0,"type":1,"content":"[{}]","timestamp":"0","Describe":""}}"#,
        ids.join(",")
    );
    write_frame(TEXT, text.as_bytes(), mask, out);
}

/// Opcode of a text frame.
pub const TEXT: u8 = 1;
/// Opcode of a close frame.
pub const CLOSE: u8 = 8;
/// Opcode of a ping.
pub const PING: u8 = 9;
/// Opcode of a pong.
pub const PONG: u8 = 10;

/// Appends one masked WebSocket frame to `out`.
pub fn write_frame(opcode: u8, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
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
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x11, 0x82, 0x43, 0xf4];

    /// The text of a masked frame with a two-byte length.
    fn unmask(frame: &[u8]) -> String {
        assert_eq!(frame[..2], [0x81, 0x80 | 126]);
        assert_eq!(usize::from(u16::from_be_bytes([frame[2], frame[3]])), frame.len() - 8);
        let text = frame[8..].iter().zip(frame[4..8].iter().cycle()).map(|(b, m)| b ^ m).collect();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_template_writes_the_sequence_into_content_and_timestamp() {
        for bytes in 100..108 {
            let content = Content::new(7, 3, bytes);
            let mut frame = Vec::new();
            Template::new(15, 6, &content, MASK).write(1_234_567_890, &mut frame);
            let value: serde_json::Value = serde_json::from_str(&unmask(&frame)).unwrap();
            assert_eq!(value["fromId"], 15);
            assert_eq!(value["toId"], 6);
            assert_eq!(value["timestamp"], "1234567890");
            let text = value["content"].as_str().unwrap();
            assert_eq!(text.len(), bytes);
            assert_eq!(content.recognise(text.as_bytes()), Recognised::Sequence(1_234_567_890));
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
