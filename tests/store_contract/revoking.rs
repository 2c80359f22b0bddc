//! Tokens and users that are believed no more: kept until they are over, and announced.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use imserver::auth::{Revocation, TokenId};
use imserver::store::Announcement;

use crate::backend::{Backend, Bench, draft, user};

/// So far from now in seconds since the Unix epoch.
fn at(from_now: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    now.checked_add_signed(from_now).unwrap()
}

fn token(jti: &str, until: u64) -> Revocation {
    Revocation::Token { jti: TokenId::new(jti).unwrap(), until }
}

fn subject(id: u64, issued_up_to: u64, until: u64) -> Revocation {
    Revocation::Subject { user: user(id), issued_up_to, until }
}

fn disabled(id: u64) -> Revocation {
    Revocation::Disabled { user: user(id) }
}

async fn in_force<B: Backend>(bench: &Bench<B>) -> BTreeSet<Revocation> {
    bench.store.revocations().await.unwrap().into_iter().collect()
}

async fn revoke<B: Backend>(bench: &Bench<B>, revocation: &Revocation) {
    bench.store.revoke(revocation.clone()).await.unwrap();
}

pub async fn a_new_store_has_taken_nothing_back<B: Backend>() {
    assert!(in_force(&Bench::<B>::new().await).await.is_empty());
}

pub async fn what_was_revoked_stays_so_over_a_reopen<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    let all = [
        token("a", at(3600)),
        token("令牌", at(7200)),
        // Longer than the tokens of this service, as another issuer's may be.
        token(&"x".repeat(128), at(60)),
        subject(1, at(-5), at(100_000)),
        subject(2, at(0), u64::MAX),
        disabled(3),
        disabled((1 << 53) - 1),
    ];
    for revocation in &all {
        revoke(&bench, revocation).await;
        // Once more changes nothing.
        revoke(&bench, revocation).await;
    }
    bench.append(draft(1, 2, "between")).await;
    assert_eq!(in_force(&bench).await, all.iter().cloned().collect());
    bench.reopen().await;
    assert_eq!(in_force(&bench).await, all.into_iter().collect());
}

pub async fn a_user_is_disabled_until_enabled<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    revoke(&bench, &disabled(1)).await;
    revoke(&bench, &disabled(2)).await;
    bench.store.enable(user(1)).await.unwrap();
    // Who is not disabled can be enabled all the same.
    bench.store.enable(user(9)).await.unwrap();
    bench.reopen().await;
    assert_eq!(in_force(&bench).await, BTreeSet::from([disabled(2)]));
    revoke(&bench, &disabled(1)).await;
    assert_eq!(in_force(&bench).await, BTreeSet::from([disabled(1), disabled(2)]));
}

/// Asked for at once, they may be written as one: the last one counts.
pub async fn the_last_word_on_a_user_counts<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    for _ in 0..20 {
        let (first, then) = (bench.store.revoke(disabled(1)), bench.store.enable(user(1)));
        let last = bench.store.revoke(disabled(1));
        let outcomes = futures_util::future::join3(first, then, last).await;
        assert_eq!(outcomes, (Ok(()), Ok(()), Ok(())));
        assert_eq!(in_force(&bench).await, BTreeSet::from([disabled(1)]));
        let (first, then) = (bench.store.enable(user(1)), bench.store.revoke(disabled(1)));
        let last = bench.store.enable(user(1));
        let outcomes = futures_util::future::join3(first, then, last).await;
        assert_eq!(outcomes, (Ok(()), Ok(()), Ok(())));
        assert!(in_force(&bench).await.is_empty());
    }
    bench.reopen().await;
    assert!(in_force(&bench).await.is_empty());
}

pub async fn what_is_over_is_forgotten<B: Backend>() {
    let mut bench = Bench::<B>::new().await;
    for revocation in [token("over", at(-1)), subject(1, at(-10), at(0)), token("soon", at(1))] {
        revoke(&bench, &revocation).await;
    }
    revoke(&bench, &token("later", at(3600))).await;
    // In time, and for good.
    while in_force(&bench).await.len() > 1 {
        tokio::task::yield_now().await;
    }
    bench.reopen().await;
    let left = in_force(&bench).await;
    assert!(left.iter().all(|left| !left.is_over(SystemTime::now())), "{left:?}");
    assert_eq!(left.len(), 1);
}

pub async fn every_node_hears_of_it<B: Backend>() {
    let bench = Bench::<B>::new().await;
    let all = [token("a", at(3600)), subject(1, at(0), at(3600)), disabled(1)];
    for revocation in &all {
        revoke(&bench, revocation).await;
    }
    bench.store.enable(user(1)).await.unwrap();
    let news = bench.closed().await;
    let mut enabled = 0;
    let heard: Vec<Revocation> = news
        .into_iter()
        .filter_map(|news| match news {
            Announcement::Revoked(revocation) => Some(revocation),
            Announcement::Enabled(who) => {
                enabled += usize::from(who == user(1));
                None
            }
            _ => None,
        })
        .collect();
    assert_eq!(heard, all);
    assert_eq!(enabled, 1);
}
