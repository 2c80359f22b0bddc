//! Every copy of a stream, read by itself: who leads answers for what it has alone.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::nats::Cluster;
use crate::support::{Nodes, PATIENCE, Stranger};

/// Messages that are asked for at once.
const AT_ONCE: usize = 64;

/// How long a server may take to lead that was asked to.
const HANDOVER: Duration = Duration::from_secs(2);

/// Checks that the running servers have the same in these streams.
pub async fn agree(cluster: &Cluster, nodes: &Nodes, streams: &[String]) {
    let stranger = nodes.stranger().await;
    let mut copies = 0;
    for stream in streams {
        let mut first: Option<Vec<Value>> = None;
        for server in cluster.running() {
            lead(cluster, nodes, &stranger, stream, server).await;
            let copy = all(&stranger, stream).await;
            copies += copy.len();
            let same = first.as_ref().is_none_or(|first| *first == copy);
            assert!(same, "n{server} has something else in {stream} than another server");
            first.get_or_insert(copy);
        }
    }
    eprintln!("{copies} entries read in all copies");
}

/// Has a server lead a stream.
pub async fn lead(
    cluster: &Cluster,
    nodes: &Nodes,
    stranger: &Stranger,
    stream: &str,
    server: usize,
) {
    let name = format!("{}-{stream}", nodes.prefix());
    let leads = || cluster.led_by(server).contains(&name);
    let end = Instant::now() + PATIENCE;
    while !leads() {
        assert!(Instant::now() < end, "n{server} does not come to lead {stream}");
        let wish = json!({ "placement": { "preferred": format!("n{server}") } });
        stranger.ask("STREAM.LEADER.STEPDOWN", stream, &wish).await;
        let asked = Instant::now();
        while !leads() && asked.elapsed() < HANDOVER {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// All that the leader of a stream has: by sequence, where something lies there. Asked again where
/// it is not as much as the leader counts: who has just begun to lead may not answer for all of it
/// yet, and what is written meanwhile may take the place of something.
async fn all(stranger: &Stranger, stream: &str) -> Vec<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let (found, wanted) = once(stranger, stream).await;
        if found.len() as u64 == wanted {
            return found;
        }
        assert!(Instant::now() < end, "{stream}: {} of {wanted} can be read", found.len());
    }
}

/// What of a stream can be read now, and how much there is.
async fn once(stranger: &Stranger, stream: &str) -> (Vec<Value>, u64) {
    let state = stranger.ask("STREAM.INFO", stream, &json!({})).await["state"].take();
    let number = |name: &str| state[name].as_u64().unwrap();
    let gets: Vec<_> = (number("first_seq").max(1)..=number("last_seq"))
        .map(|seq| async move {
            let mut answer = stranger.ask("STREAM.MSG.GET", stream, &json!({ "seq": seq })).await;
            answer["message"].take()
        })
        .collect();
    let found: Vec<Value> = stream::iter(gets).buffered(AT_ONCE).collect().await;
    (found.into_iter().filter(|found| !found.is_null()).collect(), number("messages"))
}
