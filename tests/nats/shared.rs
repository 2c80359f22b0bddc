//! One cluster for all tests that leave it alone, whatever processes they run in.
//!
//! Every process that uses it holds a lock. A guardian, the parent of the servers, waits
//! for the moment when nobody holds it any more, however they ended, and ends them.
//!
//! They store in memory where there is room, and sync every write as they would to a disk: that is
//! for each of hundreds of tests most of what it would wait for, and what none of them is about.
//! What becomes of a disk, and how long it takes, is tested with servers of one's own.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::sys::statvfs::statvfs;

use super::place::{Place, SERVERS};
use super::server::program;

/// A file system in memory.
const MEMORY: &str = "/dev/shm";

/// How much must be free there: far more than the tests have needed at once.
const ROOM: u64 = 1 << 30;

/// Ends the servers once it has the lock, and what they left with them.
const GUARDIAN: &str = r#"
folder=$1 server=$2 memory=$3 servers=
for number in 0 1 2; do
    "$server" -c "$folder/n$number.conf" 2>"$folder/n$number.log" &
    servers="$servers $!"
done
exec 9>"$folder.users"
flock 9
kill -9 $servers
wait
rm -rf "$folder" ${memory:+"$memory"}
"#;

struct Shared {
    place: Place,
    /// Held until this process ends.
    _using: File,
}

/// The cluster of this run. To be left running, and as it is.
pub fn shared() -> Place {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(find_or_start).place.clone()
}

/// Where the files of that cluster are.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("nats")
}

fn find_or_start() -> Shared {
    let folder = folder();
    // One at a time looks for it and starts it.
    let starting = lock_file(&folder, "start");
    starting.lock().unwrap();
    // Waits for a guardian that is just ending the last one.
    let using = lock_file(&folder, "users");
    using.lock_shared().unwrap();
    let place = Place::find(&folder).unwrap_or_else(|| start(&folder));
    Shared { place, _using: using }
}

fn start(folder: &Path) -> Place {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).unwrap();
    let place = Place::make(folder, None);
    let memory = in_memory(folder);
    if let Some(memory) = &memory {
        for number in 0..SERVERS {
            symlink(memory.join(format!("n{number}")), place.store(number)).unwrap();
        }
    }
    let mut guardian = Command::new("sh");
    guardian.args(["-c", GUARDIAN, "guardian"]).arg(folder).arg(program());
    guardian.args(memory);
    guardian.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // What ends a test must not end the servers of others.
    #[expect(clippy::zombie_processes, reason = "it outlives this process")]
    guardian.process_group(0).spawn().unwrap();
    place.wait();
    place
}

/// A folder in memory for what the servers of `folder` store, if there is room for it.
fn in_memory(folder: &Path) -> Option<PathBuf> {
    let room = statvfs(MEMORY).ok()?;
    if room.blocks_available() * room.fragment_size() < ROOM {
        return None;
    }
    // One for each folder, so that what a killed guardian left goes with the next start.
    let name = folder.to_str()?.replace('/', "-");
    let memory = Path::new(MEMORY).join(format!("imserver{name}"));
    let _ = fs::remove_dir_all(&memory);
    DirBuilder::new().mode(0o700).create(&memory).ok()?;
    for number in 0..SERVERS {
        fs::create_dir(memory.join(format!("n{number}"))).ok()?;
    }
    Some(memory)
}

fn lock_file(folder: &Path, of: &str) -> File {
    let path = PathBuf::from(format!("{}.{of}", folder.display()));
    File::options().create(true).truncate(false).write(true).open(path).unwrap()
}
