//! Words for what hyper answers by itself: a head that it cannot read never comes to us, and
//! its answer to one has no body and none of the headers that all of ours have.

use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::refusal::Refusal;
use super::stream::Stream;

/// A stream under hyper until it is upgraded.
#[derive(Debug)]
pub(super) struct Worded {
    stream: Stream,
    /// What is still to go out in the place of an answer of hyper's own.
    instead: Vec<u8>,
}

impl Worded {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, instead: Vec::new() }
    }

    /// The stream, on which something else is spoken from now on.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }
}

impl AsyncRead for Worded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Worded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.instead.is_empty() {
            match instead_of(bytes) {
                Some(instead) => this.instead = instead,
                None => return Pin::new(&mut this.stream).poll_write(context, bytes),
            }
        }
        while !this.instead.is_empty() {
            let sent = Pin::new(&mut this.stream).poll_write(context, &this.instead);
            let sent = ready!(sent)?.min(this.instead.len());
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.instead.drain(..sent);
        }
        // Nothing comes behind such an answer.
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What goes out where hyper answers by itself; nothing where `bytes` are an answer of ours,
/// all of which say for how long they may be kept, or the middle of one.
fn instead_of(bytes: &[u8]) -> Option<Vec<u8>> {
    let refusal = match bytes.get(..b"HTTP/1.1 400 ".len())? {
        b"HTTP/1.1 400 " => Refusal::Malformed("the request cannot be read"),
        b"HTTP/1.1 431 " => Refusal::HeadTooLarge,
        _ => return None,
    };
    let head = str::from_utf8(bytes.strip_suffix(b"\r\n\r\n")?).ok()?;
    let has = |name: &str| head.split("\r\n").any(|line| line.starts_with(name));
    if has("cache-control: ") || !has("content-length: 0") {
        return None;
    }
    let date = head.split("\r\n").find(|line| line.starts_with("date: "));
    Some(written(&refusal.response(), date))
}

/// An answer as it stands on the wire.
fn written(answer: &Response<String>, date: Option<&str>) -> Vec<u8> {
    let (status, body) = (answer.status(), answer.body());
    let reason = status.canonical_reason().unwrap_or_default();
    let mut text = format!("HTTP/1.1 {} {reason}\r\n", status.as_str());
    for (name, value) in answer.headers() {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    let _ = write!(text, "content-length: {}\r\n", body.len());
    if let Some(date) = date {
        let _ = write!(text, "{date}\r\n");
    }
    let _ = write!(text, "\r\n{body}");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hypers(status: &str) -> String {
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\ndate: D\r\n\r\n")
    }

    #[test]
    fn what_hyper_answers_has_the_form_of_all_refusals() {
        for (status, code) in [
            ("400 Bad Request", "bad_request"),
            ("431 Request Header Fields Too Large", "head_too_large"),
        ] {
            let text = String::from_utf8(instead_of(hypers(status).as_bytes()).unwrap()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
            for line in ["connection: close", "cache-control: no-store", "date: D"] {
                assert_eq!(head.split("\r\n").filter(|one| *one == line).count(), 1, "{head}");
            }
            assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
            assert!(body.contains(code), "{body}");
        }
    }

    #[test]
    fn nothing_else_is_touched() {
        let ours = written(&Refusal::Malformed("x").response(), None);
        let two = hypers("400 Bad Request").repeat(2);
        for bytes in [
            ours.as_slice(),
            b"",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            hypers("200 OK").as_bytes(),
            &two.as_bytes()[1..],
        ] {
            assert!(instead_of(bytes).is_none(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
