//! `[store.jetstream]`: the servers that keep the messages of several nodes.

use std::net::IpAddr;

use super::reader::{Reader, Section};
use super::values::{Raw, Wrong, name, quoted};
use super::{Auth, Backend, JetStream, Store};

pub(super) fn read(mut s: Section<'_, '_>) -> JetStream {
    let d = JetStream::default();
    JetStream {
        servers: s.list("servers", d.servers, server),
        ca: s.optional_path("ca"),
        credentials: s.optional_path("credentials"),
        user: s.take("user", None, |raw| match raw.text("write a text")?.as_str() {
            "" => Ok(None),
            _ => name(raw).map(Some),
        }),
        password_file: s.optional_path("password_file"),
        node: s.take("node", None, node),
        deployment: s.take("deployment", None, |raw| match raw.text("write a text")?.as_str() {
            "" => Ok(None),
            _ => name(raw).map(Some),
        }),
        prefix: s.take("prefix", d.prefix, prefix),
        partitions: s.take("partitions", d.partitions, |raw| raw.number(1..=1024)),
        replicas: s.take("replicas", d.replicas, replicas),
        synced: s.take("synced", d.synced, |raw| raw.switch()),
        create: s.take("create", d.create, |raw| raw.switch()),
    }
}

/// What a deployment is called that has no name of its own: by what all of its nodes must agree
/// on, and what stays while keys come and go.
pub(super) fn deployment(auth: &Auth) -> String {
    format!("{} of {}", auth.audience, auth.issuer)
}

/// Checks what concerns more than one key.
pub(super) fn check(reader: &mut Reader<'_>, store: &Store) {
    let JetStream { servers, credentials, user, password_file, .. } = &store.jetstream;
    let keys = ["store.jetstream.servers", "store.backend"];
    if store.backend == Backend::JetStream && servers.is_empty() && !reader.any_faulty(&keys) {
        let right = "write servers = [\"tls://nats-1.example:4222\", …] below [store.jetstream]";
        reader.conflict(&["store.backend"], Wrong::new("it names no servers", right));
    }
    let twice = servers
        .iter()
        .zip(1..)
        .find(|(server, next)| servers.iter().skip(*next).any(|it| it == *server));
    if let Some((server, _)) = twice {
        let wrong = Wrong::new(format!("{server} is there twice"), "name each server once");
        reader.conflict(&["store.jetstream.servers"], wrong);
    }
    let keys = ["store.jetstream.user", "store.jetstream.password_file"];
    if user.is_some() != password_file.is_some() && !reader.any_faulty(&keys) {
        let right = "give both store.jetstream.user and store.jetstream.password_file, or neither";
        reader.conflict(&keys, Wrong::new("one goes with the other", right));
    }
    let keys = ["store.jetstream.credentials", "store.jetstream.user"];
    if user.is_some() && credentials.is_some() && !reader.any_faulty(&keys) {
        let right = "leave one of the two out";
        reader.conflict(&keys, Wrong::new("there are credentials and a user", right));
    }
}

/// Reads the address of a server. Messages go in the clear to none but this machine.
fn server(text: &str) -> Result<String, Wrong> {
    let right = "write an address such as \"tls://nats-1.example:4222\"";
    let wrong = |what: &str| Err(Wrong::new(format!("{} {what}", quoted(text)), right));
    if text.contains('@') {
        // Not shown: it holds a password.
        let right = "use store.jetstream.user and password_file";
        return Err(Wrong::new("an address holds a password", right));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong("is no address with a scheme");
    };
    let host = match rest.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => return wrong("has no port"),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    if host.is_empty() || !host.chars().all(plain) {
        return wrong("names no host");
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let here = host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match scheme {
        "tls" => Ok(text.to_owned()),
        "nats" if here => Ok(text.to_owned()),
        "nats" => wrong("would send messages in the clear to another machine"),
        _ => wrong("has an unknown scheme"),
    }
}

/// Reads how many servers keep each message. Of an even number no more can be lost than of one less.
fn replicas(raw: Raw<'_>) -> Result<u8, Wrong> {
    let right = "write 1, 3 or 5, which bear the loss of none, of one or of two servers";
    match raw.number(1..=5)? {
        even @ (2 | 4) => Err(Wrong::new(format!("{even} is even"), right)),
        odd => Ok(odd),
    }
}

/// Reads the name of a node.
fn node(raw: Raw<'_>) -> Result<Option<String>, Wrong> {
    let right = "write 1 to 64 of letters, digits, . - and _, or \"\" for the name of the host";
    let text = raw.text(right)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    match text.len() {
        0 => Ok(None),
        1..=64 if text.bytes().all(plain) => Ok(Some(text)),
        _ => Err(Wrong::new(format!("{} is no name of a node", quoted(&text)), right)),
    }
}

/// Reads what names of streams and subjects begin with.
fn prefix(raw: Raw<'_>) -> Result<String, Wrong> {
    let right = "write 1 to 32 of a-z, 0-9, - and _";
    let text = raw.text(right)?;
    let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    if !(1..=32).contains(&text.len()) || !text.bytes().all(plain) {
        return Err(Wrong::new(format!("{} cannot begin a name", quoted(&text)), right));
    }
    Ok(text)
}
