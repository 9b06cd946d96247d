//! Two keys of 30 days, day by day for 60 days: every mail and every state against tables worked out by hand.
//!
//! Both are made on 21 Nov 2026 at 10:01 UTC, so they expire on 21 Dec at 10:01. Notices leave 14, 7 and 1 days before; the grace is
//! 14 days. *Left alone* has no one else. *Extended* has the extra recipient ops, who extends it on 14 Dec at 08:00: it then
//! expires on 4 Jan at 10:01, and its time from the extension on is 21 days, so that 14 days are more than half of it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration as Pause, Instant},
};

use chrono::Duration;
use keyward::{
    domain::{
        ids::KeyId,
        key::Status,
        time::{Time, days},
    },
    store::{jobs, keys, members, outbox},
};

use crate::support::{TestApp, browser::Browser, false_clock, oathtool};

/// Day and hour, recipient, subject; in the text of a digest the keys in their order.
const MAILS: [(&str, &str, &str, &[&str]); 16] = [
    ("7 Dec 06:00", "dora", "2 API keys need your attention", &["Left alone", "Extended"]),
    ("7 Dec 06:00", "ops", "“Extended” expires in 14 days", &["Extended"]),
    ("14 Dec 06:00", "dora", "2 API keys need your attention", &["Left alone", "Extended"]),
    ("14 Dec 06:00", "ops", "“Extended” expires in 7 days", &["Extended"]),
    ("14 Dec 08:00", "dora", "Your key “Extended” was extended to 4 Jan 2027", &["Extended"]),
    ("20 Dec 06:00", "dora", "“Left alone” expires in 1 day", &["Left alone"]),
    ("22 Dec 06:00", "dora", "“Left alone” has expired and works until 4 Jan 2027", &["Left alone"]),
    ("28 Dec 06:00", "dora", "“Extended” expires in 7 days", &["Extended"]),
    ("28 Dec 06:00", "ops", "“Extended” expires in 7 days", &["Extended"]),
    ("2 Jan 06:00", "dora", "“Left alone” stops on 4 Jan 2027", &["Left alone"]),
    ("3 Jan 06:00", "dora", "“Extended” expires in 1 day", &["Extended"]),
    ("3 Jan 06:00", "ops", "“Extended” expires in 1 day", &["Extended"]),
    ("5 Jan 06:00", "dora", "“Extended” has expired and works until 18 Jan 2027", &["Extended"]),
    ("5 Jan 06:00", "ops", "“Extended” has expired and works until 18 Jan 2027", &["Extended"]),
    ("16 Jan 06:00", "dora", "“Extended” stops on 18 Jan 2027", &["Extended"]),
    ("16 Jan 06:00", "ops", "“Extended” stops on 18 Jan 2027", &["Extended"]),
];

/// From which noon on each key is what.
const STATES: [(&str, &str, Status, &str); 6] = [
    ("Left alone", "2026-11-21", Status::Active, "valid"),
    ("Left alone", "2026-12-21", Status::Expired, "valid_in_grace"),
    ("Left alone", "2027-01-04", Status::Expired, "expired"),
    ("Extended", "2026-11-21", Status::Active, "valid"),
    ("Extended", "2027-01-04", Status::Expired, "valid_in_grace"),
    ("Extended", "2027-01-18", Status::Expired, "expired"),
];

#[derive(Debug, serde::Deserialize)]
struct Letter {
    to: String,
    subject: String,
    text: String,
}

/// Reads the mails of a folder with another program's parser, those that were not read before.
fn new_mails(folder: &Path, seen: &mut BTreeSet<String>) -> Vec<Letter> {
    const READ: &str = r#"
import email, email.policy, json, sys
out = []
for path in sys.argv[1:]:
    mail = email.message_from_binary_file(open(path, "rb"), policy=email.policy.default)
    text = mail.get_body(("plain",)).get_content()
    out.append({"to": mail["To"].addresses[0].addr_spec, "subject": str(mail["Subject"]), "text": text})
print(json.dumps(out))
"#;
    let mut files: Vec<String> =
        std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path().to_str().unwrap().to_owned()).collect();
    files.retain(|file| file.ends_with(".eml") && seen.insert(file.clone()));
    files.sort();
    let out = Command::new("python3").args(["-c", READ]).args(&files).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

struct Kept {
    name: &'static str,
    id: KeyId,
    token: String,
}

impl Kept {
    /// Makes both keys in the browser of dora.
    fn make(dora: &Browser) -> [Self; 2] {
        [("Left alone", ""), ("Extended", "ops@acme.example")].map(|(name, notify)| {
            let page = dora.submit("/t/acme/keys/new", &[("name", name), ("life", "days"), ("days", "30"), ("notify", notify)]);
            let token = page.find("#c-tok").unwrap_or_else(|| panic!("{}", page.text()));
            Self { name, id: KeyId::parse(&token[4..20]).unwrap(), token }
        })
    }

    fn status(&self, app: &TestApp, now: Time) -> Status {
        let account = app.person("dora").account;
        let key = app.read(|db| {
            let acting = members::acting(db, "acme", account)?.unwrap();
            Ok(keys::find(db, &acting.reach(), self.id)?.unwrap())
        });
        key.life.status(now)
    }
}

/// Where Keyward runs: in the test, or as a program.
trait Place {
    /// Moves the clock, and lets it do what is due then.
    fn go_to(&self, now: Time);
    /// What a gateway of acme is told of a token.
    fn verify(&self, token: &str) -> String;
    fn browser(&self) -> Browser;
}

impl Place for TestApp {
    fn go_to(&self, now: Time) {
        self.advance(now - self.now());
        self.app.timetable.round().unwrap();
        self.app.post.round().unwrap();
    }

