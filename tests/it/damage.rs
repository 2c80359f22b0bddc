//! A data directory that is not as it was left: the server refuses it in one clear
//! sentence and changes nothing, or everything acknowledged is there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use imserver::ids::{Sender, UserId};
use imserver::store::{ClaimedProfile, Draft, PacketDigest, ResendKey, Seen, Store};

use crate::support::{Setup, store};

/// Messages in the store that is damaged, from and to so many users.
const MESSAGES: u64 = 900;
const USERS: u64 = 7;

fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

/// Everything in a store: ids, senders, contents and what is unread.
type Contents = BTreeMap<u64, (u64, u64, String, bool)>;

async fn contents(store: &dyn Store) -> Contents {
    let mut found = Contents::new();
    for inbox in 1..=USERS {
        for entry in store::inbox(store, inbox, false).await {
            let message = &entry.message;
            let told = (message.from.get(), inbox, message.content.clone(), false);
            found.insert(message.id.get(), told);
        }
        for entry in store::inbox(store, inbox, true).await {
            found.get_mut(&entry.message.id.get()).unwrap().3 = true;
        }
    }
    found
}

/// A store with everything in it, as it lies on the disk.
struct Sample {
    folder: tempfile::TempDir,
    contents: Contents,
}

impl Sample {
    /// `clean`: closed as it should be; otherwise as `kill -9` leaves it.
    async fn new(clean: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("live");
        let mut store = store::open(&dir);
        let mut ids = Vec::new();
        for number in 0..MESSAGES {
            let (from, to) = (number * 5 % (USERS + 1), 1 + number % USERS);
            let mut digest = [1; 16];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            let draft = Draft {
                from: Sender::new(from).unwrap(),
                to: user(to),
                timestamp: number.to_string(),
                content: format!("message {number} {}", "x".repeat(number as usize * 7 % 900)),
                resend: ResendKey::Packet(PacketDigest(digest)),
                origin: None,
            };
            let receipt = store.append(draft).await.unwrap();
            ids.push(receipt.await.unwrap().id);
            if number == MESSAGES / 2 {
                // A second opening writes a snapshot.
                store.close().await.unwrap();
                store = store::open(&dir);
            }
        }
        for reader in 1..=USERS {
            let name = Some(format!("user {reader}"));
            let claimed = ClaimedProfile { name, picture: None };
            store.set_profile(user(reader), claimed).await.unwrap();
            let marks = ids.iter().copied().step_by(3).collect();
            store.mark_read(user(reader), Seen::Ids(marks), None).await.unwrap();
        }
        let contents = contents(&*store).await;
        assert_eq!(contents.len() as u64, MESSAGES);
        if clean {
            store.close().await.unwrap();
        } else {
            // The manifest is renewed once a second.
            let last = format!("\"last_id\":{}", ids.last().unwrap());
            let manifest = dir.join("manifest.json");
            while !fs::read_to_string(&manifest).unwrap().contains(&last) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        copy(&dir, &folder.path().join("sample"));
        drop(store);
        Self { folder, contents }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("sample")
    }
}

fn copy(from: &Path, to: &Path) {
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
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
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

enum Outcome {
    Served,
    Refused { code: Option<i32>, words: String },
}

/// Starts the server and waits until it either serves or has ended.
fn outcome(setup: &Setup) -> Outcome {
    let mut command = setup.command(&["serve"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut words = String::new();
    while stderr.read_line(&mut words).unwrap() > 0 {
        if words.contains("\"serving\"") {
            child.kill().unwrap();
            child.wait().unwrap();
            return Outcome::Served;
        }
    }
    let _ = stderr.read_to_string(&mut words);
    let code = child.wait().unwrap().code();
    Outcome::Refused { code, words }
}

/// Puts `sample` in the place of the server's data.
fn put(sample: &Sample, setup: &Setup) -> PathBuf {
    let data = setup.path("data");
    if data.exists() {
        fs::remove_dir_all(&data).unwrap();
    }
    copy(&sample.path(), &data);
    data
}

/// What a damage does to a file.
fn damage(bytes: &mut Vec<u8>, kind: usize, random: &mut fastrand::Rng) -> String {
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
    let at = random.usize(..used);
    match kind % 4 {
        0 => {
            bytes.truncate(at);
            format!("cut off at {at} of {used}")
        }
        1 => {
            bytes[at] ^= 1 << random.u8(..8);
            format!("one bit wrong at {at} of {used}")
        }
        2 => {
            let at = at / 512 * 512;
            let end = bytes.len().min(at + 512);
            bytes[at..end].fill(0);
            format!("a block of zeros at {at} of {used}")
        }
        _ => {
            let end = used.min(at + 4096);
            for byte in &mut bytes[at..end] {
                *byte = random.u8(..);
            }
            format!("rubbish at {at} of {used}")
        }
    }
}

/// Starts the server on damaged data and sees that it keeps its word; says whether
/// it was refused.
async fn keeps_its_word(setup: &Setup, sample: &Sample, what: &str) -> bool {
    let data = setup.path("data");
    let before = snapshot(&data);
    match outcome(setup) {
        Outcome::Served => {
            let store = store::open(&data);
            let found = contents(&*store).await;
            assert!(found == sample.contents, "{what}: served, but not everything");
            store.close().await.unwrap();
            false
        }
        Outcome::Refused { code, words } => {
            refused(&data, code, &words, what);
            assert!(before == snapshot(&data), "{what}: refused, but changed");
            true
        }
    }
}

fn refused(data: &Path, code: Option<i32>, words: &str, what: &str) {
    assert_eq!(code, Some(1), "{what}: {words}");
    // Warnings of the log may come before; it ends with one sentence and nothing else.
    let said: Vec<&str> = words.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(said.len(), 1, "{what}: {words}");
    assert!(said[0].starts_with("imserver: the data in "), "{what}: {words}");
    assert!(said[0].contains(&data.display().to_string()), "{what}: {words}");
    assert!(said[0].contains("restore the newest backup"), "{what}: {words}");
}

fn quiet() -> Setup {
    Setup::new().set("log.level", "\"warn,imserver::server=info\"")
}

async fn damaged_databases_keep_the_servers_word(clean: bool) {
    let copies: usize = std::env::var("IMSERVER_DAMAGED_COPIES").map_or(32, |n| n.parse().unwrap());
    let setup = quiet();
    let sample = Sample::new(clean).await;
    let seed = std::env::var("IMSERVER_DAMAGE_SEED").map_or(7, |seed| seed.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut refusals = 0;
    for number in 0..copies {
        let db = put(&sample, &setup).join("sled/db");
        let mut bytes = fs::read(&db).unwrap();
        let what = damage(&mut bytes, number, &mut random);
        fs::write(&db, bytes).unwrap();
        refusals += usize::from(keeps_its_word(&setup, &sample, &what).await);
    }
    assert!(refusals > copies / 2, "only {refusals} of {copies} were noticed");
}

#[tokio::test]
async fn a_database_damaged_after_a_clean_stop_is_refused_or_whole() {
    damaged_databases_keep_the_servers_word(true).await;
}

#[tokio::test]
async fn a_database_damaged_after_a_crash_is_refused_or_whole() {
    damaged_databases_keep_the_servers_word(false).await;
}

#[tokio::test]
async fn damage_to_the_smaller_files_is_refused_or_does_not_matter() {
    let setup = quiet();
    let sample = Sample::new(true).await;
    let mut random = fastrand::Rng::with_seed(7);
    let files = snapshot(&sample.path()).into_iter();
    let files = files.filter(|(path, bytes)| !path.ends_with("sled/db") && !bytes.is_empty());
    let mut damaged = 0;
    for (path, bytes) in files {
        let name = path.strip_prefix(sample.path()).unwrap();
        for kind in 0..8 {
            let file = put(&sample, &setup).join(name);
            let mut bytes = bytes.clone();
            let what = damage(&mut bytes, kind, &mut random);
            fs::write(&file, bytes).unwrap();
            let what = format!("{}: {what}", name.display());
            keeps_its_word(&setup, &sample, &what).await;
            damaged += 1;
        }
    }
    assert!(damaged >= 24, "manifest, conf and snapshot were expected");
}

#[tokio::test]
async fn a_file_that_is_gone_is_refused_or_does_not_matter() {
    let setup = quiet();
    let sample = Sample::new(true).await;
    for name in ["manifest.json", "sled/db", "sled/conf", "sled", "sled/blobs"] {
        let path = put(&sample, &setup).join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        let refused = keeps_its_word(&setup, &sample, name).await;
        assert!(refused || matches!(name, "sled/conf" | "sled/blobs"), "{name}");
    }
    // An older copy of the database beside a newer manifest.
    let data = put(&sample, &setup);
    let store = store::open(&data);
    store
        .append(Draft {
            from: Sender::System,
            to: user(1),
            timestamp: String::new(),
            content: "newer".to_owned(),
            resend: ResendKey::None,
            origin: None,
        })
        .await
        .unwrap()
        .await
        .unwrap();
    store.close().await.unwrap();
    fs::remove_dir_all(data.join("sled")).unwrap();
    copy(&sample.path().join("sled"), &data.join("sled"));
    assert!(keeps_its_word(&setup, &sample, "an older database").await);
}
