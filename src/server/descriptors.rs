//! File descriptors: as many as there are connections to be, and some that no
//! connection gets.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors kept from the public: the store opens files while it writes, and would
/// stop for good without; half of these are the administrators'.
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

/// Asks the system for `connections` and says what it gave.
pub(super) fn make_room(connections: usize) -> Room {
    let room = Room::within(raise_limit(), connections);
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

/// Raises the limit of open files as far as the system lets us; gives it.
///
/// Not only to what connections need: the store holds each of its volumes open, and there are as
/// many as there are messages for.
fn raise_limit() -> usize {
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
