//! imserver, a private-messaging server.

pub mod auth;
pub mod config;
pub mod ids;
pub mod message;
