//! Why no NATS server lets us in, while none does: every try ends with a reason, several times a
//! second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::{ClientError, ConnectErrorKind, Event};
use tokio::sync::watch;
use tokio::time::Instant;

/// How long the log is spared a reason that it has.
const AGAIN: Duration = Duration::from_secs(60);

/// What a server means that does not take our word for who we are.
pub(super) const REFUSED: &str =
    "they do not let us in; look at store.jetstream.user and password_file, or credentials";

/// Why the last try to connect was in vain; nothing while there is a connection.
pub(super) type Why = watch::Receiver<Option<String>>;

/// Listens to what befalls the connection.
pub(super) struct Distance {
    why: watch::Sender<Option<String>>,
    /// What the log has of the tries in vain since there was a connection, and since when.
    told: Mutex<HashMap<String, Instant>>,
}

impl Distance {
    pub(super) fn new() -> (Self, Why) {
        let (why, known) = watch::channel(None);
        (Self { why, told: Mutex::default() }, known)
    }

    /// Takes note of what befell the connection, and gives what is to be said of it in the log.
    pub(super) fn note(&self, event: &Event) -> Option<String> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let why = match event {
            Event::ClientError(ClientError::Other(said)) => reason(said),
            Event::Connected => {
                told.clear();
                self.why.send_replace(None);
                return Some(event.to_string());
            }
            other => return Some(other.to_string()),
        };
        self.why.send_replace(Some(why.clone()));
        let now = Instant::now();
        let last = told.get(&why);
        if last.is_some_and(|last| now.duration_since(*last) < AGAIN) {
            return None;
        }
        told.insert(why.clone(), now);
        Some(why)
    }
}

/// The library tells of a try in vain by a word for its kind.
fn reason(said: &str) -> String {
    let refused = [ConnectErrorKind::AuthorizationViolation, ConnectErrorKind::Authentication];
    match refused.iter().any(|kind| kind.to_string() == said) {
        true => REFUSED.to_owned(),
        false => format!("{said}; look whether they run, and at the way to them"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_in_vain_are_told_once_a_minute_and_believed_until_one_is_not() {
        let (distance, why) = Distance::new();
        let vain = |kind: ConnectErrorKind| {
            distance.note(&Event::ClientError(ClientError::Other(kind.to_string())))
        };
        let [unreached, refused] = [ConnectErrorKind::Io, ConnectErrorKind::AuthorizationViolation];
        assert_eq!(distance.note(&Event::Disconnected).as_deref(), Some("disconnected"));
        assert_eq!(*why.borrow(), None);
        // Two servers that are tried by turns.
        assert!(vain(unreached).is_some_and(|why| why.starts_with("IO error; look")));
        assert_eq!(vain(refused).as_deref(), Some(REFUSED));
        advance(AGAIN - Duration::from_millis(1)).await;
        assert_eq!((vain(unreached), vain(refused)), (None, None));
        assert_eq!(why.borrow().as_deref(), Some(REFUSED));
        advance(Duration::from_millis(1)).await;
        assert!(vain(unreached).is_some() && vain(unreached).is_none());
        assert!(distance.note(&Event::Connected).is_some());
        assert_eq!(*why.borrow(), None);
        assert!(vain(unreached).is_some(), "it was lost anew");
    }
}
