//! imserver, a private-messaging server.

pub mod config;
pub mod ids;
pub mod message;
pub mod telemetry;
