//! How single values are read: from TOML, or from the text of an override.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;
use toml_edit::{Document, Item, Value};

/// What is wrong with a value, and what would be right.
pub(super) struct Wrong {
    pub(super) wrong: String,
    pub(super) right: String,
}

impl Wrong {
    pub(super) fn new(wrong: impl Into<String>, right: impl Into<String>) -> Self {
        Self {
            wrong: wrong.into(),
            right: right.into(),
        }
    }
}

/// A value before it is understood.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    /// From the file.
    Item(&'a Item),
    /// From a variable or an option, where everything is text.
    Text(&'a str),
}

/// `text` as it can stand in a message: in quotes, escaped, not too long.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let short: String = text.chars().take(SHOWN).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{more}")
}

impl Raw<'_> {
    /// What kind of value this is, with its article.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Text(_) | Self::Item(Item::Value(Value::String(_))) => "a text",
            Self::Item(Item::Value(Value::Integer(_))) => "a number",
            Self::Item(Item::Value(Value::Float(_))) => "a number with a fraction",
            Self::Item(Item::Value(Value::Boolean(_))) => "true or false",
            Self::Item(Item::Value(Value::Datetime(_))) => "a date",
            Self::Item(Item::Value(Value::Array(_))) => "a list",
            Self::Item(_) => "a table",
        }
    }

    fn shown(self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Item(Item::Value(Value::String(text))) => quoted(text.value()),
            Self::Item(Item::Value(Value::Integer(number))) => number.value().to_string(),
            other => other.kind().to_owned(),
        }
    }

    /// Reads a text.
    pub(super) fn text(self, right: &str) -> Result<String, Wrong> {
        match self {
            Self::Text(text) => Ok(text.to_owned()),
            Self::Item(Item::Value(Value::String(text))) => Ok(text.value().clone()),
            Self::Item(_) => Err(Wrong::new(format!("{} is no text", self.shown()), right)),
        }
    }

    /// Reads true or false.
    pub(super) fn switch(self) -> Result<bool, Wrong> {
        match self {
            Self::Text("true") => Ok(true),
            Self::Text("false") => Ok(false),
            Self::Item(Item::Value(Value::Boolean(on))) => Ok(*on.value()),
            _ => Err(Wrong::new(
                format!("{} is neither true nor false", self.shown()),
                "write true or false, without quotes",
            )),
        }
    }

    /// Reads a whole number within `range`.
    pub(super) fn number<T: TryFrom<i64>>(self, range: RangeInclusive<i64>) -> Result<T, Wrong> {
        let number = match self {
            Self::Text(text) => text.parse().ok(),
            Self::Item(Item::Value(Value::Integer(number))) => Some(*number.value()),
            Self::Item(_) => None,
        };
        let fits = number.filter(|number| range.contains(number));
        fits.and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| {
                let out = if number.is_some() {
                    "out of range"
                } else {
                    "no whole number"
                };
                Wrong::new(
                    format!("{} is {out}", self.shown()),
                    format!(
                        "write a whole number from {} to {}",
                        range.start(),
                        range.end()
                    ),
                )
            })
    }

    /// Reads a time such as `"10s"`, within `range`.
    pub(super) fn duration(self, range: RangeInclusive<Duration>) -> Result<Duration, Wrong> {
        let (least, most) = (*range.start(), *range.end());
        let most_shown = humantime::format_duration(most);
        let right = if least.is_zero() {
            format!("write a time up to {most_shown}, such as \"10s\", or \"0\"")
        } else {
            let least = humantime::format_duration(least);
            format!("write a time from {least} to {most_shown}, such as \"10s\"")
        };
        let text = match self {
            Self::Item(Item::Value(Value::Integer(number))) if *number.value() != 0 => {
                let wrong = format!("{} has no unit", number.value());
                return Err(Wrong::new(wrong, right));
            }
            Self::Item(Item::Value(Value::Integer(_))) => "0".to_owned(),
            _ => self.text(&right)?,
        };
        let time = match text.as_str() {
            "0" => Ok(Duration::ZERO),
            text => humantime::parse_duration(text),
        };
        match time {
            Ok(time) if range.contains(&time) => Ok(time),
            Ok(time) if time < least => {
                Err(Wrong::new(format!("{} is too short", quoted(&text)), right))
            }
            Ok(_) => Err(Wrong::new(format!("{} is too long", quoted(&text)), right)),
            Err(_) => Err(Wrong::new(format!("{} is no time", quoted(&text)), right)),
        }
    }

    /// Reads an address with a port.
    pub(super) fn address(self) -> Result<SocketAddr, Wrong> {
        let right = "write an IP address and a port, such as \"127.0.0.1:8443\"";
        let text = self.text(right)?;
        text.parse().map_err(|_| {
            let wrong = format!("{} is no address with a port", quoted(&text));
            let guess = text
                .strip_prefix("localhost:")
                .map(|port| format!("127.0.0.1:{port}"))
                .or_else(|| text.strip_prefix(':').map(|port| format!("0.0.0.0:{port}")))
                .filter(|guess| guess.parse::<SocketAddr>().is_ok());
            match guess {
                Some(guess) => Wrong::new(wrong, format!("write \"{guess}\"")),
                None => Wrong::new(wrong, right),
            }
        })
    }

    /// Reads a list of texts, each through `parse`. In an override: separated
    /// by commas, or as TOML writes it.
    pub(super) fn list<T>(self, parse: impl Fn(&str) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
        let right = "write a list of texts, such as [\"a\", \"b\"]";
        let texts = match self {
            Self::Text(text) if text.trim_start().starts_with('[') => {
                let line = format!("list = {text}");
                let document = Document::parse(line.as_str())
                    .map_err(|e| Wrong::new(format!("it is not TOML: {}", e.message()), right))?;
                let item = document.as_table().get("list").unwrap_or(&Item::None);
                texts_of(item, right)?
            }
            Self::Text(text) => {
                let parts = text
                    .split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty());
                parts.map(str::to_owned).collect()
            }
            Self::Item(item) => texts_of(item, right)?,
        };
        texts.iter().map(|text| parse(text)).collect()
    }
}

