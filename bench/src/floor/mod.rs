//! The floor: the least that a durable relay of this protocol must do.
//!
//! TLS, WebSocket, one append to one file with one `fdatasync` for all that
//! came meanwhile, then success and delivery. No token is checked, nothing is
//! kept for reading, nothing survives a restart, one connection a user. What a
//! server takes beyond this is what its promises cost; what this takes is the
//! machine.

mod journal;
mod relay;

use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use clap::Parser;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::task::TaskTracker;

/// Frames that wait for a user before further messages are refused.
const MAX_WAITING: usize = 100_000;

/// Arguments of the relay.
#[derive(Debug, Parser)]
#[command(name = "imserver-floor", version)]
pub struct Args {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// The certificate chain, PEM.
    #[arg(long)]
    cert: PathBuf,
    /// The certificate's key, PKCS#8.
    #[arg(long)]
    key: PathBuf,
    /// The file that messages are appended to.
    #[arg(long)]
    journal: PathBuf,
}

/// Relays until the process is ended from outside.
///
/// # Errors
/// The certificate, the journal or the address cannot be used.
pub async fn serve(args: Args) -> Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(tls(&args)?));
    let journal = journal::open(&args.journal)?;
    let listener = TcpListener::bind(args.listen).await.context("cannot listen")?;
    let users = Arc::new(Users::default());
    let connections = TaskTracker::new();
    loop {
        // Out of files, most likely: the next one may find one again.
        let Ok((tcp, _)) = listener.accept().await else {
            continue;
        };
        let (acceptor, journal, users) = (acceptor.clone(), journal.clone(), Arc::clone(&users));
        connections.spawn(async move {
            // Whoever fails notices it; a floor keeps no log.
            let _ = relay::serve(tcp, acceptor, users, journal).await;
        });
    }
}

fn tls(args: &Args) -> Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = CertificateDer::pem_file_iter(&args.cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&args.key).context("cannot read the key")?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Everybody who was ever written to or connected.
#[derive(Debug, Default)]
struct Users(Mutex<HashMap<u64, Arc<Mailbox>>>);

impl Users {
    fn mailbox(&self, user: u64) -> Arc<Mailbox> {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(users.entry(user).or_default())
    }
}

/// Frames on their way to one user.
#[derive(Debug, Default)]
struct Mailbox {
    frames: Mutex<VecDeque<Utf8Bytes>>,
    filled: Notify,
}

impl Mailbox {
    fn put(&self, frame: Utf8Bytes) {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.push_back(frame);
        if frames.len() == 1 {
            drop(frames);
            self.filled.notify_one();
        }
    }

    fn take(&self) -> VecDeque<Utf8Bytes> {
        std::mem::take(&mut *self.frames.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_full(&self) -> bool {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).len() >= MAX_WAITING
    }
}
