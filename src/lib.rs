//! imserver, a private-messaging server.

pub mod ids;
pub mod message;
