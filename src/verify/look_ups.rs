//! Reads of the database that a request waits for, on a few threads of their own: each keeps one connection's statements and pages
//! warm, and handing a token over costs less than starting a blocking task for it.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, OnceLock, Weak},
};

use tokio::sync::oneshot;

use super::{Inner, Look, Unavailable, Verifier, memory::lock};
use crate::domain::ids::KeyId;

struct Asked {
    id: KeyId,
    token: String,
    answer: oneshot::Sender<Result<Look, Unavailable>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Asked>,
    closed: bool,
}

/// Tokens that wait to be looked up.
#[derive(Default)]
pub(super) struct LookUps {
    queue: Mutex<Queue>,
    something: Condvar,
    started: OnceLock<()>,
}

impl LookUps {
    /// Ends the threads; who still waits is told that no answer can be given.
    pub(super) fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        queue.waiting.clear();
        self.something.notify_all();
    }

    fn next(&self) -> Option<Asked> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.closed {
                return None;
            }
            if let Some(asked) = queue.waiting.pop_front() {
                return Some(asked);
            }
            queue = self.something.wait(queue).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

impl Verifier {
    /// What the database says of a token.
    pub(super) async fn ask_database(&self, id: KeyId, token: &str) -> Result<Look, Unavailable> {
        let look_ups = &self.0.look_ups_waiting;
        look_ups.started.get_or_init(|| self.start_readers());
        let (answer, told) = oneshot::channel();
        {
            let mut queue = lock(&look_ups.queue);
            if queue.closed {
                return Err(Unavailable);
            }
            queue.waiting.push_back(Asked { id, token: token.to_owned(), answer });
        }
        look_ups.something.notify_one();
        told.await.unwrap_or(Err(Unavailable))
    }

    fn start_readers(&self) {
        // Reading SQLite is work for the processor; a server is waited for, and one slow answer must not hold up the others.
        let threads = if self.0.shared { 6 } else { 2 };
        for _ in 0..threads {
            let (queue, inner) = (Arc::clone(&self.0.look_ups_waiting), Arc::downgrade(&self.0));
            if let Err(error) = std::thread::Builder::new().name("look-ups".into()).spawn(move || serve(&queue, &inner)) {
                tracing::error!(%error, "no thread for look-ups: keys that are not in memory cannot be verified");
                // Nobody may wait for threads that are not there.
                self.0.look_ups_waiting.close();
            }
        }
    }
}

fn serve(queue: &LookUps, inner: &Weak<Inner>) {
    while let Some(asked) = queue.next() {
        let Some(inner) = inner.upgrade() else { return };
        let verifier = Verifier(inner);
        // A fault in one look-up is that request's alone.
        let answer = catch_unwind(AssertUnwindSafe(|| verifier.look_up(asked.id, &asked.token))).unwrap_or(Err(Unavailable));
        // Whoever asked may have gone.
        let _ = asked.answer.send(answer);
    }
}
