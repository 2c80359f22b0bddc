//! `GET /admin/nodes`: how each node is, asked of all.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::status::Store;
use super::{Admin, Call, Service, answer};
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;

/// How many bytes a word of another node may have: a version, or why it stores nothing.
const WORDS: usize = 1024;

/// What is asked of every node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    what: What,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    /// How it is.
    Status,
}

/// How a node is. Of one of a later version what is not known here is left out.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    version: String,
    uptime_seconds: u64,
    connections: u64,
    users: u64,
    /// What stands in its files and was refused.
    not_in_force: Vec<String>,
    store: Store,
}

#[derive(Debug, Serialize)]
struct Node {
    /// Its name; none where there can be no others.
    node: Option<String>,
    #[serde(flatten)]
    state: State,
}

#[derive(Debug, Serialize)]
struct Nodes {
    /// By their names.
    nodes: Vec<Node>,
    /// The names of those that did not answer.
    unanswered: BTreeSet<String>,
}

impl Admin {
    pub(super) async fn nodes(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        call.without_body()?;
        let service = self.service()?;
        let mut nodes = vec![Node { node: service.node(), state: self.state(service) }];
        let mut unanswered = BTreeSet::new();
        if let Some(neighbours) = &service.neighbours
            && let Ok(question) = to_raw_value(&Question { what: What::Status })
        {
            let heard = neighbours.ask(&question).await;
            unanswered.extend(heard.unanswered);
            for (name, answer) in heard.answers {
                match State::read(&answer) {
                    Some(state) => nodes.push(Node { node: Some(name), state }),
                    None => drop(unanswered.insert(name)),
                }
            }
        }
        nodes.sort_by(|one, other| one.node.cmp(&other.node));
        Ok(answer::json(&Nodes { nodes, unanswered }))
    }

    /// The answer to another node that asks how this one is; nothing where it asks something
    /// else.
    pub(super) fn told(&self, question: &RawValue) -> Option<Box<RawValue>> {
        let Question { what: What::Status } = serde_json::from_str(question.get()).ok()?;
        to_raw_value(&self.state(self.service.get()?)).ok()
    }

    fn state(&self, service: &Service) -> State {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        State {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.started.elapsed().as_secs(),
            connections: count(service.hub.connections()),
            users: count(service.hub.users()),
            not_in_force: self.reload.not_in_force().into_iter().map(str::to_owned).collect(),
            store: service.context.store.health().into(),
        }
    }
}

impl State {
    /// What another node says of itself; nothing where it would spoil a terminal.
    fn read(answer: &RawValue) -> Option<Self> {
        let state: Self = serde_json::from_str(answer.get()).ok()?;
        let sane = |word: &String| word.len() <= WORDS && !word.chars().any(char::is_control);
        let mut words = state.not_in_force.iter().chain([&state.version]).chain(&state.store.why);
        let sane = words.all(sane);
        drop(words);
        sane.then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_of_itself_is_held_to_its_form() {
        let read = |text: &str| State::read(&RawValue::from_string(text.to_owned()).unwrap());
        let good = r#"{"version":"1.2.3","uptimeSeconds":7,"connections":2,"users":1,
            "notInForce":["keys"],"store":{"health":"readOnly","why":"no leader"},"later":[]}"#;
        let state = read(good).unwrap();
        let again: serde_json::Value = serde_json::to_value(&state).unwrap();
        let mut expected: serde_json::Value = serde_json::from_str(good).unwrap();
        expected.as_object_mut().unwrap().remove("later");
        assert_eq!(again, expected);
        let long = format!("\"{}\"", "x".repeat(WORDS + 1));
        for (from, to) in [
            ("\"1.2.3\"", "1"),
            ("\"1.2.3\"", "\"1\\u001b[2J\""),
            ("\"1.2.3\"", &long),
            ("\"keys\"", "\"\\r\""),
            ("\"no leader\"", "\"no\\nleader\""),
            ("readOnly", "fine"),
            ("\"users\":1", "\"users\":-1"),
            ("\"users\":1,", ""),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            assert!(read(&bad).is_none(), "{bad}");
        }
    }
}
