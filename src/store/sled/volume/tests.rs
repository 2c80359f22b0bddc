//! What is written comes back, and what is damaged does not.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use proptest::prelude::*;
use sled::IVec;

use super::super::record::{CommitEntry, ResendMark};
use super::*;
use crate::ids::MessageId;
use crate::message::StoredAt;

fn pair(number: u64) -> Pair {
    Pair { to: UserId::new(1 + number).unwrap(), from: Sender::new(number).unwrap() }
}

/// Message `id` of a few pairs, some ids apart.
fn messages(count: u64) -> Vec<Held> {
    let held = (0..count).map(|n| (pair(n % 5), 10 + 3 * n, IVec::from(vec![n as u8; 900])));
    let mut held: Vec<_> = held.collect();
    held.sort_unstable_by_key(|&(pair, id, _)| (pair, id));
    held
}

fn commits(count: u64) -> Vec<CommitRecord> {
    let commit = |n| CommitRecord {
        first: MessageId::new(10 + 3 * n).unwrap(),
        stored_at: StoredAt(n),
        entries: vec![Some(CommitEntry {
            pair: pair(n % 5),
            ordinal: 1,
            resend: ResendMark::None,
        })],
    };
    (0..count).map(commit).collect()
}

fn written(folder: &Path, count: u64) -> VolumeRow {
    let mut writing = Writing::begin(folder, 10, 0).unwrap();
    for (pair, id, value) in messages(count) {
        writing.message(pair, id, &value).unwrap();
    }
    for commit in commits(count) {
        writing.commit(&commit).unwrap();
    }
    writing.finish(folder, 10 + 3 * count).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn every_walk_finds_what_a_map_would(count in 0u64..120, from in 0u64..400, len in 0u64..200) {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        let volume = Volume::open(&folder, written(&folder, count)).unwrap();
        let held = messages(count);
        for pair in (0..6).map(pair) {
            let ids = from..=from + len;
            let mut found = held.iter().filter(|(p, id, _)| *p == pair && ids.contains(id));
            let expected = found.next().map(|(_, id, value)| (*id, value.clone()));
            prop_assert_eq!(volume.next(pair, ids.clone()).unwrap(), expected.clone());
            let expected = found.next_back().map(|(_, id, value)| (*id, value.clone())).or(expected);
            prop_assert_eq!(volume.next_back(pair, ids).unwrap(), expected);
        }
        let all = commits(count);
        let before = all.iter().rev().find(|commit| commit.first.get() <= from).cloned();
        prop_assert_eq!(volume.commit_before(from).unwrap(), before);
        let behind = all.iter().find(|commit| commit.first.get() >= from).cloned();
        prop_assert_eq!(volume.commit_from(from).unwrap(), behind);
    }

    #[test]
    fn a_row_comes_back(numbers: [u32; 5], first in 1u64..1 << 50) {
        let [last, generation, messages, dead, index] = numbers.map(u64::from);
        let row = VolumeRow {
            first, last: first + last, generation, messages: messages + dead, dead, index, bytes: 9,
        };
        prop_assert_eq!(VolumeRow::decode(&keys::volume(first), &row.encode()), Some(row));
    }
}

/// Reads all that is in a volume.
fn read_all(volume: &Volume) -> Result<(), StoreError> {
    (0..volume.blocks()).try_for_each(|number| volume.block(number).map(drop))?;
    (0..volume.commit_blocks()).try_for_each(|number| volume.commit_block(number).map(drop))
}

#[test]
fn whatever_changes_is_noticed_and_said_with_the_name_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let row = written(&folder, 60);
    let path = folder.join(row.name());
    let whole = fs::read(&path).unwrap();
    read_all(&Volume::open(&folder, row).unwrap()).unwrap();
    for at in (HEAD.len()..whole.len()).step_by(whole.len() / 97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 16;
        fs::write(&path, bytes).unwrap();
        let opened = Volume::open(&folder, row);
        let read = opened.and_then(|volume| Ok(read_all(&volume)?));
        let error = read.unwrap_err().to_string();
        assert!(error.contains(&row.name()), "{error}");
    }
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(Volume::open(&folder, row).unwrap_err().to_string().contains("had been written"));
    // Blocks of another volume, or of an older one with the same range, are not taken.
    fs::write(&path, &whole).unwrap();
    let later = VolumeRow { generation: 1, ..row };
    fs::copy(&path, folder.join(later.name())).unwrap();
    assert!(Volume::open(&folder, later).is_err());
    fs::remove_file(&path).unwrap();
    assert!(Volume::open(&folder, row).is_err());
}

/// A process without descriptors used to call its volumes damaged, and its operator was told to
/// restore a backup.
#[test]
fn what_the_system_does_not_open_is_not_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let row = written(&folder, 60);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    let opened = Volume::open(&folder, row);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    let Err(VolumeError::System { path, error }) = opened else { panic!("{opened:?}") };
    assert_eq!(path, folder.join(row.name()));
    assert_eq!(error.raw_os_error(), Some(nix::libc::EMFILE));
    read_all(&Volume::open(&folder, row).unwrap()).unwrap();
    // What the row names was there before it.
    fs::remove_file(&path).unwrap();
    for there in [false, true] {
        let error = Volume::open(&folder, row).unwrap_err();
        assert!(matches!(error, VolumeError::Store(StoreError::Damaged(_))), "{there} {error}");
        if !there {
            fs::create_dir(&path).unwrap();
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(body: Vec<u8>) {
        let row = VolumeRow {
            first: 1, last: 9, generation: 0, messages: 1, dead: 0, index: 40, bytes: 99,
        };
        for version in [BLOCK, INDEX] {
            let mut value = Encoder::new(version, 0);
            value.bytes(&body);
            let value = value.seal(&place_of(&row, 40));
            let _ = decode_index(&row, &value);
            let _ = decode_messages(&place_of(&row, 40), &value);
            let _ = decode_commits(&place_of(&row, 40), &value);
        }
        let _ = VolumeRow::decode(b"W", &body);
    }
}
