//! What holds where `config.toml` says nothing.

use super::jetstream;
use super::{
    Auth, Backend, JetStream, Limits, Log, LogFormat, Networks, Server, Store, Tls, TlsMode,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443)),
            admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9443)),
            origins: vec!["https://localhost:8443".to_owned()],
            drain_timeout: Duration::from_secs(10),
            trusted_proxies: Networks::default(),
            proxy_protocol: Networks::default(),
            chat_page: true,
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self { mode: TlsMode::On, cert: "certs/server.pem".into(), key: "certs/server.key".into() }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            keys: "certs/keys.json".into(),
            issuer: "imserver".to_owned(),
            audience: "imserver".to_owned(),
            admin_audience: "imserver-admin".to_owned(),
            jwks_url: None,
            require_jti: false,
            leeway: Duration::from_secs(30),
            max_lifetime: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            backend: Backend::Sled,
            jetstream: JetStream::default(),
            path: "data".into(),
            cache_bytes: 256 * 1024 * 1024,
            volume_messages: 65_536,
            retention: Duration::ZERO,
            dedup_window: Duration::from_secs(10 * 60),
            resend_window: Duration::from_secs(2 * 60),
            deployment: jetstream::deployment(&Auth::default()),
        }
    }
}

impl Default for JetStream {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            ca: None,
            credentials: None,
            user: None,
            password_file: None,
            node: None,
            deployment: None,
            prefix: "im".to_owned(),
            partitions: 1,
            replicas: 3,
            synced: false,
            create: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: 64 * 1024,
            content_bytes: 16 * 1024,
            messages_per_second: 20,
            message_burst: 60,
            connections: 100_000,
            connections_per_user: 16,
            connections_per_address: 256,
            unread_per_user: 100_000,
            violations: 20,
            resend_after: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(20),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Pretty, level: "info".to_owned() }
    }
}
