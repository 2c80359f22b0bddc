//! The connection to the NATS servers.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerInfo};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::distance::{Distance, REFUSED, Why};
use super::permissions::{Denied, Told};
use super::refusal::OpenError;
use crate::config;
use crate::metrics::ClusterMetrics;
use crate::secret_file;

/// How long an answer is waited for before the question is put again.
/// What a server took with it into its grave is asked soon of the next one; a service that is
/// merely slow knows a write again, and has little more to do for it.
const ANSWER: Duration = Duration::from_millis(300);

/// The same once two questions found nobody. So the third one is put after 0.6 s: where a
/// server stops by itself it has a successor by then, and the service is back within a second.
const ANSWER_MAX: Duration = Duration::from_millis(600);

/// The same for what takes long: lists of subjects, and purges.
pub(super) const LONG_ANSWER: Duration = Duration::from_secs(5);

/// How long one server may take to let us in: one that hangs takes connections, too.
const CONNECT: Duration = Duration::from_secs(2);

/// How often a server is asked whether it is alive. Left alone after the third time without
/// an answer: before a new leader is chosen in the place of one that hangs, which takes four
/// to nine seconds.
const PING: Duration = Duration::from_secs(1);

/// The longest pause between two rounds of tries to connect.
const RECONNECT: Duration = Duration::from_millis(500);

/// Live messages that wait to be looked at. Past it they are dropped, and read again.
const LIVE: usize = 65_536;

/// How long the answer to one try after the other is waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    unanswered: u32,
}

impl Patience {
    /// How long to wait for an answer to the next try.
    pub(super) fn now(self) -> Duration {
        if self.unanswered < 2 { ANSWER } else { ANSWER_MAX }
    }

    /// Takes note of a try in vain that was waited for until `now`. A refusal comes sooner, and
    /// is no reason to wait for longer the next time.
    pub(super) fn tried(&mut self, began: Instant) {
        if began.elapsed() >= self.now() {
            self.unanswered += 1;
        }
    }
}

/// A connection, and what is known of how it fares.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) context: Context,
    /// How often it was made: what is heard over it has gaps between two.
    pub(super) made: watch::Receiver<u64>,
    /// What the servers have not allowed last.
    pub(super) denied: Told,
    /// Why there is none, while there is none.
    pub(super) why_not: Why,
}

/// Connects to one of the servers.
pub(super) async fn connect(
    config: &config::JetStream,
    metrics: ClusterMetrics,
) -> Result<Connection, OpenError> {
    let (count, made) = watch::channel(0);
    let (tell_denied, denied) = watch::channel(None);
    let (distance, why_not) = Distance::new();
    let options = options(config)?
        .request_timeout(Some(LONG_ANSWER))
        .ping_interval(PING)
        .reconnect_delay_callback(pause)
        .subscription_capacity(LIVE)
        .event_callback(move |event| {
            metrics.event(word(&event));
            match (&event, distance.note(&event)) {
                (Event::Connected, _) => info!("connected to a NATS server"),
                // By ourselves, at the end.
                (Event::Closed, _) | (_, None) => {}
                (Event::ClientError(_), Some(why)) => warn!(why, "no connection to a NATS server"),
                (_, Some(event)) => warn!(event, "the connection to the NATS servers"),
            }
            if let Event::ServerError(error) = &event
                && let Some(denied) = Denied::read(&error.to_string())
            {
                tell_denied.send_replace(Some(denied));
            }
            if matches!(event, Event::Connected | Event::SlowConsumer(_)) {
                count.send_modify(|count| *count += 1);
            }
            std::future::ready(())
        });
    let servers = config.servers.join(", ");
    let client = options.connect(config.servers.clone()).await;
    let client = client.map_err(|error| OpenError::Connect { servers, why: reason(&error) })?;
    let context =
        ContextBuilder::new().timeout(LONG_ANSWER).ack_timeout(LONG_ANSWER).build(client.clone());
    Ok(Connection { client, context, made, denied, why_not })
}

/// Connects to one server for as long as it takes to hear what it is.
pub(super) async fn glance(
    config: &config::JetStream,
    address: &str,
) -> Result<ServerInfo, String> {
    let options = options(config).map_err(|error| error.to_string())?;
    let options = options.max_reconnects(1_usize);
    let client = options.connect(address).await.map_err(|error| reason(&error))?;
    Ok(client.server_info())
}

