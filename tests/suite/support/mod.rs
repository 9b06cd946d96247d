//! What tests stand on: the real server on a port and a database of its own, people who act, and a clock that is moved by hand.
//!
//! ```ignore
//! both! {
//!     fn a_revoked_key_is_refused_at_once(app) {
//!         let dora = app.signed_in("dora");
//!         let key = dora.submit(…);
//!     }
//! }
//! ```
//! `both!` makes two tests of each, one per database. [`fixture`] says who and what is there.
#![allow(dead_code)] // a tool box: not every tool is in use at every moment

pub mod behind;
pub mod browser;
pub mod chromium;
pub mod fixture;
pub mod postgres;
pub mod smtp;
pub mod wire;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use actix_web::dev::ServerHandle;
use browser::{Browser, Page};
use chrono::Duration;
use fixture::{Fixture, Person};
use keyward::{
    app::App,
    chance,
    clock::Clock,
    config::{Config, Sources},
    domain::{
        time::Time,
        token::{Purpose, Token, fresh_id},
    },
    store::{Db, StoreError, Tx, gateways},
};

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// Makes two tests of each function, one per database; the argument is a running [`TestApp`]. `with [(name, value), …];` in front gives
/// it settings.
#[macro_export]
macro_rules! both {
    ($(#[$meta:meta])* fn $($rest:tt)+) => { $crate::both! { with []; $(#[$meta])* fn $($rest)+ } };
    (with $settings:tt; $($(#[$meta:meta])* fn $name:ident($app:ident) $body:block)+) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            #[allow(unused_variables)]
            fn promise($app: &$crate::support::TestApp) $body

            #[test]
            $(#[$meta])*
            fn on_sqlite() {
                promise(&$crate::support::spawn_with($crate::support::Backend::Sqlite, &$settings));
            }

            #[test]
            $(#[$meta])*
            fn on_postgres() {
                promise(&$crate::support::spawn_with($crate::support::Backend::Postgres, &$settings));
            }
        }
    )+};
}

/// What, loaded before a program, tells it another time than the machine's.
pub fn false_clock() -> PathBuf {
    let library = ["x86_64", "aarch64"].map(|machine| PathBuf::from(format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1")));
    library.into_iter().find(|path| path.exists()).expect("faketime; tests/run installs it")
}

/// The moment at which every test starts.
pub fn start() -> Time {
    chrono::DateTime::from_timestamp(1_795_255_200, 0).unwrap() // Sat 21 Nov 2026, 10:00 UTC
}

/// A running server with its own database.
pub struct TestApp {
    /// The parts, for looking behind the pages.
    pub app: App,
    /// Where it listens; also its public URL.
    pub url: String,
    /// Who and what is in the database.
    pub fixture: &'static Fixture,
    /// Which database it has.
    pub backend: Backend,
    acme: OnceLock<String>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
    database: Option<String>,
    dir: PathBuf,
}

/// What every test's database is a copy of.
struct Template {
    dir: PathBuf,
    database: Option<String>,
    fixture: Fixture,
}

/// A new folder in the build's own; those of earlier runs go first.
pub fn new_dir() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    static CLEAN: std::sync::Once = std::sync::Once::new();
    let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
    CLEAN.call_once(|| {
        for entry in fs::read_dir(all).into_iter().flatten().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap_or_default();
            let process = name.strip_prefix("test-").and_then(|rest| rest.split('-').next()).unwrap_or_default();
            if !process.is_empty() && !Path::new("/proc").join(process).exists() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    });
    let dir = all.join(format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn config(dir: &Path, database: Option<&str>, port: u16, more: &[(&str, &str)]) -> Config {
    let mut sources = Sources::default().flag("listen", &format!("127.0.0.1:{port}")).unwrap();
    sources = sources.flag("data_dir", dir.to_str().unwrap()).unwrap();
    if let Some(name) = database {
        sources = sources.flag("database_url", &postgres::url(name)).unwrap();
    }
    for (name, value) in more {
        sources = sources.flag(name, value).unwrap();
    }
    sources.into_config().unwrap()
}

fn template(backend: Backend) -> &'static Template {
    static SQLITE: OnceLock<Template> = OnceLock::new();
    static POSTGRES: OnceLock<Template> = OnceLock::new();
    let make = || {
        let dir = new_dir();
        let database = (backend == Backend::Postgres).then(|| postgres::create(None));
        let app = App::open(config(&dir, database.as_deref(), 8080, &[]), Clock::fixed(start() - Duration::days(60))).unwrap();
        let fixture = fixture::fill(&app);
        Template { dir, database, fixture }
    };
    match backend {
        Backend::Sqlite => SQLITE.get_or_init(make),
        Backend::Postgres => POSTGRES.get_or_init(make),
    }
}

/// Starts the real server with a copy of the fixture, at [`start`].
pub fn spawn(backend: Backend) -> TestApp {
    spawn_with(backend, &[])
}

/// As [`spawn`], with more settings, by name.
pub fn spawn_with(backend: Backend, settings: &[(&str, &str)]) -> TestApp {
    let (dir, database) = copy(template(backend));
    run(backend, dir, database, &template(backend).fixture, settings)
}

/// As [`spawn`] on PostgreSQL, which it reaches through a wire that can be cut.
pub fn spawn_through(wire: &wire::Wire) -> TestApp {
    let template = template(Backend::Postgres);
    let (dir, database) = copy(template);
    let url = postgres::url_in(database.as_deref().unwrap(), wire.dir());
    run(Backend::Postgres, dir, database, &template.fixture, &[("database_url", &url)])
}

fn copy(template: &Template) -> (PathBuf, Option<String>) {
    let dir = new_dir();
    for entry in fs::read_dir(&template.dir).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
    }
    (dir, template.database.as_deref().map(|name| postgres::create(Some(name))))
}

/// Starts the real server on a database that nobody has set up.
pub fn spawn_empty(backend: Backend) -> TestApp {
    let database = (backend == Backend::Postgres).then(|| postgres::create(None));
    run(backend, new_dir(), database, &template(backend).fixture, &[])
}

fn run(backend: Backend, dir: PathBuf, database: Option<String>, fixture: &'static Fixture, settings: &[(&str, &str)]) -> TestApp {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = config(&dir, database.as_deref(), port, settings);
    let app = App::open(config, Clock::fixed(start())).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let served = app.clone();
    let thread = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let server = served.serve(listener, 1).unwrap();
            tell.send(server.handle()).unwrap();
            server.await.unwrap();
        });
    });
    let handle = told.recv().unwrap();
    TestApp { url: format!("http://127.0.0.1:{port}"), app, fixture, backend, acme: OnceLock::new(), handle, thread: Some(thread), database, dir }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        // The command is sent by the call; only its end is awaited by the future.
        std::mem::drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.app.stop();
        if let Some(name) = &self.database {
            postgres::drop(name);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl TestApp {
    /// The moment, as the server sees it.
    pub fn now(&self) -> Time {
        self.app.clock.now()
    }

    /// Moves the server's clock.
    pub fn advance(&self, by: Duration) {
        self.app.clock.advance(by);
    }

    /// Reads the database behind the pages.
    pub fn read<T>(&self, f: impl FnOnce(&mut Db) -> Result<T, StoreError>) -> T {
        self.app.store.read(f).unwrap()
    }

    /// Changes the database behind the pages, at the server's moment.
    pub fn write<T>(&self, f: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>) -> T {
        self.app.store.write(self.now(), f).unwrap()
    }

    /// Runs a statement on the database as it is, past the product.
    pub fn sql(&self, statement: &str) {
        use diesel::{Connection as _, connection::SimpleConnection as _};
        match &self.database {
            Some(name) => diesel::PgConnection::establish(&postgres::url(name)).unwrap().batch_execute(statement).unwrap(),
            None => {
                let file = self.dir.join("keyward.db");
                diesel::SqliteConnection::establish(file.to_str().unwrap()).unwrap().batch_execute(statement).unwrap();
            }
        }
    }

    /// A person of the fixture.
    pub fn person(&self, name: &str) -> &'static Person {
        self.fixture.people.iter().find(|person| person.name == name).unwrap_or_else(|| panic!("{name} is not in the fixture"))
    }

    /// A browser that nobody has used yet.
    pub fn browser(&self) -> Browser {
        Browser::new(&self.url)
    }

    /// A code that the person's authenticator shows now, from another program than ours. The clock goes on to the next step
    /// first, because a step is accepted once.
    pub fn code(&self, name: &str) -> String {
        self.advance(Duration::seconds(30));
        oathtool(self.person(name).totp.as_deref().expect("a person with TOTP"), self.now())
    }

    /// A browser in which a person has signed in, with a code where they have TOTP.
    pub fn signed_in(&self, name: &str) -> Browser {
        let person = self.person(name);
        let browser = self.browser();
        let page = browser.submit("/login", &[("email", &person.email), ("password", person.password)]);
        let page = browser.follow(page);
        let page = if person.totp.is_some() {
            let code = self.code(name);
            let answer = browser.send(&page, "/login/code", &[("totp", &code)]);
            browser.follow(answer)
        } else {
            page
        };
        assert!(page.status < 400 && !page.path.starts_with("/login"), "{name} could not sign in: {} {}", page.path, page.text());
        browser
    }

    /// A gateway credential of the tenant.
    pub fn gateway(&self, tenant: &str) -> String {
        let (tenant, id) = (self.fixture.tenants[tenant], fresh_id(&mut chance::fill));
        let token = Token::make(Purpose::Gateway, id, &mut chance::fill);
        let pepper = self.app.secrets.pepper_version();
        let hash = self.app.secrets.token_hash(pepper, Purpose::Gateway, tenant, token.reveal()).unwrap();
        self.write(|tx| {
            gateways::create(tx, tenant, &gateways::New { public_id: id, name: "edge", by: "Ada Example", expires_at: None, hash, pepper })
        });
        token.reveal().to_owned()
    }

    /// The code that a gateway of acme gets for a token.
    pub fn verify(&self, token: &str) -> String {
        let gateway = self.acme.get_or_init(|| self.gateway("acme"));
        let answer =
            self.call("POST", "/api/v1/keys/verify", &[("Authorization", &format!("Bearer {gateway}"))], Some(serde_json::json!({ "key": token })));
        answer.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Calls the API: method, path, headers, and a JSON body where there is one.
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<serde_json::Value>) -> Page {
        browser::call(&self.url, method, path, headers, body)
    }
}

/// What `oathtool` says the code of a secret is at a moment.
pub fn oathtool(secret: &str, at: Time) -> String {
    let now = at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    let out = Command::new("oathtool").args(["--totp", "-b", secret, "-N", &now]).output().expect("oathtool; tests/run installs it");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}
