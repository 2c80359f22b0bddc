//! Every reason for which a session ends, at its time.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::super::{Ended, Received};
use super::rig::{FAULT, ME, Plan, Rig};
use crate::protocol::close::Close;
use crate::store::{AppendError, StoreError};

fn assert_between(at: Instant, from: Instant, to: Instant) {
    assert!(from <= at && at <= to, "{:?} early, {:?} late", from - at, at - to);
}

fn assert_later(ended: Ended) {
    let Ended::Close(Close::TryLater { retry }) = ended else {
        panic!("{ended:?}");
    };
    assert!((500..=5500).contains(&retry.as_millis()), "{retry:?}");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_served_is_told_to_come_later() {
    let damaged = StoreError::Damaged("a row".to_owned());
    for error in [StoreError::Unavailable, damaged] {
        let reading = Some(Err(error));
        let plan = Plan { reading, ..Plan::default() };
        assert_later(plan.start().ended().await.1);
    }
    let introducing = Some(Err(AppendError::Unavailable));
    let plan = Plan { introducing, ..Plan::default() };
    assert_later(plan.start().ended().await.1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_says_nothing_is_not_waited_for() {
    let introducing = Plan { introducing: None, ..Plan::default() };
    // A read that never came back used to hold the session for ever, past its token
    // and past the end of the server.
    let reading = Plan { reading: None, ..Plan::default() };
    for plan in [introducing, reading] {
        let later = Instant::now() + Duration::from_secs(5);
        let (at, ended) = plan.start().ended().await;
        assert_later(ended);
        assert_between(at, later, later + Duration::from_millis(5));
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_token() {
    let plan = Plan { token_lives: Duration::from_secs(60), ..Plan::default() };
    let mut rig = plan.start();
    let ends = rig.ends;
    sleep_until(ends - Duration::from_secs(1)).await;
    rig.send(2, "in time").await;
    rig.settle_down().await;
    rig.store.store().await;
    assert_eq!(rig.heard().await, "success in time");
    let (at, ended) = rig.ended().await;
    assert_eq!(ended, Ended::Close(Close::TokenExpired));
    assert_between(at, ends, ends + Duration::from_millis(105));
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_token_while_a_write_waits_for_its_reader() {
    let plan = Plan { token_lives: Duration::from_secs(60), ..Plan::default() };
    let mut rig = plan.start();
    let ends = rig.ends;
    rig.settle_down().await;
    rig.hold_back().await;
    rig.send(2, "whose answer is not taken").await;
    rig.settle_down().await;
    rig.store.store().await;
    let (at, ended) = rig.ended().await;
    assert_eq!(ended, Ended::Close(Close::TokenExpired));
    assert_between(at, ends, ends + Duration::from_millis(105));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_over_sends_nothing_any_more() {
    let plan = Plan { token_lives: Duration::from_secs(60), ..Plan::default() };
    let rig = plan.start();
    let mut probe = Rig::new();
    probe.settle_down().await;
    // Both the end and the frame are there when the session looks again.
    tokio::time::advance(Duration::from_secs(3600)).await;
    rig.send(2, "too late").await;
    let store = std::sync::Arc::clone(&rig.store);
    assert_eq!(rig.ended().await.1, Ended::Close(Close::TokenExpired));
    assert!(store.in_line().is_empty());
}

fn heart() -> Plan {
    let mut plan = Plan::default();
    plan.limits.ping_interval = Duration::from_secs(25);
    plan.limits.pong_timeout = Duration::from_secs(20);
    plan
}

#[tokio::test(start_paused = true)]
async fn pings_come_at_their_interval_for_as_long_as_they_are_answered() {
    let mut rig = heart().start();
    let mut last = Instant::now();
    for round in 0..20 {
        let (at, heard) = rig.heard_at().await;
        assert_eq!(heard, "ping");
        // The first comes early, so that not everybody is pinged at once.
        let earliest = if round == 0 { 12_500 } else { 25_000 };
        let due = |ms| last + Duration::from_millis(ms);
        assert_between(at, due(earliest), due(25_005));
        sleep(Duration::from_secs(19)).await;
        rig.receive(Received::Pong).await;
        rig.settle_down().await;
        last = Instant::now();
    }
}

#[tokio::test(start_paused = true)]
async fn who_answers_no_ping_is_given_up_whatever_else_it_says() {
    let mut rig = heart().start();
    let (pinged, _) = rig.heard_at().await;
    sleep(Duration::from_secs(10)).await;
    rig.receive(Received::Ping).await;
    rig.send(2, "I am here").await;
    rig.settle_down().await;
    rig.store.store().await;
    assert_eq!(rig.heard().await, "success I am here");
    let (at, ended) = rig.ended().await;
    assert_eq!(ended, Ended::Close(Close::NoPong));
    let due = pinged + Duration::from_secs(20);
    assert_between(at, due, due + Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn who_takes_slowly_what_waits_is_not_given_up_before_its_answer_is_looked_at() {
    // Those with much to take on a slow line were, again and again.
    let mut rig = heart().start();
    assert_eq!(rig.heard().await, "ping");
    rig.hold_back().await;
    rig.store.arrive(2, ME, "much").await;
    rig.settle_down().await;
    rig.receive(Received::Pong).await;
    sleep(Duration::from_secs(29)).await;
    rig.let_go().await;
    assert_eq!(rig.heard().await, "message much");
    // It was heard that the client is there, and the next ping is due at its time.
    let (at, heard) = rig.heard_at().await;
    assert_eq!(heard, "ping");
    let (_, ended) = rig.ended().await;
    assert_eq!(ended, Ended::Close(Close::NoPong));
    assert_between(Instant::now(), at + Duration::from_secs(20), at + Duration::from_secs(21));
}

#[tokio::test(start_paused = true)]
async fn faults_are_counted_within_a_minute() {
    let mut plan = Plan::default();
    plan.limits.violations = 3;
    let mut rig = plan.start();
    for _ in 0..20 {
        rig.receive(Received::Text("{".to_owned())).await;
        assert_eq!(rig.heard().await, "bad_frame ");
        sleep(Duration::from_secs(20)).await;
    }
    // Three of the last minute were the most; what is not the client's fault is no fault.
    for _ in 0..10 {
        rig.send(2, "full").await;
        rig.settle_down().await;
        rig.store.settle(Err(AppendError::InboxFull));
        assert_eq!(rig.heard().await, "inbox_full full");
    }
    sleep(Duration::from_secs(1)).await;
    for _ in 0..2 {
        rig.receive(Received::Text("{".to_owned())).await;
    }
    let (_, ended) = rig.ended().await;
    assert_eq!(ended, Ended::Close(Close::TooManyViolations));
}

#[tokio::test(start_paused = true)]
async fn a_drain_answers_what_is_under_way_first() {
    let mut rig = Rig::new();
    for content in ["first", "second", "third"] {
        rig.send(2, content).await;
    }
    rig.mark_read("[5]").await;
    rig.settle_down().await;
    let began = Instant::now();
    rig.shutdown.cancel();
    rig.settle_down().await;
    rig.send(2, "too late").await;
    sleep(Duration::from_secs(1)).await;
    rig.store.store().await;
    rig.store.settle(Err(AppendError::InboxFull));
    sleep(Duration::from_secs(1)).await;
    // The third never comes to anything; the flags behind it do.
    rig.store.marking.add_permits(1);
    let store = std::sync::Arc::clone(&rig.store);
    for expected in ["success first", "inbox_full second", "store_unavailable third"] {
        assert_eq!(rig.heard().await, expected);
    }
    let (at, ended) = rig.ended().await;
    assert!(matches!(ended, Ended::Close(Close::Drain { .. })), "{ended:?}");
    let due = began + Duration::from_secs(5);
    assert_between(at, due, due + Duration::from_millis(5));
    assert_eq!(store.in_line(), ["third"], "nothing new is taken");
    assert_eq!(*store.marked.lock().unwrap(), [5]);
}

#[tokio::test(start_paused = true)]
async fn the_flags_of_one_who_left_are_seen_through() {
    // They used to be forgotten unless they were first in the line of answers.
    let mut rig = Rig::new();
    rig.send(2, "under way").await;
    rig.mark_read("[1]").await;
    rig.mark_read("[2,3]").await;
    rig.settle_down().await;
    rig.receive(Received::Gone).await;
    rig.settle_down().await;
    let store = std::sync::Arc::clone(&rig.store);
    store.marking.add_permits(2);
    let began = Instant::now();
    assert_eq!(rig.ended().await, (began, Ended::Gone));
    assert_eq!(*store.marked.lock().unwrap(), [1, 2, 3]);
    assert_eq!(store.in_line(), ["under way"], "the store has it without us");
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_wire_ends_the_session_as_it_says() {
    for close in [Close::Protocol, Close::BinaryFrame, Close::InvalidUtf8, Close::FrameTooBig] {
        let rig = Rig::new();
        rig.receive(Received::Fault(close)).await;
        assert_eq!(rig.ended().await.1, Ended::Close(close));
    }
    let flood = Rig::new();
    for _ in 0..200 {
        flood.receive(Received::Ping).await;
    }
    assert_eq!(flood.ended().await.1, Ended::Close(Close::TooManyViolations));
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_our_own_ends_one_connection_and_nothing_else() {
    let rig = Rig::new();
    let other = rig.elsewhere(ME);
    rig.send(2, "on its way").await;
    rig.receive(Received::Text(FAULT.to_owned())).await;
    let store = std::sync::Arc::clone(&rig.store);
    let (_, ended) = rig.ended().await;
    assert_eq!(ended, Ended::Close(Close::Internal));
    // The others are told as before: no lock was left behind in pieces.
    store.arrive(2, ME, "hello").await;
    other.woken().await;
    assert_eq!(other.take().events.len(), 1);
}
