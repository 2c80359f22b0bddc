//! Every section and key there is, with the bounds each must keep.
//!
//! Lower bounds keep out what cannot work; upper bounds what can only be a slip
//! of the hand.

use super::https_address;
use super::jetstream;
use super::networks;
use super::origin;
use super::reader::{Reader, Section};
use super::values::{self, Raw, Wrong, plain, quoted};
use super::{
    Auth, Backend, CLIENT_RESENDS_AFTER, CONTENT_BYTES_MAX, Config, JetStream, Limits, Log,
    LogFormat, Server, Store, Tls, TlsMode,
};
use crate::telemetry;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The shortest time-out that a network can keep.
const BLINK: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Times that stand for "some patience with the other side".
const PATIENCE: RangeInclusive<Duration> = BLINK..=HOUR;
/// Times that may be switched off with "0".
const OR_OFF: RangeInclusive<Duration> = Duration::ZERO..=HOUR;

/// Reads all there is, then checks what concerns more than one key.
pub(super) fn read(reader: &mut Reader<'_>) -> Config {
    let jetstream = jetstream::read(reader.section("store.jetstream"));
    let mut config = Config {
        server: server(reader.section("server")),
        tls: tls(reader.section("tls")),
        auth: auth(reader.section("auth")),
        store: store(reader.section("store"), jetstream),
        limits: limits(reader.section("limits")),
        log: log(reader.section("log")),
    };
    let own = config.store.jetstream.deployment.clone();
    config.store.deployment = own.unwrap_or_else(|| jetstream::deployment(&config.auth));
    check_listeners(reader, &config);
    check_sizes(reader, &config);
    check_retention(reader, &config);
    jetstream::check(reader, &config.store);
    check_audiences(reader, &config);
    config
}

fn server(mut s: Section<'_, '_>) -> Server {
    let d = Server::default();
    Server {
        listen: s.take("listen", d.listen, |raw| raw.address()),
        admin_listen: s.take("admin_listen", d.admin_listen, |raw| raw.address()),
        origins: s.list("origins", d.origins, origin::read),
        drain_timeout: s.take("drain_timeout", d.drain_timeout, |raw| raw.duration(OR_OFF)),
        trusted_proxies: s.list("trusted_proxies", Vec::new(), networks::read).into(),
        proxy_protocol: s.list("proxy_protocol", Vec::new(), networks::read).into(),
        chat_page: s.take("chat_page", d.chat_page, |raw| raw.switch()),
    }
}

fn tls(mut s: Section<'_, '_>) -> Tls {
    let d = Tls::default();
    Tls {
        mode: s.take("mode", d.mode, |raw| {
            let choices = [("on", TlsMode::On), ("off", TlsMode::Off)];
            choice(raw, &choices)
        }),
        cert: s.path("cert", d.cert),
        key: s.path("key", d.key),
    }
}

fn auth(mut s: Section<'_, '_>) -> Auth {
    let d = Auth::default();
    Auth {
        keys: s.path("keys", d.keys),
        issuer: s.take("issuer", d.issuer, values::name),
        audience: s.take("audience", d.audience, values::name),
        admin_audience: s.take("admin_audience", d.admin_audience, values::name),
        jwks_url: s.take("jwks_url", d.jwks_url, https_address::read),
        require_jti: s.take("require_jti", d.require_jti, |raw| raw.switch()),
        leeway: s.take("leeway", d.leeway, |raw| raw.duration(Duration::ZERO..=MINUTE * 10)),
        max_lifetime: s.take("max_lifetime", d.max_lifetime, |raw| {
            raw.duration(Duration::from_secs(1)..=DAY * 3650)
        }),
    }
}

fn store(mut s: Section<'_, '_>, jetstream: JetStream) -> Store {
    let d = Store::default();
    Store {
        backend: s.take("backend", d.backend, |raw| {
            choice(raw, &[("sled", Backend::Sled), ("jetstream", Backend::JetStream)])
        }),
        jetstream,
        path: s.path("path", d.path),
        cache_bytes: s.take("cache_bytes", d.cache_bytes, |raw| raw.number(1 << 20..=1 << 40)),
        volume_messages: s
            .take("volume_messages", d.volume_messages, |raw| raw.number(16..=1 << 22)),
        retention: s
            .take("retention", d.retention, |raw| raw.duration(Duration::ZERO..=DAY * 36500)),
        dedup_window: s
            .take("dedup_window", d.dedup_window, |raw| raw.duration(Duration::from_secs(1)..=DAY)),
        resend_window: s.take("resend_window", d.resend_window, |raw| {
            raw.duration(Duration::from_secs(1)..=HOUR)
        }),
        // Known once all else is read.
        deployment: d.deployment,
    }
}

