//! Three real NATS servers that make one cluster, over TLS and with a password.
//!
//! `Cluster::start` gives servers of one's own, to be killed and paused as a test likes.
//! `shared` gives those of the whole run: a test that leaves them alone keeps to streams of
//! its own by a prefix, and pays for no start.

#![allow(clippy::print_stderr, reason = "a test that fails shows what the servers said")]

mod server;
mod shared;

pub use server::{Cluster, Dismissal, Place};
pub use shared::shared;
