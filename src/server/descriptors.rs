//! File descriptors: as many as there are connections to be, and some that no
//! connection gets.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors kept from the public, beside those that are held: the store opens files while
/// it writes, and would stop for good without; half of these are the administrators'.
const RESERVE: usize = 128;

/// TCP connections beyond the allowed WebSockets: those who shake hands, load the page
/// or are told that there is no room.
const MARGIN: usize = 1024;

/// How much the system lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// TCP connections, handshakes included.
    pub(super) sockets: usize,
    /// WebSockets among them.
    pub(super) connections: usize,
}

/// Makes room for `connections` beside what is open by now, the store's volumes above all, and
/// says for how many there is any.
pub(super) fn make_room(connections: usize) -> Room {
    let room = Room::within(raise_limit().saturating_sub(held()), connections);
    if room.connections < connections {
        warn!(
            wanted = connections,
            possible = room.connections,
            "the system permits fewer open files than limits.connections needs: \
             raise its limit (LimitNOFILE, ulimit -n)"
        );
    }
    room
}

/// How many descriptors are in use.
fn held() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Raises the limit of open files as far as the system lets us; gives it.
///
/// Not only to what connections need, and for commands too: the store holds each of its volumes
/// open, and there are as many as there are messages for.
pub fn raise_limit() -> usize {
    let files = Resource::RLIMIT_NOFILE;
    let Ok((soft, hard)) = getrlimit(files) else {
        return usize::MAX;
    };
    let limit = match setrlimit(files, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

impl Room {
    fn within(limit: usize, connections: usize) -> Self {
        let free = limit.saturating_sub(RESERVE).max(limit / 2);
        let sockets = connections.saturating_add(MARGIN).min(free);
        // Whoever finds no place must still be let in far enough to be told so.
        let connections = connections.min(free - free / 8);
        Self { sockets, connections }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It used to be raised to what connections need: with those all taken, a store of a hundred
    /// volumes found no descriptor for the next one, and stopped.
    #[test]
    fn what_connections_do_not_need_is_there_for_the_store() {
        let files = Resource::RLIMIT_NOFILE;
        let (_, hard) = getrlimit(files).unwrap();
        setrlimit(files, 256.min(hard), hard).unwrap();
        make_room(1);
        assert_eq!(getrlimit(files).unwrap(), (hard, hard));
    }

    /// Volumes used to be overlooked: where the system permits few files, connections were let
    /// in until the store found none for its next one.
    #[test]
    fn what_the_store_holds_no_connection_gets() {
        let files = Resource::RLIMIT_NOFILE;
        setrlimit(files, 1024, 1024).unwrap();
        let before = make_room(100_000);
        let held: Vec<_> = (0..500).map(|_| fs::File::open("/proc/self/fd").unwrap()).collect();
        let Room { sockets, .. } = make_room(100_000);
        assert_eq!(sockets, before.sockets - held.len());
        drop(held);
        assert_eq!(make_room(100_000), before);
    }

    #[test]
    fn no_connection_gets_the_last_descriptors() {
        for (limit, connections, expected) in [
            (200_000, 100_000, (101_024, 100_000)),
            (usize::MAX, 100_000, (101_024, 100_000)),
            (1024, 100_000, (896, 784)),
            (1024, 100, (896, 100)),
            (160, 100_000, (80, 70)),
            (64, 100_000, (32, 28)),
        ] {
            let room = Room::within(limit, connections);
            assert_eq!((room.sockets, room.connections), expected, "{limit}");
        }
    }
}
