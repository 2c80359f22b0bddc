//! To its users a cluster is one server.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::nats;
use crate::support::{
    Admin, Call, Claims, Client, Closed, Nodes, TestServer, Upgrade, V2, described, frame,
    mark_read, named, refused,
};

async fn three() -> [TestServer; 3] {
    Nodes::on(&nats::shared()).three().await
}

/// The next frame, which must be of this type.
async fn of_type(client: &mut Client, kind: u64) -> Value {
    let frame = client.next().await;
    assert_eq!(frame["type"], kind, "{frame}");
    frame
}

/// Sends a named packet and waits for its success: the message's id. What another device
/// of theirs has sent may come before.
async fn say(client: &mut Client, to: u64, content: &str, name: &str, again: bool) -> u64 {
    client.send(&named(client.user, to, content, name, again)).await;
    loop {
        let answer = client.next().await;
        if answer["type"] != 2 {
            assert_eq!(answer["type"], 0, "{answer}");
            return described(&answer)["messageId"].as_str().unwrap().parse().unwrap();
        }
    }
}

#[tokio::test]
async fn a_message_reaches_its_recipient_and_its_senders_devices_on_every_node() {
    let [a, b, c] = three().await;
    let mut hong = [a.connect(2).await, b.connect(2).await, c.connect(2).await];
    let mut devices =
        [V2::of(&a, 1).quiet().await, V2::of(&b, 1).quiet().await, V2::of(&c, 1).quiet().await];
    let mut last = 0;
    for from in 0..3 {
        let (text, name) = (format!("from node {from}"), format!("n-{from}"));
        let id = say(&mut devices[from], 2, &text, &name, false).await;
        assert!(id > last);
        last = id;
        for connection in &mut hong {
            assert_eq!(connection.message().await, (id, text.clone()));
        }
        for (node, device) in devices.iter_mut().enumerate().filter(|(node, _)| *node != from) {
            let shown = of_type(device, 2).await;
            assert_eq!((&shown["fromId"], &shown["toId"]), (&json!(1), &json!(2)), "node {node}");
            assert_eq!(described(&shown)["clientMsgId"], json!(name));
        }
    }
}

#[tokio::test]
async fn senders_on_all_nodes_at_once_are_seen_in_one_order_everywhere() {
    const EACH: usize = 100;
    let nodes = three().await;
    let mut readers = Vec::new();
    for node in &nodes {
        readers.push(node.connect(9).await);
    }
    let senders = (0..3).map(|at| {
        let node = &nodes[at];
        async move {
            let mut client = node.connect(1 + at as u64).await;
            for number in 0..EACH {
                let text = format!("{at} {number}");
                client.send(&frame(client.user, 9, &text, &number.to_string())).await;
            }
            for number in 0..EACH {
                assert_eq!(client.next().await, client.success(&number.to_string()));
            }
        }
    });
    futures_util::future::join_all(senders).await;
    let mut orders = Vec::new();
    for reader in &mut readers {
        let mut order = Vec::new();
        for _ in 0..3 * EACH {
            order.push(reader.message().await);
        }
        assert!(order.is_sorted_by(|one, other| one.0 < other.0));
        for at in 0..3 {
            let prefix = format!("{at} ");
            let of_one: Vec<&str> =
                order.iter().filter_map(|(_, text)| text.strip_prefix(&prefix)).collect();
            let expected: Vec<String> = (0..EACH).map(|number| number.to_string()).collect();
            assert_eq!(of_one, expected);
        }
        orders.push(order);
    }
    assert!(orders.iter().all(|order| *order == orders[0]));
}

#[tokio::test]
async fn a_resend_to_another_node_is_the_same_message() {
    let [a, b, c] = three().await;
    let mut first = V2::of(&a, 1).quiet().await;
    let id = say(&mut first, 2, "once", "n-1", false).await;
    let (mut second, mut third) = (V2::of(&b, 1).quiet().await, V2::of(&c, 1).quiet().await);
    for again in [true, false] {
        assert_eq!(say(&mut second, 2, "once", "n-1", again).await, id);
    }
    second.send(&named(1, 2, "another", "n-1", false)).await;
    assert_eq!(second.failure().await, "id_reused");
    // The document's packet, without a name, sent again by its own client elsewhere.
    let mut plain = a.connect(3).await;
    plain.say(2, "and this", "7").await;
    let mut moved = b.connect(3).await;
    moved.say(2, "and this", "7").await;
    // At once on all nodes: one of them is first.
    let tries = [&mut first, &mut second, &mut third]
        .map(|client| say(client, 2, "at the same time", "n-2", false));
    let ids: BTreeSet<u64> = futures_util::future::join_all(tries).await.into_iter().collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let (_, messages, _) = V2::of(&c, 2).replayed().await;
    let texts: Vec<&Value> = messages.iter().map(|message| &message["content"]).collect();
    assert_eq!(texts, ["once", "and this", "at the same time"]);
}

#[tokio::test]
async fn a_node_that_comes_later_knows_which_names_were_given_to_others() {
    let nodes = Nodes::on(&nats::shared());
    let first = nodes.start().await;
    let mut ming = V2::of(&first, 1).quiet().await;
    let id = say(&mut ming, 2, "once", "n-1", false).await;
    let later = nodes.start().await;
    let mut ming = V2::of(&later, 1).quiet().await;
    ming.send(&named(1, 3, "once", "n-1", false)).await;
    assert_eq!(ming.failure().await, "id_reused");
    assert_eq!(say(&mut ming, 2, "once", "n-1", false).await, id, "the same recipient");
    say(&mut ming, 3, "another", "n-2", false).await;
}

