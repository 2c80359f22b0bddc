//! Closes: this connection ends, with a code and a reason that a program can read.

use std::fmt;
use std::time::Duration;

/// Why the server ends a connection (RFC 6455, section 7.4; 44xx are our own).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// The client asked for it.
    Normal,
    /// The server stops; come back after about this long.
    Drain {
        /// Spread by the server, so that not everybody returns at once.
        retry: Duration,
    },
    /// The client broke RFC 6455.
    Protocol,
    /// A binary frame; frames are text.
    BinaryFrame,
    /// Text that is not UTF-8.
    InvalidUtf8,
    /// Too many failures of the client's making, or too many control frames.
    TooManyViolations,
    /// A message was begun and not ended in time.
    Unfinished,
    /// A frame over the limit.
    FrameTooBig,
    /// A fault of the server's own, which ended this connection and nothing else.
    Internal,
    /// The server cannot serve this user now; come back after about this long.
    TryLater {
        /// Spread by the server.
        retry: Duration,
    },
    /// The token came to its end.
    TokenExpired,
    /// The token was taken back.
    TokenRevoked,
    /// No answer to a ping.
    NoPong,
}

impl Close {
    /// The code on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Drain { .. } => 1001,
            Self::Protocol => 1002,
            Self::BinaryFrame => 1003,
            Self::InvalidUtf8 => 1007,
            Self::TooManyViolations | Self::Unfinished => 1008,
            Self::FrameTooBig => 1009,
            Self::Internal => 1011,
            Self::TryLater { .. } => 1013,
            Self::TokenExpired => 4401,
            Self::TokenRevoked => 4403,
            Self::NoPong => 4408,
        }
    }

    /// The name without its parameters: the label of a metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Drain { .. } => "drain",
            Self::Protocol => "protocol",
            Self::BinaryFrame => "binary_frame",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::TooManyViolations => "too_many_violations",
            Self::Unfinished => "unfinished_message",
            Self::FrameTooBig => "frame_too_big",
            Self::Internal => "internal",
            Self::TryLater { .. } => "try_later",
            Self::TokenExpired => "token_expired",
            Self::TokenRevoked => "token_revoked",
            Self::NoPong => "no_pong",
        }
    }
}

/// The reason on the wire: the name, and how long to stay away where that is known.
impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => Ok(()),
            Self::Drain { retry } | Self::TryLater { retry } => {
                write!(f, "{} retry_ms={}", self.name(), retry.as_millis())
            }
            _ => f.write_str(self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_as_the_contract_lists_them() {
        let retry = Duration::from_millis(1234);
        assert_eq!(Close::Drain { retry }.to_string(), "drain retry_ms=1234");
        assert_eq!(Close::TryLater { retry }.to_string(), "try_later retry_ms=1234");
        assert_eq!(Close::TokenExpired.to_string(), "token_expired");
        assert_eq!(Close::Normal.to_string(), "");
    }
}
