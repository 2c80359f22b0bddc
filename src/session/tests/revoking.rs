//! Tokens that are taken back while a connection lives by them.

use std::time::Duration;

use tokio::time::Instant;

use super::super::Ended;
use super::rig::{ME, Plan, Rig};
use crate::protocol::Dialect;
use crate::protocol::close::Close;
use crate::store::AppendError;

const REVOKED: Ended = Ended::Close(Close::TokenRevoked);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The client refreshes its token with another.
async fn refresh(rig: &mut Rig, token: &str) {
    rig.say(5, 0, token, "").await;
    assert_eq!(rig.heard().await, "success said");
}

async fn v2() -> Rig {
    let mut rig = Plan { dialect: Dialect::V2, ..Plan::default() }.start();
    assert!(rig.heard().await.starts_with("up to"));
    rig
}

#[tokio::test(start_paused = true)]
async fn a_user_who_is_disabled_is_gone_at_once() {
    let mut rig = Rig::new();
    rig.disable(ME + 1);
    rig.settle_down().await;
    rig.send(2, "nothing to do with me").await;
    rig.settle_down().await;
    rig.store.store().await;
    assert_eq!(rig.heard().await, "success nothing to do with me");
    let then = Instant::now();
    rig.disable(ME);
    assert_eq!(rig.ended().await, (then, REVOKED));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_stored_that_comes_in_after_it() {
    let mut rig = Rig::new();
    rig.settle_down().await;
    rig.disable(ME);
    for _ in 0..100 {
        rig.send(2, "too late").await;
    }
    let store = std::sync::Arc::clone(&rig.store);
    assert_eq!(rig.ended().await.1, REVOKED);
    assert!(store.in_line().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_takes_nothing_is_cut_off_too() {
    let mut rig = Rig::new();
    rig.hold_back().await;
    rig.send(2, "x").await;
    rig.settle_down().await;
    rig.store.settle(Err(AppendError::InboxFull));
    rig.settle_down().await;
    let then = Instant::now();
    rig.disable(ME);
    assert_eq!(rig.ended().await, (then, REVOKED));
}

#[tokio::test(start_paused = true)]
async fn each_token_that_refreshed_it_counts() {
    let mut rig = v2().await;
    let (second, third) = (rig.token(ME, HOUR), rig.token(ME, HOUR));
    let unused = rig.token(ME, HOUR);
    refresh(&mut rig, &second).await;
    refresh(&mut rig, &third).await;
    rig.revoke(&unused);
    rig.say(5, 0, &unused, "").await;
    assert_eq!(rig.heard().await, "bad_token said");
    // Neither the first nor the last one.
    rig.revoke(&second);
    assert_eq!(rig.ended().await.1, REVOKED);
}

#[tokio::test(start_paused = true)]
async fn so_many_tokens_stand_behind_one_connection() {
    let mut rig = v2().await;
    for _ in 0..255 {
        let token = rig.token(ME, HOUR);
        refresh(&mut rig, &token).await;
        // The same once more takes no room.
        refresh(&mut rig, &token).await;
    }
    let one_more = rig.token(ME, HOUR);
    rig.say(5, 0, &one_more, "").await;
    assert_eq!(rig.heard().await, "bad_token said");
    rig.disable(ME);
    assert_eq!(rig.ended().await.1, REVOKED);
}

#[tokio::test(start_paused = true)]
async fn another_key_logs_nobody_out_while_theirs_is_kept() {
    let mut rig = Rig::new();
    rig.settle_down().await;
    rig.rotate(true);
    rig.settle_down().await;
    rig.send(2, "still here").await;
    rig.settle_down().await;
    rig.store.store().await;
    assert_eq!(rig.heard().await, "success still here");
    let then = Instant::now();
    rig.rotate(false);
    assert_eq!(rig.ended().await, (then, REVOKED));
}
