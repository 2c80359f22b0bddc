//! The store on NATS JetStream: several nodes, and every message on several servers.
//!
//! Durable means that a majority of a stream's servers has it on disk, which takes
//! `sync_interval: always` on each of them. What a node keeps in memory can be had again
//! from the streams; nodes know nothing of each other but what the streams tell.

mod codec;
mod connect;
mod log;
mod names;
mod raw;
mod read_state;
mod reads;
mod record;
mod refusal;
mod replies;

pub use self::refusal::OpenError;
