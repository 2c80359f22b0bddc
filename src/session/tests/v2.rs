//! What a connection with `im.v2` hears and may say beyond the document's.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::super::Ended;
use super::rig::{ME, Plan, Rig};
use crate::hub::Event;
use crate::ids::MessageId;
use crate::protocol::Dialect;
use crate::protocol::close::Close;
use crate::store::{AppendError, Appended, ResendKey};

const NAMED: &str = r#"{"clientMsgId":"n"}"#;
const AGAIN: &str = r#"{"clientMsgId":"n","resend":true}"#;

fn plan() -> Plan {
    Plan { dialect: Dialect::V2, ..Plan::default() }
}

/// A session that has told its client that there is nothing.
async fn up_to_date() -> Rig {
    let mut rig = plan().start();
    assert_eq!(rig.heard().await, r#"up to 0 {"complete":true}"#);
    rig
}

fn described(frame: &Value) -> Value {
    serde_json::from_str(frame["Describe"].as_str().unwrap()).unwrap()
}

fn stored(id: u64, duplicate: bool) -> Appended {
    Appended { id: MessageId::new(id).unwrap(), duplicate }
}

#[tokio::test(start_paused = true)]
async fn a_success_names_the_message_and_its_packet() {
    let mut rig = up_to_date().await;
    for (describe, named) in [
        (NAMED, json!({"messageId": "5", "clientMsgId": "n"})),
        (AGAIN, json!({"messageId": "5", "clientMsgId": "n"})),
        ("", json!({"messageId": "5"})),
    ] {
        rig.say(0, 2, "x", describe).await;
        rig.settle_down().await;
        rig.store.settle(Ok(stored(5, false)));
        let frame = rig.heard_frame().await;
        assert_eq!((&frame["type"], described(&frame)), (&json!(0), named));
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_is_what_resends_are_known_by() {
    let rig = up_to_date().await;
    for describe in [NAMED, AGAIN] {
        rig.say(0, 2, "x", describe).await;
    }
    rig.say(0, 2, "x", "").await;
    let mut rig = rig;
    rig.settle_down().await;
    let keys: Vec<_> = (0..3).map(|_| rig.store.take_draft().resend).collect();
    let again = |key: &ResendKey| match key {
        ResendKey::Client { id, again } => Some((id.as_str().to_owned(), *again)),
        ResendKey::None | ResendKey::Packet(_) => None,
    };
    let n = || "n".to_owned();
    assert_eq!(
        keys.iter().map(again).collect::<Vec<_>>(),
        [Some((n(), false)), Some((n(), true)), None]
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_names_its_packet() {
    let mut rig = up_to_date().await;
    rig.say(0, 2, "", NAMED).await;
    assert_eq!(described(&rig.heard_frame().await)["clientMsgId"], "n");
    rig.say(0, 2, "x", NAMED).await;
    rig.settle_down().await;
    rig.store.settle(Err(AppendError::IdReused));
    let failed = described(&rig.heard_frame().await);
    assert_eq!((&failed["code"], &failed["clientMsgId"]), (&json!("id_reused"), &json!("n")));
}

#[tokio::test(start_paused = true)]
async fn the_unread_ones_are_replayed_and_then_the_client_is_up_to_date() {
    let before = vec![(9, ME, "a"), (9, ME + 1, "not mine"), (9, ME, "b")];
    let mut rig = Plan { before, ..plan() }.start();
    assert_eq!(rig.heard().await, "message a");
    assert_eq!(rig.heard().await, "message b");
    assert_eq!(rig.heard().await, r#"up to 3 {"complete":true}"#);
    rig.store.arrive(9, ME, "live").await;
    assert_eq!(rig.heard().await, "message live");
    rig.silence(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_resumes_where_it_stopped() {
    let before = vec![(9, ME, "a"), (9, ME, "b"), (9, ME + 1, "not mine")];
    let mut rig = Plan { before: before.clone(), after: Some(1), ..plan() }.start();
    assert_eq!(rig.heard().await, "message b");
    assert_eq!(rig.heard().await, r#"up to 2 {"complete":true}"#);

    let mut rig = Plan { before: before.clone(), after: Some(2), ..plan() }.start();
    assert_eq!(rig.heard().await, r#"up to 2 {"complete":true}"#);

    let mut rig = Plan { before: before.clone(), after: Some(0), ..plan() }.start();
    assert_eq!(rig.heard().await, "message a");
    assert_eq!(rig.heard().await, "message b");
    assert_eq!(rig.heard().await, r#"up to 2 {"complete":true}"#);

    // 3 lies in somebody else's inbox and beyond this one.
    let mut rig = Plan { before, after: Some(3), ..plan() }.start();
    assert_eq!(rig.heard().await, "message a");
    assert_eq!(rig.heard().await, "message b");
    assert_eq!(rig.heard().await, r#"up to 2 {"complete":false}"#);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_knows_lapsed_ids_begins_anew() {
    let before = vec![(9, ME, "a"), (9, ME, "b"), (9, ME, "c")];
    let plan = |after| Plan { before: before.clone(), after: Some(after), lapsed: 2, ..plan() };
    // The inbox of this stage knows of nothing that was read.
    for (after, replayed, complete) in [(1, 3, false), (2, 3, false), (3, 0, true), (0, 3, true)] {
        let mut rig = plan(after).start();
        for content in ["a", "b", "c"].iter().take(replayed) {
            assert_eq!(rig.heard().await, format!("message {content}"));
        }
        assert_eq!(rig.heard().await, format!(r#"up to 3 {{"complete":{complete}}}"#), "{after}");
    }
    // All that was there is gone, and the last of it had such an id.
    let mut rig = Plan { lapsed: 9, ..plan(3) }.start();
    assert_eq!(rig.heard().await, r#"up to 3 {"complete":true}"#);
}

#[tokio::test(start_paused = true)]
async fn other_devices_hear_what_this_one_sent() {
    let rig = up_to_date().await;
    let other_device = rig.elsewhere(ME);
    rig.say(0, 2, "x", NAMED).await;
    let mut rig = rig;
    rig.settle_down().await;
    rig.store.store().await;
    assert_eq!(rig.heard().await, "success said");
    rig.silence(Duration::from_secs(60)).await;
    other_device.woken().await;
    assert!(matches!(other_device.take().events[..], [Event::Sent(_)]));
}

#[tokio::test(start_paused = true)]
async fn this_device_hears_what_another_one_sent_under_its_name() {
    let mut rig = up_to_date().await;
    rig.store.arrive_named(ME, 2, "from the phone", "n").await;
    let frame = rig.heard_frame().await;
    assert_eq!(
        (&frame["type"], &frame["fromId"], &frame["toId"]),
        (&json!(2), &json!(ME), &json!(2))
    );
    let describe = described(&frame);
    assert_eq!((&describe["messageId"], &describe["clientMsgId"]), (&json!("1"), &json!("n")));
    // A note to oneself lies in the inbox and has its name all the same.
    rig.store.arrive_named(ME, ME, "a note", "m").await;
    assert_eq!(described(&rig.heard_frame().await)["clientMsgId"], "m");
    // Of others' packets the names are theirs.
    rig.store.arrive_named(9, ME, "from another", "o").await;
    assert_eq!(described(&rig.heard_frame().await).get("clientMsgId"), None);
    rig.silence(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn read_receipts_tell_the_sender_and_the_readers_other_devices() {
    let mut rig = up_to_date().await;
    rig.store.read(2, ME, &[12, 13]).await;
    assert_eq!(rig.heard().await, "read by 2 [12,13]");
    rig.store.read(ME, 2, &[7]).await;
    assert_eq!(rig.heard().await, format!("read by {ME} [7]"));
    rig.store.read(ME, ME, &[8]).await;
    assert_eq!(rig.heard().await, format!("read by {ME} [8]"));
    rig.store.read(2, 3, &[9]).await;
    rig.silence(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_plain_connection_hears_nothing_of_all_this() {
    let mut rig = Rig::new();
    rig.settle_down().await;
    rig.store.read(2, ME, &[12]).await;
    rig.store.arrive_named(ME, 2, "from the phone", "n").await;
    rig.elsewhere(2).typing(crate::ids::UserId::new(ME).unwrap());
    rig.silence(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn typing_goes_to_the_peer_once_a_second_and_is_never_answered() {
    let mut rig = up_to_date().await;
    let peer = rig.elsewhere(2);
    for _ in 0..3 {
        rig.say(4, 2, "", "").await;
    }
    // Nobody types to themselves.
    rig.say(4, ME, "", "").await;
    rig.silence(Duration::from_secs(2)).await;
    assert!(matches!(peer.take().events[..], [Event::Typing(_)]));
    rig.say(4, 2, "", "").await;
    rig.silence(Duration::from_secs(1)).await;
    assert!(matches!(peer.take().events[..], [Event::Typing(_)]));
    peer.typing(crate::ids::UserId::new(ME).unwrap());
    assert_eq!(rig.heard().await, "typing 2");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_moves_the_end_of_the_connection() {
    let mut rig = Plan { token_lives: Duration::from_secs(60), ..plan() }.start();
    rig.heard().await;
    let (old, now) = (rig.ends, Instant::now());
    rig.say(5, 0, &rig.token(ME, Duration::from_secs(600)), "").await;
    assert_eq!(rig.heard().await, "success said");
    sleep_until(old + Duration::from_secs(120)).await;
    rig.say(0, 2, "still here", "").await;
    rig.settle_down().await;
    rig.store.store().await;
    assert_eq!(rig.heard().await, "success said");
    let (at, ended) = rig.ended().await;
    assert_eq!(ended, Ended::Close(Close::TokenExpired));
    let leeway = Duration::from_secs(30);
    assert!(at - now <= Duration::from_secs(601) + leeway, "{:?}", at - now);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_is_not_believed_leaves_the_old_end() {
    let mut rig = Plan { token_lives: Duration::from_secs(60), ..plan() }.start();
    rig.heard().await;
    let strangers = rig.token(ME + 1, Duration::from_secs(600));
    for token in ["", "x.y.z", &strangers] {
        rig.say(5, 0, token, "").await;
        assert_eq!(rig.heard().await, "bad_token said");
    }
    let old = rig.ends;
    let (at, ended) = rig.ended().await;
    assert_eq!(ended, Ended::Close(Close::TokenExpired));
    assert!(at <= old + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn who_was_too_slow_is_told_to_look_into_the_history() {
    let mut rig = up_to_date().await;
    rig.hold_back().await;
    rig.store.read(2, ME, &[12]).await;
    // From here on the session waits for the client to take that.
    rig.settle_down().await;
    for _ in 0..100 {
        rig.store.read(2, ME, &[13]).await;
    }
    rig.store.arrive(9, ME, "in the log").await;
    rig.let_go().await;
    assert_eq!(rig.heard().await, "read by 2 [12]");
    assert_eq!(rig.heard().await, "message in the log");
    assert_eq!(rig.heard().await, r#"up to 1 {"complete":false}"#);
}
