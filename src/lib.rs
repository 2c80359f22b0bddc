//! imserver, a private-messaging server: wss, JWT, durable messages, one binary.
//!
//! Data moves one way: socket → session → store → hub → socket. The rooms, each
//! of which may use those below it:
//!
//! - [`cli`]: one file a subcommand; the only place that prints
//! - [`torture`]: the promise put to the proof, from outside
//! - [`server`]: listeners, TLS, routes, the upgrade, WebSocket frames
//! - [`admin`]: what administrators do, and the log of it
//! - [`session`]: one connection after its token was verified
//! - [`hub`]: who is connected, and how they are woken
//! - [`store`]: the inbox log, where a message is or is not
//! - [`protocol`]: the frames on the wire
//! - [`auth`]: tokens and key sets
//! - [`config`], [`ids`], [`message`] and other small things that all may use

// Beside the lints of Cargo.toml, which clippy.toml lets tests break: for these it cannot.
#![cfg_attr(not(test), warn(clippy::panic_in_result_fn, clippy::string_slice, clippy::unreachable))]

pub mod admin;
pub mod auth;
pub mod certificate;
pub mod cli;
pub mod config;
mod digest;
mod epoch;
pub mod https;
pub mod hub;
pub mod ids;
pub mod message;
pub mod metrics;
pub mod protocol;
pub mod secret_file;
pub mod server;
pub mod session;
pub mod store;
pub mod telemetry;
mod ticks;
pub mod torture;
