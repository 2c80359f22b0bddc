//! Whom the store knows.

use imserver::ids::{ID_END, UserId};
use imserver::store::ClaimedProfile;

use crate::backend::{Backend, Bench, draft, user};

async fn users<B: Backend>(bench: &Bench<B>, after: Option<u64>, limit: usize) -> Vec<u64> {
    let found = bench.store.users(after.map(user), limit).await.unwrap();
    found.into_iter().map(UserId::get).collect()
}

pub async fn everybody_with_a_conversation_or_a_profile_is_a_user<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    assert!(users(&bench, None, 10).await.is_empty());
    let last = ID_END - 1;
    for (from, to) in [(300, 2), (2, 300), (0, 7), (9, 9), (5, last)] {
        bench.append(draft(from, to, "x")).await;
    }
    for known in [1, 9, 6] {
        let claimed = ClaimedProfile { name: Some("n".to_owned()), picture: None };
        bench.store.set_profile(user(known), claimed).await.unwrap();
    }
    for _ in 0..2 {
        assert_eq!(users(&bench, None, 100).await, [1, 2, 5, 6, 7, 9, 300, last]);
        assert!(users(&bench, Some(last), 100).await.is_empty());
        bench.reopen().await;
    }
}

pub async fn pages_of_users_meet<B: Backend>() {
    let bench = Bench::<B>::new().await;
    for (from, to) in [(1, 2), (3, 1), (3, 4), (0, 1)] {
        bench.append(draft(from, to, "x")).await;
    }
    let mut found = Vec::new();
    while let [user] = users(&bench, found.last().copied(), 1).await[..] {
        found.push(user);
    }
    assert_eq!(found, [1, 2, 3, 4]);
    assert!(users(&bench, None, 0).await.is_empty());
    assert_eq!(users(&bench, Some(2), 1).await, [3], "also behind one that is not there");
}
