//! One user's devices at several nodes, and what holds for the user whichever they are at.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::nats;
use crate::support::{
    Admin, Call, Claims, Client, Closed, Nodes, TestServer, Upgrade, V2, described, frame, named,
    post_message, refused, within,
};

async fn three() -> [TestServer; 3] {
    Nodes::on(&nats::shared()).three().await
}

#[tokio::test]
async fn a_note_to_oneself_comes_to_ones_other_devices_at_every_node_once() {
    let [a, b, c] = three().await;
    let mut writer = a.connect(1).await;
    let mut others = [a.connect(1).await, V2::of(&b, 1).quiet().await, c.connect(1).await];
    writer.say(1, "milk", "1").await;
    for other in &mut others {
        let note = other.next().await;
        let told = (&note["type"], &note["fromId"], &note["toId"], &note["content"]);
        assert_eq!(told, (&json!(2), &json!(1), &json!(1), &json!("milk")));
    }
    // Whatever else came of it would come before what is sent after it.
    post_message(&b, 2, 1, "from a friend").await;
    for device in others.iter_mut().chain([&mut writer]) {
        assert_eq!(device.message().await.1, "from a friend");
    }
    // It is unread until it is marked, at any of them.
    let (mut late, unread, _) = V2::of(&c, 1).replayed().await;
    assert_eq!(unread[0]["content"], "milk");
    let id = described(&unread[0])["messageId"].as_str().unwrap().to_owned();
    let marked = Call::post(1, "read", &json!({ "ids": [id] })).send(&b).await;
    assert_eq!(marked.status, 204, "{marked:?}");
    let receipt = late.next().await;
    assert_eq!((&receipt["type"], &receipt["content"]), (&json!(3), &json!(format!("[{id}]"))));
    for node in [&a, &b, &c] {
        let (_, unread, _) = V2::of(node, 1).replayed().await;
        assert_eq!(unread.len(), 1, "{unread:?}");
    }
}

#[tokio::test]
async fn a_token_that_was_refreshed_still_ends_its_connection_when_another_node_takes_it_back() {
    let [a, b, _c] = three().await;
    let of = |id: &str| Claims::of(1).with("jti", id).token();
    let mut refreshed = V2::of(&a, 1).token(of("older")).quiet().await;
    let mut refresh = frame(1, 0, &of("newer"), "r");
    refresh["type"] = json!(5);
    refreshed.send(&refresh).await;
    assert_eq!(refreshed.next().await, refreshed.success("r"));
    let mut only_newer = Client::with_token(&a, 1, &of("newer")).await;

    Admin::post("/admin/revocations", &json!({ "jti": "older" })).done(&b).await;
    let done = Instant::now();
    let closed = refreshed.closed().await;
    assert_eq!(closed, Closed { code: 4403, reason: "token_revoked".to_owned() });
    assert!(done.elapsed() <= Duration::from_secs(1), "{:?}", done.elapsed());
    refused(&Upgrade::token(&of("older")).send(&a).await, "taken back");
    // The newer one was taken back by nobody.
    only_newer.nothing_came().await;
}

#[tokio::test]
async fn a_device_that_is_too_slow_for_what_happens_at_another_node_is_told_to_look_again() {
    const MESSAGES: usize = 600;
    let [a, b, _c] = three().await;
    let mut slow = V2::of(&b, 1).quiet().await;
    let mut writer = V2::of(&a, 1).quiet().await;
    // What they write lies in another inbox: nothing leads this device back to it. It is more than
    // a node and two sockets hold.
    let padding = "x".repeat(16_000);
    for number in 0..MESSAGES {
        let text = format!("{number} {padding}");
        writer.send(&named(1, 2, &text, &number.to_string(), false)).await;
        assert_eq!(writer.next().await["type"], 0);
    }
    let mut copies = 0;
    let report = loop {
        let frame = slow.next().await;
        match frame["type"].as_u64() {
            Some(2) => copies += 1,
            Some(6) => break frame,
            _ => panic!("{frame}"),
        }
    };
    assert_eq!(described(&report), json!({ "complete": false }), "{copies} copies came before");
    assert!(copies < MESSAGES, "nothing was lost");
    // From then on it hears of everything again, and the history has what it missed.
    writer.send(&named(1, 2, "and now", "now", false)).await;
    loop {
        let frame = slow.next().await;
        match frame["type"].as_u64() {
            Some(2) if frame["content"] == "and now" => break,
            // The last of those before may still come: there was room again.
            Some(2) => {}
            // Or not: there was room for some of them only, and this one may be among the others.
            Some(6) => {
                assert_eq!(described(&frame), json!({ "complete": false }));
                assert_eq!(writer.next().await["type"], 0);
                let name = fastrand::u64(..).to_string();
                writer.send(&named(1, 2, "and now", &name, false)).await;
            }
            _ => panic!("{frame}"),
        }
    }
    let page = Call::get(1, "conversations/2/messages?limit=3").done(&b).await;
    let last = page["messages"].as_array().unwrap().last().unwrap();
    assert_eq!(last["content"], "and now");
    // One who comes from an inbox that is not this one is told the same, at any node.
    let unread = post_message(&a, 2, 1, "unread").await;
    let (_, messages, report) = V2::of(&b, 1).after(unread + 1).replayed().await;
    let texts: Vec<&Value> = messages.iter().map(|message| &message["content"]).collect();
    assert_eq!((texts, described(&report)), (vec![&json!("unread")], json!({ "complete": false })));
}

#[tokio::test]
async fn an_inbox_that_is_filled_over_one_node_is_full_at_every_other() {
    const ROOM: usize = 3;
    let nodes = Nodes::on(&nats::shared()).set("limits.unread_per_user", &ROOM.to_string());
    let [a, b, c] = nodes.three().await;
    // One that has counted it before, and one that never did.
    let mut known = b.connect(1).await;
    known.say(2, "0", "0").await;
    let mut ids = Vec::new();
    for number in 1..ROOM {
        ids.push(post_message(&a, 3, 2, &number.to_string()).await);
    }
    for node in [&b, &c] {
        let mut ming = node.connect(1).await;
        ming.send(&frame(1, 2, "too much", "1")).await;
        assert_eq!(ming.failure().await, "inbox_full");
    }
    // Room that is made at one node is there at the others.
    let marked = Call::post(2, "read", &json!({ "ids": [ids[0].to_string()] })).send(&c).await;
    assert_eq!(marked.status, 204, "{marked:?}");
    within("room for one", async {
        known.say(2, "room for this", "2").await;
    })
    .await;
    known.send(&frame(1, 2, "too much again", "3")).await;
    assert_eq!(known.failure().await, "inbox_full");
}
