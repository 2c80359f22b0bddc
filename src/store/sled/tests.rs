//! What only this store promises: whom it lets in, what it refuses, how large it grows.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::registry::Registry;
use tempfile::TempDir;

use super::super::ResendKey;
use super::*;
use crate::auth::TokenId;
use crate::ids::Sender;
use crate::message::ClientMsgId;

pub(super) fn open_at(path: &Path) -> Result<(SledStore, Tail), OpenError> {
    open_with(path, Duration::ZERO)
}

pub(super) fn open_with(path: &Path, retention: Duration) -> Result<(SledStore, Tail), OpenError> {
    let path = path.to_owned();
    let config =
        config::Store { path, cache_bytes: 16 << 20, retention, ..config::Store::default() };
    let metrics = StoreMetrics::register(&mut Registry::default());
    open(&config, &config::Limits::default(), metrics)
}

fn refused(path: &Path) -> String {
    open_at(path).map(|_| ()).unwrap_err().to_string()
}

pub(super) fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    folder
}

pub(super) fn draft(number: u64) -> Draft {
    // Some with a name.
    let resend = match number % 4 {
        1 => named(&number.to_string()),
        _ => ResendKey::None,
    };
    Draft {
        from: Sender::new(number % 50).unwrap(),
        to: UserId::new(1 + number % 200).unwrap(),
        timestamp: number.to_string(),
        content: "x".repeat(200),
        resend,
        origin: None,
    }
}

pub(super) fn named(name: &str) -> ResendKey {
    ResendKey::Client { id: ClientMsgId::new(name).unwrap(), again: false }
}

pub(super) async fn append(store: &SledStore, number: u64) -> MessageId {
    let receipt = store.append(draft(number)).await.unwrap();
    receipt.await.unwrap().id
}

#[tokio::test]
async fn a_second_opening_of_the_same_directory_is_refused() {
    let folder = folder();
    let (store, _tail) = open_at(folder.path()).unwrap();
    for _ in 0..2 {
        let error = open_at(folder.path()).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        assert!(error.to_string().contains("in use by another process"));
    }
    append(&store, 1).await;
    store.close().await.unwrap();
    open_at(folder.path()).unwrap();
}

#[tokio::test]
async fn damage_that_a_reader_meets_stops_reading_and_writing() {
    let folder = folder();
    let (store, _tail) = open_at(folder.path()).unwrap();
    let first = append(&store, 1).await;
    append(&store, 201).await;
    let pair = Pair { to: draft(1).to, from: draft(1).from };
    store.shared.log().unwrap().hot.remove(&[(pair, first.get())]);

    let all = Span { after: Cursor::START, until: None, unread_only: false };
    let error = store.read_inbox(pair.to, all).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    assert!(matches!(store.health(), Health::ReadOnly { .. }));
    let outcome = match store.append(draft(2)).await {
        Ok(receipt) => receipt.await,
        Err(error) => Err(error),
    };
    assert_eq!(outcome, Err(AppendError::Unavailable));
}

#[test]
fn a_new_directory_is_made_for_its_owner_alone() {
    let folder = folder();
    let path = folder.path().join("a/b/data");
    let (store, _tail) = open_at(&path).unwrap();
    for made in ["a", "a/b", "a/b/data"] {
        let mode = fs::metadata(folder.path().join(made)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o700, "{made}");
    }
    drop(store);
}

