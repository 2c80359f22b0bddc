//! How far the message has come that a client is sending: the frames of RFC 6455, read
//! for their lengths alone.

/// Where in a frame the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// At its first byte.
    #[default]
    First,
    /// At its second one.
    Second,
    /// In its length or in its mask.
    Head { length: u64, length_left: u8, mask_left: u8 },
    /// In its payload, of which so much is to come.
    Payload(u64),
}

/// What is known of the message under way. It holds none of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Framing {
    at: At,
    /// A message was begun in fragments, and its last one has not begun.
    fragmented: bool,
}

impl Framing {
    /// Takes bytes as they came; says whether a message ended among them.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> bool {
        let mut ended = false;
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = rest;
            self.at = match self.at {
                At::First => {
                    // Control frames may stand between fragments and change nothing.
                    if byte & 0x08 == 0 {
                        self.fragmented = byte & 0x80 == 0;
                    }
                    At::Second
                }
                At::Second => {
                    let (length, length_left) = match byte & 0x7f {
                        126 => (0, 2),
                        127 => (0, 8),
                        short => (short.into(), 0),
                    };
                    let mask_left = if byte & 0x80 == 0 { 0 } else { 4 };
                    At::head(length, length_left, mask_left)
                }
                At::Head { length, length_left: 0, mask_left } => {
                    At::head(length, 0, mask_left.saturating_sub(1))
                }
                At::Head { length, length_left, mask_left } => {
                    At::head(length << 8 | u64::from(byte), length_left - 1, mask_left)
                }
                At::Payload(left) => {
                    // This byte was the first of them.
                    let more = usize::try_from(left - 1).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(more..).unwrap_or_default();
                    At::payload(left - 1 - more as u64)
                }
            };
            ended |= !self.is_under_way();
        }
        ended
    }

    /// Whether a message was begun that has not ended.
    pub(super) fn is_under_way(&self) -> bool {
        self.fragmented || self.at != At::First
    }
}

impl At {
    fn head(length: u64, length_left: u8, mask_left: u8) -> Self {
        match (length_left, mask_left) {
            (0, 0) => Self::payload(length),
            _ => Self::Head { length, length_left, mask_left },
        }
    }

    fn payload(left: u64) -> Self {
        if left == 0 { Self::First } else { Self::Payload(left) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match length {
            0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
            126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([7; 4]);
        frame.resize(frame.len() + length, 0xff);
        frame
    }

    #[test]
    fn fragments_are_under_way_until_the_last_one_has_come() {
        let mut framing = Framing::default();
        assert!(!framing.feed(&frame(0x01, 3)));
        assert!(framing.is_under_way(), "a first fragment");
        assert!(!framing.feed(&frame(0x89, 0)));
        assert!(framing.is_under_way(), "a ping between them");
        assert!(!framing.feed(&frame(0x00, 0)));
        assert!(framing.is_under_way(), "an empty one");
        assert!(framing.feed(&frame(0x80, 5)));
        assert!(!framing.is_under_way());
    }

    #[test]
    fn half_a_frame_is_under_way_at_every_byte() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let whole = frame(0x81, length);
            for cut in [1, 2, 3, 5, 6, 13, whole.len() - 1] {
                if (1..whole.len()).contains(&cut) {
                    let mut framing = Framing::default();
                    assert!(!framing.feed(&whole[..cut]) && framing.is_under_way());
                    assert!(framing.feed(&whole[cut..]) && !framing.is_under_way());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_in_which_pieces_bytes_come(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..200,
        ) {
            let (mut whole, mut pieces) = (Framing::default(), Framing::default());
            let ended = whole.feed(&bytes);
            let (left, right) = bytes.split_at(cut.min(bytes.len()));
            let (first, second) = (pieces.feed(left), pieces.feed(right));
            prop_assert_eq!(ended, first | second);
            prop_assert_eq!(whole.at, pieces.at);
            prop_assert_eq!(whole.fragmented, pieces.fragmented);
        }
    }
}
