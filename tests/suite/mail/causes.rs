//! What writes mails: what others do with one's key, a forgotten password, a changed way to sign in.

use chrono::Duration;
use keyward::store::outbox::{self, Row};

use super::sending::spawn;
use crate::support::{Backend, TestApp, smtp::Mail};

/// The mails of acme, oldest first.
fn written(app: &TestApp) -> Vec<Row> {
    let mut rows = app.read(|db| outbox::list(db, app.fixture.tenants["acme"], None, None, 100));
    rows.reverse();
    rows
}

both! {
    fn an_owner_hears_what_others_do_with_their_key_and_nothing_of_their_own_doing(app) {
        let (ada, dora) = (app.signed_in("ada"), app.signed_in("dora"));
        let key = app.fixture.key("dora").id;
        let path = |end: &str| format!("/t/acme/keys/{key}{end}");
        dora.submit(&path("/disable"), &[]);
        dora.submit(&path("/enable"), &[]);
        assert_eq!(written(app).len(), 0);
        ada.submit(&path("/disable"), &[]);
        ada.submit(&path("/enable"), &[]);
        ada.submit(&path("/revoke"), &[("reason", "leaked in a log")]);
        let rows = written(app);
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|row| row.to.address == app.person("dora").email));
        app.app.post.round().unwrap();
        let page = ada.open(&format!("/t/acme/mail/{}", rows[2].id));
        assert!(page.says("revoked your key “key of dora”") && page.says("leaked in a log"), "{}", page.text());
        ada.submit(&path("/delete"), &[("confirm", "delete")]);
        assert_eq!(written(app).len(), 4);
    }

    fn a_key_that_is_deleted_at_once_is_told_of_once(app) {
        let ada = app.signed_in("ada");
        ada.submit(&format!("/t/acme/keys/{}/delete", app.fixture.key("emil").id), &[("confirm", "delete")]);
        let rows = written(app);
        assert_eq!(rows.len(), 1, "{rows:?}");
    }

    fn whether_an_address_has_an_account_shows_neither_in_the_answer_nor_in_its_status(app) {
        let browser = app.browser();
        let known = browser.submit("/password/forgot", &[("email", &app.person("dora").email)]);
        let unknown = browser.submit("/password/forgot", &[("email", "nobody@acme.example")]);
        assert_eq!((known.status, unknown.status), (200, 200));
        assert_eq!(known.text(), unknown.text());
        let wrong = browser.submit("/password/forgot", &[("email", "a, b")]);
        assert_eq!((wrong.status, wrong.attributes("#email", "value")), (422, vec!["a, b".to_owned()]));
        for _ in 0..4 {
            app.app.resets.round().unwrap();
            app.advance(Duration::minutes(1));
            browser.submit("/password/forgot", &[("email", &app.person("dora").email)]);
        }
        app.app.resets.round().unwrap();
        let rows = written(app);
        assert_eq!(rows.len(), 3, "no more than three in an hour");
        assert!(rows.iter().all(|row| row.to.address == app.person("dora").email));
    }

    fn only_who_manages_the_settings_sees_mails_and_only_those_of_their_tenant(app) {
        let ada = app.signed_in("ada");
        ada.submit(&format!("/t/acme/keys/{}/disable", app.fixture.key("emil").id), &[]);
        let id = written(app)[0].id;
        for name in ["dora", "audrey", "nora"] {
            let other = app.signed_in(name);
            for path in ["/t/acme/mail".to_owned(), format!("/t/acme/mail/{id}"), format!("/t/acme/mail/{id}/html")] {
                assert_eq!(other.get(&path).status, 403, "{name} {path}");
            }
        }
        let gus = app.signed_in("gus");
        assert_eq!(gus.get("/t/acme/mail").status, 404);
        assert_eq!(gus.get(&format!("/t/globex/mail/{id}")).status, 404);
        let html = ada.get(&format!("/t/acme/mail/{id}/html"));
        assert_eq!(html.status, 200);
        assert!(html.header("content-security-policy").unwrap().starts_with("sandbox; default-src 'none'"));
        assert_eq!(ada.get("/t/acme/mail?state=failed").status, 200);
        assert_eq!(ada.get("/t/acme/mail/99999").status, 404);
    }
}

