//! Certificate and keys read again, on SIGHUP and when their files change, without
//! dropping a connection.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::tls::Certificate;
use crate::auth::{CurrentKeys, KeySet};
use crate::certificate;
use crate::config;
use crate::metrics::ServerMetrics;

/// How soon a changed file is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What is read again, and from where.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) tls: config::Tls,
    pub(super) certificate: Option<Arc<Certificate>>,
    pub(super) auth: config::Auth,
    pub(super) keys: CurrentKeys,
    pub(super) metrics: ServerMetrics,
}

impl Reload {
    /// Watches for ever.
    pub(super) async fn run(self) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => {
                error!(%error, "SIGHUP cannot be heard; restart to use new certificates");
                return;
            }
        };
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = self.changed();
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                _ = look.tick() => if self.changed() == seen { continue },
            }
            // What changes while it is read is read again.
            seen = self.changed();
            self.read();
        }
    }

    fn changed(&self) -> [Option<SystemTime>; 3] {
        let changed = |path: &Path| fs::metadata(path).and_then(|what| what.modified()).ok();
        [changed(&self.tls.cert), changed(&self.tls.key), changed(&self.auth.keys)]
    }

    /// Takes what is good; what is not stays as it was.
    fn read(&self) {
        if let Some(current) = &self.certificate {
            match certificate::load(&self.tls) {
                Ok(new) => {
                    current.replace(new);
                    info!("certificate read again");
                }
                Err(error) => {
                    self.metrics.reloads_failed.inc();
                    warn!(%error, "the certificate stays the one in use");
                }
            }
        }
        match KeySet::load(&self.auth.keys) {
            Ok(new) => {
                self.keys.replace(new);
                info!("key set read again");
            }
            Err(error) => {
                self.metrics.reloads_failed.inc();
                warn!(%error, "the key set stays the one in use");
            }
        }
    }
}
