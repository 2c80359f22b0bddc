//! What is known of the senders.

use imserver::message::Profile;
use imserver::store::ClaimedProfile;
use tokio::task::JoinSet;

use crate::backend::{Backend, Bench, draft, stored, user};

fn claim(name: Option<&str>, picture: Option<&str>) -> ClaimedProfile {
    ClaimedProfile { name: name.map(str::to_owned), picture: picture.map(str::to_owned) }
}

/// What a reader is told of user 1.
async fn shown<B: Backend>(bench: &Bench<B>) -> (String, String) {
    let stored = bench.all(2).await;
    let Profile { name, picture } = (*stored.last().unwrap().sender).clone();
    (name, picture)
}

fn pair(name: &str, picture: &str) -> (String, String) {
    (name.to_owned(), picture.to_owned())
}

pub async fn a_profile_goes_with_every_message<B: Backend>() {
    let bench = Bench::<B>::new().await;
    bench.append(draft(1, 2, "before")).await;
    assert_eq!(shown(&bench).await, pair("", ""));
    let claimed = claim(Some("小明"), Some("https://example.com/a.png"));
    bench.store.set_profile(user(1), claimed).await.unwrap();
    // Also with those from before it was known.
    assert_eq!(shown(&bench).await, pair("小明", "https://example.com/a.png"));
    bench.append(draft(1, 2, "after")).await;
    bench.append(draft(3, 2, "of another")).await;
    bench.append(draft(0, 2, "of the system")).await;
    let news = stored(&bench.closed().await);
    let names: Vec<&str> = news.iter().map(|n| n.entry.sender.name.as_str()).collect();
    assert_eq!(names, ["", "小明", "", ""]);
}

pub async fn a_profile_can_be_asked_for<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    assert_eq!(*bench.store.profile(user(1)).await.unwrap(), Profile::default());
    bench.store.set_profile(user(1), claim(Some("a"), Some("p"))).await.unwrap();
    for _ in 0..2 {
        let known = bench.store.profile(user(1)).await.unwrap();
        assert_eq!(*known, Profile { name: "a".to_owned(), picture: "p".to_owned() });
        assert_eq!(*bench.store.profile(user(2)).await.unwrap(), Profile::default());
        bench.reopen().await;
    }
}

pub async fn a_claim_leaves_what_it_is_silent_about<B: Backend>() {
    let bench = Bench::<B>::new().await;
    bench.append(draft(1, 2, "x")).await;
    let steps = [
        (claim(None, None), pair("", "")),
        (claim(Some("a"), None), pair("a", "")),
        (claim(None, Some("p")), pair("a", "p")),
        (claim(None, None), pair("a", "p")),
        (claim(Some("b"), None), pair("b", "p")),
        (claim(Some(""), None), pair("", "p")),
    ];
    for (claimed, expected) in steps {
        bench.store.set_profile(user(1), claimed).await.unwrap();
        assert_eq!(shown(&bench).await, expected);
    }
}

/// Used to lose one of two: each was completed by what had been known before both.
pub async fn claims_at_once_lose_nothing_of_each_other<B: Backend>() {
    let bench = Bench::<B>::new().await;
    bench.append(draft(1, 2, "x")).await;
    for round in 0..20 {
        let (name, picture) = (format!("name {round}"), format!("picture {round}"));
        let mut claims = JoinSet::new();
        for claimed in [claim(Some(&name), None), claim(None, Some(&picture))] {
            let store = bench.store.clone();
            claims.spawn(async move { store.set_profile(user(1), claimed).await });
        }
        for outcome in claims.join_all().await {
            outcome.unwrap();
        }
        assert_eq!(shown(&bench).await, pair(&name, &picture));
    }
}

pub async fn a_profile_survives_a_reopen<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    bench.append(draft(1, 2, "x")).await;
    let claimed = claim(Some("a"), Some("p"));
    bench.store.set_profile(user(1), claimed).await.unwrap();
    bench.reopen().await;
    assert_eq!(shown(&bench).await, pair("a", "p"));
    let claimed = claim(Some("b"), None);
    bench.store.set_profile(user(1), claimed).await.unwrap();
    bench.reopen().await;
    assert_eq!(shown(&bench).await, pair("b", "p"));
}
