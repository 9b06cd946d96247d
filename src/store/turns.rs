//! The turns of those who write to an SQLite file from this process. SQLite lets one write at a time and has the others look
//! again after pauses that grow: who writes again and again leaves them next to no moment. Here they go in the order in which they
//! came.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a writer waits for its turn: as long as SQLite's own busy timeout.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who writes, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Turns {
    queue: Mutex<Queue>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    taken: bool,
    waiting: VecDeque<u64>,
    came: u64,
}

/// The right to write, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn; `None` where those before took too long.
    pub(super) fn take(&self) -> Option<Turn<'_>> {
        let until = Instant::now() + PATIENCE;
        let mut queue = self.queue();
        queue.came += 1;
        let me = queue.came;
        queue.waiting.push_back(me);
        while queue.taken || queue.waiting.front() != Some(&me) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                queue.waiting.retain(|other| *other != me);
                self.moved.notify_all();
                return None;
            }
            queue = self.moved.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.waiting.pop_front();
        queue.taken = true;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.queue().taken = false;
        self.0.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, thread, time::Duration};

    use super::Turns;

    #[test]
    fn writers_go_in_the_order_in_which_they_came_and_one_at_a_time() {
        let (turns, order) = (Turns::default(), Mutex::new(Vec::new()));
        let first = turns.take();
        thread::scope(|scope| {
            for n in 0..8 {
                let (turns, order) = (&turns, &order);
                scope.spawn(move || {
                    let _turn = turns.take();
                    order.lock().map(|mut order| order.push(n)).ok();
                });
                while turns.queue().waiting.len() < n + 1 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            assert!(order.lock().is_ok_and(|order| order.is_empty()), "nobody writes while another does");
            drop(first);
        });
        assert_eq!(order.into_inner().ok(), Some((0..8).collect()));
    }
}
