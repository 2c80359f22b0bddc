//! `im.v2` over the wire: names, other devices, read receipts, typing, refresh, resuming.

use serde_json::{Value, json};

use crate::support::{Claims, Client, Setup, TestServer, V2, described, frame, mark_read, named};

/// A server for people in a hurry.
async fn fast() -> TestServer {
    Setup::new().set("limits.messages_per_second", "0").start().await
}

/// Sends a named packet and waits for its success: the message's id.
async fn say(client: &mut Client, to: u64, content: &str, name: &str) -> u64 {
    client.send(&named(client.user, to, content, name, false)).await;
    let answer = client.next().await;
    assert_eq!((&answer["type"], &described(&answer)["clientMsgId"]), (&json!(0), &json!(name)));
    described(&answer)["messageId"].as_str().unwrap().parse().unwrap()
}

fn ids(messages: &[Value]) -> Vec<u64> {
    let id = |message| described(message)["messageId"].as_str().unwrap().parse().unwrap();
    messages.iter().map(id).collect()
}

#[tokio::test]
async fn a_success_holds_the_id_that_the_recipient_sees() {
    let server = fast().await;
    let (mut ming, mut hong) = (V2::of(&server, 1).quiet().await, V2::of(&server, 2).quiet().await);
    let mut plain = server.connect(2).await;
    let id = say(&mut ming, 2, "你好", "n-1").await;
    assert_eq!(hong.message().await, (id, "你好".to_owned()));
    assert_eq!(
        plain.next_text().await,
        format!(
            "{{\"fromId\":1,\"toId\":2,\"type\":2,\"content\":\"你好\",\"timestamp\":\
             \"1589790567\",\"Describe\":\"{{\\\"userName\\\":\\\"\\\",\\\"headURL\\\":\\\"\\\",\
             \\\"messageId\\\":\\\"{id}\\\"}}\"}}"
        ),
        "the sender's name for it is not the recipient's business"
    );
    ming.send(&frame(1, 2, "without a name", "7")).await;
    assert_eq!(described(&ming.next().await), json!({ "messageId": (id + 1).to_string() }));
}

#[tokio::test]
async fn a_named_packet_is_stored_once_across_connections_restarts_and_crashes() {
    let server = fast().await;
    let mut ming = V2::of(&server, 1).quiet().await;
    let first = say(&mut ming, 2, "once", "n-1").await;
    let again = named(1, 2, "once", "n-1", true);
    let mut second_device = V2::of(&server, 1).quiet().await;
    for client in [&mut ming, &mut second_device] {
        client.send(&again).await;
        assert_eq!(ids(&[client.next().await]), [first]);
    }
    let server = server.kill().start().await;
    let mut ming = V2::of(&server, 1).quiet().await;
    for packet in [&again, &named(1, 2, "once", "n-1", false)] {
        ming.send(packet).await;
        assert_eq!(ids(&[ming.next().await]), [first]);
    }
    for other in [named(1, 2, "twice", "n-1", true), named(1, 3, "once", "n-1", false)] {
        ming.send(&other).await;
        let failed = described(&ming.next().await);
        assert_eq!((&failed["code"], &failed["clientMsgId"]), (&json!("id_reused"), &json!("n-1")));
    }
    // Names are each sender's own.
    let mut li = V2::of(&server, 4).quiet().await;
    assert_ne!(say(&mut li, 2, "another's", "n-1").await, first);
    let (_, messages, _) = V2::of(&server, 2).replayed().await;
    assert_eq!(messages.len(), 2, "{messages:?}");
}

