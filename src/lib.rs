//! imserver, a private-messaging server.

pub mod auth;
mod cli;
pub mod config;
pub mod ids;
pub mod message;
