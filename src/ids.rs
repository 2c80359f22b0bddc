//! The numbers that name users and messages, made so that a wrong one cannot exist.
//!
//! Both stay below 2^53, the largest range in which every integer survives a
//! JavaScript number (RFC 8259, section 6).

use std::fmt;
use std::num::NonZeroU64;

/// One past the largest id: 2^53.
pub const ID_END: u64 = 1 << 53;

fn in_range(id: u64) -> Option<NonZeroU64> {
    if id < ID_END { NonZeroU64::new(id) } else { None }
}

/// A user: 1 … 2^53-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(NonZeroU64);

impl UserId {
    /// Makes a user id, or nothing when `id` is 0 or 2^53 and more.
    pub fn new(id: u64) -> Option<Self> {
        in_range(id).map(Self)
    }

    /// Reads the canonical decimal form: digits only, no sign, no leading zero.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Self::new(text.parse().ok()?)
    }

    /// The id as a number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// The service itself; 0 on the wire.
    System,
    /// A user.
    User(UserId),
}

impl Sender {
    /// Makes a sender from its number on the wire, or nothing when it is out of range.
    pub fn new(id: u64) -> Option<Self> {
        if id == 0 { Some(Self::System) } else { UserId::new(id).map(Self::User) }
    }

    /// The number on the wire: 0 for the system.
    pub fn get(self) -> u64 {
        match self {
            Self::System => 0,
            Self::User(user) => user.get(),
        }
    }
}

impl From<UserId> for Sender {
    fn from(user: UserId) -> Self {
        Self::User(user)
    }
}

/// A message's place in its recipient's inbox: 1 … 2^53-1, rising strictly, with gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(NonZeroU64);

impl MessageId {
    /// Makes a message id, or nothing when `id` is 0 or 2^53 and more.
    pub fn new(id: u64) -> Option<Self> {
        in_range(id).map(Self)
    }

    /// Reads decimal digits.
    pub fn parse(digits: &str) -> Option<Self> {
        // `parse` alone would take a sign.
        let only_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        only_digits.then(|| digits.parse().ok()).flatten().and_then(Self::new)
    }

    /// The id as a number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The id after this one, or nothing when the range is used up.
    pub fn next(self) -> Option<Self> {
        Self::new(self.get().checked_add(1)?)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One connection among all that there are, on every node: what it did itself need not
/// be told to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// Draws a new one; 64 random bits do not meet twice.
    pub fn draw() -> Self {
        Self(fastrand::u64(..))
    }

    /// Reads the 16 hexadecimal digits that one is shown as.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 16 || !plain {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_decimals_name_a_user() {
        for bad in [
            "",
            "0",
            "-1",
            "07",
            "+7",
            " 7",
            "7\n",
            "7.0",
            "1e3",
            "0x7",
            "٧",
            "a",
            "9007199254740992",
            "18446744073709551616",
        ] {
            assert_eq!(UserId::parse(bad), None, "{bad:?}");
        }
        assert_eq!(UserId::parse("9007199254740991"), UserId::new(ID_END - 1));
        assert_eq!(UserId::parse("7"), UserId::new(7));
    }

    #[test]
    fn a_connection_is_named_by_16_digits() {
        let id = ConnectionId::draw();
        assert_eq!(ConnectionId::parse(&id.to_string()), Some(id));
        for bad in
            ["", "0", "+000000000000001", "00000000000000001", "000000000000000G", "é0000000000000"]
        {
            assert_eq!(ConnectionId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_last_id_has_no_successor() {
        assert_eq!(MessageId::new(ID_END - 1).unwrap().next(), None);
        assert_eq!(MessageId::new(ID_END), None);
    }
}
