//! Which mails leave first, how many there may be, and which do not leave at all.

use chrono::Duration;
use keyward::{
    domain::{
        mail::{Mail, Role},
        time::days,
    },
    store::outbox::{self, NewMail, NewNotice, Row, State, To},
};

use super::sending::{Sending, expires, sending, spawn};
use crate::{
    notices::make_many,
    support::{Backend, TestApp},
};

fn written(app: &TestApp) -> Vec<Row> {
    let mut rows = app.read(|db| outbox::list(db, app.fixture.tenants["acme"], None, None, 1000));
    rows.reverse();
    rows
}

/// Asks for a new password, and has its mail written.
fn forget(app: &TestApp, email: &str) {
    let before = written(app).len();
    assert_eq!(app.browser().submit("/password/forgot", &[("email", email)]).status, 200);
    app.app.resets.round().unwrap();
    assert_eq!(written(app).len(), before + 1, "a mail to {email}");
}

fn invite(ada: &crate::support::browser::Browser, email: &str) -> crate::support::browser::Page {
    ada.submit("/t/acme/members/invite", &[("email", email)])
}

sending! {
    fn what_a_person_waits_for_leaves_first_and_in_spite_of_the_cap(at) {
        let (app, acme) = (&at.app, at.app.fixture.tenants["acme"]);
        let dora = &app.person("dora").email;
        for n in 0..100 {
            at.add(dora, &n.to_string());
        }
        expires(app, "dora", app.now() + days(14));
        let line = NewNotice { key: app.fixture.key("dora").id, stage: "before_14".into(), expires_at: app.now() + days(14), role: Role::Owner };
        let to = To { address: dora.clone(), name: "Dora Example".into() };
        app.write(|tx| outbox::add_notices(tx, acme, &to, tx.now(), &[line]));
        app.advance(Duration::minutes(5));
        forget(app, dora);
        app.app.post.round().unwrap();
        let subjects: Vec<String> = at.server.mails().iter().map(|mail| mail.header("Subject").to_owned()).collect();
        assert_eq!(subjects.len(), 101, "a reset and a hundred others");
        assert_eq!(subjects[0], "Set a new password for Keyward");
        let waiting = app.read(|db| outbox::list(db, acme, Some(State::Waiting), None, 10));
        assert!(waiting.len() == 1 && waiting[0].mail == Mail::Digest, "the digest waits: {waiting:?}");
        app.advance(Duration::minutes(1));
        forget(app, dora);
        app.app.post.round().unwrap();
        assert_eq!(at.server.mails().len(), 102);
    }

    fn what_was_used_or_replaced_before_it_left_does_not_leave(at) {
        let app = &at.app;
        let ada = app.signed_in("ada");
        let gone = Mail::GatewayExpires { id: "NoSuchGateway000".into(), name: "edge".into(), expires_at: app.now() + days(7) };
        let to = To { address: "ada@acme.example".into(), name: String::new() };
        app.write(|tx| outbox::add(tx, &NewMail { tenant: Some(app.fixture.tenants["acme"]), account: None, to: &to, mail: &gone, once: "gone" }));
        forget(app, &app.person("dora").email);
        app.advance(Duration::minutes(1));
        forget(app, &app.person("dora").email);
        assert_eq!(invite(&ada, "guest@partner.example").status, 200);
        app.advance(Duration::minutes(1));
        assert_eq!(invite(&ada, "guest@partner.example").status, 200);
        app.app.post.round().unwrap();
        let states: Vec<(&str, State)> = written(app).iter().map(|row| (row.mail.word(), row.state())).collect();
        assert_eq!(states, [
            ("gateway_expires", State::Dropped), ("password_reset", State::Dropped), ("password_reset", State::Sent),
            ("invitation", State::Dropped), ("invitation", State::Sent),
        ]);
        let mails = at.server.mails();
        assert_eq!(mails.len(), 2);
        for mail in mails {
            let (reset, invited) = ("/password/reset/kwr_", "/invite/kwi_");
            let path = if mail.text.as_ref().unwrap().contains(reset) { reset } else { invited };
            assert_eq!(app.browser().get(mail.link(path).strip_prefix(&app.url).unwrap()).status, 200, "what leaves works");
        }
    }

    fn a_row_that_cannot_be_read_stops_no_other(at) {
        let strange = at.add("good@meridian.example", "a");
        at.app.sql("UPDATE mails SET facts = '{\"kind\":\"from_the_future\"}'");
        at.add("better@meridian.example", "b");
        at.app.app.post.round().unwrap();
        assert_eq!(at.server.mails().iter().map(|mail| mail.to[0].clone()).collect::<Vec<_>>(), ["better@meridian.example"]);
        let ada = at.app.signed_in("ada");
        let page = ada.open("/t/acme/mail");
        assert!(page.status == 200 && page.says("better@") && !page.says("good@"), "{}", page.text());
        // A newer process may still send it; after two days nobody has.
        let failed = |app: &TestApp| app.read(|db| outbox::failed_since(db, app.fixture.tenants["acme"], app.now() - days(1)));
        assert_eq!(failed(&at.app), 0);
        at.app.advance(days(2) + Duration::minutes(1));
        at.app.app.post.round().unwrap();
        assert_eq!(failed(&at.app), 1, "{strange:?}");
    }

    fn a_slow_server_is_waited_for_and_one_that_hangs_is_not(at) {
        let (slow, hangs) = (at.add("slow@meridian.example", "a"), at.add("hangs@meridian.example", "b"));
        at.app.app.post.round().unwrap();
        let row = |id| at.app.read(|db| outbox::find(db, at.app.fixture.tenants["acme"], id)).unwrap();
        assert_eq!((row(slow).state(), row(hangs).state()), (State::Sent, State::Waiting));
        assert_eq!(row(hangs).said, "the server did not answer within 10 seconds");
    }
}

