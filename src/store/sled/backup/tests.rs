//! Backups of a store that is being written, and stores made of them.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::super::tests::{append, draft, folder, open_at};
use super::super::{SledStore, import, restore, verify};
use super::*;
use crate::ids::{MessageId, UserId};
use crate::store::{
    ClaimedProfile, Cursor, Digest, Health, Line, Piece, Record, Seen, Span, Store,
};

const CACHE: u64 = 16 << 20;

async fn taken(store: &SledStore) -> Vec<u8> {
    let mut backup = store.backup().await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = backup.chunks.recv().await {
        bytes.extend(chunk.unwrap());
    }
    bytes
}

/// An export as lines.
async fn exported(store: &SledStore, whose: Option<UserId>) -> String {
    let mut export = store.export(whose).await.unwrap();
    let last_id = export.last_id.to_string();
    let user_id = whose.map(UserId::get);
    let lapsed_up_to = (export.lapsed > 0).then(|| export.lapsed.to_string());
    let first = Line::Export { version: 1, made: 0, user_id, last_id, lapsed_up_to };
    let mut lines = first.write() + "\n";
    let mut digest = Digest::default();
    while let Some(piece) = export.pieces.recv().await {
        match piece.unwrap() {
            Piece::Records(records) => {
                for line in records.into_iter().map(Line::from) {
                    let written = line.write();
                    digest.add(&line, &written);
                    lines += &(written + "\n");
                }
            }
            Piece::End => lines += &(digest.end().write() + "\n"),
        }
    }
    lines
}

/// A store with some of everything.
async fn filled(folder: &Path) -> SledStore {
    // Nobody listens: kept and not taken from, a tail holds up the writer.
    let (store, _) = open_at(folder).unwrap();
    for number in 0..700 {
        append(&store, number).await;
    }
    for user in [1, 7, 4000] {
        let claimed = ClaimedProfile { name: Some(format!("\u{0}\"{user}小明")), picture: None };
        store.set_profile(UserId::new(user).unwrap(), claimed).await.unwrap();
    }
    let ids = |ids: &[u64]| Seen::Ids(ids.iter().map(|id| MessageId::new(*id).unwrap()).collect());
    store.mark_read(draft(0).to, ids(&[1, 401]), None).await.unwrap();
    let disabled = crate::auth::Revocation::Disabled { user: UserId::new(9).unwrap() };
    store.revoke(disabled).await.unwrap();
    store
}

fn target() -> (TempDir, std::path::PathBuf) {
    let folder = folder();
    let path = folder.path().join("data");
    (folder, path)
}

#[tokio::test]
async fn a_restored_store_is_the_same_and_goes_on_far_behind() {
    let folder = folder();
    let store = filled(folder.path()).await;
    let backup = taken(&store).await;
    store.close().await.unwrap();
    let there = verify(folder.path(), CACHE).unwrap();
    let (header, summary) = check(&backup[..]).unwrap();
    assert_eq!((header.messages, summary.messages, summary.last_id), (700, 700, 700));

    let (_keep, path) = target();
    let restored = restore(&backup[..], &path, CACHE).unwrap();
    assert_eq!((restored.messages, &restored.digest), (700, &there.digest));
    assert_eq!(verify(&path, CACHE).unwrap(), restored);
    for round in 0..2 {
        let (again, _tail) = open_at(&path).unwrap();
        assert_eq!(again.revocations().await.unwrap().len(), 1);
        let id = append(&again, 700 + round).await;
        assert_eq!(id.get(), 701 + (1 << 32) + round);
        again.close().await.unwrap();
    }
    let (_keep, twice) = target();
    let (again, _tail) = open_at(&path).unwrap();
    restore(&taken(&again).await[..], &twice, CACHE).unwrap();
    let (again, _tail) = open_at(&twice).unwrap();
    assert_eq!(append(&again, 1000).await.get(), 703 + (2 << 32));
}

