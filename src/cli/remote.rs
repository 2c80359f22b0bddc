//! The way from the command line to the running server: its administrators' listener, by
//! the certificate that it must have, with an administrator's token.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::{Failure, wiring};
use crate::auth::{KeySet, Request};
use crate::certificate;
use crate::config::{Config, TlsMode};
use crate::https::{Answer, Ask, Client, HttpsError, Patience, Trust};
use crate::ids::{ID_END, UserId};
use crate::secret_file;

/// The variable that may hold the administrator's token.
const VARIABLE: &str = "IMSERVER_ADMIN_TOKEN";

/// How long a token lives that the command line issues to itself.
const A_MINUTE: Duration = Duration::from_secs(60);

/// An act may have a large store to read, and a slow disk.
const PATIENCE: Patience =
    Patience { connect: Duration::from_secs(10), answer: Duration::from_secs(120) };

/// Who looks whether all is well does not wait long to find that it is not.
const A_MOMENT: Patience =
    Patience { connect: Duration::from_secs(2), answer: Duration::from_secs(2) };

/// How long a running server may take to notice a key that was just made: it reads files again
/// that have not changed for a second.
const NOTICES: Duration = Duration::from_secs(5);

/// How often it is asked meanwhile.
const AGAIN: Duration = Duration::from_millis(200);

/// How much is read of an answer that is no stream.
const ANSWER_BYTES: usize = 16 << 20;

/// How long a line of a stream may be.
const LINE_BYTES: usize = 4 << 20;

/// A running server that was found.
#[derive(Debug)]
pub(super) struct Remote {
    runtime: Runtime,
    client: Client,
    address: SocketAddr,
    authorization: HeaderValue,
    /// Until when the token that was issued here may be one that the server cannot check yet.
    unknown_until: Instant,
}

/// What is wrong with a call, as the server says it.
#[derive(Debug, Deserialize)]
struct Refused {
    code: String,
    message: String,
}

impl Remote {
    /// Finds the running server of `config`; nothing where nobody listens.
    ///
    /// `token_file` is what `--admin-token` names.
    pub(super) fn connect(
        config: &Config,
        token_file: Option<&Path>,
    ) -> Result<Option<Self>, Failure> {
        let (runtime, client, address) = way(config, PATIENCE)?;
        let probe = runtime.block_on(client.ask(address, Ask::get("/healthz")));
        match probe {
            Err(HttpsError::NobodyListens) => return Ok(None),
            Err(error) => return Err(unreached(address, &error)),
            Ok(_) => {}
        }
        let token = Zeroizing::new(format!("Bearer {}", *admin_token(config, token_file)?));
        let mut authorization = HeaderValue::try_from(token.as_str())
            .map_err(|_| Failure::usage("the administrator's token is none"))?;
        authorization.set_sensitive(true);
        let given = token_file.is_some() || std::env::var_os(VARIABLE).is_some();
        let left = if given { Duration::ZERO } else { left_to_notice(&config.auth.keys) };
        let unknown_until = Instant::now() + left;
        Ok(Some(Self { runtime, client, address, authorization, unknown_until }))
    }

    /// The same, where there must be one: `what` needs it.
    pub(super) fn required(
        config: &Config,
        token: Option<&Path>,
        what: &str,
    ) -> Result<Self, Failure> {
        Self::connect(config, token)?.ok_or_else(|| {
            Failure::failed(format!(
                "{what} needs the running server, and nobody listens at {} \
                 (server.admin_listen): start it with `imserver serve`",
                reachable(config.server.admin_listen)
            ))
        })
    }

    /// Makes a call that is answered with JSON.
    pub(super) fn call(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        self.runtime.block_on(async {
            let answer = self.ask(method, target, body).await?;
            let whole = answer.whole(ANSWER_BYTES).await.map_err(|e| self.broken(&e))?;
            serde_json::from_slice(&whole)
                .map_err(|_| Failure::failed("the server's answer is no JSON: is it another one?"))
        })
    }

