//! The wire, as the 2020 document has it and as `im.v2` adds to it: text in, types out,
//! and back. What the HTTPS API is asked is held to the same rules.

mod checks;
pub mod close;
mod extension;
pub mod failure;
pub mod frame;
mod json;
pub mod reply;
pub mod request;
#[cfg(test)]
mod vectors;

/// What client and server agreed to speak at the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The 2020 document and nothing else, byte for byte.
    Document,
    /// The document and what the subprotocol `im.v2` adds.
    V2,
}
