//! `imserver serve`: the server itself.

use super::{ConfigFile, Failure, wiring};
use crate::config::Config;
use crate::telemetry;
use std::io;
use std::net::SocketAddr;

pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    start(file.load()?, |_| Ok(()))
}

/// Starts the log, then serves until told to stop. `bound` is called with the
/// public listener's address once clients can connect.
pub(super) fn start(
    config: Config,
    bound: impl FnOnce(SocketAddr) -> Result<(), Failure>,
) -> Result<(), Failure> {
    telemetry::init(&config.log).map_err(Failure::failed)?;
    wiring::serve(config, bound)
}

/// What to tell somebody whose address cannot be listened on.
pub(super) fn cannot_listen(key: &str, address: SocketAddr, cause: &io::Error) -> Failure {
    let port = address.port();
    let what = match cause.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program listens on port {port}, perhaps an imserver that still runs; stop \
             it (`ss -ltnp 'sport = :{port}'` shows which), or choose another port in {key}"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "ports below 1024 need a permission: choose a higher one in {key}, or give it with \
             `setcap cap_net_bind_service=+ep`"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "{} is no address of this machine: change {key}",
                address.ip()
            )
        }
        _ => cause.to_string(),
    };
    Failure::failed(format!("{address} cannot be listened on: {what}"))
}
