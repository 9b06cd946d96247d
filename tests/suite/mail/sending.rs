//! Mails through a real SMTP server: what arrives, and what becomes of what does not.

use std::sync::Arc;

use chrono::Duration;
use keyward::{
    app::App,
    domain::{
        ids::MailId,
        mail::{Contents, KeyName, MOST_IN_A_DAY, Mail, Role},
    },
    mail::{About, write},
    store::{
        keys, members,
        outbox::{self, NewMail, NewNotice, Row, State, To},
        tenants,
    },
};

use crate::support::{
    Backend, TestApp, new_dir,
    smtp::{self, Server},
    spawn_with,
};

/// An app that sends to a server of its own.
pub struct Sending {
    pub app: TestApp,
    pub server: Server,
}

pub fn spawn(backend: Backend) -> Sending {
    let server = Server::start(&new_dir());
    let app = spawn_with(backend, &[("smtp_url", &server.url())]);
    Sending { app, server }
}

impl Sending {
    pub fn add(&self, address: &str, once: &str) -> MailId {
        let mail = Mail::KeyChanged {
            key: KeyName { id: "7f3Kq9m2x8d4Zt0B".into(), name: "Warehouse sync – production".into() },
            action: "key.revoke".into(),
            by: "Ada Example".into(),
            at: self.app.now(),
            facts: vec![],
        };
        let to = To { address: address.into(), name: "Tomasz Wójcik".into() };
        let tenant = Some(self.app.fixture.tenants["acme"]);
        self.app.write(|tx| outbox::add(tx, &NewMail { tenant, account: None, to: &to, mail: &mail, once })).unwrap()
    }

    fn row(&self, id: MailId) -> Row {
        self.app.read(|db| outbox::find(db, self.app.fixture.tenants["acme"], id)).unwrap()
    }

    fn round(&self) {
        self.app.app.post.round().unwrap();
    }
}

