//! What lies in the inbox is heard once and in order, however it became known.

use std::time::Duration;

use super::rig::{ME, Rig};

#[tokio::test(start_paused = true)]
async fn what_is_read_and_announced_at_the_same_time_is_heard_once() {
    let mut rig = Rig::new();
    // Before the session has run at all: its first read finds them, and so does the hub.
    for content in ["first", "second"] {
        rig.store.arrive(9, ME, content).await;
    }
    assert_eq!(rig.heard().await, "message first");
    assert_eq!(rig.heard().await, "message second");
    rig.store.arrive(9, ME, "third").await;
    assert_eq!(rig.heard().await, "message third");
    rig.silence(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_announcement_costs_a_read_and_no_message() {
    let mut rig = Rig::new();
    rig.store.arrive(9, ME, "first").await;
    assert_eq!(rig.heard().await, "message first");
    rig.store.arrive_unheard(9, ME, "second");
    rig.silence(Duration::from_secs(60)).await;
    rig.store.arrive(9, ME, "third").await;
    assert_eq!(rig.heard().await, "message second");
    assert_eq!(rig.heard().await, "message third");
    rig.store.arrive(9, ME, "fourth").await;
    assert_eq!(rig.heard().await, "message fourth");
    rig.silence(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn what_others_get_concerns_nobody_here() {
    let mut rig = Rig::new();
    rig.settle_down().await;
    rig.store.arrive(9, ME + 1, "for somebody else").await;
    rig.silence(Duration::from_secs(60)).await;
    rig.store.arrive(9, ME, "for me").await;
    assert_eq!(rig.heard().await, "message for me");
}
