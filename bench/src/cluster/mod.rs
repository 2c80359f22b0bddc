//! What nodes share: three NATS servers, and what JetStream does on them by itself.

mod own;
mod servers;

pub use self::own::measure;
pub use self::servers::Servers;
