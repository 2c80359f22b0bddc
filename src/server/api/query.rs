//! What stands behind the `?`: each known parameter once, others ignored as unknown
//! members are.

use std::borrow::Cow;

use crate::server::refusal::Refusal;

/// The most that a page of anything holds.
const LIMIT_MAX: usize = 100;

/// The parameters of a call.
#[derive(Debug, Default)]
pub(in crate::server) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Takes the parameters apart.
    ///
    /// # Errors
    /// Escapes that are none, or stand for no UTF-8.
    pub(in crate::server) fn parse(query: Option<&'a str>) -> Result<Self, Refusal> {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        });
        let wrong = Refusal::Malformed("the query holds a malformed percent-encoding");
        pairs.collect::<Option<_>>().map(Self).ok_or(wrong)
    }

    /// The value of a parameter.
    ///
    /// # Errors
    /// It stands there twice.
    pub(in crate::server) fn get(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.0.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_ref());
        if values.next().is_some() {
            return Err(Refusal::Malformed("a parameter stands there twice"));
        }
        Ok(value)
    }

    /// How many are wanted, at the most.
    ///
    /// # Errors
    /// Anything but a plain number from 1 to [`LIMIT_MAX`].
    pub(in crate::server) fn limit(&self, default: usize) -> Result<usize, Refusal> {
        self.limit_to(default, LIMIT_MAX)
    }

    /// The same with another bound.
    ///
    /// # Errors
    /// Anything but a plain number from 1 to `max`.
    pub(in crate::server) fn limit_to(&self, default: usize, max: usize) -> Result<usize, Refusal> {
        let Some(digits) = self.get("limit")? else {
            return Ok(default);
        };
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        let limit = plain.then(|| digits.parse().ok()).flatten();
        limit.filter(|limit| (1..=max).contains(limit)).ok_or_else(|| {
            Refusal::bad_request(format!("`limit` must be a number from 1 to {max}"))
        })
    }
}

/// Resolves `%XX` and `+`, as forms are written (URL Standard, section 5.1).
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            b'+' => b' ',
            plain => plain,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_stands_once_and_reads_as_it_was_meant() {
        let query = Query::parse(Some("x=1&&y=a%2Db+c&x=2&%C3%A9=%E5%A5%BD&flag")).unwrap();
        assert_eq!(query.get("y"), Ok(Some("a-b c")));
        assert_eq!(query.get("é"), Ok(Some("好")));
        assert_eq!(query.get("flag"), Ok(Some("")));
        assert_eq!(query.get("z"), Ok(None));
        assert!(query.get("x").is_err());
        for bad in ["%", "a=%2", "a=%zz", "a=%+2", "%ff=1", "a=%ED%A0%80"] {
            assert!(Query::parse(Some(bad)).is_err(), "{bad}");
        }
        assert_eq!(Query::parse(None).unwrap().get("x"), Ok(None));
    }

    #[test]
    fn a_limit_is_a_plain_number_from_1_to_100() {
        let limit = |query: &str| Query::parse(Some(query)).unwrap().limit(20);
        assert_eq!(limit("x=1"), Ok(20));
        assert_eq!(limit("limit=1"), Ok(1));
        assert_eq!(limit("limit=%31%300"), Ok(100));
        for bad in ["", "0", "101", "-1", "%2B1", "+1", "1.0", "1e1", "0x1", "٣", "05", "1+"] {
            assert!(limit(&format!("limit={bad}")).is_err(), "{bad}");
        }
        assert!(limit("limit=18446744073709551617").is_err());
        assert!(limit("limit=5&limit=5").is_err());
    }
}
