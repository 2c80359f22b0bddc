//! Which HMAC secrets are no secret.

use std::collections::HashSet;

/// How many different bytes, and different steps from one byte to the next, a
/// secret must show. Of 32 random bytes nearly all differ; of 32 random
/// hexadecimal digits fewer than eight do once in thirty million times.
const DISTINCT_MIN: usize = 8;

/// How long a secret must be once its padding is taken off, and how long the
/// part that it repeats: shorter is a word that was stretched to the length
/// asked for.
const CORE_MIN: usize = 24;

/// Secrets that are long enough and that everybody has read.
const PUBLISHED: [&[u8]; 2] = [
    // The example on jwt.io.
    b"a-string-secret-at-least-256-bits-long",
    b"a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
];

/// Whether `secret` could be guessed: words stretched with padding or by
/// repeating them, sequences, published examples.
///
/// This cannot tell a good secret from a bad one, only spot the usual bad ones.
pub(super) fn is_weak(secret: &[u8]) -> bool {
    let core = without_padding(secret);
    core.len() < CORE_MIN
        || distinct(core.iter().copied()) < DISTINCT_MIN
        || distinct(core.iter().zip(core.iter().skip(1)).map(|(a, b)| b.wrapping_sub(*a)))
            < DISTINCT_MIN
        || period(core) < CORE_MIN
        || PUBLISHED.contains(&core)
}

fn distinct(bytes: impl Iterator<Item = u8>) -> usize {
    bytes.collect::<HashSet<_>>().len()
}

/// Takes off a run of one byte at either end.
fn without_padding(secret: &[u8]) -> &[u8] {
    let run = |bytes: &mut dyn Iterator<Item = &u8>| {
        let Some(first) = bytes.next() else { return 0 };
        let more = bytes.take_while(|byte| *byte == first).count();
        // A single byte is no padding.
        if more == 0 { 0 } else { more + 1 }
    };
    let tail = run(&mut secret.iter().rev());
    let secret = secret.get(..secret.len() - tail).unwrap_or_default();
    let head = run(&mut secret.iter());
    secret.get(head..).unwrap_or_default()
}

/// The length of the shortest part whose repetition is the whole.
fn period(bytes: &[u8]) -> usize {
    (1..bytes.len())
        .find(|shift| bytes.iter().zip(bytes.iter().skip(*shift)).all(|(a, b)| a == b))
        .unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretched_word_is_weak() {
        let words = [
            "",
            "a",
            "secret",
            "password",
            "123456789",
            "changeme",
            "your-256-bit-secret",
            "GawgguFyGrWKav7AX4VKUg",
            "my super secret key",
            "!@#$%^&*()_+",
        ];
        for word in words {
            for pad in ["\0", " ", "0", "x", "="] {
                for size in [32, 48, 64] {
                    let missing = size - word.len();
                    assert!(is_weak(format!("{word}{}", pad.repeat(missing)).as_bytes()));
                    assert!(is_weak(format!("{}{word}", pad.repeat(missing)).as_bytes()));
                }
            }
            let repeated: Vec<u8> = word.bytes().cycle().take(64).collect();
            assert!(is_weak(&repeated), "{word:?}");
        }
    }

    #[test]
    fn a_sequence_is_weak() {
        let rising: Vec<u8> = (0..64).collect();
        assert!(is_weak(&rising));
        assert!(is_weak(b"012345678901234567890123456789XY"));
        assert!(is_weak(b"abcdefghijklmnopqrstuvwxyz0123456789"));
        assert!(is_weak(b"a-string-secret-at-least-256-bits-long"));
    }

    #[test]
    fn a_random_secret_is_not() {
        for _ in 0..1000 {
            let mut secret = [0; 32];
            aws_lc_rs::rand::fill(&mut secret).unwrap();
            assert!(!is_weak(&secret));
            let digits: String = secret.iter().take(16).map(|b| format!("{b:02x}")).collect();
            assert!(!is_weak(digits.as_bytes()), "{digits}");
        }
    }
}