/// It used to be called damage of the store, which then stored nothing any more.
#[tokio::test]
async fn what_lies_beside_the_database_and_cannot_be_read_costs_the_backup_and_nothing_else() {
    let folder = folder();
    let store = filled(folder.path()).await;
    fs::create_dir(folder.path().join(format!("{TORN}7"))).unwrap();
    let mut backup = store.backup().await.unwrap();
    let mut last = None;
    while let Some(chunk) = backup.chunks.recv().await {
        last = Some(chunk);
    }
    let Some(Err(StoreError::Damaged(what))) = last else { panic!("an end of a backup") };
    assert!(what.contains("torn-7 cannot be read"), "{what}");
    assert_eq!(store.health(), Health::Ready);
    append(&store, 700).await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_backup_is_in_it_and_nothing_is_half_there() {
    let folder = folder();
    let store = filled(folder.path()).await;
    let stop = AtomicBool::new(false);
    let write = async {
        let mut number = 700;
        while !stop.load(Ordering::Relaxed) {
            let id = append(&store, number).await;
            if number % 3 == 0 {
                let seen = Seen::Ids(vec![id, MessageId::new(id.get() - 400).unwrap()]);
                store.mark_read(draft(number).to, seen, None).await.unwrap();
            }
            number += 1;
        }
    };
    let back_up = async {
        for _ in 0..5 {
            let before = append(&store, 5000).await;
            let backup = taken(&store).await;
            let (_, summary) = check(&backup[..]).unwrap();
            assert!(summary.last_id >= before.get());
            assert_eq!(summary.messages, summary.last_id);
            let (_keep, path) = target();
            tokio::task::block_in_place(|| restore(&backup[..], &path, CACHE)).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(write, back_up);
}

#[tokio::test]
async fn a_backup_that_nobody_takes_is_given_up_and_the_next_one_is_made() {
    let folder = folder();
    let store = filled(folder.path()).await;
    drop(store.backup().await.unwrap());
    check(&taken(&store).await[..]).unwrap();
}

#[tokio::test]
async fn a_damaged_backup_becomes_no_store() {
    let folder = folder();
    let store = filled(folder.path()).await;
    let backup = taken(&store).await;
    for at in (0..backup.len()).step_by(backup.len() / 50) {
        let mut flipped = backup.clone();
        flipped[at] ^= 0x10;
        assert!(check(&flipped[..]).is_err(), "byte {at}");
        assert!(check(&backup[..at]).is_err(), "cut at {at}");
    }
    let (_keep, path) = target();
    for bad in [&backup[..backup.len() - 1], &backup[..backup.len() / 2], b"something else"] {
        assert!(restore(bad, &path, CACHE).is_err());
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }
    restore(&backup[..], &path, CACHE).unwrap();
}

#[tokio::test]
async fn nothing_is_restored_over_what_is_there() {
    let folder = folder();
    let store = filled(folder.path()).await;
    let backup = taken(&store).await;
    let error = restore(&backup[..], folder.path(), CACHE).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    store.close().await.unwrap();
    let error = restore(&backup[..], folder.path(), CACHE).unwrap_err();
    assert!(error.to_string().contains("is not empty"), "{error}");
    verify(folder.path(), CACHE).unwrap();
    let (_keep, path) = target();
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::metadata(folder.path()).unwrap().permissions()).unwrap();
    fs::write(path.join("notes"), "mine").unwrap();
    let error = restore(&backup[..], &path, CACHE).unwrap_err();
    assert!(error.to_string().contains("notes"), "{error}");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
}

#[tokio::test]
async fn the_audit_log_comes_along_up_to_its_last_whole_line() {
    let folder = folder();
    let store = filled(folder.path()).await;
    fs::write(folder.path().join("audit.jsonl"), "{\"n\":1}\n{\"n\":2}\n{\"n\":").unwrap();
    fs::write(folder.path().join("audit.torn-2"), "{").unwrap();
    fs::write(folder.path().join("audit.torn-x"), "").unwrap();
    let backup = taken(&store).await;
    let (_keep, path) = target();
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::metadata(folder.path()).unwrap().permissions()).unwrap();
    // The command line wrote one here before there was a store.
    fs::write(path.join("audit.jsonl"), "other\n").unwrap();
    restore(&backup[..], &path, CACHE).unwrap();
    let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
    assert_eq!(read("audit.jsonl"), "{\"n\":1}\n{\"n\":2}\n");
    assert_eq!(read("audit.torn-2"), "{");
    assert_eq!(read("audit.before-restore-1/audit.jsonl"), "other\n");
    assert!(!path.join("audit.torn-x").exists());
}

#[tokio::test]
async fn what_was_cut_short_is_no_store_and_is_begun_anew() {
    let folder = folder();
    let store = filled(folder.path()).await;
    let backup = taken(&store).await;
    // As after a kill at each step of the last moves.
    for step in 0..3 {
        let (_keep, path) = target();
        restore(&backup[..], &path, CACHE).unwrap();
        let built = path.join("restoring");
        fs::create_dir(&built).unwrap();
        if step < 2 {
            fs::rename(path.join("manifest.json"), built.join("manifest.json")).unwrap();
        }
        if step < 1 {
            fs::rename(path.join("sled"), built.join("sled")).unwrap();
        }
        if step < 2 {
            let error = open_at(&path).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("was cut short"), "{error}");
            assert!(verify(&path, CACHE).unwrap_err().to_string().contains("was cut short"));
            restore(&backup[..], &path, CACHE).unwrap();
        }
        let (again, _tail) = open_at(&path).unwrap();
        assert!(!built.exists());
        again.close().await.unwrap();
        assert_eq!(verify(&path, CACHE).unwrap().messages, 700);
    }
}

