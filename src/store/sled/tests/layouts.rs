//! Stores of other layouts: made new where they are older, refused where nobody knows them.

use super::*;

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
