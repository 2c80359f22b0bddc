//! What must hold of everything that reads what others wrote, whatever stands there.
//!
//! Each module is a target: `check` takes any bytes and panics where a property is
//! broken. Not panicking is the least of them: what is read is written again and must
//! read the same, and a second reader, made of other parts, must agree. Fuzzers look for
//! inputs that break them (`scripts/fuzz`); `tests/` holds every change to the corpus,
//! and to a hundred thousand mutations of it.

#![allow(clippy::panic, reason = "a property that is broken panics: that is what this is for")]

pub mod admin;
pub mod audit;
pub mod backup;
pub mod config;
mod edit;
mod folder;
pub mod frame;
pub mod handshake;
pub mod key_set;
pub mod lines;
pub mod proxy_header;
pub mod request;
pub mod row;
mod strict;
pub mod token;