    fn verify(&self, token: &str) -> String {
        self.verify(token)
    }

    fn browser(&self) -> Browser {
        self.browser()
    }
}

/// Walks through the sixty days, and compares.
fn sixty_days(app: &TestApp, place: &dyn Place, made: &[Kept]) {
    let folder = app.app.post.folder().unwrap().to_owned();
    let (mut seen, mut mails, mut link) = (BTreeSet::new(), Vec::new(), String::new());
    let mut go_to = |now: Time, link: &mut String| {
        place.go_to(now);
        let mut new = new_mails(&folder, &mut seen);
        new.sort_by(|a, b| a.to.cmp(&b.to));
        for mail in new {
            if mail.to == "ops@acme.example"
                && let Some(at) = mail.text.find("/extend/kwx_")
            {
                *link = mail.text[at..].split_whitespace().next().unwrap().trim_end_matches("/stop").to_owned();
            }
            let mut named: Vec<(usize, &str)> = made.iter().filter_map(|key| mail.text.find(key.id.as_str()).map(|at| (at, key.name))).collect();
            named.sort_unstable();
            let named: Vec<&str> = named.into_iter().map(|(_, name)| name).collect();
            let to = mail.to.split('@').next().unwrap().to_owned();
            mails.push((now.format("%-d %b %H:%M").to_string(), to, mail.subject, named));
        }
    };
    for day in 0..60 {
        let morning = "2026-11-22T06:00:00Z".parse::<Time>().unwrap() + days(day);
        let noon_before = morning - Duration::hours(18);
        go_to(noon_before, &mut link);
        for key in made {
            let today = noon_before.format("%Y-%m-%d").to_string();
            let (_, _, status, code) = STATES.iter().rfind(|(name, from, ..)| *name == key.name && *from <= today.as_str()).unwrap();
            assert_eq!((key.status(app, noon_before), place.verify(&key.token).as_str()), (*status, *code), "{} at noon of {today}", key.name);
        }
        go_to(morning, &mut link);
        if morning.format("%-d %b").to_string() == "14 Dec" {
            let eight = morning + Duration::hours(2);
            place.go_to(eight);
            let done = place.browser().press(&link);
            assert!(done.says("The key now expires on 4 Jan 2027, 10:01 UTC"), "{}", done.text());
            go_to(eight, &mut link);
        }
    }
    let expected: Vec<_> =
        MAILS.iter().map(|(when, to, subject, keys)| ((*when).to_owned(), (*to).to_owned(), (*subject).to_owned(), keys.to_vec())).collect();
    assert_eq!(mails, expected, "{mails:#?}");
}

/// When both keys are made.
fn beginning() -> Time {
    "2026-11-21T10:01:00Z".parse().unwrap()
}

/// The real program on the test's database, under libfaketime.
struct Program<'a> {
    app: &'a TestApp,
    url: String,
    clock: PathBuf,
    gateway: String,
    child: Child,
}

impl<'a> Program<'a> {
    fn start(app: &'a TestApp) -> Self {
        let config = &app.app.config;
        let clock = config.data_dir.join("clock");
        set(&clock, beginning());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        command.env_clear().env("LD_PRELOAD", false_clock()).env("FAKETIME_TIMESTAMP_FILE", &clock).env("TZ", "UTC");
        // Pauses between rounds last as long as ever.
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--database-url", &config.database_url]);
        command.arg("--data-dir").arg(&config.data_dir).arg("--secret-file").arg(&config.secret_file);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let program = Self { app, url, clock, gateway: app.gateway("acme"), child };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Pause::from_secs(30), "it does not start");
            std::thread::sleep(Pause::from_millis(50));
        }
        program
    }

    /// Signs dora in.
    fn dora(&self) -> Browser {
        let (browser, person) = (self.browser(), self.app.person("dora"));
        let page = browser.follow(browser.submit("/login", &[("email", &person.email), ("password", person.password)]));
        let code = oathtool(person.totp.as_deref().unwrap(), beginning());
        let page = browser.follow(browser.send(&page, "/login/code", &[("totp", &code)]));
        assert!(page.status < 400 && !page.path.starts_with("/login"), "{} {}", page.path, page.text());
        browser
    }
}

/// Replaces the file in one step, so that the program never reads half a moment.
fn set(clock: &Path, now: Time) {
    let next = clock.with_extension("next");
    fs::write(&next, now.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap();
    fs::rename(&next, clock).unwrap();
}

impl Place for Program<'_> {
    fn go_to(&self, now: Time) {
        set(&self.clock, now);
        let digest = (now - Duration::hours(6)).date_naive().and_hms_opt(6, 0, 0).unwrap().and_utc();
        let began = Instant::now();
        while self.app.read(|db| Ok(jobs::done_to(db, "notices")? != Some(digest) || outbox::count_waiting(db)? > 0)) {
            assert!(began.elapsed() < Pause::from_secs(60), "nothing happens at {now}");
            std::thread::sleep(Pause::from_millis(50));
        }
    }

    fn verify(&self, token: &str) -> String {
        let headers = [("Authorization", format!("Bearer {}", self.gateway))];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let body = serde_json::json!({ "key": token });
        let answer = crate::support::browser::call(&self.url, "POST", "/api/v1/keys/verify", &headers, Some(body));
        answer.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.url)
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

both! {
    fn every_mail_and_every_state_of_sixty_days(app) {
        let dora = app.signed_in("dora");
        app.advance(beginning() - app.now());
        sixty_days(app, app, &Kept::make(&dora));
    }

    fn the_real_program_under_a_false_clock_does_the_same(app) {
        let program = Program::start(app);
        let made = Kept::make(&program.dora());
        sixty_days(app, &program, &made);
    }
}