macro_rules! sending {
    ($($(#[$meta:meta])* fn $name:ident($sending:ident) $body:block)+) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn promise($sending: &Sending) $body

            #[test]
            $(#[$meta])*
            fn on_sqlite() {
                promise(&spawn(Backend::Sqlite));
            }

            #[test]
            $(#[$meta])*
            fn on_postgres() {
                promise(&spawn(Backend::Postgres));
            }
        }
    )+};
}
pub(super) use sending;

sending! {
    fn a_sender_that_stops_gives_back_what_it_has_not_tried(sending) {
        // The server thinks about the first for two seconds.
        let ids = ["slow@meridian.example", "a@meridian.example", "b@meridian.example", "c@meridian.example"].map(|to| sending.add(to, to));
        let running = Arc::clone(&sending.app.app.post).start(false);
        while sending.row(ids[0]).taken_at.is_none() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(sending.row(ids[3]).next_at, Some(sending.app.now() + outbox::LEASE), "all are in hand");
        drop(running);
        let rows = ids.map(|id| sending.row(id));
        assert_eq!(rows.each_ref().map(Row::state), [State::Sent, State::Waiting, State::Waiting, State::Waiting]);
        assert!(rows[1..].iter().all(|row| row.tries == 0 && row.next_at == Some(sending.app.now())), "{rows:?}");
        // Another process need not wait for the end of a lease.
        let app = &sending.app.app;
        let other = App::with(app.config.clone(), app.store.clone(), Arc::clone(&app.secrets), app.clock.clone()).unwrap();
        assert_eq!(other.post.round().unwrap(), 3);
        let mut arrived: Vec<String> = sending.server.mails().into_iter().map(|mail| mail.to[0].clone()).collect();
        arrived.sort();
        assert_eq!(arrived, ["a@meridian.example", "b@meridian.example", "c@meridian.example", "slow@meridian.example"]);
    }

    fn a_mail_arrives_once_whole_and_with_its_headers(at) {
        let id = at.add("tomasz@meridian.example", "a");
        at.round();
        at.round();
        let mails = at.server.mails();
        assert_eq!(mails.len(), 1);
        let mail = &mails[0];
        assert_eq!(mail.defects, Vec::<String>::new());
        assert_eq!(mail.to, ["tomasz@meridian.example"]);
        assert_eq!(mail.header("To"), "Tomasz Wójcik <tomasz@meridian.example>");
        assert_eq!(mail.header("Subject"), "Ada Example revoked your key “Warehouse sync – production”");
        assert_eq!(mail.header("From"), "Keyward <no-reply@localhost>");
        assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
        assert_eq!(mail.header("List-Id"), "<changes.acme.keyward.127.0.0.1>");
        assert!(mail.header("Date").starts_with("Sat, 21 Nov 2026 10:00:00"), "{}", mail.header("Date"));
        assert_eq!(mail.header("Message-ID"), format!("<{}>", at.app.app.post.message_id(&at.row(id))));
        let (text, html) = (mail.text.as_ref().unwrap(), mail.html.as_ref().unwrap());
        for words in ["Hello Tomasz Wójcik,", "Warehouse sync – production", "7f3Kq9m2x8d4Zt0B", "cannot be undone"] {
            assert!(text.contains(words) && html.contains(words), "{words} in {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 76 || line.contains("://")), "{text}");
        assert!(html.contains("prefers-color-scheme: dark") && !html.contains("<img") && !html.contains("<script"));
        let row = at.row(id);
        assert_eq!((row.state(), row.tries), (State::Sent, 1));
        assert_eq!(row.said, "250 2.0.0 Ok: queued as 4Fh2Qx");
    }

    fn a_refused_recipient_is_not_tried_again_until_somebody_says_so(at) {
        let id = at.add("refused@meridian.example", "a");
        at.round();
        let row = at.row(id);
        assert_eq!(row.state(), State::Failed);
        assert!(row.said.contains("550") && row.said.contains("There is no such mailbox here"), "{}", row.said);
        at.app.advance(Duration::days(1));
        at.round();
        assert_eq!(at.row(id).tries, 1);
        assert!(at.app.write(|tx| outbox::send_again(tx, at.app.fixture.tenants["acme"], id)));
        at.round();
        assert_eq!((at.row(id).tries, at.row(id).state()), (1, State::Failed));
    }

    fn a_busy_server_is_asked_again_with_growing_pauses_for_two_days(at) {
        let id = at.add("busy@meridian.example", "a");
        let mut pauses = Vec::new();
        let start = at.app.now();
        for _ in 0..40 {
            at.round();
            let row = at.row(id);
            let Some(next) = row.next_at else { break };
            assert!(row.said.contains("Greylisted"), "{}", row.said);
            pauses.push((next - at.app.now()).num_minutes());
            at.app.advance(next - at.app.now());
        }
        let row = at.row(id);
        assert_eq!(row.state(), State::Failed, "{pauses:?}");
        assert!(row.said.contains("Greylisted"));
        assert_eq!(pauses[..8], [1, 5, 15, 30, 60, 120, 240, 240]);
        assert_eq!(at.app.now() - start, Duration::days(2));
    }

    fn after_days_without_a_sender_a_busy_server_still_gets_its_second_try(at) {
        let id = at.add("once@meridian.example", "a");
        at.app.advance(Duration::days(3));
        at.round();
        assert_eq!((at.row(id).state(), at.row(id).tries), (State::Waiting, 1));
        at.app.advance(Duration::minutes(1));
        at.round();
        assert_eq!(at.row(id).state(), State::Sent);
    }

    fn a_mail_that_is_greylisted_arrives_with_the_second_try(at) {
        let id = at.add("once@meridian.example", "a");
        at.round();
        assert_eq!((at.row(id).state(), at.server.mails().len()), (State::Waiting, 0));
        at.app.advance(Duration::minutes(1));
        at.round();
        assert_eq!((at.row(id).state(), at.server.mails().len()), (State::Sent, 1));
    }

    fn a_connection_that_breaks_is_no_end_and_a_second_arrival_has_the_same_name(at) {
        let closed = at.add("closed@meridian.example", "a");
        let lost = at.add("lost@meridian.example", "b");
        let good = at.add("good@meridian.example", "c");
        at.round();
        assert_eq!((at.row(closed).state(), at.row(lost).state(), at.row(good).state()), (State::Waiting, State::Waiting, State::Sent));
        at.app.advance(Duration::minutes(1));
        at.round();
        let lost: Vec<_> = at.server.mails().into_iter().filter(|mail| mail.to[0].starts_with("lost")).collect();
        assert_eq!(lost.len(), 2);
        assert_eq!(lost[0].header("Message-ID"), lost[1].header("Message-ID"));
        assert_eq!(lost[0].text, lost[1].text);
    }

    fn a_server_that_is_away_loses_nothing(at) {
        let id = at.add("good@meridian.example", "a");
        let url = "smtp://127.0.0.1:1?tls=none";
        let away = keyward::mail::Mailer::new(Some(url), std::path::Path::new("/nowhere"), "localhost").unwrap();
        let parts = &at.app.app;
        let post = keyward::jobs::deliver::Post::new(parts.store.clone(), parts.clock.clone(), parts.secrets.clone(), away, at.app.url.clone(), "a@b.example".into());
        post.round().unwrap();
        assert_eq!(at.row(id).state(), State::Waiting);
        assert!(at.row(id).said.contains("refused"), "{}", at.row(id).said);
        at.app.advance(Duration::minutes(1));
        at.round();
        assert_eq!(at.row(id).state(), State::Sent);
    }

    fn one_connection_carries_many_mails(at) {
        for n in 0..8 {
            at.add(&format!("good{n}@meridian.example"), &n.to_string());
        }
        at.round();
        let mut peers: Vec<_> = at.server.mails().iter().map(|mail| mail.peer).collect();
        assert_eq!(peers.len(), 8);
        peers.dedup();
        assert_eq!(peers.len(), 1);
    }

    fn one_address_gets_so_many_mails_in_a_day_and_the_rest_later(at) {
        for n in 0..MOST_IN_A_DAY + 5 {
            at.add("flooded@meridian.example", &n.to_string());
        }
        at.round();
        assert_eq!(at.server.mails().len() as i64, MOST_IN_A_DAY);
        at.app.advance(Duration::hours(25));
        at.round();
        assert_eq!(at.server.mails().len() as i64, MOST_IN_A_DAY + 5);
    }

    fn names_add_neither_headers_nor_recipients_nor_markup(at) {
        let acme = at.app.fixture.tenants["acme"];
        let hostile = [
            "a\r\nBcc: thief@example.com", "x\nSubject: y", "<script>alert(1)</script>", "\"; <a@b.example>, c", "=?utf-8?q?Bcc:_x?=", "{{ 7*7 }}",
            "\u{202e}gnp.exe", "a\u{7f}b", "💥 ünï, <b>", &"long ".repeat(40),
        ];
        for (n, name) in hostile.iter().enumerate() {
            let mail = Mail::KeyChanged { key: KeyName { id: "7f3Kq9m2x8d4Zt0B".into(), name: (*name).into() }, action: "key.edit".into(), by: (*name).into(), at: at.app.now(), facts: vec![((*name).into(), (*name).into())] };
            let to = To { address: format!("good{n}@meridian.example"), name: (*name).into() };
            at.app.write(|tx| outbox::add(tx, &NewMail { tenant: Some(acme), account: None, to: &to, mail: &mail, once: &n.to_string() }));
        }
        at.round();
        let mails = at.server.mails();
        assert_eq!(mails.len(), hostile.len());
        for (n, mail) in mails.iter().enumerate() {
            assert_eq!(mail.defects, Vec::<String>::new(), "{n}");
            assert_eq!(mail.to, [format!("good{n}@meridian.example")]);
            let mut names: Vec<_> = mail.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
            names.sort();
            assert_eq!(names, ["auto-submitted", "content-type", "date", "from", "list-id", "message-id", "mime-version", "subject", "to"], "{n}");
            assert!(mail.header("To").contains(&mail.to[0]) && mail.header("To").matches("@meridian").count() == 1, "{}", mail.header("To"));
            assert!(!mail.html.as_ref().unwrap().contains("<script") && !mail.html.as_ref().unwrap().contains("<b>"));
            assert!(mail.raw.lines().all(|line| line.len() <= 998));
        }
    }

    fn names_that_look_like_addresses_become_no_links(at) {
        let acme = at.app.fixture.tenants["acme"];
        let hostile = [
            "http://evil.example", "evil.example/login", "www.evil.example", "Reset: evil.example", "(evil.example)", "a@b.example,evil.example",
            "http://evil", "evil。example", "HTTPS://user@evil.example:8443/x?y=z", "evil.example/@you", "http://1.2.3.4/",
        ];
        for (n, name) in hostile.iter().enumerate() {
            at.app.write(|tx| {
                tenants::rename(tx, acme, name)?;
                let invitation = Mail::Invitation { by: (*name).into(), until: tx.now() + Duration::hours(72), has_account: false };
                let key = KeyName { id: "7f3Kq9m2x8d4Zt0B".into(), name: (*name).into() };
                let changed = Mail::KeyChanged { key: key.clone(), action: "key.disable".into(), by: (*name).into(), at: tx.now(), facts: vec![("Reason".into(), (*name).into())] };
                let over = Mail::HandedOver { keys: vec![key.clone(), key], from: (*name).into(), by: (*name).into(), at: tx.now(), lost: vec![(*name).into()] };
                for (mail, kind) in [(&invitation, "i"), (&changed, "c"), (&over, "o")] {
                    let letter = write(mail, &Contents { tenant: Some(("acme".into(), (*name).into())), ..Contents::default() }, &About { public_url: &at.app.url, name, address: "x@meridian.example", now: tx.now(), hidden: false });
                    assert!(letter.subject.contains(name), "a subject is searched for, and no program makes links in it: {}", letter.subject);
                    let to = To { address: format!("good{n}{kind}@meridian.example"), name: (*name).into() };
                    if kind != "i" {
                        outbox::add(tx, &NewMail { tenant: Some(acme), account: None, to: &to, mail, once: &format!("{n}{kind}") })?;
                    } else {
                        // An invitation leaves while it is open: what it says is looked at as it is written.
                        for text in [letter.text().unwrap(), letter.html().unwrap()] {
                            nothing_leads_to(&text, &at.app.url, name);
                        }
                    }
                }
                Ok(())
            });
            at.round();
        }
        let mails = at.server.mails();
        assert_eq!(mails.len(), 2 * hostile.len());
        for (n, mail) in mails.iter().enumerate() {
            assert_eq!(mail.defects, Vec::<String>::new());
            for text in [mail.text.as_ref().unwrap(), mail.html.as_ref().unwrap()] {
                nothing_leads_to(text, &at.app.url, hostile[n / 2]);
            }
        }
    }

    fn a_digest_holds_one_link_a_key_and_leaves_out_what_has_gone(at) {
        let (app, acme) = (&at.app, at.app.fixture.tenants["acme"]);
        let expires_at = app.now() + Duration::days(14);
        for owner in ["dora", "ci"] {
            expires(app, owner, expires_at);
        }
        let line = |owner: &str, role: Role| NewNotice { key: app.fixture.key(owner).id, stage: "before_14".into(), expires_at, role };
        let dora = To { address: "dora@acme.example".into(), name: "Dora Example".into() };
        let extra = To { address: "ops@partner.example".into(), name: String::new() };
        app.write(|tx| {
            outbox::add_notices(tx, acme, &dora, app.now(), &[line("dora", Role::Owner), line("ci", Role::Keeper)])?;
            let gone = NewNotice { expires_at: app.now(), ..line("emil", Role::Owner) };
            outbox::add_notices(tx, acme, &To { address: "emil@acme.example".into(), name: String::new() }, app.now(), &[gone])?;
            outbox::add_notices(tx, acme, &extra, app.now(), &[line("dora", Role::Extra)])
        });
        at.round();
        let mails = at.server.mails();
        assert_eq!(mails.len(), 1, "{:?}", mails.iter().map(|mail| &mail.to).collect::<Vec<_>>());
        let mail = &mails[0];
        assert_eq!(mail.header("Subject"), "2 API keys need your attention");
        let text = mail.text.as_ref().unwrap();
        let links: Vec<_> = text.split_whitespace().filter(|word| word.contains("/extend/kwx_")).collect();
        assert_eq!(links.len(), 2, "{text}");
        assert!(links.iter().all(|link| link.starts_with(&app.url)) && links[0] != links[1]);
        for link in links {
            let page = app.browser().open(link.strip_prefix(&app.url).unwrap());
            assert_eq!(page.status, 200, "{}", page.text());
            assert!(mail.html.as_ref().unwrap().contains(link));
        }
        assert!(!mail.headers.iter().any(|(name, _)| name == "List-Unsubscribe"));
    }
}

/// Looks at what a mail program could make a link of: nothing that a name says. The name can still be read.
fn nothing_leads_to(text: &str, url: &str, name: &str) {
    let ours = ["http://www.w3.org/1999/xhtml", url, "good", "x@meridian.example"];
    // What stands between tags, and what a link leads to.
    for word in text.split(|c: char| c.is_whitespace() || "<>\"“”()',".contains(c)) {
        let is_ours = ours.iter().any(|ours| word.starts_with(ours)) || word == "a@b.example";
        let word = word.to_lowercase();
        assert!(is_ours || !word.contains("://") && !word.contains("evil.example") && !word.contains("evil。example"), "{word} in {text}");
    }
    let words = |text: &str| text.replace('\u{200c}', "").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(text).contains(name), "{name} in {text}");
}

/// Sets the expiry of a key of the fixture, behind the pages.
pub fn expires(app: &TestApp, owner: &str, at: keyward::domain::time::Time) {
    let ada = app.person("ada").account;
    app.write(|tx| {
        let reach = members::acting(tx, "acme", ada)?.unwrap().reach();
        let mut key = keys::find(tx, &reach, app.fixture.key(owner).id)?.unwrap();
        let owner = members::find(tx, reach.tenant(), key.owner)?.unwrap();
        key.life.expires_at = Some(at);
        let version = key.version;
        assert!(keys::save(tx, &key, version, &owner)?);
        Ok(())
    });
}

#[test]
fn without_a_server_mails_become_files_that_only_we_can_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let app = crate::support::spawn(Backend::Sqlite);
    app.browser().submit("/password/forgot", &[("email", "dora@acme.example")]);
    app.app.resets.round().unwrap();
    app.app.post.round().unwrap();
    let folder = app.app.post.folder().unwrap();
    let list = || std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let files = list();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&files[0]).unwrap().contains("Subject: Set a new password for Keyward"));
    let _ = smtp::Tls::None;
    // Files go when their mails do, and others stay.
    for name in ["notes.txt", "20200101-000000.txt", "my own.eml"] {
        std::fs::write(folder.join(name), "").unwrap();
    }
    std::fs::write(folder.join("20250101-120000-000001-digest.part"), "half of one").unwrap();
    let there = |file: &std::path::Path| (file.exists(), app.read(|db| outbox::list(db, app.fixture.tenants["acme"], None, None, 10)).len());
    app.advance(Duration::days(399));
    app.app.timetable.round().unwrap();
    assert_eq!((there(&files[0]), list().len()), ((true, 1), 4), "the half one of 2025 has gone");
    app.advance(Duration::days(2));
    app.app.timetable.round().unwrap();
    assert_eq!((there(&files[0]), list().len()), ((false, 0), 3));
}
