//! Two keys of 30 days, day by day for 60 days: every mail and every state against tables worked out by hand.
//!
//! Both are made on 21 Nov 2026 at 10:01 UTC, so they expire on 21 Dec at 10:01. Notices leave 14, 7 and 1 days before; the grace is
//! 14 days. *Left alone* has no one else. *Extended* has the extra recipient ops, who extends it on 14 Dec at 08:00: it then
//! expires on 4 Jan at 10:01, and its time from the extension on is 21 days, so that 14 days are more than half of it.

use std::{collections::BTreeSet, path::Path, process::Command};

use chrono::Duration;
use keyward::{
    domain::{
        ids::KeyId,
        key::Status,
        time::{Time, days},
    },
    store::{keys, members},
};

use crate::support::TestApp;

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
    fn status(&self, app: &TestApp) -> Status {
        let account = app.person("dora").account;
        let key = app.read(|db| {
            let acting = members::acting(db, "acme", account)?.unwrap();
            Ok(keys::find(db, &acting.reach(), self.id)?.unwrap())
        });
        key.life.status(app.now())
    }
}

both! {
    fn every_mail_and_every_state_of_sixty_days(app) {
        let dora = app.signed_in("dora");
        app.advance("2026-11-21T10:01:00Z".parse::<Time>().unwrap() - app.now());
        let made = [("Left alone", ""), ("Extended", "ops@acme.example")].map(|(name, notify)| {
            let page = dora.submit("/t/acme/keys/new", &[("name", name), ("life", "days"), ("days", "30"), ("notify", notify)]);
            let token = page.find("#c-tok").unwrap_or_else(|| panic!("{}", page.text()));
            Kept { name, id: KeyId::parse(&token[4..20]).unwrap(), token }
        });
        let folder = app.app.post.folder().unwrap().to_owned();
        let (mut seen, mut mails, mut link) = (BTreeSet::new(), Vec::new(), String::new());
        let mut note = |app: &TestApp, link: &mut String| {
            app.app.timetable.round().unwrap();
            app.app.post.round().unwrap();
            let mut new = new_mails(&folder, &mut seen);
            new.sort_by(|a, b| a.to.cmp(&b.to));
            for mail in new {
                if mail.to == "ops@acme.example" && let Some(at) = mail.text.find("/extend/kwx_") {
                    *link = mail.text[at..].split_whitespace().next().unwrap().trim_end_matches("/stop").to_owned();
                }
                let mut named: Vec<(usize, &str)> =
                    made.iter().filter_map(|key| mail.text.find(key.id.as_str()).map(|at| (at, key.name))).collect();
                named.sort_unstable();
                let named: Vec<&str> = named.into_iter().map(|(_, name)| name).collect();
                let to = mail.to.split('@').next().unwrap().to_owned();
                mails.push((app.now().format("%-d %b %H:%M").to_string(), to, mail.subject, named));
            }
        };
        for day in 0..60 {
            let morning = "2026-11-22T06:00:00Z".parse::<Time>().unwrap() + days(day);
            // At noon of the day before.
            app.advance(morning - Duration::hours(18) - app.now());
            note(app, &mut link);
            for key in &made {
                let today = app.now().format("%Y-%m-%d").to_string();
                let (_, _, status, code) = STATES.iter().rfind(|(name, from, ..)| *name == key.name && *from <= today.as_str()).unwrap();
                assert_eq!((key.status(app), app.verify(&key.token).as_str()), (*status, *code), "{} at noon of {today}", key.name);
            }
            app.advance(morning - app.now());
            note(app, &mut link);
            if morning.format("%-d %b").to_string() == "14 Dec" {
                app.advance(Duration::hours(2));
                let done = app.browser().submit(&link, &[]);
                assert!(done.says("The key now expires on 4 Jan 2027, 10:01 UTC"), "{}", done.text());
                note(app, &mut link);
            }
        }
        let expected: Vec<_> =
            MAILS.iter().map(|(when, to, subject, keys)| ((*when).to_owned(), (*to).to_owned(), (*subject).to_owned(), keys.to_vec())).collect();
        assert_eq!(mails, expected, "{mails:#?}");
    }
}
