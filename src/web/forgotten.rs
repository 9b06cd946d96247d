//! Forgotten passwords: the mails with a link are written after the answer, one after another, so that neither the answer nor its
//! time tells whether an address has an account. A queue with an end, emptied when the process stops.

use std::{
    sync::{
        Mutex, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use crate::{
    actions::{By, mail},
    store::{Store, StoreError},
};

/// How many may wait to be written.
const MOST: usize = 200;

/// Who asked, and for which address.
type Asked = (By, String);

/// What is still to be written.
#[derive(Default)]
pub struct Forgotten(Mutex<Option<(SyncSender<Asked>, JoinHandle<()>)>>);

impl Forgotten {
    /// Has a link mailed to an address soon, if it has an account; `false` where too many wait already.
    pub fn add(&self, store: &Store, by: By, email: String) -> bool {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, _) = queue.get_or_insert_with(|| {
            let store = store.clone();
            let (sender, asked) = sync_channel::<Asked>(MOST);
            let thread = thread::spawn(move || {
                for (by, email) in asked {
                    write(&store, &by, &email);
                }
            });
            (sender, thread)
        });
        sender.try_send((by, email)).is_ok()
    }

    /// Writes what waits, and takes no more until it is asked again.
    pub fn finish(&self) {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, thread)) = taken {
            drop(sender);
            let _ = thread.join();
        }
    }
}

/// Writes as of the moment of the request.
fn write(store: &Store, by: &By, email: &str) {
    let written: Result<(), StoreError> = store.write(by.now, |tx| mail::start_reset(tx, by, email));
    if let Err(error) = written {
        tracing::error!(%error, "a password reset was not written");
    }
}
