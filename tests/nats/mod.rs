//! Three real NATS servers that make one cluster, over TLS and with a password.
//!
//! `Cluster::start` gives servers of one's own, to be killed and paused as a test likes.
//! `shared` gives those of the whole run: a test that leaves them alone keeps to streams of
//! its own by a prefix (`Streams`), and pays for no start.

#![allow(clippy::print_stderr, reason = "a test that fails shows what the servers said")]

mod network;
mod place;
mod server;
mod shared;
mod single;
mod streams;

pub use network::Network;
pub use place::Place;
pub use server::{Cluster, Dismissal, old_program, program};
pub use shared::shared;
pub use single::Single;
pub use streams::Streams;
