//! Paging: every message once, whatever is written meanwhile, and only by one's own cursors.

use serde_json::Value;

use crate::support::{Call, Setup, TestServer, is_refusal, post_message};

async fn fast() -> TestServer {
    Setup::new().set("limits.messages_per_second", "0").start().await
}

fn contents(page: &Value) -> Vec<String> {
    let messages = page["messages"].as_array().unwrap().iter();
    messages.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

async fn page(server: &TestServer, query: &str) -> Value {
    Call::get(1, &format!("conversations/2/messages{query}")).done(server).await
}

#[tokio::test]
async fn a_long_conversation_is_read_page_by_page_in_both_directions() {
    let server = fast().await;
    for number in 0..120 {
        let (from, to) = if number % 2 == 0 { (1, 2) } else { (2, 1) };
        post_message(&server, from, to, &number.to_string()).await;
    }
    let newest = page(&server, "").await;
    assert_eq!(contents(&newest), numbers(70..120), "fifty where nobody says");
    let newer = newest["newer"].as_str().unwrap().to_owned();
    // What is written meanwhile moves nothing.
    for number in 120..130 {
        post_message(&server, 2, 1, &number.to_string()).await;
    }
    let mut all = contents(&newest);
    let mut older = newest["older"].clone();
    while let Some(cursor) = older.as_str() {
        let before = page(&server, &format!("?limit=17&before={cursor}")).await;
        all = [contents(&before), all].concat();
        older = before["older"].clone();
    }
    assert_eq!(all, numbers(0..120));
    let mut after = newer;
    let mut news = Vec::new();
    loop {
        let next = page(&server, &format!("?limit=4&after={after}")).await;
        after = next["newer"].as_str().unwrap().to_owned();
        if contents(&next).is_empty() {
            break;
        }
        news.extend(contents(&next));
    }
    assert_eq!(news, numbers(120..130));
    // The end of the conversation is a place to wait at, also across a restart.
    let server = server.stop().await.start().await;
    post_message(&server, 1, 2, "130").await;
    assert_eq!(contents(&page(&server, &format!("?after={after}")).await), numbers(130..131));
    assert_eq!(contents(&page(&server, "?limit=100").await), numbers(31..131));
}

#[tokio::test]
async fn a_page_of_large_messages_is_shorter_and_misses_none() {
    let server = fast().await;
    // Written out each is six times as long.
    let large = |number: u64| format!("{number}{}", "\u{1}".repeat(10_000));
    for number in 0..12 {
        post_message(&server, 2, 1, &large(number)).await;
        post_message(&server, 3 + number, 1, &large(number)).await;
    }
    let all: Vec<String> = (0..12).map(large).collect();
    let newest = page(&server, "?limit=100").await;
    let mut backwards = contents(&newest);
    assert_eq!(backwards, all[10..], "two have room");
    let mut older = newest["older"].clone();
    while let Some(cursor) = older.as_str() {
        let before = Call::get(1, &format!("conversations/2/messages?before={cursor}"));
        let before = before.send(&server).await;
        assert!(before.body.len() < 130 * 1024, "{}", before.body.len());
        let before: Value = serde_json::from_str(&before.body).unwrap();
        backwards = [contents(&before), backwards].concat();
        older = before["older"].clone();
    }
    assert_eq!(backwards, all);
    let mut after = newest["newer"].as_str().unwrap().to_owned();
    for number in 12..15 {
        post_message(&server, 1, 2, &large(number)).await;
    }
    for expected in [vec![large(12), large(13)], vec![large(14)], vec![]] {
        let next = page(&server, &format!("?after={after}")).await;
        assert_eq!(contents(&next), expected);
        after = next["newer"].as_str().unwrap().to_owned();
    }
    let mut peers = 0;
    let mut query = String::new();
    loop {
        let page = Call::get(1, &format!("conversations{query}")).done(&server).await;
        peers += page["conversations"].as_array().unwrap().len();
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?cursor={next}");
    }
    assert_eq!(peers, 13);
}

#[tokio::test]
async fn many_conversations_are_listed_page_by_page() {
    let server = fast().await;
    for peer in 2..=46 {
        post_message(&server, peer, 1, "hello").await;
    }
    let mut peers = Vec::new();
    let mut query = String::new();
    let mut sizes = Vec::new();
    loop {
        let page = Call::get(1, &format!("conversations{query}")).done(&server).await;
        assert_eq!(page["unreadTotal"], 45, "over all, on every page");
        let list = page["conversations"].as_array().unwrap();
        sizes.push(list.len());
        peers.extend(list.iter().map(|item| item["peerId"].as_u64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?cursor={next}");
    }
    assert_eq!(sizes, [20, 20, 5]);
    assert_eq!(peers, (2..=46).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cursor_is_good_where_it_was_given_out_and_nowhere_else() {
    let server = fast().await;
    for number in 0..3 {
        for (from, to) in [(1, 2), (1, 3), (2, 3)] {
            post_message(&server, from, to, &number.to_string()).await;
        }
    }
    let of = async |user: u64, peer: u64| {
        let path = format!("conversations/{peer}/messages?limit=1");
        let page = Call::get(user, &path).done(&server).await;
        page["older"].as_str().unwrap().to_owned()
    };
    let mine = of(1, 2).await;
    let listed = Call::get(1, "conversations?limit=1").done(&server).await;
    let listed = listed["next"].as_str().unwrap().to_owned();
    for (path, cursor, what) in [
        ("conversations/2/messages?before=", of(1, 3).await, "another conversation's"),
        ("conversations/2/messages?before=", of(2, 1).await, "the other one's"),
        ("conversations/2/messages?before=", of(2, 3).await, "another user's"),
        ("conversations/2/messages?before=", listed, "the list's"),
        ("conversations/2/messages?after=", of(2, 1).await, "the other one's, forwards"),
        ("conversations?cursor=", mine.clone(), "a conversation's"),
        ("conversations/2/messages?before=", mine[..40].to_owned(), "a truncated one"),
        ("conversations/2/messages?before=", format!("{mine}AAAA"), "a lengthened one"),
        ("conversations/2/messages?before=", format!("{mine}="), "a padded one"),
        ("conversations/2/messages?before=", "0".to_owned(), "a number"),
    ] {
        let answer = Call::get(1, &format!("{path}{cursor}")).send(&server).await;
        is_refusal(&answer, 400, "bad_cursor", what);
    }
    for at in 0..mine.len() {
        let mut forged = mine.clone();
        let other = if &forged[at..=at] == "A" { "B" } else { "A" };
        forged.replace_range(at..=at, other);
        let path = format!("conversations/2/messages?before={forged}");
        is_refusal(&Call::get(1, &path).send(&server).await, 400, "bad_cursor", &forged);
    }
    Call::get(1, &format!("conversations/2/messages?before={mine}")).done(&server).await;
}