both! {
    fn an_address_is_invited_five_times_a_day_and_no_more(app) {
        let ada = app.signed_in("ada");
        for n in 0..5 {
            assert_eq!(invite(&ada, "guest@partner.example").status, 200, "{n}");
            app.advance(Duration::minutes(1));
        }
        let page = invite(&ada, "Guest@partner.example");
        let words = "This address was invited five times within a day. Invite it again tomorrow.";
        assert_eq!((page.status, page.texts("#email-e")), (422, vec![words.to_owned()]), "{}", page.text());
        assert_eq!(invite(&ada, "other@partner.example").status, 200);
        app.advance(days(1) + Duration::seconds(1));
        assert_eq!(invite(&app.signed_in("ada"), "guest@partner.example").status, 200);
    }

    fn what_somebody_does_with_many_keys_is_one_mail(app) {
        let names: Vec<String> = (0..30).map(|n| format!("batch {n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let keys = make_many(app, "dora", "dora", &names, 28, &[]);
        let ada = app.signed_in("ada");
        let path = "/t/acme/keys/revoke";
        let page = ada.get(&format!("{path}?all=1&q=batch"));
        let done = ada.send(&page, path, &[("number", "30"), ("reason", "deleted"), ("totp", &app.code("ada"))]);
        assert!(done.status == 303, "{}", done.text());
        let rows = written(app);
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!((rows[0].to.address.as_str(), rows[0].next_at), ("dora@acme.example", Some(app.now())));
        let mail = ada.open(&format!("/t/acme/mail/{}", rows[0].id));
        assert!(mail.says("Ada Example revoked 30 of your keys") && mail.says("Reason: deleted"), "{}", mail.text());
        assert!(keys.iter().all(|key| mail.says(key.as_str())));
        // Once it has left, what follows is gathered for a minute; another action has a mail of its own.
        app.app.post.round().unwrap();
        let more = make_many(app, "dora", "dora", &["late one", "late two", "late three"], 28, &[]);
        for key in &more[..2] {
            ada.submit(&format!("/t/acme/keys/{key}/revoke"), &[("reason", "deleted")]);
        }
        ada.submit(&format!("/t/acme/keys/{}/disable", more[2]), &[]);
        let rows = written(app);
        assert_eq!(rows.len(), 3, "{rows:?}");
        assert!(matches!(&rows[1].mail, Mail::KeysChanged { keys, .. } if keys.len() == 2), "{:?}", rows[1]);
        assert_eq!((rows[1].next_at, rows[2].next_at), (Some(rows[1].created_at + Duration::minutes(1)), Some(rows[2].created_at)));
    }

    fn a_network_asks_for_only_so_many_links_and_none_of_them_is_lost(app) {
        let reader = app.browser();
        let page = reader.get("/password/forgot");
        let ask = |email: &str| reader.send(&page, "/password/forgot", &[("email", email)]).status;
        for name in ["dora", "emil", "ada"] {
            assert_eq!(ask(&app.person(name).email), 200);
        }
        app.app.resets.round().unwrap();
        assert_eq!(written(app).iter().filter(|row| matches!(row.mail, Mail::PasswordReset { .. })).count(), 3);
        let statuses: Vec<u16> = (3..32).map(|n| ask(&format!("nobody{n}@acme.example"))).collect();
        assert!(statuses[..27].iter().all(|status| *status == 200), "{statuses:?}");
        assert_eq!(statuses[27..], [429, 429]);
        app.advance(Duration::minutes(1));
        assert_eq!(ask("nobody@acme.example"), 200);
        // Links that do not exist are looked up only so often.
        let statuses: Vec<u16> = (0..301).map(|_| reader.get("/invite/kwi_none").status).collect();
        assert_eq!(statuses[299..], [410, 429]);
        assert_eq!((reader.get("/password/reset/kwr_none").status, reader.get("/profile/email/kwr_none").status), (429, 429));
    }

    fn those_who_may_not_see_every_key_read_no_mail_about_them(app) {
        let ada = app.signed_in("ada");
        ada.submit(&format!("/t/acme/keys/{}/disable", app.fixture.key("dora").id), &[]);
        assert_eq!(invite(&ada, "guest@partner.example").status, 200);
        let rows = written(app);
        let page = |at: usize, end: &str| ada.get(&format!("/t/acme/mail/{}{end}", rows[at].id));
        assert!(page(0, "").says("key of dora") && ada.open("/t/acme/mail").says("key of dora"));
        app.write(|tx| {
            let tenant = keyward::store::tenants::get(tx, app.fixture.tenants["acme"])?;
            let settings = keyward::domain::tenant::Settings { admins_see_all: false, admins_manage_all: false, ..tenant.settings.clone() };
            keyward::store::tenants::save_settings(tx, &tenant, &settings)
        });
        let list = ada.open("/t/acme/mail");
        assert!(list.says("About keys that you may not see") && list.says("dora@acme.example") && list.says("Key changed by someone else"), "{}", list.text());
        assert!(!list.says("key of dora"));
        assert!(page(0, "").status == 200 && !page(0, "").body.contains("key of dora"), "{}", page(0, "").text());
        assert!(page(0, "").says("It tells of keys of others"));
        assert_eq!(page(0, "/html").status, 404);
        assert!(page(1, "").says("guest@partner.example") && page(1, "/html").status == 200, "an invitation is about no key");
    }
}

#[test]
fn a_mail_that_was_taken_while_the_database_was_busy_leaves_once() {
    let at: Sending = spawn(Backend::Sqlite);
    let id = at.add("slow@meridian.example", "a");
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| at.app.app.post.round().unwrap());
        std::thread::sleep(std::time::Duration::from_millis(800));
        // Longer than a writer waits for another.
        at.app.write(|_| {
            std::thread::sleep(std::time::Duration::from_secs(8));
            Ok(())
        });
        sending.join().unwrap();
    });
    let row = at.app.read(|db| outbox::find(db, at.app.fixture.tenants["acme"], id)).unwrap();
    assert_eq!((row.state(), at.server.mails().len()), (State::Sent, 1), "{row:?}");
}