#[test]
fn a_directory_open_to_others_is_refused() {
    for mode in [0o755, 0o750, 0o701, 0o770] {
        let folder = folder();
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        let error = refused(folder.path());
        assert!(error.contains("chmod 700"), "{error}");
        assert!(error.contains(&format!("{mode:04o}")), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_file_in_the_place_of_the_directory_is_refused() {
    let folder = folder();
    let path = folder.path().join("data");
    fs::write(&path, "").unwrap();
    assert!(refused(&path).contains("Name a directory"));
}

/// Root may write anywhere: there, only the read-only disk of the whole server's
/// tests shows this.
#[test]
fn what_cannot_be_written_is_refused() {
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = folder();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o500)).unwrap();
    assert!(refused(folder.path()).contains("It must belong to the user"));
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    drop(open_at(folder.path()).unwrap());
    for file in ["sled/db", "manifest.json"] {
        let file = folder.path().join(file);
        fs::set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
        assert!(refused(folder.path()).contains("It must belong to the user"));
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    }
}

/// A store of one message, closed.
async fn closed() -> TempDir {
    let folder = folder();
    let (store, _tail) = open_at(folder.path()).unwrap();
    append(&store, 1).await;
    store.close().await.unwrap();
    folder
}

/// The bare database of a closed store, for as long as `work` takes.
pub(super) fn bare<T>(folder: &TempDir, work: impl FnOnce(&::sled::Db) -> T) -> T {
    let db = folder.path().join("sled");
    let db = open::open_sled(folder.path(), &db, 16 << 20).unwrap();
    let outcome = work(&db);
    drop(db);
    open::released(&open::database(folder.path()));
    outcome
}

#[tokio::test]
async fn another_layout_is_refused_by_its_number() {
    let folder = closed().await;
    let whole = manifest::read(folder.path()).unwrap().unwrap();
    for version in [0, record::SCHEMA_VERSION + 1, 77] {
        let other = manifest::Manifest::new(version, whole.census(), None);
        manifest::write(folder.path(), &other).unwrap();
        let error = refused(folder.path());
        assert!(error.contains(&format!("layout version {version}")), "{error}");
        assert!(error.contains("start the version that wrote it"), "{error}");
    }
    manifest::write(folder.path(), &whole).unwrap();
    open_at(folder.path()).unwrap();
}

#[tokio::test]
async fn a_database_of_another_layout_or_of_none_is_refused() {
    for (record, words) in [
        (Some(record::encode_schema(5)), "layout version 5"),
        (Some(b"rubbish".to_vec()), "version record is not whole"),
        (None, "opens without its contents"),
    ] {
        let folder = closed().await;
        bare(&folder, |db| match record {
            Some(record) => db.insert(keys::SCHEMA, record).unwrap(),
            None => db.remove(keys::SCHEMA).unwrap(),
        });
        let error = refused(folder.path());
        assert!(error.contains(words), "{error}");
    }
}

/// A store of layout version 1, as the last imserver that made such left it.
fn version_1() -> TempDir {
    let folder = folder();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store_v1");
    fs::create_dir_all(folder.path().join("sled/blobs")).unwrap();
    for file in ["manifest.json", "sled/conf", "sled/db"] {
        fs::copy(kept.join(file), folder.path().join(file)).unwrap();
    }
    folder
}

/// The contents of [`version_1`], and that it is one of today now.
async fn is_of_today(folder: &TempDir) {
    let (store, _tail) = open_at(folder.path()).unwrap();
    let mut found = Vec::new();
    for (inbox, unread_only) in [(1, false), (2, false), (1, true), (2, true)] {
        let span = Span { after: Cursor::START, until: None, unread_only };
        let page = store.read_inbox(UserId::new(inbox).unwrap(), span).await.unwrap();
        let ids: Vec<u64> = page.entries.iter().map(|entry| entry.message.id.get()).collect();
        found.push(ids);
        assert!(page.complete);
    }
    assert_eq!(found, [vec![1, 3, 5, 7, 9], vec![2, 4, 6, 8, 10], vec![5, 7, 9], vec![2, 4, 6, 8]]);
    let again = Draft { resend: named_again("n8"), ..version_1_draft(8) };
    let first = store.append(again).await.unwrap().await.unwrap();
    assert_eq!((first.id.get(), first.duplicate), (9, true));
    assert_eq!(append(&store, 1).await.get(), 11);
    store.close().await.unwrap();
    assert_eq!(manifest::read(folder.path()).unwrap().unwrap().schema, record::SCHEMA_VERSION);
    bare(folder, |db| {
        let schema = db.get(keys::SCHEMA).unwrap().unwrap();
        assert_eq!(record::decode_schema(&schema), Some(record::SCHEMA_VERSION));
    });
    open_at(folder.path()).unwrap();
}

fn version_1_draft(number: u64) -> Draft {
    Draft {
        from: Sender::new(number % 3).unwrap(),
        to: UserId::new(1 + number % 2).unwrap(),
        timestamp: number.to_string(),
        content: format!("message {number}"),
        resend: ResendKey::None,
        origin: None,
    }
}

pub(super) fn named_again(name: &str) -> ResendKey {
    ResendKey::Client { id: ClientMsgId::new(name).unwrap(), again: true }
}

#[tokio::test]
async fn a_store_of_the_first_layout_is_opened_as_it_was_left() {
    is_of_today(&version_1()).await;
    // After a crash it has no seal.
    let folder = version_1();
    let manifest = manifest::read(folder.path()).unwrap().unwrap();
    manifest::write(folder.path(), &manifest::Manifest::new(1, manifest.census(), None)).unwrap();
    is_of_today(&folder).await;
}

/// Its database was made one of today, and its manifest was not.
#[tokio::test]
async fn a_store_of_the_first_layout_bears_a_crash_while_it_is_opened() {
    let folder = version_1();
    let manifest = manifest::read(folder.path()).unwrap().unwrap();
    let (store, _tail) = open_at(folder.path()).unwrap();
    store.close().await.unwrap();
    drop(store);
    manifest::write(folder.path(), &manifest::Manifest::new(1, manifest.census(), None)).unwrap();
    is_of_today(&folder).await;
    // What was written beside it until then is nothing to the next start.
    let folder = version_1();
    let volumes = folder.path().join("volumes");
    fs::create_dir(&volumes).unwrap();
    fs::write(volumes.join("0000000000000001-0"), "half").unwrap();
    fs::create_dir(folder.path().join("sled.check")).unwrap();
    is_of_today(&folder).await;
    assert!(!volumes.join("0000000000000001-0").exists());
}

#[tokio::test]
async fn a_store_of_the_first_layout_that_lacks_something_is_refused() {
    let folder = version_1();
    let rows: Vec<_> = bare(&folder, |db| db.iter().map(Result::unwrap).collect());
    // A profile that is missing cannot be told from one never written.
    for (key, value) in rows.into_iter().filter(|(key, _)| !key.starts_with(keys::PROFILES)) {
        bare(&folder, |db| db.remove(&key).unwrap());
        assert!(refused(folder.path()).contains("is damaged"), "{key:02x?}");
        bare(&folder, |db| db.insert(&key, value).unwrap());
    }
    is_of_today(&folder).await;
}

#[tokio::test]
async fn a_store_behind_its_manifest_is_refused() {
    let folder = closed().await;
    let ahead =
        [(2, 1, 0, 0, 0), (1, 2, 0, 0, 0), (1, 1, 1, 0, 0), (1, 1, 0, 1, 0), (1, 1, 0, 0, 1)];
    for (last_id, messages, read, gone, decrees) in ahead {
        let census = census::Census { last_id, messages, read, gone, decrees };
        let manifest = manifest::Manifest::new(record::SCHEMA_VERSION, census, None);
        manifest::write(folder.path(), &manifest).unwrap();
        let error = refused(folder.path());
        assert!(error.contains("is damaged"), "{error}");
        assert!(error.contains("restore the newest backup"), "{error}");
    }
}

#[tokio::test]
async fn a_row_that_is_gone_is_noticed() {
    let folder = folder();
    let (store, _tail) = open_at(folder.path()).unwrap();
    for number in 0..30 {
        let id = append(&store, number).await;
        // All of them out of order, so that there are islands.
        let reader = UserId::new(1 + number % 200).unwrap();
        if number % 2 == 1 {
            store.mark_read(reader, Seen::Ids(vec![id]), None).await.unwrap();
        }
    }
    for revocation in revocations() {
        store.revoke(revocation).await.unwrap();
    }
    store.close().await.unwrap();
    let rows: Vec<_> = bare(&folder, |db| db.iter().map(Result::unwrap).collect());
    assert!(rows.len() > 60, "{}", rows.len());
    for (key, value) in rows {
        bare(&folder, |db| db.remove(&key).unwrap());
        let opened = open_at(folder.path()).is_ok();
        assert!(!opened, "{key:02x?} is gone and nobody noticed");
        if let Some(last) = value.last() {
            let mut wrong = value.to_vec();
            *wrong.last_mut().unwrap() = last ^ 4;
            bare(&folder, |db| db.insert(&key, wrong).unwrap());
            let opened = open_at(folder.path()).is_ok();
            assert!(!opened, "{key:02x?} is wrong and nobody noticed");
        }
        bare(&folder, |db| db.insert(&key, value).unwrap());
    }
    open_at(folder.path()).unwrap();
}

/// One of each kind, in force until the year 2100.
fn revocations() -> [Revocation; 3] {
    let (user, until) = (UserId::new(1).unwrap(), 4_102_444_800);
    [
        Revocation::Token { jti: TokenId::new("a").unwrap(), until },
        Revocation::Subject { user, issued_up_to: 1, until },
        Revocation::Disabled { user },
    ]
}

/// A database without a message used to make room for a new one when it could not be read.
#[tokio::test]
async fn what_was_revoked_before_the_first_message_is_not_thrown_away() {
    let folder = folder();
    let (store, _tail) = open_at(folder.path()).unwrap();
    let [token, ..] = revocations();
    store.revoke(token.clone()).await.unwrap();
    store.close().await.unwrap();
    let database = open::database(folder.path());
    for file in ["db", "conf"] {
        let whole = fs::read(database.join(file)).unwrap();
        fs::write(database.join(file), &whole[..whole.len() / 3]).unwrap();
        assert!(refused(folder.path()).contains("is damaged"), "{file}");
        fs::write(database.join(file), &whole).unwrap();
    }
    fs::rename(&database, folder.path().join("elsewhere")).unwrap();
    assert!(refused(folder.path()).contains("the database is missing"));
    fs::rename(folder.path().join("elsewhere"), &database).unwrap();
    let (store, _tail) = open_at(folder.path()).unwrap();
    assert_eq!(store.revocations().await.unwrap(), [token]);
}

#[tokio::test]
async fn revocations_that_are_over_leave_no_rows() {
    let folder = folder();
    // Without its tail: more is announced than it would hold.
    let store = open_at(folder.path()).unwrap().0;
    for revocation in revocations() {
        store.revoke(revocation).await.unwrap();
    }
    let until = SystemTime::now() + Duration::from_secs(3600);
    let seconds = until.duration_since(UNIX_EPOCH).unwrap().as_secs();
    for number in 0..2 * revoked::PIECE {
        let jti = TokenId::new(&number.to_string()).unwrap();
        drop(store.revoke(Revocation::Token { jti, until: seconds }));
        let jti = TokenId::new(&number.to_string()).unwrap();
        store.revoke(Revocation::Token { jti, until: seconds }).await.unwrap();
    }
    store.close().await.unwrap();
    bare(&folder, |db| {
        let mut tally = revoked::Tally::read(db).unwrap();
        assert_eq!(tally.rows, 3 + 2 * revoked::PIECE as u64);
        for expected in [0, 0] {
            let early = until - Duration::from_secs(1);
            assert_eq!(revoked::sweep(db, &mut tally, early).unwrap().1, expected);
        }
        for expected in [revoked::PIECE, revoked::PIECE, 0] {
            let (rows, count) = revoked::sweep(db, &mut tally, until).unwrap();
            assert_eq!(count, expected);
            rows.enter(db).unwrap();
        }
        assert_eq!(db.scan_prefix(keys::REVOCATIONS).count(), 1 + 3);
    });
    let (store, _tail) = open_at(folder.path()).unwrap();
    let mut left = store.revocations().await.unwrap();
    left.sort();
    assert_eq!(left, revocations());
}

/// The names of a stretch are looked for in its row, and of the last one in its messages.
#[tokio::test]
async fn an_old_name_is_found_in_every_stretch() {
    let folder = folder();
    let mut store = open_at(folder.path()).unwrap().0;
    let pair = Pair { to: draft(1).to, from: draft(1).from };
    let other = Sender::new(7).unwrap();
    let mut given = Vec::new();
    // Three full stretches, the second without a name, and a part of one more.
    for number in 0..800u64 {
        let resend = match number {
            256..512 => ResendKey::None,
            _ => named(&format!("n{number}")),
        };
        let receipt = store.append(Draft { resend, ..draft(1) }).await.unwrap();
        // Neighbours in the inbox, and in the commit.
        let neighbour = Draft { from: other, resend: ResendKey::None, ..draft(1) };
        store.append(neighbour).await.unwrap().await.unwrap();
        given.push(receipt.await.unwrap().id);
        // The books begin anew in the middle of a stretch, and at an end of one.
        if number == 600 || number == 767 {
            store.close().await.unwrap();
            store = open_at(folder.path()).unwrap().0;
        }
    }
    let tree = store.shared.log().unwrap();
    let stretches: Vec<_> = tree.scan_prefix(keys::NAMES).map(|row| row.unwrap().0).collect();
    assert_eq!(stretches, [keys::names(pair, 1), keys::names(pair, 3)]);
    let find = |name: &str, head: MessageId| {
        let name = ClientMsgId::new(name).unwrap();
        let found = reader::find_named(&tree, pair, &name, head.into()).unwrap();
        found.map(|record| record.message.id)
    };
    let newest = given[799];
    for (number, id) in given.iter().enumerate() {
        let expected = (!(256..512).contains(&number)).then_some(*id);
        assert_eq!(find(&format!("n{number}"), newest), expected);
        // Nothing beyond the head, also where a row of names is.
        let before = given[number.saturating_sub(1)];
        assert_eq!(find(&format!("n{number}"), before), expected.filter(|id| *id == before));
    }
    assert_eq!(find("n800", newest), None);
    drop(tree);
    store.close().await.unwrap();
    // Its rows are counted like others.
    for stretch in [1, 3] {
        let key = keys::names(pair, stretch);
        let row = bare(&folder, |db| db.remove(&key).unwrap().unwrap());
        assert!(refused(folder.path()).contains("name record"));
        bare(&folder, |db| db.insert(keys::names(pair, 2), row.clone()).unwrap());
        assert!(open_at(folder.path()).is_err());
        bare(&folder, |db| db.remove(keys::names(pair, 2)).unwrap());
        bare(&folder, |db| db.insert(&key, row).unwrap());
    }
    open_at(folder.path()).unwrap();
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// sled collects its garbage at every pin, and without help it grows with the load:
/// two million messages once took 15 GB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_bounded_under_load_and_no_value_is_large() {
    let folder = folder();
    let (store, tail) = open_at(folder.path()).unwrap();
    drop(tail);
    let mut early = 0;
    let mut receipts = std::collections::VecDeque::new();
    for number in 0..200_000 {
        receipts.push_back(store.append(draft(number)).await.unwrap());
        if receipts.len() >= 512 {
            receipts.pop_front().unwrap().await.unwrap();
        }
        if number == 50_000 {
            early = resident();
        }
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    // 16 MB of cache, and the index of some 150,000 more messages.
    let grown = resident().saturating_sub(early) / 1024;
    assert!(grown < 150, "grown by {grown} MiB");
    let tree = store.shared.log().unwrap();
    let largest = tree.iter().map(|row| row.unwrap().1.len()).max().unwrap();
    assert!(largest < 64 * 1024, "{largest}");
    let blobs = fs::read_dir(folder.path().join("sled/blobs")).unwrap();
    assert_eq!(blobs.count(), 0, "sled put a value into a file of its own");
    drop(tree);
    store.close().await.unwrap();
}

/// A page in a file of its own is what a power cut takes, whatever is synced and when.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_is_so_large_that_sled_gives_it_a_file() {
    let folder = folder();
    let (store, tail) = open_at(folder.path()).unwrap();
    drop(tail);
    let files = folder.path().join("sled/blobs");
    let untouched = fs::metadata(&files).unwrap().modified().unwrap();
    let mut receipts = Vec::new();
    for number in 0..400 {
        // The largest there are, and in the end such as fill a row together.
        let bytes = if number < 200 { 48 << 10 } else { 6 << 10 };
        let draft = Draft { content: "x".repeat(bytes), ..draft(number) };
        receipts.push(store.append(draft).await.unwrap());
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    store.close().await.unwrap();
    assert_eq!(fs::metadata(&files).unwrap().modified().unwrap(), untouched);
}
