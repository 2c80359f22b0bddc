//! A data directory that is not as it was left: the server refuses it in one clear
//! sentence and changes nothing, or everything acknowledged is there.

mod sample;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;
use std::process::Stdio;

use imserver::ids::Sender;
use imserver::store::{Draft, ResendKey, StoreError};

use self::sample::{Plan, Read, Sample, USERS, copy, snapshot, user};
use crate::support::{Client, Setup, admin, store};

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

/// What became of a start on damaged data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Refused,
    /// Served, and everything is there.
    Whole,
    /// Served, for it lies where a start does not read; who reads it is told.
    Told,
}

/// Starts the server on damaged data and sees that it keeps its word.
async fn keeps_its_word(setup: &Setup, sample: &Sample, what: &str) -> Fate {
    let data = setup.path("data");
    let before = snapshot(&data);
    match outcome(setup) {
        Outcome::Served => {
            let store = store::open(&data);
            let read = Read::of(&*store).await;
            let closed = store.close().await;
            drop(store);
            match &read.failed {
                None => {
                    let all = read.found == sample.contents;
                    assert!(all, "{what}: served, but not everything");
                    closed.unwrap();
                    Fate::Whole
                }
                Some(StoreError::Damaged(words)) => {
                    let whole = read.passes_over_nothing(&sample.contents);
                    assert!(whole, "{what}: read over what is damaged: {words}");
                    // One that has failed says that it is closed before it lets go of its folder.
                    File::open(&data).unwrap().lock().unwrap();
                    is_found_by_verify(setup, what);
                    Fate::Told
                }
                Some(other) => panic!("{what}: {other}"),
            }
        }
        Outcome::Refused { code, words } => {
            refused(&data, code, &words, what);
            if words.contains("The database was opened before that was seen") {
                is_mended_by_the_volume(setup, sample, what).await;
            } else {
                assert!(words.contains("Nothing was changed. "), "{what}: {words}");
                assert!(before == snapshot(&data), "{what}: refused, but changed");
            }
            Fate::Refused
        }
    }
}

