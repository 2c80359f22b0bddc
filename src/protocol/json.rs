//! The members of a frame, or of what the API is asked, read strictly and in one pass.
//!
//! A derived struct would take a positional array for an object and unknown
//! values of any depth; `Value` would keep the last of two equal members. Here an
//! array, a duplicate and a nest are refused, and what was read before an error
//! is kept, so that a failure can carry the frame's timestamp.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::message::TIMESTAMP_MAX;

/// How deep an unknown member may be nested.
const DEPTH: usize = 16;

/// What one member holds, before anybody asks whether it may.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Member<'a> {
    /// An integer that is not negative.
    Number(u64),
    /// A string.
    Text(Cow<'a, str>),
    /// True or false.
    Flag(bool),
    /// Anything else.
    Other,
}

/// An object of which some members are known by name, and take what stands there.
pub(super) trait Known<'a> {
    /// The place for the member of this name; nothing where it is not known.
    fn place(&mut self, name: &str) -> Option<Place<'_, 'a>>;
}

/// What a known member may hold, and where it goes; there once it was read.
pub(super) enum Place<'m, 'a> {
    /// Any value, of which a scalar is kept.
    Plain(&'m mut Option<Member<'a>>),
    /// A client's mark of time: the literal text of a number, or a string's.
    Timestamp(&'m mut Option<Cow<'a, str>>),
    /// A value that somebody else will read.
    Raw(&'m mut Option<&'a RawValue>),
}

impl Place<'_, '_> {
    fn is_taken(&self) -> bool {
        match self {
            Self::Plain(slot) => slot.is_some(),
            Self::Timestamp(slot) => slot.is_some(),
            Self::Raw(slot) => slot.is_some(),
        }
    }
}

/// Reads one JSON object and nothing after it into `known`.
///
/// # Errors
/// What is wrong, without any of the input; the members read so far stay.
pub(super) fn read<'a>(text: &'a str, known: &mut impl Known<'a>) -> Result<(), Malformed> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Object(known)).map_err(Malformed::of)?;
    json.end().map_err(Malformed::of)
}

/// Why a text is not such an object, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    what: Cow<'static, str>,
}

impl Malformed {
    /// serde_json's own words may quote the input, so only their kind is kept; ours
    /// are marked and kept whole.
    fn of(error: serde_json::Error) -> Self {
        let text = error.to_string();
        let ours = text.strip_prefix(OURS).and_then(|rest| rest.split(" at line").next());
        let what = match ours {
            Some(ours) => Cow::Owned(ours.to_owned()),
            None if error.is_data() => "not one JSON object".into(),
            None => format!("not JSON at column {}", error.column()).into(),
        };
        Self { what }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Marks an error message as one of this file, which quotes no input.
const OURS: &str = "frame: ";

fn ours<E: de::Error>(what: impl fmt::Display) -> E {
    E::custom(format_args!("{OURS}{what}"))
}

struct Object<'m, K>(&'m mut K);

impl<'de, K: Known<'de>> Visitor<'de> for Object<'_, K> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut unknown = BTreeSet::new();
        while let Some(Text(name)) = map.next_key()? {
            let Some(place) = self.0.place(&name) else {
                map.next_value_seed(Nested(DEPTH))?;
                if !unknown.insert(name) {
                    return Err(ours("a member stands there twice"));
                }
                continue;
            };
            if place.is_taken() {
                return Err(ours(format_args!("`{name}` stands there twice")));
            }
            match place {
                Place::Plain(slot) => *slot = Some(map.next_value_seed(Nested(DEPTH))?),
                Place::Timestamp(slot) => {
                    let raw: &'de RawValue = map.next_value()?;
                    *slot = Some(timestamp(raw.get())?);
                }
                Place::Raw(slot) => *slot = Some(map.next_value()?),
            }
        }
        Ok(())
    }
}

/// The text of a timestamp: a string's own, a number's literal.
fn timestamp<'a, E: de::Error>(raw: &'a str) -> Result<Cow<'a, str>, E> {
    let text = match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<Text<'a>>(raw).map_err(|_| ours("a broken string"))?.0,
        Some(b'-' | b'0'..=b'9') => Cow::Borrowed(raw),
        _ => return Err(ours("`timestamp` must be a string")),
    };
    if text.len() > TIMESTAMP_MAX {
        return Err(ours(format_args!("`timestamp` is over {TIMESTAMP_MAX} bytes")));
    }
    Ok(text)
}

/// A string, borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> de::Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(Scalar)? {
            Member::Text(text) => Ok(Self(text)),
            Member::Number(_) | Member::Flag(_) | Member::Other => Err(ours("not a string")),
        }
    }
}

struct Scalar;

impl<'de> Visitor<'de> for Scalar {
    type Value = Member<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Member::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Member::Text(Cow::Owned(text.to_owned())))
    }
}

/// Any value, down to so many levels.
struct Nested(usize);

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = Member<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Nested {
    fn deeper<E: de::Error>(&self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| ours("nested too deep"))
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = Member<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Member::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Member::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Member::Other)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Member::Flag(flag))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Member::Other)
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Scalar.visit_borrowed_str(text)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Scalar.visit_str(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element_seed(self.deeper()?)?.is_some() {}
        Ok(Member::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(Text(name)) = map.next_key()? {
            map.next_value_seed(self.deeper()?)?;
            if !names.insert(name) {
                return Err(ours("a member stands there twice"));
            }
        }
        Ok(Member::Other)
    }
}
