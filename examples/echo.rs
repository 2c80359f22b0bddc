//! Sends back whatever comes, on the server's own WebSockets, for test suites of others:
//!
//! ```sh
//! cargo run --example echo -- 127.0.0.1:9001    # ws://127.0.0.1:9001/teaching/imserver
//! ```

use std::io;

use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    imserver::server::echo::serve(TcpListener::bind(address).await?).await
}
