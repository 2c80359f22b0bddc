//! Which HMAC secrets are no secret.

use std::collections::HashSet;
use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::json::to_base64url;

/// How many different bytes, and different steps from one byte to the next, a
/// secret must show. Of 32 random bytes nearly all differ; of 32 random
/// hexadecimal digits fewer than eight do once in thirty million times.
const DISTINCT_MIN: usize = 8;

/// How long a secret must be once its padding is taken off, and how long the
/// part that it repeats: shorter is a word that was stretched to the length
/// asked for.
const CORE_MIN: usize = 24;

/// Secrets that are long enough and that everybody has read, as they are written.
const PUBLISHED: [&str; 25] = [
    // The examples on jwt.io.
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
    // RFC 7515, appendix A.1; RFC 7517, appendix A.3; RFC 7520, section 3.5.
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    "FdFYFzERwC2uCBB46pZQi4GG85LujR8obt-KWRBICVQ",
    "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg",
    // What other servers come with, and tutorials are written with.
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "my-super-secret-jwt-token-with-at-least-32-characters-long",
    "your-super-secret-jwt-token-with-at-least-32-characters-long",
    "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
    "404E635266556A586E3272357538782F413F4428472B4B6250655368566D5971",
    "413F4428472B4B6250655368566D5970337336763979244226452948404D6351",
    "9a4f2c8d3b7a1e6f45c8a0b3f267d8b1d4e6f3c8a9d2b5f8e3a9c8b5f6v8a3d9",
    // What tools try that guess secrets.
    "0x7365637265747365637265747365637265747365637265747365637265747365",
    "61306132616264382D363136322D343163332D383364362D316366353539623436616663",
    "872e4e50ce9990d8b041330c47c9ddd11bec6b503ae9386a99da8584e9bb12c4",
    "A43CC200A1BD292682598DA42DAA9FD14589F3D8BF832FFA206BE775259EE1EA",
    "C2A4EB068AF8ABEF18D80B1689C7D785",
    "GQDstcKsx0NHjPOuXOYg5MbeJ1XT0uFiwDVvVBrk",
    "R9MyWaEoyiMYViVWo8Fk4TUGWiSoaW6U1nOqXri8_XU",
    "Secret key. You can use `mix guardian.gen.secret` to get one",
    "YoUR sUpEr S3krEt 1337 HMAC kEy HeRE",
    "fe1a1915a379f3be5394b64d14794932",
    "gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr9C",
    "my super secret password",
    "my_very_long_and_safe_secret_key",
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
        || [secret, core].into_iter().any(is_published)
}

/// Whether it is one that everybody has read: the text, or the bytes that it stands for in
/// base64 or in hexadecimal digits.
fn is_published(secret: &[u8]) -> bool {
    let mut digits = Zeroizing::new(String::with_capacity(2 * secret.len()));
    for byte in secret {
        // Into a string it cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    let base64 = Zeroizing::new(to_base64url(secret));
    let forms = [secret, digits.as_bytes(), base64.as_bytes()];
    PUBLISHED.iter().any(|known| {
        let known = known.as_bytes();
        forms.iter().any(|form| form.eq_ignore_ascii_case(known))
    })
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
    use crate::auth::json::from_base64url;

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
            "12345678901234567890123456789012",
            "8zUpiGcaPkNhNGi8oyrq",
            "AC8d83&21Almnis710sds",
            "AllYourBase",
            "Hello, World!",
            "J5hZTw1vtee0PGaoAuaW",
            "My super secret key!",
            "Original secret string",
            "RfxRP43BIKoSQ7P1GfeO",
            "SecretKey",
            "Setec Astronomy",
            "SignerTest",
            "Super Secret Key",
            "THE_SAME_HMAC_KEY",
            "ThisIsMySuperSecret",
            "XYZ",
            "YOUR_HMAC_KEY",
            "]V@IaC1%fU,DrVI",
            "banana",
            "client_secret_basic",
            "default-key",
            "example-hmac-key",
            "example_key",
            "guest",
            "hard!to-guess_secret",
            "has a van",
            "hmac-secret",
            "hs256-secret",
            "jwt",
            "jwt-secret",
            "jwt_secret",
            "keyboard cat",
            "kiali",
            "mix guardian.gen.secret",
            "my$ecretK3y",
            "mypass",
            "mysecretkey",
            "mysupersecretkey",
            "newSecret",
            "secret123",
            "secret_key_here",
            "shared-secret",
            "shhhhh",
            "shhhhhhared-secret",
            "some-secret-string",
            "super-secret-password",
            "super_fancy_secret",
            "supersecret",
            "symmetric key",
            "test-key",
            "testing1",
            "token",
            "too many secrets",
            "top secret",
            "verysecret",
            "wrong-secret",
            "your-384-bit-secret",
            "your-512-bit-secret",
            "your-own-jwt-secret",
            "your-top-secret-key",
        ];
        for word in words {
            for pad in ["\0", " ", "0", "x", "="] {
                for size in [32, 48, 64] {
                    let missing = size - word.len();
                    for stretched in
                        [word.to_owned() + &pad.repeat(missing), pad.repeat(missing) + word]
                    {
                        assert!(is_weak(stretched.as_bytes()), "{stretched:?}");
                    }
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
    fn what_everybody_has_read_is_weak_however_it_is_written_down() {
        for known in PUBLISHED {
            let (lower, upper) = (known.to_lowercase(), known.to_uppercase());
            for text in [known, &lower, &upper] {
                assert!(is_weak(text.as_bytes()), "{text:?}");
                assert!(is_weak(format!("{text}        ").as_bytes()), "{text:?}, padded");
            }
            // Whoever takes it over may take it for base64, or for hexadecimal digits.
            if let Ok(bytes) = from_base64url(known) {
                assert!(is_weak(&bytes), "{known:?}, decoded");
            }
            if known.len().is_multiple_of(2) && known.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let digits = known.as_bytes().chunks(2).map(|two| str::from_utf8(two).unwrap());
                let bytes: Vec<u8> =
                    digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect();
                assert!(is_weak(&bytes), "{known:?}, from its digits");
            }
        }
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
