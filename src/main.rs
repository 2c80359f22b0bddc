//! The `imserver` program: names the cryptography, reads the command line, runs it.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// A message is allocated by one thread and freed by another, over and over: the system's
/// allocator takes a fifth of the processor for that (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // An error says that a provider is in place already, which is all we want.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    imserver::auth::install_provider();
    imserver::cli::main()
}
