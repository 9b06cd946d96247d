//! The installation's Mail page: mails that belong to no tenant.

use chrono::Duration;
use keyward::{
    domain::{ids::MailId, mail::Mail},
    store::{
        accounts, events,
        installation::InstallationReach,
        outbox::{self, NewMail, Outcome, Row, State, To},
    },
};

use crate::support::TestApp;

const MAIL: &str = "/installation/mail";

/// A link for a new password of somebody who is a member nowhere, which no server took.
pub fn failed(app: &TestApp, address: &str, once: &str) -> MailId {
    let mail = Mail::PasswordReset { until: app.now() + Duration::hours(1) };
    let to = To { address: address.to_owned(), name: "Root Example".to_owned() };
    app.write(|tx| {
        let id = outbox::add(tx, &NewMail { tenant: None, account: None, to: &to, mail: &mail, once })?.unwrap();
        for taken in outbox::take(tx, "test", 1000)? {
            let outcome = if taken.id == id { Outcome::Failed } else { Outcome::Later(tx.now()) };
            outbox::settle(tx, taken.id, "test", &outcome, "550 5.1.1 no such mailbox")?;
        }
        Ok(id)
    })
}

fn of_no_tenant(app: &TestApp) -> Vec<Row> {
    app.read(|db| {
        let reach = InstallationReach::of(&accounts::by_email(db, "root@acme.example")?.unwrap()).unwrap();
        outbox::list_of_installation(db, &reach, None, None, 100)
    })
}

both! {
    fn a_link_that_the_installation_owner_never_got_is_on_their_mail_page(app) {
        let root = app.signed_in("root");
        assert!(root.open(MAIL).says("No mails yet"));
        app.browser().submit("/password/forgot", &[("email", "root@acme.example")]);
        app.app.resets.round().unwrap();
        let id = of_no_tenant(app)[0].id;
        let page = root.open(MAIL);
        assert!(page.says("Set a new password") && page.says("root@acme.example") && page.says("Waiting"), "{}", page.text());
        assert!(!root.open("/installation/tenants").says("could not be delivered"));
        app.write(|tx| {
            outbox::take(tx, "test", 10)?;
            outbox::settle(tx, id, "test", &Outcome::Failed, "550 5.1.1 no such mailbox")
        });
        let tenants = root.open("/installation/tenants");
        assert!(tenants.says("A mail could not be delivered this week."), "{}", tenants.text());
        assert_eq!(tenants.attributes(".note-bar a", "href"), [format!("{MAIL}?state=failed")]);
        let list = root.open(&format!("{MAIL}?state=failed"));
        assert!(list.says("550 5.1.1 no such mailbox") && list.says("root@acme.example"), "{}", list.text());
        assert!(root.open(&format!("{MAIL}?state=sent")).says("No mail matches"));
        // The mail is shown without its link.
        let (one, alone) = (root.open(&format!("{MAIL}/{id}")), root.open(&format!("{MAIL}/{id}/html")));
        assert!(one.says("550 5.1.1 no such mailbox") && one.says("Password reset") && alone.says("Root Example"), "{}\n{}", one.text(), alone.text());
        assert!([&one, &alone, &list].iter().all(|page| !page.body.replace("kwr_…", "").contains("kwr_")));

        let before = app.read(|db| events::verify(db, &app.app.secrets, events::INSTALLATION)).unwrap();
        let answer = root.submit_to(&format!("{MAIL}/{id}"), &format!("{MAIL}/{id}/send"), &[]);
        assert_eq!(answer.status, 303);
        assert_eq!(app.read(|db| events::verify(db, &app.app.secrets, events::INSTALLATION)).unwrap(), before + 1);
        assert!(root.follow(answer).says("The mail leaves again in a moment."));
        assert_eq!(of_no_tenant(app)[0].state(), State::Waiting);
        assert!(!root.open("/installation/tenants").says("could not be delivered"));
        let events = || app.read(|db| events::verify(db, &app.app.secrets, events::INSTALLATION)).unwrap();
        let before = events();
        let answer = root.post(&format!("{MAIL}/{id}/send"), &[]);
        assert!(root.follow(answer).says("This mail has not failed, so there is nothing to send again."));
        assert_eq!(events(), before);
        app.app.post.round().unwrap();
        assert_eq!(of_no_tenant(app)[0].state(), State::Sent);
    }

    fn a_mail_of_a_tenant_is_not_there_and_theirs_is_in_no_tenant(app) {
        let id = failed(app, "root@acme.example", "a");
        let mail = Mail::PasswordReset { until: app.now() + Duration::hours(1) };
        let to = To { address: "dora@acme.example".into(), name: String::new() };
        let new = NewMail { tenant: Some(app.fixture.tenants["acme"]), account: None, to: &to, mail: &mail, once: "b" };
        let theirs = app.write(|tx| outbox::add(tx, &new)).unwrap();
        let (root, ada) = (app.signed_in("root"), app.signed_in("ada"));
        assert!(!root.open(MAIL).says("dora@acme.example") && !ada.open("/t/acme/mail").says("root@acme.example"));
        assert!(!ada.open("/t/acme/settings").says("could not be delivered"));
        for end in ["", "/html"] {
            assert_eq!(root.get(&format!("{MAIL}/{theirs}{end}")).status, 404);
            assert_eq!(ada.get(&format!("/t/acme/mail/{id}{end}")).status, 404);
            assert_eq!(ada.get(&format!("{MAIL}/{id}{end}")).status, 404);
        }
        root.open(MAIL);
        assert_eq!(root.post(&format!("{MAIL}/{theirs}/send"), &[]).status, 404);
        ada.open("/t/acme/mail");
        for path in [format!("/t/acme/mail/{id}/send"), format!("{MAIL}/{id}/send")] {
            assert_eq!(ada.post(&path, &[]).status, 404, "{path}");
        }
        assert_eq!(of_no_tenant(app)[0].state(), State::Failed);
    }
}
