//! How far streams reach and what is in them, and who has them: what their leaders say.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use async_nats::jetstream::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::clocks;
use super::connect::LONG_ANSWER;
use super::reads::Reads;
use crate::store::StoreError;

/// How long a look at a stream may take.
const GLANCE: Duration = Duration::from_secs(2);

/// Between two looks at a stream whose leader did not answer.
const AGAIN: Duration = Duration::from_millis(100);

/// How long ago a leader may have heard of a replica that is there: they speak every second.
pub(super) const UNHEARD: Duration = Duration::from_secs(5);

/// How far a stream reaches.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Reach {
    /// The first sequence that is still there.
    #[serde(rename = "first_seq")]
    pub(super) first: u64,
    /// The last one given.
    #[serde(rename = "last_seq")]
    pub(super) last: u64,
}

#[derive(Deserialize)]
struct Info {
    config: Made,
    state: State,
    /// Nothing where there is one server.
    #[serde(default)]
    cluster: Option<Kept>,
    /// What time it is there.
    #[serde(default)]
    ts: String,
}

impl Info {
    /// Whether the leader said it, when it was up to date. Others answer, too: whoever hears of
    /// no leader, and for ten seconds after its start the server that was preferred to lead when
    /// the stream was made. Both may lack what was acknowledged, and neither says since when it
    /// leads.
    fn is_the_leaders(&self) -> bool {
        self.config.num_replicas <= 1
            || self.cluster.as_ref().is_some_and(|cluster| cluster.leader_since.is_some())
    }
}

/// How a stream was made, or changed.
#[derive(Deserialize)]
struct Made {
    num_replicas: u64,
}

/// Who keeps a stream beside its leader.
#[derive(Default, Deserialize)]
struct Kept {
    /// Since when the server that says this leads: from when on it had all that was acknowledged.
    #[serde(default)]
    leader_since: Option<String>,
    #[serde(default)]
    replicas: Vec<Replica>,
}

#[derive(Deserialize)]
struct Replica {
    current: bool,
    #[serde(default)]
    offline: bool,
    /// How many nanoseconds ago the leader heard of it.
    #[serde(default)]
    active: u64,
}

impl Kept {
    /// Whether the leader has a majority. One that is cut off leads on for some time, and
    /// nothing can be written.
    fn is_led_by_many(&self) -> bool {
        let heard = self.replicas.iter().filter(|it| it.is_heard());
        // The leader counts for itself.
        heard.count() * 2 >= self.replicas.len()
    }
}

impl Replica {
    fn is_heard(&self) -> bool {
        Duration::from_nanos(self.active) < UNHEARD
    }
}

/// How a stream is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Glance {
    /// The last sequence given.
    pub(super) last: u64,
    /// How many servers have all of it.
    pub(super) copies: u64,
    /// How many should.
    pub(super) wanted: u64,
    /// Whether it can be written: its leader has a majority.
    pub(super) is_led: bool,
    /// By how many seconds the clock of this machine is ahead of its leader's.
    pub(super) ahead: Option<f64>,
}

#[derive(Deserialize)]
struct State {
    #[serde(flatten)]
    reach: Reach,
    #[serde(default)]
    messages: u64,
    #[serde(default)]
    subjects: BTreeMap<String, u64>,
}

impl Reads {
    /// How far a stream reaches and who has it, if its leader says so at once.
    pub(super) async fn glance(&self, stream: &str) -> Result<Glance, StoreError> {
        let everything = json!({});
        let looking = async {
            loop {
                let subject = format!("STREAM.INFO.{stream}");
                let (asked, began) = (SystemTime::now(), Instant::now());
                let request = self.context.request::<_, _, Response<Info>>(subject, &everything);
                match request.await {
                    Ok(Response::Ok(info)) if info.is_the_leaders() => {
                        let ahead = clocks::ahead(asked, began.elapsed(), &info.ts);
                        return Ok((info, ahead));
                    }
                    // Somebody has spoken in the place of the leader.
                    Ok(Response::Ok(_)) => sleep(AGAIN).await,
                    _ => return Err(StoreError::Unavailable),
                }
            }
        };
        let info = timeout(GLANCE, looking).await.map_err(|_| StoreError::Unavailable)?;
        let (Info { config, state, cluster, .. }, ahead) = info?;
        let cluster = cluster.unwrap_or_default();
        let is_led = cluster.is_led_by_many();
        let others =
            cluster.replicas.iter().filter(|it| it.current && !it.offline && it.is_heard());
        // And the leader, who answers.
        let copies = 1 + others.count() as u64;
        let wanted = config.num_replicas;
        Ok(Glance { last: state.reach.last, copies, wanted, is_led, ahead })
    }

    /// How far a stream reaches, as its leader knows it.
    pub(super) async fn reach(&self, stream: &str) -> Result<Reach, StoreError> {
        Ok(self.info(stream, json!({}), None).await?.state.reach)
    }

    /// How many messages are in a stream, whoever can read them, and its last sequence.
    pub(super) async fn count(&self, stream: &str) -> Result<(u64, u64), StoreError> {
        let state = self.info(stream, json!({}), None).await?.state;
        Ok((state.messages, state.reach.last))
    }

    /// Whether there is anything in a stream that `filter` matches, whoever can read it.
    pub(super) async fn has(&self, stream: &str, filter: &str) -> Result<bool, StoreError> {
        let ask = json!({ "subjects_filter": filter });
        Ok(!self.info(stream, ask, None).await?.state.subjects.is_empty())
    }

    /// The subjects of a stream that `filter` matches, in their order.
    pub(super) async fn subjects(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<Vec<String>, StoreError> {
        let mut subjects = Vec::new();
        loop {
            let ask = json!({ "subjects_filter": filter, "offset": subjects.len() });
            let page = self.info(stream, ask, Some(LONG_ANSWER)).await?.state.subjects;
            if page.is_empty() {
                return Ok(subjects);
            }
            subjects.extend(page.into_keys());
        }
    }

    async fn info(
        &self,
        stream: &str,
        ask: Value,
        long: Option<Duration>,
    ) -> Result<Info, StoreError> {
        let subject = format!("STREAM.INFO.{stream}");
        let info = self.ask_for(subject, &ask, long, Info::is_the_leaders).await?;
        info.ok_or(StoreError::Unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(config: &Value, cluster: &Value) -> bool {
        let state = json!({ "first_seq": 1, "last_seq": 7, "messages": 7 });
        let info = json!({ "config": config, "state": state, "cluster": cluster });
        serde_json::from_value::<Info>(info).unwrap().is_the_leaders()
    }

    #[test]
    fn only_who_leads_says_how_far_a_stream_reaches() {
        let (one, three) = (json!({ "num_replicas": 1 }), json!({ "num_replicas": 3 }));
        let replicas = json!([
            { "name": "n1", "current": true, "active": 0, "lag": 1 },
            { "name": "n2", "current": true, "active": 0 },
        ]);
        let since = "2026-08-21T13:50:11.1Z";
        let leads =
            json!({ "name": "c", "leader": "n0", "leader_since": since, "replicas": replicas });
        assert!(says(&three, &leads));
        assert!(!says(&three, &json!({ "name": "c", "replicas": replicas })), "nobody leads");
        let another = json!({ "name": "c", "leader": "n1", "replicas": replicas });
        assert!(!says(&three, &another), "somebody else does, or whoever says it soon will");
        assert!(!says(&three, &Value::Null));
        // Kept by one server, in a cluster and alone.
        assert!(says(&one, &json!({ "name": "c", "leader": "n0" })));
        assert!(says(&one, &Value::Null));
    }
}
