//! Helping members back into their accounts, as admins and as the installation owner.

use keyward::{
    actions::{By, operator},
    store::{accounts, outbox},
};

use super::{events, led_to, url};
use crate::support::TestApp;

/// The kinds of mail that were written to somebody of the fixture, newest first.
fn mails(app: &TestApp, name: &str) -> Vec<String> {
    let email = app.person(name).email.as_str();
    let rows = app.read(|db| outbox::list(db, app.fixture.tenants["acme"], None, None, 100));
    rows.into_iter().filter(|row| row.to.address == email).map(|row| format!("{:?}", row.mail)).collect()
}

fn has_totp(app: &TestApp, name: &str) -> bool {
    app.read(|db| accounts::get(db, app.person(name).account)).has_totp()
}

both! {
    fn nobody_clears_their_own_two_step_sign_in_through_the_members(app) {
        let ada = app.signed_in("ada");
        let page = ada.open(&url(app, "ada", ""));
        assert!(page.says("Change it on your profile page") && !page.body.contains(&url(app, "ada", "/totp")), "{}", page.text());
        let refused = ada.post(&url(app, "ada", "/totp"), &[]);
        assert_eq!(refused.status, 422);
        assert!(refused.says("Use your profile page"), "{}", refused.text());
        assert!(has_totp(app, "ada"));
        assert_eq!(ada.get("/t/acme/members").status, 200, "no session ended");
    }

    fn who_loses_two_step_sign_in_is_told_by_mail_by_whom(app) {
        let ada = app.signed_in("ada");
        led_to(&ada.submit(&url(app, "dora", "/totp"), &[]));
        let told = mails(app, "dora");
        assert!(told.len() == 1 && told[0].contains("TotpRemoved") && told[0].contains("Ada Example"), "{told:?}");
        // There is none any more: nothing happens.
        let again = ada.post(&url(app, "dora", "/totp"), &[]);
        assert!(again.status == 422 && again.says("has no two-step sign-in"), "{}", again.text());
        assert_eq!(mails(app, "dora").len(), 1);
        assert_eq!(events(app, "dora").iter().filter(|word| **word == "account.totp_remove").count(), 1);
        let email = app.person("mia").email.clone();
        app.app.store.write(app.now(), |tx| operator::clear_totp(tx, &By::operator(Some("keyward user clear-totp"), tx.now()), &email)).unwrap();
        let told = mails(app, "mia");
        assert!(told.len() == 1 && told[0].contains("TotpRemoved") && told[0].contains("clear-totp"), "{told:?}");
    }

    fn an_admin_mails_a_link_for_a_new_password_to_who_is_a_member_nowhere_else(app) {
        let (ada, dora) = (app.signed_in("ada"), app.signed_in("dora"));
        let asked = ada.open(&url(app, "dora", "/reset"));
        assert!(asked.says("Mail Dora Example a link for a new password?") && asked.says("dora@acme.example"), "{}", asked.text());
        assert_eq!(mails(app, "dora").len(), 0, "asking changes nothing");
        led_to(&ada.send(&asked, &url(app, "dora", "/reset"), &[]));
        let told = mails(app, "dora");
        assert!(told.len() == 1 && told[0].contains("PasswordReset"), "{told:?}");
        assert_eq!(events(app, "dora")[0], "account.password_reset");
        assert_eq!(dora.get("/profile").status, 200, "until the link is used nothing changes");
        for _ in 0..2 {
            app.advance(chrono::Duration::minutes(1));
            led_to(&ada.submit(&url(app, "dora", "/reset"), &[]));
        }
        app.advance(chrono::Duration::minutes(1));
        let enough = ada.submit(&url(app, "dora", "/reset"), &[]);
        assert!(enough.status == 422 && enough.says("Wait before mailing another"), "{}", enough.text());
        assert_eq!(mails(app, "dora").len(), 3);
        // mia is in globex too.
        let page = ada.open(&url(app, "mia", ""));
        assert!(page.says("only the installation owner can mail it a link"), "{}", page.text());
        assert_eq!(ada.post(&url(app, "mia", "/reset"), &[]).status, 422);
        assert_eq!(mails(app, "mia").len(), 0);
        assert_eq!(app.signed_in("dora").open(&url(app, "emil", "/reset")).status, 403);
    }

    fn the_installation_owner_helps_a_member_of_several_tenants(app) {
        let root = app.signed_in("root");
        let none = root.open("/installation/people?email=nobody@acme.example");
        assert!(none.status == 422 && none.says("There is no account with this address."), "{}", none.text());
        assert_eq!(none.attributes("#email", "value"), ["nobody@acme.example"]);
        let page = root.open("/installation/people?email=MIA@acme.example");
        assert!(page.says("Mia Example") && page.says("2 tenants"), "{}", page.text());
        let links = page.attributes("main .card a", "href");
        let end = |end: &str| links.iter().find(|link| link.ends_with(end)).unwrap().clone();
        led_to(&root.submit(&end("/reset"), &[]));
        assert!(mails(app, "mia").iter().any(|mail| mail.contains("PasswordReset")));
        led_to(&root.submit(&end("/totp"), &[]));
        assert!(!has_totp(app, "mia"));
        assert_eq!(events(app, "mia")[..2], ["account.totp_remove", "account.password_reset"]);
        let again = root.submit(&end("/totp"), &[]);
        assert!(again.status == 422 && again.says("has no two-step sign-in"), "{}", again.text());
        // Not its own, which the profile page asks a password for.
        let own = format!("/installation/people/{}/totp", app.person("root").account);
        let refused = root.submit(&own, &[]);
        assert!(refused.status == 422 && refused.says("Use your profile page"), "{}", refused.text());
        assert!(has_totp(app, "root"));
    }
}
