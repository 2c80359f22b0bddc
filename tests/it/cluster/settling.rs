//! What a node shows of everything, in each way in which it can be asked: inboxes, what is unread,
//! lists of conversations and histories.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ledger::{Ledger, PLAIN, Packet, RECIPIENTS, told};
use crate::support::{Call, TestServer, V2};

/// Messages on a page of a history.
const PAGE: usize = 100;

/// A message of a history: its id, what it says, and whether it is read.
type Shown = (u64, Packet, bool);

/// What the node shows to one recipient.
#[derive(PartialEq)]
struct Inbox {
    all: Vec<(u64, Packet)>,
    unread: Vec<(u64, Packet)>,
    list: Value,
    histories: BTreeMap<u64, Vec<Shown>>,
}

/// What a node shows to everybody.
#[derive(PartialEq)]
pub struct Found(BTreeMap<u64, Inbox>);

impl Found {
    pub async fn at(node: &TestServer) -> Self {
        let mut found = BTreeMap::new();
        for to in RECIPIENTS {
            let (_, all, _) = V2::of(node, to).after(0).replayed().await;
            let (_, unread, _) = V2::of(node, to).replayed().await;
            let list = Call::get(to, "conversations?limit=100").done(node).await;
            let mut histories = BTreeMap::new();
            for from in 1..=PLAIN {
                histories.insert(from, history(node, to, from).await);
            }
            let [all, unread] = [all, unread].map(|found| found.iter().map(told).collect());
            found.insert(to, Inbox { all, unread, list, histories });
        }
        Self(found)
    }

    /// Holds a ledger against it, and its parts against each other.
    pub fn check(&self, ledger: &Ledger) {
        for (to, inbox) in &self.0 {
            ledger.check(*to, &inbox.all);
            inbox.check(*to, ledger);
        }
        let there: usize = self.0.values().map(|inbox| inbox.all.len()).sum();
        let (named, plain) = (ledger.acknowledged.len(), ledger.plain.len());
        let read: usize = self.0.values().map(|inbox| inbox.all.len() - inbox.unread.len()).sum();
        eprintln!("{named} and {plain} acknowledged, {there} there, {read} of them read");
    }
}

impl Inbox {
    fn check(&self, to: u64, ledger: &Ledger) {
        let is_read = |(id, packet): &(u64, Packet)| ledger.is_read(to, *id, *packet);
        let unread = self.all.iter().filter(|found| !is_read(found));
        assert!(self.unread.iter().eq(unread), "{to} is shown others than the unread");
        let mut unread_total = 0;
        for (from, history) in &self.histories {
            let of_pair = |found: &&(u64, Packet)| found.1.0 == *from;
            let all: Vec<Shown> = self
                .all
                .iter()
                .filter(of_pair)
                .map(|found| (found.0, found.1, is_read(found)))
                .collect();
            assert!(*history == all, "the history of {to} with {from} is not what is in the inbox");
            let unread = all.iter().filter(|(.., read)| !read).count();
            unread_total += unread;
            let Some((last, ..)) = all.last() else { continue };
            let listed = self.list["conversations"].as_array().unwrap().iter();
            let listed = listed.clone().find(|it| it["peerId"] == *from).unwrap();
            assert_eq!(listed["unread"], unread, "{listed}");
            assert_eq!(listed["lastMessage"]["messageId"], json!(last.to_string()), "{listed}");
        }
        assert_eq!(self.list["unreadTotal"], unread_total, "{}", self.list);
        assert_eq!(unread_total, self.unread.len());
    }
}

/// All that one wrote to another, from page to page.
async fn history(node: &TestServer, to: u64, from: u64) -> Vec<Shown> {
    let (mut pages, mut before) = (Vec::new(), String::new());
    loop {
        let path = format!("conversations/{from}/messages?limit={PAGE}{before}");
        let answer = Call::get(to, &path).send(node).await;
        if answer.status == 404 {
            // They wrote nothing yet.
            return Vec::new();
        }
        let page: Value = serde_json::from_str(&answer.body).unwrap();
        let messages = page["messages"].as_array().unwrap_or_else(|| panic!("{path}: {answer:?}"));
        pages.push(messages.iter().map(shown).collect::<Vec<Shown>>());
        match page["older"].as_str() {
            Some(cursor) => before = format!("&before={cursor}"),
            None => break,
        }
    }
    pages.into_iter().rev().flatten().collect()
}

fn shown(message: &Value) -> Shown {
    let text = |name: &str| message[name].as_str().unwrap();
    let id = text("messageId").parse().unwrap();
    (id, super::ledger::packet(text("content")), message["read"].as_bool().unwrap())
}
