//! Answers that come in several messages.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{Client, Message, SubscribeError, Subscriber};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

/// The most messages in one answer, with its end.
const ANSWER: usize = 1025;

/// One subscription for all answers: the last token of a subject says whose it is.
pub(super) struct Replies {
    inbox: String,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, mpsc::Sender<Message>>>,
}

impl Replies {
    /// Subscribes, and gives what has to run for as long as answers are wanted.
    pub(super) async fn new(
        client: &Client,
    ) -> Result<(Arc<Self>, impl Future<Output = ()> + use<>), SubscribeError> {
        Self::at(client, client.new_inbox()).await
    }

    /// The same where answers come to subjects below `inbox`.
    pub(super) async fn at(
        client: &Client,
        inbox: String,
    ) -> Result<(Arc<Self>, impl Future<Output = ()> + use<>), SubscribeError> {
        let answers = client.subscribe(format!("{inbox}.*")).await?;
        let waiting = Mutex::default();
        let replies = Arc::new(Self { inbox, next: AtomicU64::new(1), waiting });
        Ok((Arc::clone(&replies), replies.sort(answers)))
    }

    /// A place for an answer.
    pub(super) fn expect(self: &Arc<Self>) -> Answer {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, messages) = mpsc::channel(ANSWER);
        self.waiting().insert(number, sender);
        let subject = format!("{}.{number}", self.inbox);
        Answer { subject, messages, number, replies: Arc::clone(self) }
    }

    async fn sort(self: Arc<Self>, mut answers: Subscriber) {
        while let Some(message) = answers.next().await {
            let number = message.subject.rsplit('.').next().and_then(|number| number.parse().ok());
            let waiting = number.and_then(|number: u64| self.waiting().get(&number).cloned());
            if let Some(waiting) = waiting {
                // Who did not expect so much finds no end, and asks again.
                let _ = waiting.try_send(message);
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Message>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that is awaited.
pub(super) struct Answer {
    /// Where it is to be sent.
    pub(super) subject: String,
    /// Its messages.
    pub(super) messages: mpsc::Receiver<Message>,
    number: u64,
    replies: Arc<Replies>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.replies.waiting().remove(&self.number);
    }
}
