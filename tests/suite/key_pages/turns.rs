//! Who waits for another writer decides by what is true when their turn comes.

use std::{sync::mpsc, time::Duration};

use keyward::store::{StoreError, Tx, console_roles, members, tenants};

use super::{count, set, url};
use crate::support::{Backend, TestApp, behind::Behind, browser::Page};

/// Sends a request while somebody else is changing the tenant, whose change is there before the request gets its turn.
fn meanwhile(app: &TestApp, change: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send, request: impl FnOnce() -> Page) -> Page {
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let other = scope.spawn(move || {
            app.write(|tx| {
                tx.lock(app.fixture.tenants["acme"])?;
                tell.send(()).unwrap();
                std::thread::sleep(Duration::from_millis(700));
                change(tx)
            });
        });
        told.recv().unwrap();
        let page = request();
        other.join().unwrap();
        page
    })
}

both! {
    fn a_change_that_waits_too_long_for_the_database_is_refused_whole_and_works_the_next_time(app) {
        let (dora, key) = (app.signed_in("dora"), app.fixture.key("dora"));
        let disable = url(key.id.as_str(), "/disable");
        let form = dora.get(&disable);
        let behind = Behind::new(app, &[]);
        let events = || behind.one("SELECT count(*) AS text FROM events");
        let before = events();
        let begin = if app.backend == Backend::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN; LOCK TABLE keys IN EXCLUSIVE MODE" };
        behind.sql(begin).unwrap();
        let refused = dora.send(&form, &disable, &[("reason", "Left the team")]);
        assert_eq!((refused.status, refused.header("retry-after").as_deref()), (503, Some("10")), "{}", refused.text());
        behind.sql("ROLLBACK").unwrap();
        assert_eq!((app.verify(&key.token), events()), ("valid".to_owned(), before), "half of it was done");
        assert_eq!(dora.send(&form, &disable, &[("reason", "Left the team")]).status, 303);
        assert_eq!(app.verify(&key.token), "disabled");
    }

    fn a_key_is_not_made_where_it_was_forbidden_while_its_maker_waited(app) {
        let acme = app.fixture.tenants["acme"];
        let dora = app.signed_in("dora");
        let (form, before) = (dora.open("/t/acme/keys/new"), count(app, "dora"));
        let lower = |tx: &mut Tx<'_>| {
            let tenant = tenants::get(tx, acme)?;
            let mut settings = tenant.settings.clone();
            settings.maximum_days = Some(10);
            tenants::save_settings(tx, &tenant, &settings)
        };
        let refused = meanwhile(app, lower, || dora.send(&form, "/t/acme/keys/new", &[("life", "P3M")]));
        assert!(refused.status == 422 && refused.says("10 days or fewer"), "{} {}", refused.status, refused.text());
        let off = |tx: &mut Tx<'_>| {
            let tenant = tenants::get(tx, acme)?;
            let mut settings = tenant.settings.clone();
            settings.keys_enabled = false;
            settings.maximum_days = None;
            tenants::save_settings(tx, &tenant, &settings)
        };
        let refused = meanwhile(app, off, || dora.send(&form, "/t/acme/keys/new", &[]));
        assert!(refused.says("turned off"), "{} {}", refused.status, refused.text());
        set(app, |settings| settings.keys_enabled = true);
        let strip = |tx: &mut Tx<'_>| console_roles::set(tx, acme, app.fixture.members["acme/dora"], &[]);
        let refused = meanwhile(app, strip, || dora.send(&form, "/t/acme/keys/new", &[]));
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert_eq!(count(app, "dora"), before);
    }

    fn who_loses_a_role_or_is_suspended_while_waiting_changes_nothing(app) {
        let acme = app.fixture.tenants["acme"];
        let (ada, dora) = (app.signed_in("ada"), app.signed_in("dora"));
        let key = app.fixture.key("dora");
        let disable = dora.open(&url(key.id.as_str(), "/disable"));
        let suspend = |tx: &mut Tx<'_>| members::set_suspended(tx, acme, app.fixture.members["acme/dora"], true);
        let refused = meanwhile(app, suspend, || dora.send(&disable, &url(key.id.as_str(), "/disable"), &[]));
        assert_eq!(refused.status, 403, "{}", refused.text());
        app.write(|tx| members::set_suspended(tx, acme, app.fixture.members["acme/dora"], false));
        assert_eq!(app.verify(&key.token), "valid");

        let (settings, gateway, scope) = (ada.open("/t/acme/settings"), ada.open("/t/acme/gateways/new"), ada.open("/t/acme/access/scopes/new"));
        let all = app.read(|db| console_roles::of_member(db, acme, app.fixture.members["acme/ada"]));
        let strip = |tx: &mut Tx<'_>| console_roles::set(tx, acme, app.fixture.members["acme/ada"], &[]);
        let back = || app.write(|tx| console_roles::set(tx, acme, app.fixture.members["acme/ada"], &all));
        let refused = meanwhile(app, strip, || ada.send(&settings, "/t/acme/settings/limits", &[("per_member", "9")]));
        assert_eq!(refused.status, 403, "{}", refused.text());
        back();
        let code = app.code("ada");
        let refused = meanwhile(app, strip, || ada.send(&gateway, "/t/acme/gateways", &[("name", "late"), ("totp", &code)]));
        assert_eq!(refused.status, 403, "{}", refused.text());
        back();
        let refused = meanwhile(app, strip, || ada.send(&scope, "/t/acme/access/scopes/new", &[("scope", "late:scope")]));
        assert_eq!(refused.status, 403, "{}", refused.text());
        back();
        let tenant = app.read(|db| tenants::get(db, acme));
        assert_eq!(tenant.settings.keys_per_member, 5);
        assert!(!ada.open("/t/acme/gateways").says("late") && !ada.open("/t/acme/access").says("late:scope"));
    }
}
