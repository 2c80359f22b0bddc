//! imserver, a private-messaging server.

pub mod config;
mod digest;
pub mod ids;
pub mod message;
pub mod metrics;
pub mod protocol;
pub mod store;