#[tokio::test]
async fn what_was_exported_comes_in_as_the_same_store() {
    let folder = folder();
    let store = filled(folder.path()).await;
    let lines = exported(&store, None).await;
    let (_keep, path) = target();
    let imported = import(lines.as_bytes(), &path, CACHE).unwrap();
    store.close().await.unwrap();
    assert_eq!(imported, verify(folder.path(), CACHE).unwrap());
    let (again, _tail) = open_at(&path).unwrap();
    assert_eq!(exported(&again, None).await, lines);
    // A resend is still known by its name, and ids go on.
    assert_eq!(append(&again, 1).await.get(), 2);
    assert_eq!(append(&again, 2000).await.get(), 701);
    let everything = Span { after: Cursor::START, until: None, unread_only: true };
    let unread = again.read_inbox(draft(0).to, everything).await.unwrap();
    assert_eq!(unread.entries.len(), 3, "of five, two were read");

    // A restored store has a gap, which an export of it keeps.
    let (_keep, behind) = target();
    restore(&taken(&again).await[..], &behind, CACHE).unwrap();
    let (again, _tail) = open_at(&behind).unwrap();
    append(&again, 3000).await;
    let lines = exported(&again, None).await;
    let (_keep, path) = target();
    import(lines.as_bytes(), &path, CACHE).unwrap();
    let (again, _tail) = open_at(&path).unwrap();
    assert_eq!(append(&again, 3001).await.get(), 703 + (1 << 32));
}

/// The same lines, as if all messages had got new ids behind 1000.
fn with_new_ids(lines: &str, lapsed: &str) -> String {
    let mut digest = Digest::default();
    let lines = lines.lines().map(|line| match Line::read(line).unwrap() {
        Line::Export { version, made, user_id, .. } => {
            let (last_id, lapsed_up_to) = ("1700".to_owned(), Some(lapsed.to_owned()));
            Line::Export { version, made, user_id, last_id, lapsed_up_to }.write() + "\n"
        }
        Line::End { .. } => digest.end().write() + "\n",
        line => {
            let mut record = line.record().unwrap();
            if let Record::Message(exported) = &mut record {
                exported.message.id = MessageId::new(exported.message.id.get() + 1000).unwrap();
            }
            let line = Line::from(record);
            let written = line.write();
            digest.add(&line, &written);
            written + "\n"
        }
    });
    lines.collect()
}