fn limits(mut s: Section<'_, '_>) -> Limits {
    let d = Limits::default();
    Limits {
        frame_bytes: s.take("frame_bytes", d.frame_bytes, |raw| raw.number(256..=1 << 20)),
        content_bytes: s.take("content_bytes", d.content_bytes, |raw| {
            raw.number(1..=i64::try_from(CONTENT_BYTES_MAX).unwrap_or(i64::MAX))
        }),
        messages_per_second: s
            .take("messages_per_second", d.messages_per_second, |raw| raw.number(0..=1_000_000)),
        message_burst: s.take("message_burst", d.message_burst, |raw| raw.number(1..=1_000_000)),
        connections: s.take("connections", d.connections, |raw| raw.number(1..=10_000_000)),
        connections_per_user: s
            .take("connections_per_user", d.connections_per_user, |raw| raw.number(1..=100_000)),
        connections_per_address: s.take(
            "connections_per_address",
            d.connections_per_address,
            |raw| raw.number(0..=10_000_000),
        ),
        unread_per_user: s
            .take("unread_per_user", d.unread_per_user, |raw| raw.number(1..=1_000_000_000)),
        violations: s.take("violations", d.violations, |raw| raw.number(1..=100_000)),
        resend_after: s.take("resend_after", d.resend_after, resend_after),
        handshake_timeout: s
            .take("handshake_timeout", d.handshake_timeout, |raw| raw.duration(BLINK..=MINUTE * 5)),
        write_timeout: s.take("write_timeout", d.write_timeout, |r| r.duration(PATIENCE)),
        ping_interval: s.take("ping_interval", d.ping_interval, |r| r.duration(PATIENCE)),
        pong_timeout: s.take("pong_timeout", d.pong_timeout, |r| r.duration(PATIENCE)),
    }
}

fn log(mut s: Section<'_, '_>) -> Log {
    let d = Log::default();
    Log {
        format: s.take("format", d.format, |raw| {
            choice(raw, &[("pretty", LogFormat::Pretty), ("json", LogFormat::Json)])
        }),
        level: s.take("level", d.level, |raw| {
            let right = "write off, error, warn, info, debug or trace";
            let text = raw.text(right)?;
            telemetry::filter(&text).map(drop).map_err(|e| Wrong::new(e.to_string(), right))?;
            Ok(text)
        }),
    }
}

fn resend_after(raw: Raw<'_>) -> Result<Duration, Wrong> {
    let time = raw.duration(OR_OFF)?;
    if time >= CLIENT_RESENDS_AFTER {
        return Err(Wrong::new(
            format!(
                "{} would take true resends for new messages",
                humantime::format_duration(time)
            ),
            "clients send again after 6s: write a time below that, such as \"5s\"",
        ));
    }
    Ok(time)
}

fn choice<T: Copy>(raw: Raw<'_>, choices: &[(&str, T)]) -> Result<T, Wrong> {
    let all: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
    let right = format!("write {}", all.join(" or "));
    let text = raw.text(&right)?;
    let found = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
    found.ok_or_else(|| Wrong::new(format!("{} is no choice here", quoted(&text)), right))
}

fn check_listeners(reader: &mut Reader<'_>, config: &Config) {
    let (listen, admin) = (config.server.listen, config.server.admin_listen);
    if config.tls.mode == TlsMode::Off {
        for (key, address) in [("server.listen", listen), ("server.admin_listen", admin)] {
            if !address.ip().is_loopback() && !reader.any_faulty(&[key]) {
                reader.conflict(
                    &["tls.mode"],
                    Wrong::new(
                        format!(
                            "\"off\" would send tokens and messages in the clear over {address}"
                        ),
                        format!(
                            "write mode = \"on\", or where a proxy on this host does the TLS, \
                             {key} = \"127.0.0.1:{}\"",
                            address.port()
                        ),
                    ),
                );
            }
        }
    }
    let keys = ["server.admin_listen", "server.listen"];
    if overlap(listen, admin) && !reader.any_faulty(&keys) {
        let wrong = format!("{admin} is taken by server.listen ({listen})");
        reader.conflict(&keys, Wrong::new(wrong, "give the two listeners different ports"));
    }
}

fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let anywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && (anywhere || a.ip() == b.ip())
}

fn check_sizes(reader: &mut Reader<'_>, config: &Config) {
    let keys = ["limits.content_bytes", "limits.frame_bytes"];
    let (content, frame) = (config.limits.content_bytes, config.limits.frame_bytes);
    if content > frame && !reader.any_faulty(&keys) {
        let wrong = format!("a content of {content} bytes does not fit a frame of {frame}");
        reader.conflict(&keys, Wrong::new(wrong, "make limits.frame_bytes the larger one"));
    }
}

fn check_retention(reader: &mut Reader<'_>, config: &Config) {
    let store = &config.store;
    for (key, window) in
        [("store.dedup_window", store.dedup_window), ("store.resend_window", store.resend_window)]
    {
        let keys = ["store.retention", key];
        let too_short = !store.retention.is_zero() && store.retention < window;
        if too_short && !reader.any_faulty(&keys) {
            let (age, window) = (plain(store.retention), plain(window));
            let wrong = format!("a message would be gone after {age}, but {key} is {window}");
            reader
                .conflict(&keys, Wrong::new(wrong, format!("write at least {window:?}, or \"0\"")));
        }
    }
}

fn check_audiences(reader: &mut Reader<'_>, config: &Config) {
    let keys = ["auth.admin_audience", "auth.audience"];
    if config.auth.admin_audience == config.auth.audience && !reader.any_faulty(&keys) {
        let wrong =
            "users and administrators have the same one, so that all would be administrators";
        let right = "give auth.audience and auth.admin_audience different names";
        reader.conflict(&keys, Wrong::new(wrong, right));
    }
}