fn texts_of(item: &Item, right: &str) -> Result<Vec<String>, Wrong> {
    let Item::Value(Value::Array(array)) = item else {
        return Err(Wrong::new(
            format!("{} is no list", Raw::Item(item).shown()),
            right,
        ));
    };
    let text = |value: &Value| {
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| Wrong::new("the list holds something that is no text", right))
    };
    array.iter().map(text).collect()
}

/// Reads an address without a port.
pub(super) fn ip(text: &str) -> Result<IpAddr, Wrong> {
    text.parse().map_err(|_| {
        Wrong::new(
            format!("{} is no IP address", quoted(text)),
            "write single addresses, such as \"10.0.0.7\"",
        )
    })
}

/// Reads a text that must not be empty and holds nothing unprintable.
pub(super) fn name(raw: Raw<'_>) -> Result<String, Wrong> {
    let right = "write a text that is not empty";
    let text = raw.text(right)?;
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(Wrong::new(
            format!("{} is no usable name", quoted(&text)),
            right,
        ));
    }
    Ok(text)
}

/// Reads a web origin exactly as a browser writes it: it is compared byte for byte.
pub(super) fn origin(text: &str) -> Result<String, Wrong> {
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
        return Err(Wrong::new(
            wrong("has a path, which an origin never has"),
            right,
        ));
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
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host_fits = match inner {
        Some(address) => matches!(address.parse(), Ok(IpAddr::V6(_))),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
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
    if matches!(
        (scheme, port),
        ("https" | "wss", "443") | ("http" | "ws", "80")
    ) {
        let right = format!("browsers leave the usual port out: \"{scheme}://{host}\"");
        return Err(Wrong::new(wrong("would never match"), right));
    }
    Ok(text.to_owned())
}
