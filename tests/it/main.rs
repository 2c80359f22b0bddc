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

mod addresses;
mod admin;
mod algorithms;
mod api;
mod backup;
mod chat;
mod clock;
mod cluster;
mod costs;
mod crash;
mod damage;
mod delivery;
mod deployed;
mod description;
mod disk;
mod doorkeeping;
mod durability;
mod expiry;
mod failures;
mod first_start;
mod frames;
mod handshake;
mod health;
mod in_use;
mod introductions;
mod jwks;
mod last_ids;
mod lifecycle;
mod listeners;
#[path = "../nats/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a toolbox is larger than today's need")]
mod nats;
mod page;
mod power;
mod reading;
mod reload;
mod removal;
mod resend;
mod revocations;
mod revoking;
mod rotating;
mod shapes;
mod signatures;
mod slow_reader;
mod smuggling;
mod spelling;
mod stalls;
mod storm;
mod supervised;
#[allow(dead_code, unused_imports, reason = "a toolbox is larger than today's need")]
mod support;
mod tickets;
mod tokens;
mod transport;
mod unasked;
mod v2;
mod websocket;
mod wycheproof;
