//! The only place that reads the time.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use chrono::Duration;

use crate::domain::time::{Time, cut};

/// Tells the time: the system's, or one that a test moves by hand.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The operating system's clock.
    System,
    /// A clock that stands still until it is moved.
    Fixed(Arc<Mutex<Time>>),
}

impl Clock {
    /// A clock that stands at `start`.
    pub fn fixed(start: Time) -> Self {
        Self::Fixed(Arc::new(Mutex::new(cut(start))))
    }

    /// The moment, cut to microseconds.
    #[allow(clippy::disallowed_methods)]
    pub fn now(&self) -> Time {
        match self {
            Self::System => cut(chrono::Utc::now()),
            Self::Fixed(at) => *at.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a fixed clock on (or back); the system's stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Self::Fixed(at) = self {
            let mut at = at.lock().unwrap_or_else(PoisonError::into_inner);
            *at += by;
        }
    }
}

/// How far this machine's clock is from the database server's, as it was last measured; a file has no clock of its own.
#[derive(Debug, Default)]
pub struct Skew(AtomicI64);

impl Skew {
    /// What a process may be off by, in seconds.
    pub const MOST: i64 = 30;

    /// Remembers a measurement.
    pub fn set(&self, by: Duration) {
        self.0.store(by.abs().num_seconds(), Ordering::Relaxed);
    }

    /// The seconds, where they are too many to answer by.
    pub fn too_large(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|seconds| *seconds > Self::MOST)
    }
}

/// Seconds since the machine started, counting time asleep: for how old a memory is, whatever the wall clock does.
pub fn uptime() -> std::time::Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    std::time::Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}
