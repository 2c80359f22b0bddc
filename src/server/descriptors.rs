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
    let wanted = connections.saturating_add(MARGIN + RESERVE);
    let room = Room::within(raise_limit(wanted), connections);
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

/// Raises the limit of open files to `wanted`, or as far as it goes; gives it.
fn raise_limit(wanted: usize) -> usize {
    let files = Resource::RLIMIT_NOFILE;
    let Ok((soft, hard)) = getrlimit(files) else {
        return wanted;
    };
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    let raised = wanted.clamp(soft, hard.max(soft));
    let limit = match setrlimit(files, raised, hard) {
        Ok(()) => raised,
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
