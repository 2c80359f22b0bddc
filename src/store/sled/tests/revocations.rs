//! The rows of what was taken back.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;

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
