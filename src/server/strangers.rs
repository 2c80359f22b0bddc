//! Pages that are not on the list: each is told of once, so that whoever forgot theirs finds
//! out. Their browsers say no more to them than that there is no connection.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use http::header::{HeaderMap, ORIGIN};
use tracing::warn;

/// Origins that are told of, in all. Anybody may name any.
const MOST: usize = 16;

/// What of an origin is told, in characters.
const SHOWN: usize = 128;

/// Origins that were told of.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<HashSet<String>>);

impl Strangers {
    /// A page was refused for its origin.
    pub(super) fn came(&self, headers: &HeaderMap) {
        let Some(origin) = headers.get(ORIGIN) else { return };
        let text = String::from_utf8_lossy(origin.as_bytes());
        let origin: String = text.chars().take(SHOWN).collect();
        if self.is_new(&origin) {
            warn!(
                ?origin,
                "pages of this origin are refused; if it is yours, write it into server.origins"
            );
        }
    }

    fn is_new(&self, origin: &str) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.len() < MOST && known.insert(origin.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_new_once_and_not_endlessly_many_are() {
        let strangers = Strangers::default();
        let come = |number: usize| strangers.is_new(&format!("https://{number}.example"));
        assert!((0..MOST).all(come));
        assert!(!(0..2 * MOST).any(come));
    }
}
