//! An echo behind the server's own handshake and on its own WebSockets, for test suites of
//! others (`examples/echo.rs`). No part of the server uses it.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::handshake;
use super::socket::WebSocket;
use super::stream::Stream;
use super::upgrade::switching;
use super::watched::Watched;
use crate::config;

/// The suites' largest messages are 16 MiB.
const FRAME_BYTES: usize = 16 << 20;

const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends back whatever comes over any connection, without TLS and without a token.
///
/// # Errors
/// The listener gives no more connections.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let tasks = TaskTracker::new();
    loop {
        let (tcp, _) = listener.accept().await?;
        let _ = tcp.set_nodelay(true);
        let echoes = tasks.clone();
        tasks.spawn(async move { greet(tcp, echoes).await });
    }
}

/// Answers the handshake; what was upgraded goes on as a task of its own.
async fn greet(tcp: TcpStream, echoes: TaskTracker) {
    let stream = TokioIo::new(Stream::Plain(Watched::new(tcp, WRITE_TIMEOUT)));
    let service = service_fn(|request| {
        let answer = answer(request, &echoes);
        async move { Ok::<_, Infallible>(answer) }
    });
    // Who breaks off has nothing more to say.
    let _ = http1::Builder::new().serve_connection(stream, service).with_upgrades().await;
}

fn answer(mut request: Request<Incoming>, echoes: &TaskTracker) -> Response<String> {
    let switch = hyper::upgrade::on(&mut request);
    let (uri, headers) = (request.uri(), request.headers());
    let checked = handshake::check(request.method(), uri.path(), uri.query(), headers, &[]);
    match checked.and_then(|handshake| switching(&handshake)) {
        Ok(answer) => {
            echoes.spawn(async move {
                let Ok(upgraded) = switch.await else { return };
                let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>() else { return };
                let limits =
                    config::Limits { frame_bytes: FRAME_BYTES, ..config::Limits::default() };
                WebSocket::new(parts.io.into_inner(), parts.read_buf, &limits).await.echo().await;
            });
            answer.map(|()| String::new())
        }
        Err(refusal) => refusal.response(),
    }
}