    /// Makes a call that is answered piece by piece, and hands each to `take`.
    pub(super) fn stream(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let mut answer = self.ask(method, target, body).await?;
            while let Some(piece) = answer.piece().await.map_err(|e| self.broken(&e))? {
                take(&piece)?;
            }
            Ok(())
        })
    }

    /// Makes a call that is answered with JSON lines, and hands each to `take`.
    pub(super) fn lines(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
        mut take: impl FnMut(Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let strange = || Failure::failed("the server's answer is no JSON: is it another one?");
        let mut rest = Vec::new();
        self.stream(method, target, body, |piece| {
            rest.extend_from_slice(piece);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                take(serde_json::from_slice(&line).map_err(|_| strange())?)?;
            }
            if rest.len() > LINE_BYTES { Err(strange()) } else { Ok(()) }
        })?;
        if rest.is_empty() { Ok(()) } else { Err(strange()) }
    }

    /// Makes a call; an answer that is a refusal becomes a failure.
    async fn ask(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let answer = loop {
            let mut ask = Ask::new(method.clone(), target, body.map(Value::to_string));
            ask.headers.insert(AUTHORIZATION, self.authorization.clone());
            let answer = self.client.ask(self.address, ask).await;
            let answer = answer.map_err(|error| unreached(self.address, &error))?;
            let is_known = answer.status != StatusCode::UNAUTHORIZED;
            if is_known || Instant::now() >= self.unknown_until {
                break answer;
            }
            sleep(AGAIN).await;
        };
        if answer.status.is_success() {
            return Ok(answer);
        }
        let status = answer.status;
        let whole = answer.whole(ANSWER_BYTES).await.map_err(|e| self.broken(&e))?;
        let Ok(Refused { code, message }) = serde_json::from_slice(&whole) else {
            return Err(Failure::failed(format!("the server answers {status} without a reason")));
        };
        Err(match status {
            StatusCode::UNAUTHORIZED => Failure::failed(format!(
                "the server at {} does not take this administrator's token: it must be signed \
                 with a key of its key set, have `aud` = auth.admin_audience, and be neither over \
                 nor revoked",
                self.address
            )),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::CONFLICT => {
                Failure::usage(message)
            }
            _ => Failure::failed(format!("the server refuses: {message} ({code})")),
        })
    }

    fn broken(&self, error: &HttpsError) -> Failure {
        Failure::failed(format!("the server at {} broke off: {error}", self.address))
    }
}

/// How much of [`NOTICES`] is left since the key set was written: nothing where that was long
/// ago, so that a token that is not taken is told at once.
fn left_to_notice(keys: &Path) -> Duration {
    let written = std::fs::metadata(keys).and_then(|keys| keys.modified()).ok();
    let age = written.and_then(|written| written.elapsed().ok());
    age.map_or(Duration::ZERO, |age| NOTICES.saturating_sub(age))
}

/// Asks the running server of `config` what it tells everybody: the status and the text.
pub(super) fn probe(config: &Config, target: &str) -> Result<(StatusCode, String), Failure> {
    let (runtime, client, address) = way(config, A_MOMENT)?;
    runtime.block_on(async {
        let answer = client.ask(address, Ask::get(target)).await;
        let answer = answer.map_err(|error| unreached(address, &error))?;
        let status = answer.status;
        let whole = answer.whole(ANSWER_BYTES).await.map_err(|error| unreached(address, &error))?;
        Ok((status, String::from_utf8_lossy(&whole).trim().to_owned()))
    })
}

/// A thread to work on, who asks, and where.
fn way(config: &Config, patience: Patience) -> Result<(Runtime, Client, SocketAddr), Failure> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no thread can be started: {error}")))?;
    let trust = match config.tls.mode {
        TlsMode::Off => Trust::Plain,
        TlsMode::On => Trust::Exactly(certificate::leaf(&config.tls.cert).map_err(Failure::usage)?),
    };
    let client = Client::new(trust, patience).map_err(Failure::failed)?;
    Ok((runtime, client, reachable(config.server.admin_listen)))
}

fn unreached(address: SocketAddr, error: &HttpsError) -> Failure {
    Failure::failed(match error {
        HttpsError::Tls(cause) => format!(
            "whoever listens at {address} (server.admin_listen) has not the certificate tls.cert, \
             or speaks no TLS ({cause}): is it another program, or another configuration?"
        ),
        other => format!("the server at {address} (server.admin_listen) was not reached: {other}"),
    })
}

/// Where a listener is reached from its own host.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let here = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(here, listen.port())
}

/// The administrator's token: the one that was given, or one that lives for a minute.
fn admin_token(config: &Config, file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    if let Some(path) = file {
        let bytes = secret_file::read(path).map_err(Failure::usage)?;
        let text = str::from_utf8(&bytes).unwrap_or_default().trim();
        return given(text, &format!("{}, which --admin-token names,", path.display()));
    }
    if let Some(text) = std::env::var_os(VARIABLE) {
        let text = Zeroizing::new(text.into_string().unwrap_or_default());
        return given(text.trim(), VARIABLE);
    }
    let keys = KeySet::configured(&config.auth)?;
    if keys.signing_key().is_none() {
        return Err(Failure::usage(format!(
            "an administrator's token is needed, and no key in {} can sign one: name a file that \
             holds one with --admin-token, or set {VARIABLE}",
            config.auth.keys.display()
        )));
    }
    let Some(user) = UserId::new(ID_END - 1) else {
        return Err(Failure::failed("there is no number for the command line"));
    };
    let ttl = A_MINUTE.min(config.auth.max_lifetime);
    let request = Request { user, name: None, picture: None, ttl, admin: true };
    let issued = wiring::issue(config, &keys, &request)?;
    Ok(Zeroizing::new(issued.token))
}

fn given(text: &str, place: &str) -> Result<Zeroizing<String>, Failure> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::usage(format!("{place} holds no token")));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_loopback() {
        for (listen, reached) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), reached);
        }
    }
}