#[tokio::test]
async fn beyond_the_window_a_packet_is_known_by_its_word_that_it_is_a_resend() {
    let server = Setup::new().set("store.dedup_window", "\"1s\"").start().await;
    let mut ming = V2::of(&server, 1).quiet().await;
    let first = say(&mut ming, 2, "long ago", "n-1").await;
    // Out of the window as soon as the same name is a new message.
    let anew = loop {
        let id = say(&mut ming, 2, "long ago", "n-1").await;
        if id != first {
            break id;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    let server = server.stop().await.set("store.dedup_window", "\"1s\"").start().await;
    let mut ming = V2::of(&server, 1).quiet().await;
    ming.send(&named(1, 2, "long ago", "n-1", true)).await;
    assert!([first, anew].contains(&ids(&[ming.next().await])[0]));
}

#[tokio::test]
async fn all_devices_of_a_user_show_the_same_conversation() {
    let server = fast().await;
    let mut phone = V2::of(&server, 1).quiet().await;
    let mut laptop = V2::of(&server, 1).quiet().await;
    let mut plain = server.connect(1).await;
    let id = say(&mut phone, 2, "from the phone", "n-1").await;
    let echo = laptop.next().await;
    assert_eq!((&echo["fromId"], &echo["toId"], &echo["type"]), (&json!(1), &json!(2), &json!(2)));
    assert_eq!(echo["content"], "from the phone");
    let describe = described(&echo);
    assert_eq!(describe["clientMsgId"], "n-1");
    assert_eq!(describe["messageId"], id.to_string());
    // What a plain client writes is shown on the others too, and a resend on none.
    plain.say(2, "from a plain client", "8").await;
    for device in [&mut phone, &mut laptop] {
        assert_eq!(device.next().await["content"], "from a plain client");
    }
    phone.send(&named(1, 2, "from the phone", "n-1", true)).await;
    assert_eq!(phone.next().await["type"], 0);
    say(&mut phone, 2, "something new", "n-2").await;
    assert_eq!(laptop.next().await["content"], "something new");
    plain.nothing_came().await;
}

#[tokio::test]
async fn a_note_to_oneself_goes_to_the_other_connections_once() {
    let server = fast().await;
    let mut phone = V2::of(&server, 1).quiet().await;
    let mut laptop = V2::of(&server, 1).quiet().await;
    let id = say(&mut phone, 1, "milk", "n-1").await;
    let note = laptop.next().await;
    assert_eq!(
        (ids(std::slice::from_ref(&note)), &described(&note)["clientMsgId"]),
        (vec![id], &json!("n-1"))
    );
    laptop.send(&mark_read(1, &[id])).await;
    let receipt = phone.next().await;
    assert_eq!((&receipt["type"], &receipt["content"]), (&json!(3), &json!(format!("[{id}]"))));
    let (_, messages, _) = V2::of(&server, 1).replayed().await;
    assert_eq!(messages, Vec::<Value>::new());
}

#[tokio::test]
async fn read_receipts_reach_the_sender_and_the_readers_other_devices_once() {
    let server = fast().await;
    let mut ming = V2::of(&server, 1).quiet().await;
    let (mut phone, mut laptop) =
        (V2::of(&server, 2).quiet().await, V2::of(&server, 2).quiet().await);
    let mut told = Vec::new();
    for number in 0..3 {
        told.push(say(&mut ming, 2, "read me", &format!("n-{number}")).await);
        phone.message().await;
        laptop.message().await;
    }
    phone.send(&mark_read(2, &[told[2], told[0], 999])).await;
    let list = format!("[{},{}]", told[0], told[2]);
    let receipt = json!({
        "fromId": 2, "toId": 1, "type": 3, "content": list, "timestamp": "", "Describe": "",
    });
    assert_eq!(ming.next().await, receipt);
    let mut mine = receipt;
    mine["toId"] = json!(2);
    assert_eq!(laptop.next().await, mine);
    // Marking again, or a stranger's marking, tells nobody anything.
    phone.send(&mark_read(2, &[told[0], told[2]])).await;
    ming.send(&mark_read(1, &told)).await;
    laptop.send(&mark_read(2, &told)).await;
    assert_eq!(ming.next().await["content"], format!("[{}]", told[1]));
    assert_eq!(phone.next().await["content"], format!("[{}]", told[1]));
}

#[tokio::test]
async fn typing_is_told_to_the_peer_and_kept_nowhere() {
    let server = fast().await;
    let mut ming = V2::of(&server, 1).quiet().await;
    let mut hong = V2::of(&server, 2).quiet().await;
    let mut plain = server.connect(2).await;
    let mut typing = frame(1, 2, "", "t");
    typing["type"] = json!(4);
    for _ in 0..5 {
        ming.send(&typing).await;
    }
    let told = json!({
        "fromId": 1, "toId": 2, "type": 4, "content": "", "timestamp": "", "Describe": "",
    });
    assert_eq!(hong.next().await, told);
    ming.nothing_came().await;
    say(&mut ming, 2, "typed", "n-1").await;
    assert_eq!(hong.message().await.1, "typed", "one a second is enough");
    assert_eq!(plain.message().await.1, "typed");
}

#[tokio::test]
async fn a_client_resumes_exactly_where_it_stopped() {
    let server = fast().await;
    let mut ming = V2::of(&server, 1).quiet().await;
    let mut sent = Vec::new();
    for number in 0..400 {
        sent.push(say(&mut ming, 2, &"x".repeat(500), &format!("n-{number}")).await);
    }
    let (mut hong, messages, report) = V2::of(&server, 2).replayed().await;
    assert_eq!(ids(&messages), sent);
    assert_eq!(report["content"], sent[399].to_string());
    assert_eq!(described(&report), json!({ "complete": true }));
    hong.send(&mark_read(2, &sent)).await;
    assert_eq!(ming.next().await["type"], 3, "all of it is marked");
    // Read ones come too: the client asked for what lies behind its own cursor.
    for stopped in [0, 1, 200, 399] {
        let (_, messages, report) = V2::of(&server, 2).after(sent[stopped]).replayed().await;
        assert_eq!(ids(&messages), sent[stopped + 1..]);
        assert_eq!(report["content"], sent[399].to_string());
    }
    let (_, messages, _) = V2::of(&server, 2).after(0).replayed().await;
    assert_eq!(ids(&messages), sent);
    let (_, messages, report) = V2::of(&server, 2).replayed().await;
    assert_eq!((messages.len(), &report["content"]), (0, &json!(sent[399].to_string())));
}

#[tokio::test]
async fn a_cursor_beyond_the_inbox_replays_the_unread_ones_and_says_so() {
    let server = fast().await;
    let mut ming = V2::of(&server, 1).quiet().await;
    let id = say(&mut ming, 2, "unread", "n-1").await;
    say(&mut ming, 3, "another's", "n-2").await;
    let (_, messages, report) = V2::of(&server, 2).after(id + 1).replayed().await;
    assert_eq!(ids(&messages), [id]);
    assert_eq!(
        (&report["content"], described(&report)),
        (&json!(id.to_string()), json!({ "complete": false }))
    );
    let (_, messages, report) = V2::of(&server, 9).after(0).replayed().await;
    assert_eq!((messages.len(), &report["content"]), (0, &json!("0")));
    // A plain connection ignores it.
    let token = crate::support::Forge::token(2);
    let path = format!("/teaching/imserver/{token}?after={id}");
    let mut plain = Client::open(&server, 2, &path, &[]).await.unwrap();
    assert_eq!(plain.message().await.0, id);
    plain.nothing_came().await;
}

#[tokio::test]
async fn a_refresh_lets_the_connection_live_as_long_as_its_newest_token() {
    let server = Setup::new().set("auth.leeway", "\"1s\"").start().await;
    let token = Claims::of(1).with("exp", Claims::now() + 2).token();
    let mut ming = V2::of(&server, 1).token(token.clone()).quiet().await;
    let mut stays = V2::of(&server, 1).token(token).quiet().await;
    let refresh = |token: &str| {
        let mut refresh = frame(1, 0, token, "r");
        refresh["type"] = json!(5);
        refresh
    };
    let strangers = Claims::of(2).token();
    let expired = Claims::of(1).with("exp", Claims::now() - 60).token();
    for bad in ["", "x", &strangers, &expired] {
        ming.send(&refresh(bad)).await;
        assert_eq!(ming.failure().await, "bad_token");
    }
    ming.send(&refresh(&Claims::of(1).with("name", "小明").token())).await;
    let answer = ming.next().await;
    assert_eq!(answer, ming.success("r"));
    assert_eq!(stays.closed().await.code, 4401, "it has the old token only");
    say(&mut ming, 2, "still here", "n-1").await;
    let (_, messages, _) = V2::of(&server, 2).replayed().await;
    assert_eq!(described(&messages[0])["userName"], "小明", "the new token's name");
    // The newest one accepted counts, also when it ends sooner.
    ming.send(&refresh(&Claims::of(1).with("exp", Claims::now() + 1).token())).await;
    assert_eq!(ming.next().await["type"], 0);
    let closed = ming.closed().await;
    assert_eq!((closed.code, closed.reason.as_str()), (4401, "token_expired"));
}

#[tokio::test]
async fn who_types_too_fast_is_told_nothing() {
    let slow = Setup::new().set("limits.messages_per_second", "1");
    let server = slow.set("limits.message_burst", "1").start().await;
    let mut ming = V2::of(&server, 1).quiet().await;
    say(&mut ming, 2, "takes all that there is", "n-1").await;
    let mut typing = frame(1, 2, "", "typing");
    typing["type"] = json!(4);
    for _ in 0..3 {
        ming.send(&typing).await;
    }
    ming.send(&named(1, 2, "too fast", "n-2", false)).await;
    let failure = ming.next().await;
    assert_eq!((&failure["type"], &described(&failure)["clientMsgId"]), (&json!(1), &json!("n-2")));
}
