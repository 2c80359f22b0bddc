//! `GET /admin/backup`, `/admin/export` and `/admin/users/{id}/export`: data on their way out.

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;
use tracing::error;

use super::answer::{self, Broken};
use super::{Admin, Call};
use crate::admin::{Act, ExportLines, Who};
use crate::ids::UserId;
use crate::server::refusal::Refusal;
use crate::server::routes::Answer;
use crate::store::StoreError;

/// Bytes of no kind that a browser would show.
const BYTES: &str = "application/octet-stream";

impl Admin {
    /// A copy of everything, while messages are stored.
    pub(super) async fn backup(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        call.without_body()?;
        let store = &self.service()?.context.store;
        let act = Act::new("backup");
        self.note(&call.who, &act).await?;
        let backup = self.begun(&call.who, &act, store.backup().await).await?;
        Ok(self.flow(BYTES, backup.chunks, Some))
    }

    /// Everything, or all that concerns one user, as JSON lines.
    pub(super) async fn export(
        &self,
        call: Call<'_>,
        whose: Option<UserId>,
    ) -> Result<Answer, Refusal> {
        call.without_body()?;
        let store = &self.service()?.context.store;
        let act = match whose {
            Some(user) => Act::new("user.export").with("user", user.get()),
            None => Act::new("export"),
        };
        self.note(&call.who, &act).await?;
        let export = self.begun(&call.who, &act, store.export(whose).await).await?;
        let mut lines = ExportLines::begin(whose, &export);
        let lines = move |piece| {
            let text = lines.add(piece);
            (!text.is_empty()).then(|| Bytes::from(text))
        };
        Ok(self.flow(answer::LINES, export.pieces, lines))
    }

    /// Writes down that nothing came of an act where the store does not begin it.
    async fn begun<T>(
        &self,
        who: &Who,
        act: &Act,
        begun: Result<T, StoreError>,
    ) -> Result<T, Refusal> {
        match begun {
            Ok(begun) => Ok(begun),
            Err(cause) => {
                error!(error = %cause, "the store cannot be read");
                self.note(who, &act.failed(&cause.to_string())).await?;
                Err(Refusal::Unavailable("the store cannot be read; the server's log says why"))
            }
        }
    }

    /// Hands on what the store gives. A server that stops does not wait for it: what is not
    /// whole says so itself.
    fn flow<T: Send + 'static>(
        &self,
        kind: &'static str,
        mut pieces: Receiver<Result<T, StoreError>>,
        mut bytes: impl FnMut(T) -> Option<Bytes> + Send + 'static,
    ) -> Answer {
        let (flow, answer) = answer::flowing(kind);
        let shutdown = self.shutdown.clone();
        self.calls.spawn(async move {
            loop {
                let piece = tokio::select! {
                    piece = pieces.recv() => piece,
                    () = shutdown.cancelled() => Some(Err(StoreError::Unavailable)),
                };
                let piece = match piece {
                    Some(Ok(piece)) => match bytes(piece) {
                        Some(bytes) => Ok(bytes),
                        None => continue,
                    },
                    Some(Err(cause)) => {
                        error!(error = %cause, "a stream of data was broken off");
                        Err(Broken)
                    }
                    None => return,
                };
                let is_last = piece.is_err();
                // A client that is gone wants no more.
                if flow.send(piece).await.is_err() || is_last {
                    return;
                }
            }
        });
        answer
    }
}
