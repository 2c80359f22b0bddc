//! What an administrator's call is answered with: JSON, or lines of it one by one.

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use tokio::sync::mpsc;
use warp::Reply;

use crate::server::refusal::mark;
use crate::server::routes::Answer;

/// Why a stream ends before it is whole. The connection is then cut, so that nobody takes
/// a part for all of it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the stream was broken off")]
pub(super) struct Broken;

/// What flows to the client: the sender waits while that takes nothing.
pub(super) type Flow = mpsc::Sender<Result<Bytes, Broken>>;

/// Pieces under way to a client.
const PIECES: usize = 16;

/// 200.
pub(super) fn json(value: &impl Serialize) -> Answer {
    // Texts, numbers and lists always have a JSON form.
    let text = serde_json::to_string(value).unwrap_or_default();
    marked(http::Response::new(text.into()), "application/json")
}

/// 200, with a body that is made while it is read.
pub(super) fn flowing(kind: &'static str) -> (Flow, Answer) {
    let (flow, mut pieces) = mpsc::channel(PIECES);
    let pieces = stream::poll_fn(move |context| pieces.poll_recv(context));
    (flow, marked(warp::reply::stream(pieces).into_response(), kind))
}

/// One JSON value a line.
pub(super) const LINES: &str = "application/jsonl";

fn marked(mut answer: Answer, kind: &'static str) -> Answer {
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    mark(answer.headers_mut());
    answer
}
