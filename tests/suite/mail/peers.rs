//! The real program against a mail server with encryption, a log-in and faults; and killed at any moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use keyward::{
    config::Sources,
    domain::mail::{KeyName, Mail},
    secrets::Secrets,
    store::{
        Store,
        outbox::{self, NewMail, To},
    },
};

use crate::support::{
    Backend, new_dir, postgres,
    smtp::{Server, Tls, certificate},
};

fn doctor(smtp_url: &str, trusted: Option<&Path>) -> String {
    let dir = new_dir();
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
    command.args(["doctor", "--mail-to", "someone@example.com", "--data-dir"]).arg(&dir).current_dir(&dir).env("KEYWARD_SMTP_URL", smtp_url);
    if let Some(file) = trusted {
        command.env("SSL_CERT_FILE", file);
    }
    let out = command.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().find(|line| line.contains(" Mail: ")).unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn doctor_sends_a_test_mail_or_says_what_is_wrong_in_words() {
    let dir = new_dir();
    let trusted = Some(certificate().0.as_path());
    for (tls, scheme) in [(Tls::Starttls, "smtp"), (Tls::Wrapped, "smtps")] {
        let server = Server::start_with(&dir, tls, Some(("keyward", "pa:ss w@rd")));
        let url = format!("{scheme}://keyward:pa%3Ass%20w%40rd@localhost:{}", server.port);
        let said = doctor(&url, trusted);
        assert!(said.starts_with("ok") && said.contains("a test mail went to someone@example.com; the server said 250"), "{said}");
        let mail = &server.mails()[0];
        assert!(mail.tls && mail.user.is_some(), "{mail:?}");
        assert_eq!(mail.header("Subject"), "Test mail of Keyward");
        let said = doctor(&format!("{scheme}://keyward:wrong@localhost:{}", server.port), trusted);
        assert!(said.starts_with("problem") && said.contains("535") && said.contains("check user and password"), "{said}");
        let said = doctor(&url, None);
        assert!(said.starts_with("problem") && said.contains("certificate"), "a certificate that nobody vouches for: {said}");
        let said = doctor(&url.replace("localhost", "127.0.0.1"), trusted);
        assert!(said.starts_with("problem") && said.contains("certificate"), "a certificate of another name: {said}");
        assert_eq!(server.mails().len(), 1);
    }
    let plain = Server::start(&dir);
    let said = doctor(&format!("smtp://localhost:{}", plain.port), trusted);
    assert!(said.starts_with("problem") && said.to_lowercase().contains("starttls"), "no encryption, no mail: {said}");
    assert_eq!(plain.mails().len(), 0);
    assert!(doctor(&plain.url(), None).starts_with("ok"));
    let said = doctor("smtp://localhost:1", None);
    assert!(said.starts_with("problem") && said.contains("check host and port"), "{said}");
}

/// A database with mails to send, and the real program that is killed again and again while it sends them.
struct Killed {
    dir: std::path::PathBuf,
    database: Option<String>,
    store: Store,
    server: Server,
    smtp_url: String,
    clock: keyward::clock::Clock,
}

impl Killed {
    fn new(backend: Backend) -> Self {
        let server = Server::start(&new_dir());
        let smtp_url = server.url();
        Self::with(backend, server, smtp_url)
    }

    fn with(backend: Backend, server: Server, smtp_url: String) -> Self {
        let dir = new_dir();
        let database = (backend == Backend::Postgres).then(|| postgres::create(None));
        let mut sources = Sources::default().flag("data_dir", dir.to_str().unwrap()).unwrap();
        if let Some(name) = &database {
            sources = sources.flag("database_url", &postgres::url(name)).unwrap();
        }
        let config = sources.into_config().unwrap();
        let app = keyward::app::App::open(config.clone(), keyward::clock::Clock::System).unwrap();
        let secrets = Secrets::open(&config.secret_file, false).unwrap();
        let store = Store::open(&config.database_url, std::sync::Arc::new(secrets)).unwrap();
        Self { dir, database, store, server, smtp_url, clock: app.clock.clone() }
    }

    fn add(&self, from: usize, count: usize) {
        self.store
            .write(self.clock.now(), |tx| {
                for n in from..from + count {
                    let mail = Mail::KeyChanged {
                        key: KeyName { id: format!("{n:016}"), name: format!("key {n}") },
                        action: "key.revoke".into(),
                        by: "Ada".into(),
                        at: tx.now(),
                        facts: vec![],
                    };
                    let to = To { address: format!("user{n}@example.com"), name: String::new() };
                    outbox::add(tx, &NewMail { tenant: None, account: None, to: &to, mail: &mail, once: &n.to_string() })?;
                }
                Ok::<_, keyward::store::StoreError>(())
            })
            .unwrap();
    }

    fn serve(&self, port: u16) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        command.arg("serve").arg("--data-dir").arg(&self.dir).args(["--listen", &format!("127.0.0.1:{port}")]).current_dir(&self.dir);
        if let Some(name) = &self.database {
            command.args(["--database-url", &postgres::url(name)]);
        }
        command
            .env("KEYWARD_SMTP_URL", &self.smtp_url)
            .env("SSL_CERT_FILE", &certificate().0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn waiting(&self) -> usize {
        self.store.read(|db| -> Result<_, keyward::store::StoreError> { outbox::count_waiting(db) }).unwrap() as usize
    }

    /// Kills the program `kills` times at moments that no two runs share, then lets it end its work. Answers how many mails there
    /// were, and how many arrived twice.
    fn run(&self, kills: usize) -> (usize, usize) {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut added = 0;
        for round in 0..kills {
            self.add(added, 15);
            added += 15;
            let mut child = self.serve(port);
            let random = u64::from_be_bytes(keyward::chance::bytes());
            std::thread::sleep(Duration::from_millis(60 + random % 300));
            child.kill().unwrap();
            child.wait().unwrap();
            if self.database.is_some() {
                // A lease of a dead sender ends after minutes; nobody waits for them here.
                self.store.write(self.clock.now(), outbox::release_all).unwrap();
            }
            let _ = round;
        }
        let mut child = self.serve(port);
        let (mut left, mut moved) = (self.waiting(), Instant::now());
        while left > 0 && moved.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(200));
            let now = self.waiting();
            if now < left {
                (left, moved) = (now, Instant::now());
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(self.waiting(), 0);
        let mut arrived: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for mail in self.server.mails() {
            arrived.entry(mail.to[0].clone()).or_default().push(mail.header("Message-ID").to_owned());
        }
        let expected: BTreeSet<String> = (0..added).map(|n| format!("user{n}@example.com")).collect();
        assert_eq!(arrived.keys().cloned().collect::<BTreeSet<_>>(), expected, "none is lost");
        let doubles: usize = arrived.values().map(|names| names.len() - 1).sum();
        assert!(arrived.values().all(|names| names.iter().all(|name| *name == names[0])), "a second arrival has the same name");
        // The program sends one mail at a time, so each kill can double one at the most: the one that it was at.
        assert!(doubles <= kills, "{doubles} doubles after {kills} kills");
        (added, doubles)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(name) = &self.database {
            postgres::drop(name);
        }
    }
}

#[test]
fn the_program_sends_what_waits_over_tls_and_logs_in() {
    for (tls, scheme) in [(Tls::Starttls, "smtp"), (Tls::Wrapped, "smtps")] {
        let server = Server::start_with(&new_dir(), tls, Some(("keyward", "pa:ss w@rd")));
        let url = format!("{scheme}://keyward:pa%3Ass%20w%40rd@localhost:{}", server.port);
        let at = Killed::with(Backend::Sqlite, server, url);
        at.add(0, 3);
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = at.serve(port);
        let start = Instant::now();
        while at.waiting() > 0 && start.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(50));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let mails = at.server.mails();
        assert_eq!(mails.len(), 3, "{tls:?}");
        assert!(mails.iter().all(|mail| mail.tls && mail.user.as_deref() == Some("keyward") && mail.defects.is_empty()), "{mails:?}");
    }
}

#[test]
fn killed_at_any_moment_the_program_loses_no_mail() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        Killed::new(backend).run(8);
    }
}

#[test]
#[ignore = "takes minutes: 200 kills on each database"]
fn killed_two_hundred_times_the_program_loses_no_mail() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let (mails, doubles) = Killed::new(backend).run(200);
        println!("{backend:?}: 200 kills, {mails} mails, none lost, {doubles} arrived twice");
    }
}
