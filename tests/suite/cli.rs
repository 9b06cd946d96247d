//! The command line, as its users run it: the real binary, in an empty folder, without anybody's environment.

mod demo;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use diesel::{Connection as _, RunQueryDsl as _};

use crate::support::{Backend, browser::Browser, false_clock, new_dir, postgres};

/// A folder and a database that nobody has used.
struct Place {
    dir: PathBuf,
    database: Option<String>,
}

impl Place {
    fn new(backend: Backend) -> Self {
        Self { dir: new_dir(), database: (backend == Backend::Postgres).then(|| postgres::create(None)) }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        command.env_clear().current_dir(&self.dir).args(args);
        if let Some(name) = &self.database {
            command.env("KEYWARD_DATABASE_URL", postgres::url(name));
        }
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command that has to work prints.
    fn prints(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// The one line in which a command is refused.
    fn refuses(&self, args: &[&str]) -> String {
        let out = self.run(args);
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{args:?} said {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    }

    fn start(&self, args: &[&str]) -> Process {
        let mut child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Process { child, lines }
    }

    fn sql(&self, statement: &str) {
        match &self.database {
            Some(name) => {
                diesel::sql_query(statement).execute(&mut diesel::PgConnection::establish(&postgres::url(name)).unwrap()).unwrap();
            }
            None => {
                let path = self.dir.join("data/keyward.db");
                diesel::sql_query(statement).execute(&mut diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap()).unwrap();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(name) = &self.database {
            postgres::drop(name);
        }
    }
}

/// A server that is stopped with the test.
struct Process {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Process {
    /// The next line that has words in it.
    fn line_with(&mut self, words: &str) -> String {
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            if line.contains(words) {
                return line.trim().to_owned();
            }
            line.clear();
        }
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        panic!("nothing with {words:?} was printed: {said}");
    }

    /// Asks it to stop, and waits for its end.
    fn stop(&mut self) -> std::process::ExitStatus {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn answers(url: &str) {
    let began = Instant::now();
    while std::net::TcpStream::connect(url.trim_start_matches("http://")).is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "{url} does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn serve_prints_a_set_up_link_until_somebody_looks_after_the_installation(backend: Backend) {
    let place = Place::new(backend);
    let address = free_address();
    let url = format!("http://{address}");
    let mut server = place.start(&["serve", "--listen", &address]);
    let first = server.line_with("/setup/");
    answers(&url);
    let link = |line: &str| line.strip_prefix(&url).unwrap().to_owned();
    assert_eq!(Browser::new(&url).get(&link(&first)).status, 200);
    if backend == Backend::Sqlite {
        assert!(place.refuses(&["serve", "--listen", &free_address()]).contains("another keyward serves"));
    }
    assert!(server.stop().success());

    let mut server = place.start(&["serve", "--listen", &address]);
    let second = server.line_with("/setup/");
    answers(&url);
    assert_ne!(first, second);
    assert_eq!(Browser::new(&url).get(&link(&first)).status, 410, "the earlier link is dead");
    assert_eq!(Browser::new(&url).get(&link(&second)).status, 200);
}

fn an_operator_makes_accounts_and_lets_people_back_in(backend: Backend) {
    let place = Place::new(backend);
    let made = place.prints(&["user", "create", "--email", "root@example.com", "--name", "Root", "--installation-owner"]);
    assert!(made.contains("/password/reset/"), "{made}");
    assert!(
        place.refuses(&["user", "create", "--email", "root@example.com", "--name", "R", "--installation-owner"]).contains("has an account already")
    );
    assert!(place.refuses(&["user", "create", "--email", "a@example.com", "--name", "A", "--tenant", "none"]).contains("no tenant with the address"));
    assert!(place.refuses(&["user", "create", "--email", "not an address", "--name", "A", "--tenant", "none"]).contains("--email"));
    assert!(place.prints(&["user", "reset", "root@example.com"]).contains("/password/reset/"));
    assert!(place.refuses(&["user", "reset", "nobody@example.com"]).contains("no account"));
    assert!(place.refuses(&["user", "clear-totp", "root@example.com"]).contains("no two-step sign-in"));
    assert!(place.prints(&["events", "verify"]).contains("installation: 2 events, whole"));
}

fn a_changed_and_a_cut_off_event_are_found(backend: Backend) {
    let place = Place::new(backend);
    place.prints(&["user", "create", "--email", "root@example.com", "--name", "Root", "--installation-owner"]);
    place.prints(&["user", "reset", "root@example.com"]);
    // Somebody who owns the database can take its own guard away.
    match backend {
        Backend::Sqlite => ["DROP TRIGGER events_are_final", "DROP TRIGGER events_stay"].iter().for_each(|statement| place.sql(statement)),
        Backend::Postgres => place.sql("ALTER TABLE events DISABLE TRIGGER ALL"),
    }
    place.sql("UPDATE events SET target_name = 'Somebody else' WHERE number = 1");
    assert!(place.refuses(&["events", "verify"]).contains("not whole"));
    place.sql("UPDATE events SET target_name = 'Root' WHERE number = 1");
    place.prints(&["events", "verify"]);
    place.sql("DELETE FROM events WHERE number = 2");
    assert!(place.refuses(&["events", "verify"]).contains("not whole"));
}

fn the_doctor_says_what_to_do(backend: Backend) {
    let place = Place::new(backend);
    place.prints(&["migrate"]);
    let address = free_address();
    let out = place.run(&["doctor", "--listen", &address]);
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(!out.status.success());
    assert!(said.contains("ok       Database"), "{said}");
    assert!(said.contains("problem  Public URL: nothing answers"), "{said}");
    assert!(said.contains("start `keyward serve`"), "{said}");

    let mut server = place.start(&["serve", "--listen", &address]);
    server.line_with("/setup/");
    answers(&format!("http://{address}"));
    let said = place.prints(&["doctor", "--listen", &address]);
    assert!(!said.contains("problem"), "{said}");
}

/// A machine whose clock is off by so many seconds: what `doctor` says of it, and what `serve` says to whoever asks if it is ready.
fn said_on_a_machine_that_is_ahead_by(seconds: u32, place: &Place) -> (String, u16, String) {
    let address = free_address();
    let ahead = |args: &[&str]| {
        let mut command = place.command(args);
        command.env("LD_PRELOAD", false_clock()).env("FAKETIME", format!("+{seconds}s")).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command
    };
    let doctor = String::from_utf8(ahead(&["doctor", "--listen", &address]).output().unwrap().stdout).unwrap();
    let clock = doctor.lines().find(|line| line.contains("Clock:")).unwrap().to_owned();
    let mut child = ahead(&["serve", "--listen", &address]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    let mut server = Process { child, lines };
    server.line_with("/setup/");
    answers(&format!("http://{address}"));
    // It measures when it starts, and then every few seconds.
    std::thread::sleep(Duration::from_secs(1));
    let ready = Browser::new(&format!("http://{address}")).get("/readyz");
    (clock, ready.status, ready.body)
}

fn a_machine_whose_clock_is_not_that_of_the_database_server_is_not_ready(backend: Backend) {
    let place = Place::new(backend);
    place.prints(&["migrate"]);
    let (clock, status, _) = said_on_a_machine_that_is_ahead_by(20, &place);
    assert!(clock.starts_with("ok") && status == 200, "{clock} {status}");
    let (clock, status, words) = said_on_a_machine_that_is_ahead_by(45, &place);
    match backend {
        Backend::Sqlite => assert!(clock.starts_with("ok") && status == 200, "a file has no clock of its own: {clock} {status}"),
        Backend::Postgres => {
            assert!(clock.starts_with("problem") && clock.contains("from the database server's") && clock.contains("chrony"), "{clock}");
            assert!(status == 503 && words.starts_with("this machine's clock differs from the database server's by 4"), "{status} {words}");
        }
    }
}

macro_rules! on_both {
    ($($name:ident)*) => {
        $(mod $name {
            #[test]
            fn on_sqlite() { super::$name(super::Backend::Sqlite) }
            #[test]
            fn on_postgres() { super::$name(super::Backend::Postgres) }
        })*
    };
}

on_both! {
    serve_prints_a_set_up_link_until_somebody_looks_after_the_installation
    an_operator_makes_accounts_and_lets_people_back_in
    a_changed_and_a_cut_off_event_are_found
    the_doctor_says_what_to_do
    a_machine_whose_clock_is_not_that_of_the_database_server_is_not_ready
}

#[test]
fn what_is_refused_is_one_line_that_says_what_to_do() {
    let place = Place::new(Backend::Sqlite);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert!(place.refuses(&["serve", "--listen", &address]).contains("is in use"));
    assert!(place.refuses(&["serve", "--public-url", "http://keys.example.com"]).contains("https"));
    assert!(place.refuses(&["serve", "--database-url", "mysql://x"]).contains("postgres://"));
    fs::write(place.dir.join("keyward.toml"), "publik_url = 'http://localhost'\n").unwrap();
    assert!(place.refuses(&["config"]).contains("public_url"), "the nearest name is suggested");
    fs::remove_file(place.dir.join("keyward.toml")).unwrap();
    fs::create_dir_all(place.dir.join("data/demo")).unwrap();
    fs::write(place.dir.join("data/demo/keyward.db"), "").unwrap();
    assert!(place.refuses(&["demo", "--listen", "127.0.0.1:0"]).contains("choose another folder"));
}

#[test]
fn the_configuration_is_printed_without_its_secrets() {
    let place = Place::new(Backend::Sqlite);
    let said = place.prints(&["config", "--database-url", "postgres://keyward:hunter2@db/keyward"]);
    assert!(said.contains("keyward") && !said.contains("hunter2"), "{said}");
}

#[test]
fn every_command_has_help_and_shells_their_completions() {
    let place = Place::new(Backend::Sqlite);
    for command in ["serve", "demo", "migrate", "user", "config", "doctor", "completions"] {
        assert!(place.prints(&[command, "--help"]).contains("Examples:"), "{command}");
    }
    assert!(place.prints(&["events", "verify", "--help"]).contains("Examples:"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.prints(&["completions", shell]).contains("keyward"), "{shell}");
    }
}
