//! `imserver serve`: the server itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{ConfigFile, Failure};
use crate::auth::KeySet;
use crate::certificate;
use crate::config::{Config, LogFormat, TlsMode};
use crate::server::{Inherited, RunError, Server, Source, StartError};
use crate::telemetry;

pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let (path, here) = (file.path().to_owned(), file.path().to_owned());
    let source = Source::new(&here, move || Config::load(&path));
    start(file.load()?, source, |_| ())
}

/// Starts the log, then serves until told to stop. `ready` is called with the
/// public listener's address once clients can connect. `source` is where `config` came
/// from, to be read again.
pub(super) fn start(
    config: Config,
    source: Source,
    ready: impl FnOnce(SocketAddr) + Send,
) -> Result<(), Failure> {
    let json = config.log.format == LogFormat::Json;
    let log = telemetry::init(&config.log.level, json).map_err(Failure::failed)?;
    let keys = KeySet::configured(&config.auth)?;
    let certificate = match config.tls.mode {
        TlsMode::On => Some(certificate::load(&config.tls).map_err(Failure::usage)?),
        TlsMode::Off => None,
    };
    // Before there are threads: it tidies up the environment.
    let inherited = Inherited::take().map_err(Failure::usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(READERS)
        .build()
        .map_err(|error| Failure::failed(format!("no threads can be started: {error}")))?;
    let outcome = runtime.block_on(async {
        let server = Server::bind(config, source, log, keys, certificate, inherited)?;
        server.run(stop_on_signals(), ready).await
    });
    // What the drain cut off does not hold up the end.
    runtime.shutdown_background();
    outcome.map_err(|error| match error {
        RunError::Start(StartError::Listen { key, address, source }) => {
            cannot_listen(key, address, &source)
        }
        RunError::Start(error @ StartError::Exposed { .. }) => Failure::usage(error),
        RunError::Start(StartError::JetStream(error)) => Failure::from(error),
        RunError::Start(StartError::Store(error)) if error.is_about_the_path() => {
            Failure::usage(error)
        }
        other => Failure::failed(other),
    })
}

/// Threads that read the store: more of them only wait for the same disk.
const READERS: usize = 32;

/// A terminal or a wrapper may deliver one wish to stop twice within this time.
const ONE_WISH: Duration = Duration::from_millis(200);

/// Cancelled by the first SIGTERM or SIGINT; a second one ends the process at once,
/// which loses nothing that was acknowledged.
fn stop_on_signals() -> CancellationToken {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "it must outlive every drain")]
    tokio::spawn(async move {
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            warn!("signals cannot be heard: the server can only be killed");
            return;
        };
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let first = next().await;
        info!(signal = first, "told to stop");
        stopping.cancel();
        let moment = tokio::time::Instant::now() + ONE_WISH;
        while tokio::time::timeout_at(moment, next()).await.is_ok() {}
        info!("waiting for what is under way; a further signal ends at once");
        let second = next().await;
        warn!(signal = second, "ended without waiting");
        std::process::exit(1);
    });
    stop
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
            format!("{} is no address of this machine: change {key}", address.ip())
        }
        _ => cause.to_string(),
    };
    Failure::failed(format!("{address} cannot be listened on: {what}"))
}
