//! The other nodes: which there are, and what they all answer to a question.
//!
//! There is no list of nodes and no stream for it. Each says once a second that it is there,
//! where all hear it, and who has not been heard of for a while is forgotten. So a question
//! waits for those alone that may answer, and who did not answer has a name.
//!
//! What is heard comes from whoever may publish below our prefix, who could write messages as
//! well: it is held to its form, and what it says is looked at by those who asked.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

use super::replies::Replies;
use super::shared::Shared;
use crate::store::StoreError;
use crate::ticks::every;

/// The version of this form.
const VERSION: u8 = 1;

/// How often a node says that it is there.
const EVERY: Duration = Duration::from_secs(1);

/// So many of these times it may not be heard before it is forgotten: long enough for one that
/// hangs to be missed by whoever asks, short enough for one that was killed.
const MISSED: u32 = 30;

/// How long answers are waited for. They are a look into memory away.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the farewell may take to be on its way.
const FAREWELL: Duration = Duration::from_millis(500);

/// Nodes that are known at the most; nobody runs so many, but somebody may say so.
const NODES: usize = 1000;

/// How long a node's name may be, in bytes.
const NAME: usize = 255;

/// Answers a question: nothing where it is none.
type Answering = Box<dyn Fn(&RawValue) -> Option<Box<RawValue>> + Send + Sync>;

/// The other nodes, and this one among them.
pub struct Neighbours {
    shared: Arc<Shared>,
    replies: Arc<Replies>,
    /// By which a node is told from others, also from itself before a restart.
    node: u64,
    /// Set once this one can answer. Before, it is nobody's neighbour.
    place: OnceLock<(String, Answering)>,
    ready: Notify,
    left: AtomicBool,
    known: Mutex<HashMap<u64, Known>>,
}

struct Known {
    name: String,
    missed: u32,
}

/// What the others answered.
#[derive(Debug, Default)]
pub struct Heard {
    /// Each by the name of its node.
    pub answers: Vec<(String, Box<RawValue>)>,
    /// The names of the nodes that did not answer.
    pub unanswered: Vec<String>,
}

/// What a node says: of itself, to a question, or as one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spoken<'a> {
    version: u8,
    node: u64,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    said: &'a RawValue,
}

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Presence {
    /// It wants to know who is there.
    Who,
    Here,
    Bye,
}

impl fmt::Debug for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.known().len();
        f.debug_struct("Neighbours").field("known", &known).finish_non_exhaustive()
    }
}

impl Neighbours {
    /// Begins to listen. The future listens and answers, and says that this node is there.
    pub(super) async fn new(
        shared: &Arc<Shared>,
    ) -> Result<(Arc<Self>, impl Future<Output = ()> + use<>), StoreError> {
        let (names, node) = (&shared.log.names, fastrand::u64(..));
        let presence = shared.client.subscribe(names.presence()).await;
        let questions = shared.client.subscribe(names.questions()).await;
        let unavailable = |_| StoreError::Unavailable;
        let heard = (presence.map_err(unavailable)?, questions.map_err(unavailable)?);
        let replies = Replies::at(&shared.client, names.answers(node)).await;
        let (replies, sorting) = replies.map_err(unavailable)?;
        let neighbours = Arc::new(Self {
            shared: Arc::clone(shared),
            replies,
            node,
            place: OnceLock::new(),
            ready: Notify::new(),
            left: AtomicBool::new(false),
            known: Mutex::default(),
        });
        let living = Arc::clone(&neighbours).run(heard.0, heard.1);
        let running = async move {
            tokio::join!(living, sorting);
        };
        Ok((neighbours, running))
    }

    /// Has questions of the others answered by `answer`, and is one of them from now on, by
    /// this name.
    pub fn settle(
        &self,
        name: String,
        answer: impl Fn(&RawValue) -> Option<Box<RawValue>> + Send + Sync + 'static,
    ) {
        let _ = self.place.set((name, Box::new(answer)));
        if self.known().values().any(|known| known.name == self.name()) {
            self.warn_of_namesake();
        }
        self.ready.notify_one();
    }

    /// What this node is called.
    pub fn name(&self) -> &str {
        self.place.get().map_or("", |(name, _)| name)
    }

    /// Asks all others, and waits for those that are known, a second at the most.
    pub async fn ask(&self, question: &RawValue) -> Heard {
        let mut waiting: HashMap<u64, String> =
            self.known().iter().map(|(node, known)| (*node, known.name.clone())).collect();
        let mut answers = Vec::new();
        if !waiting.is_empty() {
            let mut expected = self.replies.expect();
            let (to, reply) = (self.shared.log.names.questions(), expected.subject.clone());
            let deadline = Instant::now() + PATIENCE;
            let asked = self.is_connected()
                && match self.spoken(question) {
                    Some(spoken) => {
                        self.shared.client.publish_with_reply(to, reply, spoken).await.is_ok()
                    }
                    None => false,
                };
            while asked && !waiting.is_empty() {
                let answer = timeout_at(deadline, expected.messages.recv()).await;
                let Ok(Some(Message { payload, .. })) = answer else { break };
                if let Some(spoken) = Spoken::read(&payload)
                    && let Some(name) = waiting.remove(&spoken.node)
                {
                    answers.push((name, spoken.said.to_owned()));
                }
            }
        }
        let mut unanswered: Vec<String> = waiting.into_values().collect();
        unanswered.sort_unstable();
        Heard { answers, unanswered }
    }

