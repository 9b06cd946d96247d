//! A wire between the server and PostgreSQL that is cut in the middle of a commit.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use super::postgres;

/// Where it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Before the database hears of the commit.
    Before,
    /// When the database has committed, and says so.
    After,
}

/// A socket that leads to the server of this run.
pub struct Wire {
    dir: PathBuf,
    plan: Arc<Mutex<Option<(Vec<u8>, Cut)>>>,
}

/// A simple query that commits, as libpq sends it.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

impl Wire {
    /// Lays one.
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Names of sockets are short.
        let dir = std::env::temp_dir().join(format!("keyward-wire-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&dir).unwrap();
        let listener = UnixListener::bind(dir.join(postgres::SOCKET)).unwrap();
        let plan: Arc<Mutex<Option<(Vec<u8>, Cut)>>> = Arc::default();
        let planned = Arc::clone(&plan);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                join(client, UnixStream::connect(postgres::socket()).unwrap(), &planned);
            }
        });
        Self { dir, plan }
    }

    /// The folder that it is in.
    pub fn dir(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    /// Cuts the connection whose transaction carries these words, once, when that commits.
    pub fn cut(&self, words: &str, at: Cut) {
        *self.plan.lock().unwrap() = Some((words.into(), at));
    }

    /// Whether it has been cut.
    pub fn is_cut(&self) -> bool {
        self.plan.lock().unwrap().is_none()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn join(mut client: UnixStream, mut server: UnixStream, plan: &Arc<Mutex<Option<(Vec<u8>, Cut)>>>) {
    let deaf = Arc::new(AtomicBool::new(false));
    let (mut back_from, mut back_to, is_deaf) = (server.try_clone().unwrap(), client.try_clone().unwrap(), Arc::clone(&deaf));
    std::thread::spawn(move || {
        let mut bytes = [0; 65_536];
        while let Ok(count @ 1..) = back_from.read(&mut bytes) {
            // The database has committed, and nobody learns it.
            if is_deaf.load(Ordering::SeqCst) || back_to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = back_from.shutdown(Shutdown::Both);
        let _ = back_to.shutdown(Shutdown::Both);
    });
    let plan = Arc::clone(plan);
    std::thread::spawn(move || {
        let (mut bytes, mut carries) = ([0; 65_536], false);
        while let Ok(count @ 1..) = client.read(&mut bytes) {
            let sent = &bytes[..count];
            let mut planned = plan.lock().unwrap();
            carries &= !holds(sent, b"BEGIN\0");
            carries |= planned.as_ref().is_some_and(|(words, _)| holds(sent, words));
            if holds(sent, COMMIT) && std::mem::take(&mut carries) {
                match planned.take() {
                    Some((_, Cut::Before)) => break,
                    Some((_, Cut::After)) => deaf.store(true, Ordering::SeqCst),
                    None => {}
                }
            }
            drop(planned);
            if server.write_all(sent).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
}