#[tokio::test]
async fn what_is_read_on_one_node_is_told_and_known_on_the_others() {
    let [a, b, c] = three().await;
    let mut ming = V2::of(&a, 1).quiet().await;
    let first = say(&mut ming, 2, "first", "n-1", false).await;
    let second = say(&mut ming, 2, "second", "n-2", false).await;
    let (mut phone, _, _) = V2::of(&b, 2).replayed().await;
    let (mut laptop, _, _) = V2::of(&c, 2).replayed().await;
    phone.send(&mark_read(2, &[first])).await;
    for device in [&mut ming, &mut laptop] {
        let receipt = of_type(device, 3).await;
        assert_eq!(
            (&receipt["fromId"], &receipt["content"]),
            (&json!(2), &json!(format!("[{first}]")))
        );
    }
    // The mark counts wherever the reader comes next.
    for node in [&a, &b, &c] {
        let (_, unread, _) = V2::of(node, 2).replayed().await;
        let ids: Vec<String> = unread
            .iter()
            .map(|message| described(message)["messageId"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids, [second.to_string()]);
        let list = Call::get(2, "conversations").done(node).await;
        assert_eq!(list["unreadTotal"], 1, "{list}");
    }
}

#[tokio::test]
async fn a_conversation_is_the_same_on_every_node() {
    let [a, b, c] = three().await;
    for turn in 0..10 {
        let (node, from, to) = if turn % 2 == 0 { (&a, 1, 2) } else { (&b, 2, 1) };
        let body = json!({ "toId": to, "content": turn.to_string() });
        Call::post(from, "messages", &body).done(node).await;
    }
    let seen = Call::get(1, "conversations/2/messages?limit=100").done(&c).await;
    let texts: Vec<&str> = seen["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    for node in [&a, &b] {
        let other = Call::get(2, "conversations/1/messages?limit=100").done(node).await;
        assert_eq!(other["messages"], seen["messages"]);
    }
    // A page's cursor is good at any node.
    let last = Call::get(1, "conversations/2/messages?limit=4").done(&a).await;
    let cursor = last["older"].as_str().unwrap();
    let before = Call::get(1, &format!("conversations/2/messages?limit=4&before={cursor}"));
    let before = before.done(&b).await;
    assert_eq!(
        before["messages"].as_array().unwrap()[..],
        seen["messages"].as_array().unwrap()[2..6]
    );
}

#[tokio::test]
async fn a_token_that_is_taken_back_at_one_node_is_worth_nothing_at_any() {
    let nodes = three().await;
    let token = Claims::of(1).with("jti", "leaked").token();
    let mut connections = Vec::new();
    for node in &nodes {
        connections.push(Client::with_token(node, 1, &token).await);
    }
    Admin::post("/admin/revocations", &json!({ "jti": "leaked" })).done(&nodes[0]).await;
    let done = Instant::now();
    for connection in &mut connections {
        let closed = connection.closed().await;
        assert_eq!(closed, Closed { code: 4403, reason: "token_revoked".to_owned() });
    }
    assert!(done.elapsed() <= Duration::from_secs(1), "{:?}", done.elapsed());
    for node in &nodes {
        refused(&Upgrade::token(&token).send(node).await, "taken back");
    }
    // A node that comes later knows it, too.
    let [_, _, last] = nodes;
    let last = last.stop().await.start().await;
    refused(&Upgrade::token(&token).send(&last).await, "taken back");
}

#[tokio::test]
async fn from_a_node_that_stops_everybody_goes_on_elsewhere() {
    const MESSAGES: usize = 300;
    let [mut a, b, _c] = three().await;
    let mut hong = V2::of(&a, 2).quiet().await;
    let mut ming = V2::of(&a, 1).quiet().await;
    let mut acknowledged = BTreeSet::new();
    for number in 0..MESSAGES {
        let name = number.to_string();
        ming.send(&named(1, 2, &name, &name, false)).await;
        if number == 50 {
            a.signal("TERM");
        }
        if number > 100 {
            break;
        }
    }
    let (answers, end) = ming.answers_until_closed().await;
    assert_eq!(end.code, 1001, "{end:?}");
    for answer in answers {
        assert_eq!(answer["type"], 0, "{answer}");
        acknowledged.insert(described(&answer)["clientMsgId"].as_str().unwrap().to_owned());
    }
    let (shown, end) = hong.answers_until_closed().await;
    assert_eq!(end.code, 1001, "{end:?}");
    assert_eq!(a.ended().await.code(), Some(0));
    // The clients do what they must: connect elsewhere, send again what has no answer, and
    // ask for what lies behind the last message they saw.
    let mut ming = V2::of(&b, 1).quiet().await;
    for number in 0..MESSAGES {
        let name = number.to_string();
        if !acknowledged.contains(&name) {
            say(&mut ming, 2, &name, &name, true).await;
        }
    }
    let last = shown.iter().rfind(|frame| frame["type"] == 2);
    let last = last
        .map_or("0".to_owned(), |frame| described(frame)["messageId"].as_str().unwrap().to_owned());
    let (_, rest, report) = V2::of(&b, 2).after(last).replayed().await;
    assert_eq!(described(&report)["complete"], true);
    let messages = shown.iter().chain(&rest).filter(|frame| frame["type"] == 2);
    let texts: Vec<&str> = messages.map(|frame| frame["content"].as_str().unwrap()).collect();
    let once: BTreeSet<&str> = texts.iter().copied().collect();
    assert_eq!((texts.len(), once.len()), (MESSAGES, MESSAGES), "lost or doubled");
}
