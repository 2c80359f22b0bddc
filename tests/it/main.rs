//! The whole server as its users meet it: the built binary, real TLS, real sockets,
//! a real data directory.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that panics has failed, as it should"
)]

mod chat;
mod crash;
mod damage;
mod disk;
mod durability;
mod first_start;
#[allow(
    dead_code,
    unused_imports,
    reason = "a toolbox is larger than today's need"
)]
mod support;
