//! Links that go by mail, followed from their mails.

use keyward::store::accounts;

use super::sending::spawn;
use crate::support::{Backend, TestApp, browser::Browser, smtp::Mail};

/// The console role Developer, as the form sends it.
fn developer(app: &TestApp) -> String {
    let acme = app.fixture.tenants["acme"];
    app.read(|db| keyward::store::members::built_in_role(db, acme, keyward::domain::permission::BuiltIn::Developer)).to_string()
}

/// Invites an address as Developer. The path of the link that the answer shows.
fn invites(app: &TestApp, ada: &Browser, email: &str) -> String {
    let answer = ada.submit("/t/acme/members/invite", &[("email", email), ("role", &developer(app))]);
    let link = answer.find("#c-link").unwrap_or_else(|| panic!("{}", answer.text()));
    link.strip_prefix(&app.url).unwrap().to_owned()
}

/// The path of the newest link in the mails to an address.
fn mailed(app: &TestApp, mails: &[Mail], to: &str, path: &str) -> String {
    let mail = mails.iter().rev().find(|mail| mail.to == [to]).unwrap_or_else(|| panic!("no mail to {to}"));
    mail.link(path).strip_prefix(&app.url).unwrap().to_owned()
}

fn has_opened(app: &TestApp, email: &str) -> bool {
    app.read(|db| {
        let account = accounts::by_email(db, email)?.unwrap();
        accounts::has_opened_mail(db, account.id)
    })
}

fn both_ways(backend: Backend) {
    let at = spawn(backend);
    let app = &at.app;
    let ada = app.signed_in("ada");
    let fields = [("name", "Zoe New"), ("new_password", "seven grey herons standing")];

    // Through the mail: the account has opened a mailed link, and the link that was shown is dead.
    let shown = invites(app, &ada, "zoe@acme.example");
    app.app.post.round().unwrap();
    let link = mailed(app, &at.server.mails(), "zoe@acme.example", "/invite/kwi_");
    assert_ne!(link, shown);
    let zoe = app.browser();
    assert_eq!(zoe.submit(&link, &fields).status, 303);
    assert_eq!(zoe.open("/t/acme/keys/new").status, 200);
    assert!(has_opened(app, "zoe@acme.example"));
    assert_eq!(app.browser().get(&shown).status, 410);

    // Through the link that was shown: it has not, and the mailed one is dead.
    let shown = invites(app, &ada, "yan@acme.example");
    app.app.post.round().unwrap();
    let link = mailed(app, &at.server.mails(), "yan@acme.example", "/invite/kwi_");
    assert_eq!(app.browser().submit(&shown, &fields).status, 303);
    assert!(!has_opened(app, "yan@acme.example"));
    assert_eq!(app.browser().get(&link).status, 410);

    // A password that is set anew through a mail shows it too; one through a link of the operator does not.
    let token = app.write(|tx| keyward::actions::credentials::start_reset(tx, "dora@acme.example")).unwrap();
    let new = [("new_password", "an entirely new one of mine")];
    assert_eq!(app.browser().submit(&format!("/password/reset/{}", token.reveal()), &new).status, 303);
    assert!(!has_opened(app, "dora@acme.example"));
    let member = format!("/t/acme/members/{}/reset", app.fixture.members["acme/dora"]);
    assert_eq!(ada.submit(&member, &[]).status, 303);
    app.app.post.round().unwrap();
    let link = mailed(app, &at.server.mails(), "dora@acme.example", "/password/reset/kwr_");
    assert_eq!(app.browser().submit(&link, &[("new_password", "another new one of mine")]).status, 303);
    assert!(has_opened(app, "dora@acme.example"));
}

#[test]
fn a_mailed_link_shows_that_its_address_is_read_on_sqlite() {
    both_ways(Backend::Sqlite);
}

#[test]
fn a_mailed_link_shows_that_its_address_is_read_on_postgres() {
    both_ways(Backend::Postgres);
}
