//! Connections at every node: asked of all, and put together.
//!
//! A connection's id is drawn by chance and names it among all nodes, so that pages of all of
//! them together are read as those of one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::connections::Item;
use crate::hub::{Hub, Wanted};
use crate::ids::{ConnectionId, UserId};
use crate::store::jetstream::Neighbours;

/// How many bytes of connections a node answers with at once: NATS servers pass on half a
/// megabyte at the least, and a token's name may have some kilobytes.
const ANSWER_BYTES: usize = 256 * 1024;

/// What one connection takes beside the names in it.
const ITEM_BYTES: usize = 256;

/// The most connections that are asked for at once, and one more to tell whether there are.
pub(super) const AT_ONCE: usize = 1001;

/// What is asked of every node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Question {
    what: What,
    user: Option<u64>,
    kid: Option<String>,
    id: Option<String>,
    after: Option<String>,
    limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    /// Who is connected.
    List,
    /// Send them away.
    Close,
}

/// What a node answers.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Answer {
    /// By their ids, from the cursor on.
    connections: Vec<Item>,
    /// How many there are of those meant: asked for, or sent away.
    total: usize,
    /// Whether there are more behind the last one.
    more: bool,
}

/// What all nodes answered together.
#[derive(Debug, Default)]
pub(super) struct Together {
    pub(super) connections: Vec<Item>,
    pub(super) total: usize,
    /// Whether there are more behind the last one.
    pub(super) more: bool,
    /// The names of nodes that did not answer.
    pub(super) unanswered: BTreeSet<String>,
}

/// All nodes: this one, and the others where there are any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Everywhere<'a> {
    pub(super) hub: &'a Hub,
    pub(super) neighbours: Option<&'a Neighbours>,
}

impl Everywhere<'_> {
    /// Up to `limit` connections of those `wanted` behind `after`, by their ids.
    pub(super) async fn list(
        self,
        wanted: &Wanted,
        after: Option<ConnectionId>,
        limit: usize,
    ) -> Together {
        self.ask(What::List, wanted, after, limit).await
    }

    /// Sends those `wanted` away; `total` is how many were told.
    pub(super) async fn close(self, wanted: &Wanted) -> Together {
        self.ask(What::Close, wanted, None, 0).await
    }

    async fn ask(
        self,
        what: What,
        wanted: &Wanted,
        after: Option<ConnectionId>,
        limit: usize,
    ) -> Together {
        let question = Question {
            what,
            user: wanted.user.map(UserId::get),
            kid: wanted.kid.clone(),
            id: wanted.id.map(|id| id.to_string()),
            after: after.map(|id| id.to_string()),
            limit: (limit + 1).min(AT_ONCE),
        };
        let name = self.neighbours.map(Neighbours::name);
        let mut answers = vec![(name.map(str::to_owned), question.answer(self.hub))];
        let mut unanswered = BTreeSet::new();
        if let Some(neighbours) = self.neighbours
            && let Ok(question) = to_raw_value(&question)
        {
            let heard = neighbours.ask(&question).await;
            unanswered.extend(heard.unanswered);
            for (name, answer) in heard.answers {
                match serde_json::from_str(answer.get()) {
                    Ok(answer) => answers.push((Some(name), Some(answer))),
                    Err(_) => drop(unanswered.insert(name)),
                }
            }
        }
        let answers = answers.into_iter().filter_map(|(name, answer)| Some((name, answer?)));
        Together { unanswered, ..together(answers, limit) }
    }
}

/// Answers another node's question; nothing where it is none of ours.
pub(super) fn answer(hub: &Hub, question: &RawValue) -> Option<Box<RawValue>> {
    let question: Question = serde_json::from_str(question.get()).ok()?;
    to_raw_value(&question.answer(hub)?).ok()
}

impl Question {
    fn answer(&self, hub: &Hub) -> Option<Answer> {
        let user = self.user.map(UserId::new);
        let [id, after] = [&self.id, &self.after].map(|id| id.as_deref().map(ConnectionId::parse));
        // What is named must be what it should be: the rest would be too many.
        if user == Some(None) || id == Some(None) || after == Some(None) {
            return None;
        }
        let (id, after) = (id.flatten(), after.flatten());
        let wanted = Wanted { user: user.flatten(), kid: self.kid.clone(), id };
        if self.what == What::Close {
            let named = wanted.user.is_some() || wanted.id.is_some();
            let total = named.then(|| hub.send_away(&wanted))?;
            return Some(Answer { total, ..Answer::default() });
        }
        let limit = self.limit.min(AT_ONCE);
        let (found, total) = hub.roll(&wanted, after, limit + 1);
        let all = found.len();
        let (mut connections, mut bytes) = (Vec::new(), 0);
        for connected in found.into_iter().take(limit) {
            let names = [&connected.token.jti, &connected.token.kid];
            let names = names.map(|name| name.as_ref().map_or(0, |name| name.len()));
            bytes += ITEM_BYTES + names.iter().sum::<usize>();
            if bytes > ANSWER_BYTES && !connections.is_empty() {
                break;
            }
            connections.push(Item::from(connected));
        }
        Some(Answer { more: all > connections.len(), connections, total })
    }
}

