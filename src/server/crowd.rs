//! How many there are of each address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts by address.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of those that are counted, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    address: IpAddr,
    crowd: Crowd,
}

impl Crowd {
    /// Counts one more of `address`, unless there are `max` already.
    pub(super) fn enter(&self, address: IpAddr, max: usize) -> Option<Counted> {
        let address = network(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Counted { address, crowd: self.clone() })
    }
}

/// Whoever has an IPv6 address has a /64 of them: they count as one.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = counts.entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_makes_room_and_is_forgotten() {
        let crowd = Crowd::default();
        let here: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        let there: IpAddr = "10.0.0.1".parse().unwrap();
        let first = crowd.enter(here, 2).unwrap();
        let second = crowd.enter(neighbour, 2).unwrap();
        assert!(crowd.enter(here, 2).is_none(), "the same /64");
        assert!(crowd.enter(there, 2).is_some());
        drop(first);
        let third = crowd.enter(here, 2).unwrap();
        drop((second, third));
        assert!(crowd.0.lock().unwrap().is_empty());
    }
}
