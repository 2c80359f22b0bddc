//! What a server needs around it before it can start.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Result;

/// Only what differs from the defaults: no limit may be what is measured.
pub(super) fn configuration(listen: SocketAddr, admin: SocketAddr, data: &Path) -> String {
    let data = data.display();
    format!(
        r#"[server]
listen = "{listen}"
admin_listen = "{admin}"
drain_timeout = "5s"
[tls]
cert = "server.pem"
key = "server.key"
[auth]
keys = "keys.json"
[store]
path = '{data}'
[limits]
messages_per_second = 0
connections_per_address = 0
connections_per_user = 100000
unread_per_user = 1000000
[log]
level = "warn"
"#
    )
}

pub(super) fn private_file(path: &Path, text: &str) -> Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

/// Two ports that nobody listens on; held together so that they differ.
pub(super) fn two_free_addresses() -> Result<(SocketAddr, SocketAddr)> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (first, second) = (bind()?, bind()?);
    Ok((first.local_addr()?, second.local_addr()?))
}