/// Only a volume that a database after a clean stop names is missed as late as that: with it
/// everything is there again.
async fn is_mended_by_the_volume(setup: &Setup, sample: &Sample, what: &str) {
    assert!(what.starts_with("volumes"), "{what}");
    let (volumes, data) = (sample.path().join("volumes"), setup.path("data"));
    if data.join("volumes").exists() {
        fs::remove_dir_all(data.join("volumes")).unwrap();
    }
    copy(&volumes, &data.join("volumes"));
    assert!(matches!(outcome(setup), Outcome::Served), "{what}: not mended");
    let store = store::open(&data);
    let read = Read::of(&*store).await;
    assert!(read.found == sample.contents, "{what}: mended, but not everything is there");
    store.close().await.unwrap();
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

/// `imserver verify` names the volume that is damaged inside.
fn is_found_by_verify(setup: &Setup, what: &str) {
    let output = setup.command(&["verify"]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{what}: {words}");
    assert!(words.contains("/volumes/"), "{what}: {words}");
}

fn quiet() -> Setup {
    Setup::new().set("log.level", "\"warn,imserver::server=info\"")
}

fn seeded() -> fastrand::Rng {
    let seed = std::env::var("IMSERVER_DAMAGE_SEED").map_or(7, |seed| seed.parse().unwrap());
    fastrand::Rng::with_seed(seed)
}

async fn damaged_databases_keep_the_servers_word(clean: bool) {
    let copies: usize = std::env::var("IMSERVER_DAMAGED_COPIES").map_or(32, |n| n.parse().unwrap());
    let setup = quiet();
    let sample = Plan::new(clean).make().await;
    let mut random = seeded();
    let mut refusals = 0;
    for number in 0..copies {
        let db = sample.put(&setup).join("sled/db");
        let mut bytes = fs::read(&db).unwrap();
        let what = damage(&mut bytes, number, &mut random);
        fs::write(&db, bytes).unwrap();
        let fate = keeps_its_word(&setup, &sample, &what).await;
        assert_ne!(fate, Fate::Told, "{what}");
        refusals += usize::from(fate == Fate::Refused);
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

/// Damages every file that is `meant` in so many ways, and says what became of each.
async fn damage_each(
    plan: Plan,
    times: usize,
    meant: impl Fn(&str) -> bool,
) -> Vec<(String, Fate)> {
    let setup = quiet();
    let sample = plan.make().await;
    let mut random = seeded();
    let mut fates = Vec::new();
    for (name, whole) in sample.files().into_iter().filter(|(name, _)| meant(name)) {
        for kind in 0..times {
            let file = sample.put(&setup).join(&name);
            let mut bytes = whole.clone();
            let what = format!("{name}: {}", damage(&mut bytes, kind, &mut random));
            fs::write(&file, bytes).unwrap();
            let fate = keeps_its_word(&setup, &sample, &what).await;
            assert!(fate != Fate::Told || name.starts_with("volumes/"), "{what}");
            fates.push((name.clone(), fate));
        }
    }
    fates
}

/// In how many ways each file is damaged.
fn ways() -> usize {
    std::env::var("IMSERVER_DAMAGED_COPIES").map_or(8, |n| n.parse::<usize>().unwrap() / 4)
}

/// How often what lies in this place came to `fate`.
fn times(fates: &[(String, Fate)], place: &str, fate: Fate) -> usize {
    fates.iter().filter(|(name, found)| name.starts_with(place) && *found == fate).count()
}

#[tokio::test]
async fn any_file_but_the_database_damaged_after_a_clean_stop_is_refused_or_does_not_matter() {
    let fates = damage_each(Plan::new(true), ways(), |name| name != "sled/db").await;
    for name in ["manifest.json", "sled/conf"] {
        assert!(fates.iter().any(|(damaged, _)| damaged == name), "{name}: {fates:?}");
    }
    assert!(fates.iter().all(|(name, _)| !name.starts_with("sled/journal")), "it was closed");
}

#[tokio::test]
async fn any_file_but_the_database_damaged_after_a_crash_is_refused_or_does_not_matter() {
    let meant = |name: &str| name != "sled/db" && !name.starts_with("volumes/");
    let fates = damage_each(Plan::with_volumes(false), ways(), meant).await;
    // What stood in the journal alone was missed; what sled has of it was not.
    assert!(times(&fates, "sled/journal/a", Fate::Refused) > 0, "{fates:?}");
}

#[tokio::test]
async fn the_second_file_of_a_journal_damaged_after_a_crash_is_refused_or_does_not_matter() {
    // So much that the journal goes on in it.
    let plan = Plan { stretch: 24, last: sample::MESSAGES / 2 - 1, ..Plan::new(false) };
    let fates = damage_each(plan, ways(), |name| name.starts_with("sled/journal/")).await;
    assert!(fates.iter().any(|(name, _)| name == "sled/journal/a"), "{fates:?}");
    assert!(times(&fates, "sled/journal/b", Fate::Refused) > 0, "{fates:?}");
}

#[tokio::test]
async fn a_damaged_volume_is_refused_or_told_to_who_reads_it() {
    for clean in [true, false] {
        let meant = |name: &str| name.starts_with("volumes/");
        let fates = damage_each(Plan::with_volumes(clean), ways() / 2, meant).await;
        assert!(times(&fates, "volumes/", Fate::Refused) > 0, "{clean}: {fates:?}");
        assert!(times(&fates, "volumes/", Fate::Told) > 0, "{clean}: {fates:?}");
    }
}

/// A start reads them for the resends, when the database is open. It used to say all the same that
/// nothing was changed.
#[tokio::test]
async fn a_volume_whose_commits_are_damaged_is_refused_and_can_be_put_back() {
    let setup = quiet();
    let sample = Plan::with_volumes(true).make().await;
    let files = sample.files();
    let (name, whole) = files.iter().rfind(|(name, _)| name.starts_with("volumes/")).unwrap();
    let mut bytes = whole.clone();
    // Behind the messages, before the index.
    let at = bytes.len() - 6000;
    bytes[at..at + 100].fill(0);
    fs::write(sample.put(&setup).join(name), bytes).unwrap();
    assert_eq!(keeps_its_word(&setup, &sample, name).await, Fate::Refused);
}

/// What a start reads of a volume is whole here. Who has messages in the damaged part gets those
/// before it and then nothing more, and everybody else all of theirs.
#[tokio::test]
async fn what_lies_behind_damage_in_a_volume_is_delivered_to_nobody() {
    let setup = quiet();
    let sample = Plan::with_volumes(false).make().await;
    let files = sample.files();
    let mut volumes = files.iter().filter(|(name, _)| name.starts_with("volumes/"));
    let (name, whole) = volumes.nth(1).unwrap();
    let mut bytes = whole.clone();
    // In the first block of messages: those of the first users.
    bytes[1000..1100].fill(0);
    fs::write(sample.put(&setup).join(name), bytes).unwrap();
    let server = setup.start().await;
    let unread = |inbox: u64| {
        let all = sample.contents.values().filter(move |told| told.1 == inbox && told.3);
        all.map(|told| told.2.as_str())
    };
    // Those whom it does not concern are there first.
    let mut last = Client::connect(&server, USERS).await;
    for content in unread(USERS) {
        assert_eq!(last.message().await.1, content);
    }
    let mut first = Client::connect(&server, 1).await;
    let (frames, closed) = first.answers_until_closed().await;
    let got: Vec<&str> = frames.iter().map(|frame| frame["content"].as_str().unwrap()).collect();
    let mine: Vec<&str> = unread(1).collect();
    assert!(mine.starts_with(&got) && got.len() < mine.len(), "{} of {}", got.len(), mine.len());
    assert!(closed.code == 1013 && closed.reason.starts_with("try_later retry_ms="), "{closed:?}");
    assert_eq!(admin(&server, "/readyz").await.status, 503);
    server.log_says(name).await;
    last.send(&crate::support::frame(USERS, 2, "not taken", "1")).await;
    assert_eq!(last.failure().await, "store_unavailable");
    is_found_by_verify(&server.kill(), name);
}

#[tokio::test]
async fn a_file_that_is_gone_after_a_clean_stop_is_refused_or_does_not_matter() {
    let setup = quiet();
    let sample = Plan::with_volumes(true).make().await;
    let fates = take_each_away(&setup, &sample).await;
    for (name, fate) in &fates {
        let idle = matches!(name.as_str(), "sled/conf" | "sled/blobs");
        // A snapshot is there to be faster.
        let idle = idle || name.starts_with("sled/snap.");
        assert!(*fate == Fate::Refused || idle, "{name}: {fates:?}");
    }
    assert_eq!(times(&fates, "volumes/", Fate::Refused), 3, "{fates:?}");
    // An older copy of the database beside a newer manifest.
    let data = sample.put(&setup);
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
    assert_eq!(keeps_its_word(&setup, &sample, "an older database").await, Fate::Refused);
}

#[tokio::test]
async fn a_file_that_is_gone_after_a_crash_is_refused_or_does_not_matter() {
    let setup = quiet();
    let sample = Plan::with_volumes(false).make().await;
    let fates = take_each_away(&setup, &sample).await;
    for place in ["manifest.json", "sled/db", "sled/journal/a", "sled/journal", "volumes"] {
        assert!(times(&fates, place, Fate::Refused) > 0, "{place}: {fates:?}");
        let missing = |(name, fate): &(String, Fate)| name == place && *fate != Fate::Refused;
        assert!(!fates.iter().any(missing), "{place}: {fates:?}");
    }
    assert_eq!(times(&fates, "volumes/", Fate::Refused), 3, "{fates:?}");
}

/// Takes each file away, and each folder.
async fn take_each_away(setup: &Setup, sample: &Sample) -> Vec<(String, Fate)> {
    let mut fates = Vec::new();
    let path = sample.path();
    for whole in snapshot(&path).into_keys() {
        let name = whole.strip_prefix(&path).unwrap();
        let file = sample.put(setup).join(name);
        if file.is_dir() {
            fs::remove_dir_all(&file).unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
        let name = name.display().to_string();
        let fate = keeps_its_word(setup, sample, &format!("{name} is gone")).await;
        assert_ne!(fate, Fate::Told, "{name} is gone");
        fates.push((name, fate));
    }
    fates
}
