//! What is missing or wrong is noticed, and nothing is built on it.

use super::*;

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

/// A database without a message used to make room for a new one when it could not be read.
#[tokio::test]
async fn what_was_revoked_before_the_first_message_is_not_thrown_away() {
    let folder = folder();
    let (store, _tail) = open_at(folder.path()).unwrap();
    let [token, ..] = revocations();
    store.revoke(token.clone()).await.unwrap();
    store.close().await.unwrap();
    let database = folder::database(folder.path());
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