    /// Takes leave of the others, so that nobody waits for this one.
    pub(super) async fn leave(&self) {
        if self.place.get().is_some() && !self.left.swap(true, Ordering::Relaxed) {
            let leaving = async {
                self.say(Presence::Bye).await;
                let _ = self.shared.client.flush().await;
            };
            let _ = timeout(FAREWELL, leaving).await;
        }
    }

    async fn run(self: Arc<Self>, mut presence: Subscriber, mut questions: Subscriber) {
        self.say(Presence::Who).await;
        let mut beat = every(EVERY);
        loop {
            tokio::select! {
                said = presence.next() => match said {
                    Some(said) => self.hear(&said.payload).await,
                    None => return,
                },
                asked = questions.next() => match asked {
                    Some(Message { payload, reply: Some(reply), .. }) => {
                        self.answer(payload, reply).await;
                    }
                    Some(_) => {}
                    None => return,
                },
                () = self.ready.notified() => self.say_here().await,
                _ = beat.tick() => {
                    self.say_here().await;
                    self.forget();
                }
            }
        }
    }

    async fn hear(&self, payload: &[u8]) {
        let Some(spoken) = Spoken::read(payload).filter(|spoken| spoken.node != self.node) else {
            return;
        };
        match serde_json::from_str(spoken.said.get()) {
            Ok(Presence::Who) => self.say_here().await,
            Ok(Presence::Here) => {
                let mut known = self.known();
                let room = known.len() < NODES;
                match known.entry(spoken.node) {
                    Entry::Occupied(mut entry) => entry.get_mut().missed = 0,
                    Entry::Vacant(entry) if room => {
                        if self.name() == spoken.name {
                            self.warn_of_namesake();
                        }
                        entry.insert(Known { name: spoken.name.into_owned(), missed: 0 });
                    }
                    Entry::Vacant(_) => {}
                }
            }
            Ok(Presence::Bye) => drop(self.known().remove(&spoken.node)),
            Err(_) => {}
        }
    }

    /// Two nodes on one machine are both called after it.
    fn warn_of_namesake(&self) {
        warn!(
            node = self.name(),
            "another node has this name too, and neither the audit log nor `imserver status` can \
             tell them apart: give each its own, store.jetstream.node"
        );
    }

    /// Answers a question of another node.
    async fn answer(self: &Arc<Self>, payload: Bytes, reply: Subject) {
        // Nobody has an answer put where messages lie.
        if !self.shared.log.names.is_answer(&reply) {
            return;
        }
        let me = Arc::clone(self);
        // Off the runtime's threads: it may look at every connection there is.
        let answering = tokio::task::spawn_blocking(move || {
            let asked = Spoken::read(&payload).filter(|spoken| spoken.node != me.node)?;
            let (_, answer) = me.place.get()?;
            me.spoken(&answer(asked.said)?)
        });
        if let Ok(Some(answer)) = answering.await {
            let _ = self.shared.client.publish(reply, answer).await;
        }
    }

    async fn say_here(&self) {
        if self.place.get().is_some() && !self.left.load(Ordering::Relaxed) {
            self.say(Presence::Here).await;
        }
    }

    async fn say(&self, presence: Presence) {
        // Else it would wait for the next connection, and be long over by then.
        if self.is_connected()
            && let Ok(said) = serde_json::value::to_raw_value(&presence)
            && let Some(spoken) = self.spoken(&said)
        {
            let _ = self.shared.client.publish(self.shared.log.names.presence(), spoken).await;
        }
    }

    /// Counts who was not heard of. One who hears nobody himself forgets nobody: they are
    /// there, and do not answer him.
    fn forget(&self) {
        if self.is_connected() {
            self.known().retain(|_, known| {
                known.missed += 1;
                known.missed <= MISSED
            });
        }
    }

    fn spoken(&self, said: &RawValue) -> Option<Bytes> {
        let name = Cow::Borrowed(self.name());
        let spoken = Spoken { version: VERSION, node: self.node, name, said };
        serde_json::to_vec(&spoken).ok().map(Bytes::from)
    }

    fn is_connected(&self) -> bool {
        self.shared.client.connection_state() == State::Connected
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Spoken<'a> {
    /// Nothing where it is not of this form, to the letter.
    fn read(payload: &'a [u8]) -> Option<Self> {
        let spoken: Self = serde_json::from_slice(payload).ok()?;
        let sane = spoken.name.len() <= NAME && !spoken.name.chars().any(char::is_control);
        (spoken.version == VERSION && sane).then_some(spoken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_held_to_its_form() {
        let said = serde_json::value::to_raw_value(&Presence::Here).unwrap();
        let spoken =
            Spoken { version: VERSION, node: u64::MAX, name: "a \"node\"".into(), said: &said };
        let text = serde_json::to_string(&spoken).unwrap();
        let read = Spoken::read(text.as_bytes()).unwrap();
        assert_eq!((read.node, &*read.name, read.said.get()), (u64::MAX, "a \"node\"", "\"here\""));
        for end in 0..text.len() {
            assert!(Spoken::read(&text.as_bytes()[..end]).is_none(), "{end}");
        }
        let long = "x".repeat(NAME + 1);
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("\"version\":1,", ""),
            ("\"version\":1", "\"version\":1,\"more\":1"),
            ("a \\\"node\\\"", "a\\nnode"),
            ("a \\\"node\\\"", &long),
            ("\"node\":18446744073709551615", "\"node\":18446744073709551616"),
            ("\"node\":18446744073709551615", "\"node\":-1"),
            (",\"said\":\"here\"", ""),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            assert!(Spoken::read(changed.as_bytes()).is_none(), "{changed}");
        }
        assert!(serde_json::from_str::<Presence>("\"elsewhere\"").is_err());
    }
}
