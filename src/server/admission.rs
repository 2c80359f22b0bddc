//! Who may come in: so many in all, so many per address, and not those who guess.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::crowd::{Counted, Crowd, network};
use super::refusal::Refusal;
use crate::config;

/// Refused tokens a minute and address, before the answer is to stay away.
///
/// An office behind one address whose tokens all expire at once stays below it;
/// whoever guesses does not.
const GUESSES: NonZeroU32 = NonZeroU32::MIN.saturating_add(199);

/// Guesses after which those of long ago are forgotten.
const TIDY_EVERY: usize = 1024;

/// The door.
#[derive(Debug)]
pub(super) struct Admission {
    places: Arc<Semaphore>,
    inside: Crowd,
    guesses: DefaultKeyedRateLimiter<IpAddr>,
    guessed: AtomicUsize,
}

/// A place inside, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
    _address: Option<Counted>,
}

impl Admission {
    /// A door to a house with so many places.
    pub(super) fn new(places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            inside: Crowd::default(),
            guesses: RateLimiter::keyed(Quota::per_minute(GUESSES)),
            guessed: AtomicUsize::new(1),
        }
    }

    /// Lets a connection from `address` in, within `limits`.
    ///
    /// # Errors
    /// 429, with what there is too much of.
    pub(super) fn enter(&self, address: IpAddr, limits: &config::Limits) -> Result<Place, Refusal> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Refusal::TooMany("the server has all its connections"))?;
        let address = match limits.connections_per_address {
            0 => None,
            max => Some(
                self.inside
                    .enter(address, max)
                    .ok_or(Refusal::TooMany("too many connections from this address"))?,
            ),
        };
        Ok(Place { _place: place, _address: address })
    }

    /// Counts a refused token and says how to refuse it.
    ///
    /// Tokens are looked at first: the signature costs nothing beside the handshake
    /// that came before, and whoever shares an address with a guesser is let in.
    pub(super) fn guessed_wrong(&self, address: IpAddr, limits: &config::Limits) -> Refusal {
        if limits.connections_per_address == 0 {
            return Refusal::Unauthorized;
        }
        if self.guessed.fetch_add(1, Ordering::Relaxed).is_multiple_of(TIDY_EVERY) {
            self.guesses.retain_recent();
        }
        match self.guesses.check_key(&network(address)) {
            Ok(()) => Refusal::Unauthorized,
            Err(_) => Refusal::Guessed("too many refused tokens from this address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_most(per_address: usize) -> config::Limits {
        config::Limits { connections_per_address: per_address, ..Default::default() }
    }

    #[test]
    fn a_place_is_given_back_when_its_connection_ends() {
        let door = Admission::new(3);
        let two = at_most(2);
        let (here, there): (IpAddr, IpAddr) =
            ("10.0.0.1".parse().unwrap(), "::ffff:10.0.0.2".parse().unwrap());
        let first = door.enter(here, &two).unwrap();
        let _second = door.enter(here, &two).unwrap();
        assert!(matches!(door.enter(here, &two), Err(Refusal::TooMany(_))), "per address");
        let _third = door.enter(there, &two).unwrap();
        assert!(matches!(door.enter(there, &two), Err(Refusal::TooMany(_))), "in all");
        drop(first);
        assert!(door.enter(here, &two).is_ok());
    }

    #[test]
    fn a_changed_limit_counts_who_is_in_already() {
        let door = Admission::new(10);
        let here: IpAddr = "10.0.0.1".parse().unwrap();
        let _inside = [(); 2].map(|()| door.enter(here, &at_most(2)).unwrap());
        assert!(door.enter(here, &at_most(1)).is_err());
        assert!(door.enter(here, &at_most(3)).is_ok());
    }

    #[test]
    fn a_guesser_is_sent_away_and_nobody_else() {
        let door = Admission::new(1);
        let one = at_most(1);
        let guesser = "2001:db8::1".parse().unwrap();
        let neighbour = "2001:db8::2".parse().unwrap();
        let other = "2001:db9::1".parse().unwrap();
        for _ in 0..GUESSES.get() {
            assert_eq!(door.guessed_wrong(guesser, &one), Refusal::Unauthorized);
        }
        assert!(matches!(door.guessed_wrong(neighbour, &one), Refusal::Guessed(_)), "the same /64");
        assert_eq!(door.guessed_wrong(other, &one), Refusal::Unauthorized);
    }
}
