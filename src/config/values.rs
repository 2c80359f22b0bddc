//! How single values are read: from TOML, or from the text of an override.

use std::net::SocketAddr;
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
        Self { wrong: wrong.into(), right: right.into() }
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

/// The name of a key as it can stand in a message: as it is, unless it would
/// need quotes in the file too.
pub(super) fn bare(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(plain) { name.to_owned() } else { quoted(name) }
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
        fits.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            let out = if number.is_some() { "out of range" } else { "no whole number" };
            Wrong::new(
                format!("{} is {out}", self.shown()),
                format!("write a whole number from {} to {}", range.start(), range.end()),
            )
        })
    }

    /// Reads a time such as `"10s"`, within `range`.
    pub(super) fn duration(self, range: RangeInclusive<Duration>) -> Result<Duration, Wrong> {
        let (least, most) = (*range.start(), *range.end());
        let right = if least.is_zero() {
            format!("write a time up to {}, such as \"10s\", or \"0\"", plain(most))
        } else {
            format!("write a time from {} to {}, such as \"10s\"", plain(least), plain(most))
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

    /// Reads a list of texts. In an override: separated by commas, or as TOML
    /// writes it.
    pub(super) fn list(self) -> Result<Vec<String>, Wrong> {
        let right = "write a list of texts, such as [\"a\", \"b\"]";
        match self {
            Self::Text(text) if text.trim_start().starts_with('[') => {
                let line = format!("list = {text}");
                let document = Document::parse(line.as_str())
                    .map_err(|e| Wrong::new(format!("it is not TOML: {}", e.message()), right))?;
                texts_of(document.as_table().get("list").unwrap_or(&Item::None), right)
            }
            Self::Text(text) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Ok(parts.map(str::to_owned).collect())
            }
            Self::Item(item) => texts_of(item, right),
        }
    }
}

/// A time in its largest whole unit, as a person would have written it.
pub(super) fn plain(time: Duration) -> String {
    let millis = time.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let fits = units.into_iter().find(|(_, unit)| millis.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{millis}ms"), |(name, unit)| format!("{}{name}", millis / unit))
}

fn texts_of(item: &Item, right: &str) -> Result<Vec<String>, Wrong> {
    let Item::Value(Value::Array(array)) = item else {
        return Err(Wrong::new(format!("{} is no list", Raw::Item(item).shown()), right));
    };
    let text = |value: &Value| {
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| Wrong::new("the list holds something that is no text", right))
    };
    array.iter().map(text).collect()
}

/// Reads a text that must not be empty and holds nothing unprintable.
pub(super) fn name(raw: Raw<'_>) -> Result<String, Wrong> {
    let right = "write a text that is not empty";
    let text = raw.text(right)?;
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(Wrong::new(format!("{} is no usable name", quoted(&text)), right));
    }
    Ok(text)
}
