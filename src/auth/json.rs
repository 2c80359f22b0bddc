//! JSON in which every member stands once.
//!
//! Two members of one name are read differently by different programs, so a
//! token or a key set that has them means two things at once (RFC 7519, section
//! 4; RFC 7515, section 4). `serde_json::Value` would silently keep the last.

use std::collections::HashSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use zeroize::Zeroizing;

/// A JSON value.
///
/// Texts are wiped when they are dropped, because key sets are read with this
/// too. Nothing here has a `Debug` that would show one.
#[derive(Clone)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// Written without fraction and exponent.
    Integer(i128),
    Float(f64),
    Text(Zeroizing<String>),
    List(Vec<Json>),
    Object(Object),
}

/// A JSON object; its members keep their order.
#[derive(Clone, Default)]
pub(super) struct Object(Vec<(String, Json)>);

/// Why a text is not the JSON that is wanted. Neither holds any of its values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JsonFault {
    #[error("{0}")]
    Syntax(String),
    #[error("{0}")]
    Duplicate(String),
}

/// What base64url is not: padded, of another alphabet, or with unused bits set.
#[derive(Debug)]
pub(super) struct NotBase64Url;

impl Json {
    /// Reads one value with nothing but blanks around it.
    ///
    /// Nesting is bounded by the library at 128 levels.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, JsonFault> {
        serde_json::from_slice(bytes).map_err(|error| {
            let sentence = error.to_string();
            if error.is_data() {
                JsonFault::Duplicate(sentence)
            } else {
                JsonFault::Syntax(sentence)
            }
        })
    }

    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(Zeroizing::new(text.into()))
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_list(&self) -> Option<&[Json]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn into_object(self) -> Option<Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }
}

impl Object {
    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find_map(|(member, value)| (member == name).then_some(value))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds a member; the caller sees to it that there is none of that name.
    pub(super) fn push(&mut self, name: &str, value: Json) {
        self.0.push((name.to_owned(), value));
    }

    /// Takes a member out.
    pub(super) fn take(&mut self, name: &str) -> Option<Json> {
        let place = self.0.iter().position(|(member, _)| member == name)?;
        Some(self.0.remove(place).1)
    }
}

/// Reads canonical base64url without padding (RFC 7515, section 2): every
/// sequence of bytes has exactly one spelling, so a token cannot be respelled.
pub(super) fn from_base64url(text: &str) -> Result<Zeroizing<Vec<u8>>, NotBase64Url> {
    URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new).map_err(|_| NotBase64Url)
}

pub(super) fn to_base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Integer(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Object::default();
        let mut seen = HashSet::new();
        while let Some((name, value)) = members.next_entry::<String, Json>()? {
            if !seen.insert(name.clone()) {
                return Err(de::Error::custom(format_args!("the member {name:?} stands twice")));
            }
            object.0.push((name, value));
        }
        Ok(Json::Object(object))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i128(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_may_not_stand_twice_at_any_depth() {
        for bad in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"b":{"a":1,"c":2,"a":3}}]"#] {
            assert!(matches!(Json::parse(bad.as_bytes()), Err(JsonFault::Duplicate(_))), "{bad}");
        }
        assert!(Json::parse(br#"{"a":{"b":1},"c":{"b":1}}"#).is_ok());
    }

    #[test]
    fn anything_around_the_value_spoils_it() {
        let deep = "[".repeat(1_000_000);
        let bads: [&[u8]; 10] = [
            b"",
            b" ",
            b"{}{}",
            b"{},",
            b"{\"a\":1,}",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            br#"{"a":"\ud800"}"#,
            br#"{"a":1e400}"#,
            deep.as_bytes(),
        ];
        for bad in bads {
            assert!(matches!(Json::parse(bad), Err(JsonFault::Syntax(_))));
        }
    }

    #[test]
    fn only_a_plain_integer_is_one() {
        for (text, integer) in [
            ("7", Some(7)),
            ("-7", Some(-7)),
            ("18446744073709551615", Some(i128::from(u64::MAX))),
            ("18446744073709551616", None),
            ("7.0", None),
            ("7e0", None),
            ("-0", None),
        ] {
            let read = match Json::parse(text.as_bytes()) {
                Ok(Json::Integer(value)) => Some(value),
                _ => None,
            };
            assert_eq!(read, integer, "{text}");
        }
    }

    #[test]
    fn base64url_has_one_spelling() {
        assert_eq!(from_base64url("TQ").unwrap().as_slice(), b"M");
        for bad in ["TR", "TQ=", "TQ==", "T", "TQ ", "T Q", "TQ\n", "+w", "/w"] {
            assert!(from_base64url(bad).is_err(), "{bad:?}");
        }
    }
}