#[tokio::test]
async fn lapsed_ids_are_known_wherever_the_store_goes() {
    let folder = folder();
    let lines = exported(&filled(folder.path()).await, None).await;
    for (lapsed, why) in [("1001", "1001 is one"), ("1701", "ids end at 1700"), ("x", "no message")]
    {
        let wrong = with_new_ids(&lines, lapsed);
        let error = import(wrong.as_bytes(), &target().1, CACHE).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let lines = with_new_ids(&lines, "1000");
    let (_keep, path) = target();
    import(lines.as_bytes(), &path, CACHE).unwrap();
    let (store, _tail) = open_at(&path).unwrap();
    assert_eq!((store.lapsed().get(), exported(&store, None).await), (1000, lines));
    let (_keep, path) = target();
    restore(&taken(&store).await[..], &path, CACHE).unwrap();
    let (store, _tail) = open_at(&path).unwrap();
    assert_eq!(store.lapsed().get(), 1000);
}

#[tokio::test]
async fn the_data_of_one_user_are_what_they_and_others_wrote_to_each_other() {
    let folder = folder();
    let store = filled(folder.path()).await;
    let lines = exported(&store, UserId::new(1)).await;
    let mut ids = Vec::new();
    for line in lines.lines() {
        match Line::read(line).unwrap() {
            Line::Message { message_id, from_id, to_id, .. } => {
                assert!(from_id == 1 || to_id == 1);
                ids.push(message_id.parse::<u64>().unwrap());
            }
            Line::Profile { user_id, .. } => assert_eq!(user_id, 1),
            Line::Export { user_id, .. } => assert_eq!(user_id, Some(1)),
            Line::End { messages, .. } => assert_eq!(messages, ids.len() as u64),
            other => panic!("{other:?}"),
        }
    }
    assert!(ids.is_sorted());
    let expected = (0..700).filter(|n| n % 50 == 1 || n % 200 == 0).count();
    assert_eq!(ids.len(), expected);
    let error = import(lines.as_bytes(), &target().1, CACHE).unwrap_err().to_string();
    assert!(error.contains("user 1 alone"), "{error}");
}

#[tokio::test]
async fn a_bad_line_is_named_and_nothing_is_imported() {
    let folder = folder();
    let store = filled(folder.path()).await;
    let lines = exported(&store, None).await;
    let (_keep, path) = target();
    let all: Vec<&str> = lines.lines().collect();
    let message = all.iter().position(|line| line.contains("\"message\"")).unwrap();
    let with = |at: usize, line: &str| {
        let mut changed = all.clone();
        changed[at] = line;
        changed.join("\n") + "\n"
    };
    let without = |at: usize| [&all[..at], &all[at + 1..]].concat().join("\n") + "\n";
    let swapped = {
        let mut changed = all.clone();
        changed.swap(message, message + 1);
        changed.join("\n") + "\n"
    };
    let last = all.len();
    let cases = [
        (String::new(), 1, "no export"),
        (with(0, "{}"), 1, "kind"),
        (with(0, all[1]), 1, "no export"),
        (with(message, "{\"kind\":\"message\"}"), message + 1, "missing field"),
        (
            with(message, &all[message].replace("\"toId\":1,", "\"toId\":0,")),
            message + 1,
            "no user id",
        ),
        (with(message, &all[message].replace("read", "seen")), message + 1, "unknown field"),
        (with(message, "hello"), message + 1, "expected"),
        (swapped, message + 2, "order of their ids"),
        (without(message), message + 200, "has the ordinal 1"),
        (without(last - 2), last - 1, "not the end"),
        (with(message, &all[message].replace("xxx", "xyx")), last, "not the end"),
        (all[..last - 1].join("\n") + "\n", last, "cut short"),
        (lines.clone() + "\n", last + 1, "value"),
        (lines.clone() + all[1] + "\n", last + 1, "behind the last line"),
        (lines.trim_end().to_owned(), last, "line feed"),
    ];
    for (lines, line, why) in cases {
        let error = import(lines.as_bytes(), &path, CACHE).unwrap_err().to_string();
        assert!(error.starts_with(&format!("line {line}: ")), "{why}: {error}");
        assert!(error.contains(why), "{why}: {error}");
        assert!(!path.exists() || fs::read_dir(&path).unwrap().count() == 0);
    }
    import(lines.as_bytes(), &path, CACHE).unwrap();
}
