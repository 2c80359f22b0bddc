//! A future beside others in one task that is polled only when it was woken itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Whatever wakes its task otherwise costs the future nothing: neither a poll nor the locks
/// that one takes.
///
/// A `FuturesUnordered` of one does the same, and holds three times as much for it.
#[derive(Debug)]
pub(super) struct Apart<F> {
    future: F,
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl<F> Apart<F> {
    pub(super) fn new(future: F) -> Self {
        let bell = Bell { rung: AtomicBool::new(true), task: AtomicWaker::new() };
        Self { future, bell: Arc::new(bell) }
    }
}

impl<F: Future + Unpin> Future for Apart<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Before the look: what rings between the two wakes the task again.
        self.bell.task.register(context.waker());
        if !self.bell.rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let waker = Waker::from(Arc::clone(&self.bell));
        Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use futures_util::FutureExt;
    use futures_util::future::select;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_when_it_was_woken_and_not_with_every_poll_of_its_task() {
        let (polls, own) = (AtomicUsize::new(0), Notify::new());
        let mut notified = std::pin::pin!(own.notified());
        let counted = poll_fn(|context| {
            polls.fetch_add(1, Ordering::Relaxed);
            notified.as_mut().poll(context)
        });
        let mut apart = Apart::new(counted);
        for _ in 0..9 {
            assert!((&mut apart).now_or_never().is_none());
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1, "once, so that it can be woken");

        // Its task waits for it and is woken by it, although others come and go beside it.
        let others = std::pin::pin!(async {
            tokio::task::yield_now().await;
            own.notify_one();
            std::future::pending::<()>().await;
        });
        select(&mut apart, others).await;
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }
}
