//! Web origins, exactly as browsers write them (RFC 6454, section 6.2).

use super::values::{Wrong, quoted};
use std::net::IpAddr;

/// Reads a web origin exactly as a browser writes it: it is compared byte for byte.
pub(super) fn read(text: &str) -> Result<String, Wrong> {
    let wrong = |what: &str| format!("{} {what}", quoted(text));
    let form = "write scheme://host or scheme://host:port, such as \"https://chat.example.com\"";
    if text == "*" {
        return Err(Wrong::new("\"*\" would let every web page in", form));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Wrong::new(wrong("is no origin"), form));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if authority != rest {
        let right = format!("write \"{scheme}://{authority}\"");
        return Err(Wrong::new(wrong("has a path, which an origin never has"), right));
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let right = format!("browsers write \"{}\"", text.to_ascii_lowercase());
        return Err(Wrong::new(wrong("has capital letters"), right));
    }
    if !text.is_ascii() {
        let right = "browsers write such a host in its xn-- form";
        return Err(Wrong::new(wrong("is not ASCII"), right));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_fits = match inner {
        Some(address) => matches!(address.parse(), Ok(IpAddr::V6(_))),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        }
    };
    if !scheme_fits || !host_fits {
        return Err(Wrong::new(wrong("is no origin"), form));
    }
    let Some(port) = port else {
        return Ok(text.to_owned());
    };
    if !matches!(port.parse::<u16>(), Ok(n) if n > 0 && n.to_string() == port) {
        return Err(Wrong::new(wrong("has no valid port"), form));
    }
    if matches!((scheme, port), ("https" | "wss", "443") | ("http" | "ws", "80")) {
        let right = format!("browsers leave the usual port out: \"{scheme}://{host}\"");
        return Err(Wrong::new(wrong("would never match"), right));
    }
    Ok(text.to_owned())
}
