//! The `imserver` program: names the cryptography, reads the command line, runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    // An error says that a provider is in place already, which is all we want.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    imserver::auth::install_provider();
    imserver::cli::main()
}
