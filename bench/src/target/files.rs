//! What a server needs around it before it can start.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Result;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;

/// Only what differs from the defaults: no limit may be what is measured.
/// `store` goes into the section of that name, and may begin further ones.
pub(super) fn configuration([listen, admin]: [SocketAddr; 2], data: &Path, store: &str) -> String {
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
[limits]
messages_per_second = 0
connections_per_address = 0
connections_per_user = 100000
unread_per_user = 1000000
[log]
level = "warn"
[store]
path = '{data}'
{store}"#
    )
}

pub(crate) fn private_file(path: &Path, text: &str) -> Result<()> {
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

/// Makes `server.pem` and `server.key` for localhost, and gives the certificate.
pub(crate) fn write_certificate(root: &Path) -> Result<CertificateDer<'static>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(["localhost".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    // rcgen's own limit, the year 4096, is beyond what ejabberd understands.
    params.not_after = date_time_ymd(2049, 12, 31);
    let certificate = params.self_signed(&key)?;
    private_file(&root.join("server.key"), &key.serialize_pem())?;
    fs::write(root.join("server.pem"), certificate.pem())?;
    Ok(certificate.der().clone())
}
