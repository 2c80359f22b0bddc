//! A server of one's own for every test, and clients to talk to it.

mod admin;
mod api;
mod bare;
mod client;
mod door;
mod fault;
mod http;
mod log;
mod mount;
mod nodes;
mod provider;
mod server;
mod setup;
pub mod store;
mod token;
mod v2;

pub use admin::{Admin, ROUTES};
pub use api::{Call, post_message};
pub use bare::{BINARY, Bare, CLOSE, CONTINUE, FIN, PING, PONG, TEXT, frame_of, head_of};
pub use client::{Client, Closed, frame, mark_read};
pub use door::{Door, UNAUTHORIZED, Way, counted, from_address, is_refusal, refused};
pub use fault::{or_not_tested, strace};
pub use http::{Answer, Upgrade, admin, exchange, raw, tls, tls_over};
pub use mount::Mount;
pub use nodes::{Nodes, Stranger};
pub use provider::{Provider, ProviderKey, Says};
pub use server::TestServer;
pub use setup::Setup;
pub use token::{Claims, Forge, b64};
pub use v2::{V2, described, named};

use std::time::Duration;

/// How long anything may take before the test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for `work`, or fails the test with `what` it waited for.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("waited in vain for {what}"),
    }
}
