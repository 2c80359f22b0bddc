//! imserver, a private-messaging server.

pub mod auth;
pub mod certificate;
pub mod cli;
pub mod config;
mod digest;
pub mod ids;
pub mod message;
pub mod metrics;
pub mod protocol;
pub mod secret_file;
pub mod store;
pub mod telemetry;