#[test]
fn a_new_address_is_confirmed_through_its_mail_and_both_addresses_are_told() {
    let at = spawn(Backend::Sqlite);
    let app = &at.app;
    let (old, new) = (app.person("emil").email.as_str(), "emil.new@example.com");
    let emil = app.signed_in("emil");
    let wrong = emil.submit("/profile/email", &[("email", new), ("current_password", "not it")]);
    assert_eq!(wrong.status, 422);
    let password = app.person("emil").password;
    assert_eq!(emil.submit("/profile/email", &[("email", new), ("current_password", password)]).status, 303);
    app.app.post.round().unwrap();
    assert!(last(&at.server.mails(), old).text.unwrap().contains(new));
    let link = last(&at.server.mails(), new).link("/profile/email/kwr_");
    let path = link.strip_prefix(&app.url).unwrap().to_owned();
    assert!(app.browser().open(&path).says(new));
    assert_eq!(app.browser().submit("/login", &[("email", new), ("password", password)]).status, 422, "asking changes nothing");
    assert_eq!(app.browser().submit(&path, &[]).status, 303);
    assert_eq!(app.browser().get(&path).status, 410);
    assert_eq!(app.browser().submit("/login", &[("email", new), ("password", password)]).status, 303);
    app.app.post.round().unwrap();
    for address in [old, new] {
        assert_eq!(last(&at.server.mails(), address).header("Subject"), "Your e-mail address was changed: Keyward");
    }
    assert!(app.signed_in("ada").open("/t/acme/keys").says(new), "the grid follows");
    // An address that has an account gets no link, and the answer is the same.
    let dora = app.person("dora").email.as_str();
    let before = at.server.mails().len();
    let emil = app.browser();
    emil.submit("/login", &[("email", new), ("password", password)]);
    assert_eq!(emil.submit("/profile/email", &[("email", dora), ("current_password", password)]).status, 303);
    app.app.post.round().unwrap();
    assert_eq!(at.server.mails().len(), before + 1, "only the present address is told");
}

fn last(mails: &[Mail], to: &str) -> Mail {
    mails.iter().rev().find(|mail| mail.to == [to]).unwrap_or_else(|| panic!("no mail to {to}")).clone()
}

#[test]
fn a_forgotten_password_is_set_anew_through_the_mail_and_the_person_is_told() {
    let at = spawn(Backend::Sqlite);
    let app = &at.app;
    let email = &app.person("emil").email;
    app.browser().submit("/password/forgot", &[("email", email)]);
    app.app.resets.round().unwrap();
    app.app.post.round().unwrap();
    let mail = last(&at.server.mails(), email);
    let link = mail.link("/password/reset/kwr_");
    assert!(mail.html.as_ref().unwrap().contains(&link));
    let path = link.strip_prefix(&app.url).unwrap().to_owned();
    // The Mail page shows the mail without its link.
    let id = written(app)[0].id;
    let ada = app.signed_in("ada");
    for end in ["", "/html"] {
        let page = ada.get(&format!("/t/acme/mail/{id}{end}"));
        let token = path.rsplit('/').next().unwrap();
        assert_eq!(page.status, 200, "{end}");
        assert!(!page.body.contains(token) && page.body.contains("kwr_…"), "{end}: {}", page.body);
    }
    // A program that follows links changes nothing.
    for _ in 0..3 {
        assert_eq!(app.browser().get(&path).status, 200);
    }
    let browser = app.browser();
    let done = browser.submit(&path, &[("new_password", "an entirely new one of mine")]);
    assert_eq!(done.status, 303, "{}", done.text());
    assert_eq!(app.browser().get(&path).status, 410);
    app.app.post.round().unwrap();
    let told = last(&at.server.mails(), email);
    assert_eq!(told.header("Subject"), "Your password was changed: Keyward");
    let in_database = app.read(|db| outbox::list(db, app.fixture.tenants["acme"], None, None, 10));
    assert!(in_database.iter().all(|row| !format!("{row:?}").contains("kwr_")));
}

#[test]
fn a_failed_mail_raises_a_banner_and_can_be_sent_again() {
    let at = spawn(Backend::Sqlite);
    let app = &at.app;
    let ada = app.signed_in("ada");
    assert!(!ada.open("/t/acme/settings").says("could not be delivered"));
    let id = at.add("refused@meridian.example", "a");
    let expired = at.add("good@meridian.example", "b");
    app.app.post.round().unwrap();
    let page = ada.open("/t/acme/settings");
    assert!(page.says("A mail could not be delivered this week"), "{}", page.text());
    let list = ada.open("/t/acme/mail?state=failed");
    assert!(list.says("There is no such mailbox here") && list.says("Failed"), "{}", list.text());
    assert!(!list.says("good@meridian.example"));
    let answer = ada.submit_to(&format!("/t/acme/mail/{id}"), &format!("/t/acme/mail/{id}/send"), &[]);
    assert_eq!(answer.status, 303);
    assert!(!ada.open("/t/acme/settings").says("could not be delivered"));
    app.app.post.round().unwrap();
    assert!(ada.open("/t/acme/mail").says("There is no such mailbox here"));
    assert!(ada.get(&format!("/t/acme/mail/{expired}")).status == 200);
    app.advance(Duration::days(8));
    let ada = app.signed_in("ada");
    assert!(!ada.open("/t/acme/settings").says("could not be delivered"), "after a week the banner goes");
}
