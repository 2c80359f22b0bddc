//! What is owed is answered in order and in time, whatever the store does.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::Received;
use super::rig::{ME, Plan, Rig};
use crate::ids::MessageId;
use crate::store::{AppendError, Appended};

const PATIENCE: Duration = Duration::from_secs(5);

/// Nearly the same time: the clock rings in milliseconds.
fn assert_at(at: Instant, expected: Instant) {
    let off = at.max(expected) - at.min(expected);
    assert!(off <= Duration::from_millis(5), "{off:?} off");
}

#[tokio::test(start_paused = true)]
async fn what_the_store_refuses_fails_and_the_connection_goes_on() {
    let mut rig = Rig::new();
    let table = [
        (AppendError::Unavailable, "store_unavailable"),
        (AppendError::InboxFull, "inbox_full"),
        (AppendError::IdReused, "id_reused"),
    ];
    for (error, code) in table {
        rig.send(2, code).await;
        rig.settle_down().await;
        rig.store.settle(Err(error));
        assert_eq!(rig.heard().await, format!("{code} {code}"));
    }
    rig.store.room.close();
    rig.send(2, "no line").await;
    assert_eq!(rig.heard().await, "store_unavailable no line");
    rig.send(2, "still no line").await;
    assert_eq!(rig.heard().await, "store_unavailable still no line");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stalls_fails_the_message_in_time_and_says_nothing_later() {
    let mut rig = Rig::new();
    rig.send(2, "first").await;
    let began = Instant::now();
    let (at, heard) = rig.heard_at().await;
    assert_eq!(heard, "store_unavailable first");
    assert_at(at, began + PATIENCE);
    // The store comes round: what was told is told.
    rig.store.store().await;
    rig.silence(Duration::from_secs(60)).await;
    rig.send(2, "second").await;
    rig.settle_down().await;
    rig.store.store().await;
    assert_eq!(rig.heard().await, "success second");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_room_and_for_the_disk_share_one_patience() {
    // Each used to have its own, so that a failure could come after ten seconds.
    let mut rig = Plan { room: 0, ..Plan::default() }.start();
    rig.send(2, "first").await;
    let began = Instant::now();
    rig.silence(Duration::from_secs(4)).await;
    rig.store.room.add_permits(1);
    let (at, heard) = rig.heard_at().await;
    assert_eq!(heard, "store_unavailable first");
    assert_at(at, began + PATIENCE);
    assert_eq!(rig.store.in_line(), ["first"]);
}

#[tokio::test(start_paused = true)]
async fn while_a_message_waits_for_room_earlier_ones_are_answered() {
    // The wait used to hold up everything else.
    let mut rig = Plan { room: 2, ..Plan::default() }.start();
    for content in ["first", "second", "waits"] {
        rig.send(2, content).await;
    }
    rig.settle_down().await;
    assert_eq!(rig.store.in_line(), ["first", "second"]);
    sleep(Duration::from_secs(1)).await;
    rig.store.store().await;
    assert_eq!(rig.heard().await, "success first");
    rig.store.arrive(9, ME, "news").await;
    assert_eq!(rig.heard().await, "message news");
    rig.store.room.add_permits(1);
    rig.settle_down().await;
    assert_eq!(rig.store.in_line(), ["second", "waits"], "it steps in by itself");
    rig.store.store().await;
    rig.store.store().await;
    assert_eq!(rig.heard().await, "success second");
    assert_eq!(rig.heard().await, "success waits");
}

#[tokio::test(start_paused = true)]
async fn behind_a_message_that_waited_in_vain_nobody_waits_again() {
    let mut rig = Plan { room: 0, ..Plan::default() }.start();
    let began = Instant::now();
    for number in 0..10 {
        rig.send(2, &number.to_string()).await;
    }
    for number in 0..10 {
        let (at, heard) = rig.heard_at().await;
        assert_eq!(heard, format!("store_unavailable {number}"));
        assert_at(at, began + PATIENCE);
    }
    assert!(rig.store.in_line().is_empty(), "a failure without a line is certain");
    rig.store.room.add_permits(10);
    rig.send(2, "room again").await;
    rig.settle_down().await;
    rig.store.store().await;
    assert_eq!(rig.heard().await, "success room again");
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_32_messages_under_way_and_the_others_wait_outside() {
    let mut rig = Rig::new();
    for number in 0..40 {
        rig.send(2, &number.to_string()).await;
    }
    rig.settle_down().await;
    assert_eq!(rig.store.in_line().len(), 32);
    for number in 0..8 {
        rig.store.store().await;
        assert_eq!(rig.heard().await, format!("success {number}"));
        rig.settle_down().await;
        assert_eq!(rig.store.in_line().len(), 32);
    }
    for number in 8..40 {
        rig.store.store().await;
        assert_eq!(rig.heard().await, format!("success {number}"));
    }
}

#[tokio::test(start_paused = true)]
async fn answers_keep_the_order_of_the_questions() {
    let mut rig = Rig::new();
    rig.send(2, "first").await;
    rig.receive(Received::Text("{".to_owned())).await;
    rig.send(2, "").await;
    rig.send(2, "second").await;
    rig.settle_down().await;
    // The second is done before the first; both failures were known at once.
    let first = rig.store.take();
    rig.store.settle(Ok(Appended { id: MessageId::new(7).unwrap(), duplicate: true }));
    rig.silence(Duration::from_secs(1)).await;
    drop(first);
    for expected in ["store_unavailable first", "bad_frame ", "empty_content ", "success second"] {
        assert_eq!(rig.heard().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_packet_sent_again_is_the_same_packet() {
    let mut rig = Rig::new();
    let mut keys = Vec::new();
    for _ in 0..3 {
        rig.send(2, "好").await;
        rig.settle_down().await;
        let first = rig.store.take();
        keys.push(first.draft.resend.clone());
        drop(first);
        assert_eq!(rig.heard().await, "store_unavailable 好");
    }
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    // Two at once are two, of which either may have to come again.
    let mut keys = Vec::new();
    for _ in 0..2 {
        rig.send(2, "不").await;
        rig.send(2, "不").await;
        rig.settle_down().await;
        for _ in 0..2 {
            let one = rig.store.take();
            keys.push(one.draft.resend.clone());
            drop(one);
            assert_eq!(rig.heard().await, "store_unavailable 不");
        }
    }
    assert_ne!(keys[0], keys[1]);
    assert_eq!(keys[..2], keys[2..]);
}

#[tokio::test(start_paused = true)]
async fn a_note_under_way_holds_deliveries_back() {
    let mut rig = Rig::new();
    rig.store.arrive(9, ME, "before").await;
    assert_eq!(rig.heard().await, "message before");
    rig.send(ME, "note").await;
    rig.settle_down().await;
    rig.store.arrive(9, ME, "meanwhile").await;
    rig.silence(Duration::from_secs(1)).await;
    rig.store.store().await;
    assert_eq!(rig.heard().await, "success note");
    assert_eq!(rig.heard().await, "message meanwhile");
    rig.store.arrive(9, ME, "behind").await;
    assert_eq!(rig.heard().await, "message behind");
    // What came of a note that failed is not known: if it is there it is shown.
    rig.send(ME, "lost").await;
    assert_eq!(rig.heard().await, "store_unavailable lost");
    rig.store.store().await;
    assert_eq!(rig.heard().await, "message lost");
}

#[tokio::test(start_paused = true)]
async fn reading_marks_are_silent_and_fail_when_the_store_stalls() {
    let mut rig = Rig::new();
    rig.mark_read("[1,2]").await;
    let began = Instant::now();
    let (at, heard) = rig.heard_at().await;
    assert_eq!(heard, "store_unavailable read");
    assert_at(at, began + PATIENCE);
    rig.store.marking.add_permits(1);
    rig.mark_read("[3]").await;
    rig.mark_read("[]").await;
    rig.silence(Duration::from_secs(60)).await;
    assert_eq!(*rig.store.marked.lock().unwrap(), [3]);
}