/// Puts answers together: as far as all of them go, `limit` at the most.
fn together(answers: impl IntoIterator<Item = (Option<String>, Answer)>, limit: usize) -> Together {
    let mut all = Together::default();
    // Where one stops short of its end, others may have what comes behind what it has there.
    let mut end: Option<String> = None;
    for (name, Answer { connections, total, more }) in answers {
        all.total = all.total.saturating_add(total);
        all.more |= more;
        if more && let Some(last) = connections.last() {
            end = Some(end.map_or_else(|| last.id.clone(), |end| end.min(last.id.clone())));
        }
        all.connections.extend(connections.into_iter().map(|item| item.at(name.clone())));
    }
    all.connections.retain(|item| end.as_ref().is_none_or(|end| item.id <= *end));
    all.connections.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    all.more |= all.connections.len() > limit;
    all.connections.truncate(limit);
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::hub::{About, Subscription, Wants};

    fn inside(hub: &Arc<Hub>, count: u64, kid: &str) -> Vec<Subscription> {
        let user = |number| UserId::new(1 + number % 7).unwrap();
        let enter = |number| hub.subscribe(About::of(user(number), kid), Wants::Inbox, 999);
        (0..count).map(|number| enter(number).unwrap()).collect()
    }

    fn question(what: What) -> Question {
        Question { what, user: None, kid: None, id: None, after: None, limit: AT_ONCE }
    }

    #[test]
    fn pages_of_several_nodes_are_read_as_those_of_one() {
        let hubs = [Hub::new(), Hub::new(), Hub::new()];
        // Names so long that one node's answer stops short of what was asked for.
        let long = "k".repeat(1000);
        let held = [inside(&hubs[0], 500, &long), inside(&hubs[1], 50, "k"), Vec::new()];
        let mut there: Vec<String> =
            held.iter().flatten().map(|one| one.connection().to_string()).collect();
        there.sort_unstable();
        for limit in [7, 400, AT_ONCE - 1] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let question = Question { after, limit: limit + 1, ..question(What::List) };
                let answers = hubs.iter().zip(["a", "b", "c"]).map(|(hub, name)| {
                    let answer = question.answer(hub).unwrap();
                    let text = serde_json::to_string(&answer).unwrap();
                    assert!(text.len() < ANSWER_BYTES + 2 * ITEM_BYTES, "{}", text.len());
                    (Some(name.to_owned()), serde_json::from_str(&text).unwrap())
                });
                let page = together(answers, limit);
                assert_eq!(page.total, there.len());
                assert!(page.connections.len() <= limit && !page.connections.is_empty());
                after = page.connections.last().map(|last| last.id.clone());
                seen.extend(page.connections.into_iter().map(|item| item.id));
                if !page.more {
                    break;
                }
            }
            assert_eq!(seen, there, "{limit} at a time");
        }
    }

    #[test]
    fn nobody_is_sent_away_who_was_not_meant() {
        let hub = Hub::new();
        let held = inside(&hub, 14, "k");
        let asked = |question: &str| {
            let question = RawValue::from_string(question.to_owned()).unwrap();
            answer(&hub, &question).map(|answer| answer.get().to_owned())
        };
        let form = |user: &str, id: &str, what: &str| {
            format!(
                r#"{{"what":"{what}","user":{user},"kid":null,"id":{id},"after":null,"limit":1}}"#
            )
        };
        for bad in [
            form("null", "null", "close"),
            form("0", "null", "close"),
            form("9007199254740992", "null", "close"),
            form("null", "\"x\"", "close"),
            form("1", "\"\"", "close"),
            form("1", "null", "open"),
            form("1", "null", "close").replace("null,\"limit", "\"?\",\"limit"),
            "{}".to_owned(),
            "[]".to_owned(),
            "null".to_owned(),
        ] {
            assert_eq!(asked(&bad), None, "{bad}");
        }
        assert!(held.iter().all(|one| !one.is_sent_away()));
        let answer = asked(&form("1", "null", "close")).unwrap();
        assert_eq!(answer, r#"{"connections":[],"total":2,"more":false}"#);
        assert_eq!(held.iter().filter(|one| one.is_sent_away()).count(), 2);
    }
}
