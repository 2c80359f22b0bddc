//! Protocols to which WebSocket frames are only pieces of a stream.

use std::mem;

use anyhow::Result;

/// What is left of the pieces so far: the beginning of something.
#[derive(Debug, Default)]
pub(super) struct Stream {
    rest: Vec<u8>,
}

impl Stream {
    /// Adds a piece and lets `take` have what lies before it, until it wants no more:
    /// it says how many bytes it took, or none where it needs a longer text.
    pub(super) fn feed(
        &mut self,
        piece: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<Option<usize>>,
    ) -> Result<()> {
        let mut joined = mem::take(&mut self.rest);
        let mut text = piece;
        if !joined.is_empty() {
            joined.extend_from_slice(piece);
            text = &joined;
        }
        while !text.is_empty()
            && let Some(taken) = take(text)?
        {
            text = text.get(taken..).unwrap_or_default();
        }
        self.rest = text.to_vec();
        Ok(())
    }

    /// What is left.
    pub(super) fn rest(self) -> Vec<u8> {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_wherever_they_were_cut() {
        let text = b"one two three ";
        for cut in 0..text.len() {
            let (mut stream, mut words) = (Stream::default(), Vec::new());
            for piece in [&text[..cut], &text[cut..]] {
                stream
                    .feed(piece, |text| {
                        let Some(end) = memchr::memchr(b' ', text) else {
                            return Ok(None);
                        };
                        words.push(text[..end].to_vec());
                        Ok(Some(end + 1))
                    })
                    .unwrap();
            }
            assert_eq!(words, [&b"one"[..], b"two", b"three"]);
        }
    }
}
