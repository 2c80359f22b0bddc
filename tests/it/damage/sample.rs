//! Data directories with everything in them, as a stop or a crash leaves them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use imserver::ids::{Sender, UserId};
use imserver::store::{ClaimedProfile, Draft, PacketDigest, ResendKey, Seen, Store, StoreError};

use crate::support::{Setup, store, within};

/// Messages in the store that is damaged, from and to so many users.
pub const MESSAGES: u64 = 900;
pub const USERS: u64 = 7;

pub fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

/// Everything in a store: ids, senders, recipients, contents and what is unread.
pub type Contents = BTreeMap<u64, (u64, u64, String, bool)>;

/// What was read of a store, and why no more.
pub struct Read {
    pub found: Contents,
    pub failed: Option<StoreError>,
}

impl Read {
    pub async fn of(store: &dyn Store) -> Self {
        let mut read = Self { found: Contents::new(), failed: None };
        for inbox in 1..=USERS {
            let (entries, failed) = store::read_inbox(store, inbox, false).await;
            read.failed = read.failed.or(failed);
            for entry in entries {
                let message = &entry.message;
                let told = (message.from.get(), inbox, message.content.clone(), false);
                read.found.insert(message.id.get(), told);
            }
            let (unread, failed) = store::read_inbox(store, inbox, true).await;
            read.failed = read.failed.or(failed);
            for entry in unread {
                // What failed above need not have failed here.
                if let Some(told) = read.found.get_mut(&entry.message.id.get()) {
                    told.3 = true;
                }
            }
        }
        read
    }

    /// Whether nothing was passed over on the way to where it failed: of each inbox the
    /// first messages were read, as they were written.
    pub fn passes_over_nothing(&self, of: &Contents) -> bool {
        (1..=USERS).all(|inbox| {
            let of_inbox = |contents: &Contents| {
                let all = contents.iter().filter(|(_, told)| told.1 == inbox);
                all.map(|(id, told)| (*id, told.0, told.2.clone())).collect::<Vec<_>>()
            };
            of_inbox(of).starts_with(&of_inbox(&self.found))
        })
    }
}

/// How a sample is made.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Closed as it should be; otherwise as `kill -9` leaves it.
    pub clean: bool,
    /// Messages of a volume.
    pub volume: u64,
    /// How much longer messages are than some hundred bytes.
    pub stretch: usize,
    /// Messages behind the last opening. A hundred short ones stand in the journal alone: sled
    /// is not made to bring so little to the disk.
    pub last: u64,
}

impl Plan {
    /// All messages in the log.
    pub fn new(clean: bool) -> Self {
        Self { clean, volume: 65_536, stretch: 1, last: 100 }
    }

    /// The older ones in three volumes.
    pub fn with_volumes(clean: bool) -> Self {
        Self { volume: 200, ..Self::new(clean) }
    }

    /// Waits until as many of so many messages are in volumes as ever will be: the log is left
    /// with less than two volumes' worth.
    async fn is_packed(self, dir: &Path, messages: u64) {
        let wanted = usize::try_from((messages / self.volume).saturating_sub(1)).unwrap();
        within("the volumes", async {
            while fs::read_dir(dir.join("volumes")).map_or(0, Iterator::count) < wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Makes it.
    pub async fn make(self) -> Sample {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("live");
        let mut store = store::open_with(&dir, self.volume);
        let mut ids = Vec::new();
        for number in 0..MESSAGES {
            let receipt = store.append(self.draft(number)).await.unwrap();
            ids.push(receipt.await.unwrap().id);
            // A second opening writes a snapshot.
            if number == MESSAGES / 2 || number + self.last + 1 == MESSAGES {
                self.is_packed(&dir, number + 1).await;
                store.close().await.unwrap();
                store = store::open_with(&dir, self.volume);
            }
        }
        for reader in 1..=USERS {
            let name = Some(format!("user {reader}"));
            let claimed = ClaimedProfile { name, picture: None };
            store.set_profile(user(reader), claimed).await.unwrap();
            let marks = ids.iter().copied().step_by(3).collect();
            store.mark_read(user(reader), Seen::Ids(marks), None).await.unwrap();
        }
        let Read { found: contents, failed } = Read::of(&*store).await;
        assert!(failed.is_none() && contents.len() as u64 == MESSAGES, "{failed:?}");
        if self.clean {
            store.close().await.unwrap();
        } else {
            // The manifest is renewed once a second.
            let last = format!("\"last_id\":{},", ids.last().unwrap());
            let read = contents.values().filter(|told| !told.3).count();
            let read = format!("\"read\":{read},");
            let says = |line: &str| line.contains(&last) && line.contains(&read);
            let manifest = dir.join("manifest.json");
            within("the manifest", async {
                while !fs::read_to_string(&manifest).unwrap().lines().any(says) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
        }
        let sample = Sample { folder, contents };
        // Of one moment, as a crash leaves it: nothing is written while it is copied.
        within("a moment in which nothing is written", async {
            loop {
                let before = snapshot(&dir);
                copy(&dir, &sample.path());
                if before == snapshot(&dir) {
                    break;
                }
                fs::remove_dir_all(sample.path()).unwrap();
            }
        })
        .await;
        drop(store);
        sample
    }

    fn draft(self, number: u64) -> Draft {
        let (from, to) = (number * 5 % (USERS + 1), 1 + number % USERS);
        let mut digest = [1; 16];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        let length = usize::try_from(number * 7 % 900).unwrap() * self.stretch;
        Draft {
            from: Sender::new(from).unwrap(),
            to: user(to),
            timestamp: number.to_string(),
            content: format!("message {number} {}", "x".repeat(length)),
            resend: ResendKey::Packet(PacketDigest(digest)),
            origin: None,
        }
    }
}

/// A store with everything in it, as it lies on the disk.
pub struct Sample {
    folder: tempfile::TempDir,
    pub contents: Contents,
}

impl Sample {
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("sample")
    }

    /// Puts it in the place of the server's data.
    pub fn put(&self, setup: &Setup) -> PathBuf {
        let data = setup.path("data");
        if data.exists() {
            fs::remove_dir_all(&data).unwrap();
        }
        copy(&self.path(), &data);
        data
    }

    /// The files in which anything stands, by their names below the data directory.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let path = self.path();
        let files = snapshot(&path).into_iter().filter(|(_, bytes)| !bytes.is_empty());
        let name = |file: PathBuf| file.strip_prefix(&path).unwrap().display().to_string();
        files.map(|(file, bytes)| (name(file), bytes)).collect()
    }
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Every file below `dir` with its contents.
pub fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.insert(path.clone(), Vec::new());
            files.extend(snapshot(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}
