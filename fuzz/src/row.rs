//! Rows of the store, as a damaged or a foreign file could hold them.
//!
//! The first byte is the length of the key, then come the key and the value. The value
//! gets its checksum here, which no fuzzer would find; where the first byte is over 127 it
//! is taken as it is.

use imserver::store::sled::fuzzing::{reread, seal};

/// Reads a row; what can be read is written and read again.
pub fn check(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else { return };
    let Some((key, body)) = rest.split_at_checked(usize::from(length % 128)) else { return };
    let value = if *length < 128 { seal(key, body) } else { body.to_vec() };
    let Some((key_again, value_again)) = reread(key, &value) else { return };
    assert_eq!(key_again, key, "a row lies where its own fields say");
    // A number can be padded on its way in, so the bytes may differ once, but not twice.
    let third = reread(&key_again, &value_again);
    assert_eq!(third, Some((key_again, value_again)));
}