/// What every connection is made with: reads the files that it takes, and connects to nobody.
pub(super) fn options(config: &config::JetStream) -> Result<ConnectOptions, OpenError> {
    let options = ConnectOptions::new()
        .name("imserver")
        .connection_timeout(CONNECT)
        // A server names others before TLS begins, where anybody on the way may do it in its place,
        // and without TLS: they would be told our password. It also names those again that we
        // know, so that one that hangs would be waited for twice.
        .ignore_discovered_servers()
        .tls_client_config(tls(config)?);
    authenticated(options, config)
}

/// Why there is no connection, and what to look at.
fn reason(error: &ConnectError) -> String {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            REFUSED.to_owned()
        }
        _ if is_stranger(error) => {
            "nobody vouches for their certificate whom store.jetstream.ca names, or, where that is \
             empty, this machine knows"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

/// A word for what befell the connection.
fn word(event: &Event) -> &'static str {
    match event {
        Event::Connected => "connected",
        Event::Disconnected => "disconnected",
        Event::LameDuckMode => "lame_duck",
        Event::SlowConsumer(_) => "slow_consumer",
        Event::Draining | Event::Closed => "closed",
        Event::ServerError(_) => "server_error",
        Event::ClientError(_) => "client_error",
    }
}

/// How long to wait before the try of this number: none where there may be another server,
/// then ever longer.
fn pause(tries: usize) -> Duration {
    let doubled = tries.saturating_sub(2).min(10);
    if tries <= 2 { Duration::ZERO } else { RECONNECT.min(Duration::from_millis(1 << doubled)) }
}

/// Whether it was the server's certificate that was not believed.
fn is_stranger(error: &(dyn std::error::Error + 'static)) -> bool {
    let unknown = |error: &rustls::Error| {
        matches!(error, rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
    };
    let mut cause = Some(error);
    while let Some(error) = cause {
        // An error of the system gives its own source, and not what it holds.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = held.and_then(|held| held.downcast_ref()).or_else(|| error.downcast_ref());
        if found.is_some_and(unknown) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn authenticated(
    options: ConnectOptions,
    config: &config::JetStream,
) -> Result<ConnectOptions, OpenError> {
    let secret = |setting, path: &Path| -> Result<String, OpenError> {
        // The sentence names the file itself.
        let bytes = secret_file::read(path)
            .map_err(|error| OpenError::File { setting, why: error.to_string() })?;
        String::from_utf8(bytes.to_vec())
            .map_err(|_| OpenError::file(setting, path, "it is not UTF-8 text"))
    };
    if let Some(path) = &config.credentials {
        let text = secret("credentials", path)?;
        return options
            .credentials(&text)
            .map_err(|error| OpenError::file("credentials", path, error));
    }
    let (Some(user), Some(path)) = (&config.user, &config.password_file) else {
        return Ok(options);
    };
    let password = secret("password_file", path)?;
    if password.trim().is_empty() {
        return Err(OpenError::file("password_file", path, "it holds no password"));
    }
    Ok(options.user_and_password(user.clone(), password.trim_end().to_owned()))
}

/// TLS by the one provider of cryptography that there is.
fn tls(config: &config::JetStream) -> Result<ClientConfig, OpenError> {
    let mut roots = RootCertStore::empty();
    match &config.ca {
        Some(path) => {
            let pem = fs::read(path).map_err(|error| OpenError::file("ca", path, error))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let added = certificate
                    .map_err(|error| error.to_string())
                    .and_then(|found| roots.add(found).map_err(|error| error.to_string()));
                added.map_err(|why| OpenError::file("ca", path, why))?;
            }
            if roots.is_empty() {
                return Err(OpenError::file("ca", path, "it holds no certificate in PEM"));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|begun| begun.with_root_certificates(roots).with_no_client_auth())
        .map_err(|error| OpenError::Tls(error.to_string()))
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_third_question_is_put_within_a_second_and_a_refusal_delays_none() {
        let mut patience = Patience::default();
        let mut waited = Duration::ZERO;
        let mut put = Vec::new();
        // Refused at once, as where no server leads the stream, and left without an answer.
        for answered in [true, true, false, true, false, false, false] {
            put.push(waited);
            let (began, wait) = (Instant::now(), patience.now());
            advance(if answered { Duration::ZERO } else { wait }).await;
            waited += began.elapsed();
            patience.tried(began);
        }
        let put: Vec<u128> = put.iter().map(Duration::as_millis).collect();
        assert_eq!(put, [0, 0, 0, 300, 300, 600, 1200]);
        assert_eq!(patience.now(), ANSWER_MAX);
    }
}
