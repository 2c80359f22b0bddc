//! imserver, a private-messaging server.

pub mod certificate;
pub mod cli;
pub mod config;
pub mod ids;
pub mod message;
pub mod secret_file;
pub mod telemetry;
