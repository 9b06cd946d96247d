//! What holds while many ask at the same time.

use std::collections::BTreeMap;

use keyward::{
    actions::{
        By,
        operator::{self, NewUser},
    },
    domain::{names::EmailAddress, permission::BuiltIn},
    store::{accounts, console_roles, tenants},
};

use super::{NEW_PASSWORD, id, invite, led_to, role, seen, send_invitation, set, set_roles, url};
use crate::support::{TestApp, browser::Page};

fn seats(app: &TestApp, seats: i64) {
    app.write(|tx| tenants::set_seats(tx, app.fixture.tenants["acme"], Some(seats)));
}

fn taken(app: &TestApp) -> i64 {
    app.read(|db| {
        let tenant = tenants::by_slug(db, "acme")?.unwrap();
        console_roles::seats_taken(db, &tenant)
    })
}

fn at_once(works: Vec<Box<dyn FnOnce() -> Page + Send + '_>>) -> Vec<u16> {
    std::thread::scope(|scope| {
        let running: Vec<_> = works.into_iter().map(|work| scope.spawn(work)).collect();
        running.into_iter().map(|thread| thread.join().unwrap().status).collect()
    })
}

both! {
    fn an_active_tenant_admin_is_left_under_parallel_requests(app) {
        let ada = app.signed_in("ada");
        led_to(&set_roles(&ada, app, "nora", &["Tenant admin"]));
        led_to(&set_roles(&ada, app, "audrey", &["Tenant admin"]));
        let browsers: Vec<_> = ["ada", "nora", "audrey"].iter().map(|name| (*name, app.signed_in(name))).collect();
        for (_, browser) in &browsers {
            browser.open("/profile");
        }
        let marks: BTreeMap<&str, String> =
            ["ada", "nora", "audrey"].map(|name| (name, seen(&ada.open(&url(app, name, "")), &url(app, name, "/roles")))).into();
        let mut works: Vec<Box<dyn FnOnce() -> Page + Send + '_>> = Vec::new();
        for round in 0..17 {
            for (name, browser) in &browsers {
                let (browser, name) = (browser.twin(), *name);
                let other = ["ada", "nora", "audrey"][(round + name.len()) % 3];
                let end = ["/suspend", "/remove", "/roles"][round % 3];
                let of = if round % 2 == 0 { name } else { other };
                let path = url(app, of, end);
                let seen = marks[of].clone();
                let fields = if end == "/roles" { vec![("seen", seen)] } else { Vec::new() };
                works.push(Box::new(move || browser.post(&path, &fields.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())));
            }
        }
        assert!(works.len() >= 50);
        let answers = at_once(works);
        assert!(answers.iter().all(|status| [200, 303, 422, 403, 404, 409].contains(status)), "{answers:?}");
        let left = app.read(|db| console_roles::admins(db, app.fixture.tenants["acme"]));
        assert!(left >= 1, "{answers:?}");
    }

    fn seats_hold_while_fifty_accept_at_once(app) {
        let ada = app.signed_in("ada");
        let before = taken(app);
        let links: Vec<String> = (0..50).map(|n| invite(&ada, &format!("new{n}@acme.example"), &["Developer"])).collect();
        seats(app, before + 3);
        let works = links
            .iter()
            .enumerate()
            .map(|(n, link)| -> Box<dyn FnOnce() -> Page + Send + '_> {
                let browser = app.browser();
                browser.open(link);
                let name = format!("New {n}");
                Box::new(move || browser.post(link, &[("name", &name), ("new_password", NEW_PASSWORD)]))
            })
            .collect();
        let answers = at_once(works);
        assert_eq!(answers.iter().filter(|status| **status == 303).count(), 3, "{answers:?}");
        // Hashing of passwords is bounded: some are told to come back.
        assert!(answers.iter().all(|status| [303, 422, 503].contains(status)), "{answers:?}");
        assert_eq!(taken(app), before + 3);
    }

    fn one_link_makes_one_member_though_it_is_followed_many_times_at_once(app) {
        let ada = app.signed_in("ada");
        let link = invite(&ada, "zoe@acme.example", &["Auditor"]);
        let works = (0..20)
            .map(|n| -> Box<dyn FnOnce() -> Page + Send + '_> {
                let (browser, link) = (app.browser(), link.clone());
                browser.open(&link);
                Box::new(move || browser.post(&link, &[("name", &format!("Zoe {n}")), ("new_password", NEW_PASSWORD)]))
            })
            .collect();
        let answers = at_once(works);
        assert_eq!(answers.iter().filter(|status| **status == 303).count(), 1, "{answers:?}");
        assert_eq!(ada.open("/t/acme/members?q=zoe").texts("tbody a.name").len(), 1);
    }

    fn seats_hold_against_roles_restores_and_edited_roles(app) {
        let ada = app.signed_in("ada");
        seats(app, taken(app));
        let refused = set_roles(&ada, app, "nora", &["Developer"]);
        assert_eq!(refused.status, 422);
        assert!(refused.says("seats of this tenant are taken"), "{}", refused.text());
        assert_eq!(send_invitation(&ada, "x@acme.example", &["Developer"]).status, 422);
        assert_eq!(send_invitation(&ada, "x@acme.example", &["Auditor"]).status, 200);
        led_to(&ada.submit(&url(app, "emil", "/suspend"), &[]));
        led_to(&set_roles(&ada, app, "nora", &["Developer"]));
        let refused = ada.submit(&url(app, "emil", "/restore"), &[]);
        assert_eq!(refused.status, 422);
        assert!(refused.says("seats"), "{}", refused.text());
        let developer = role(&ada.open(&url(app, "nora", "")), "Developer");
        let browsers: Vec<_> = (0..50).map(|_| ada.twin()).collect();
        led_to(&set_roles(&ada, app, "nora", &[]));
        let targets = ["nora", "audrey"].map(|name| {
            let path = url(app, name, "/roles");
            (seen(&ada.open(&url(app, name, "")), &path), path)
        });
        let works = browsers
            .into_iter()
            .enumerate()
            .map(|(n, browser)| -> Box<dyn FnOnce() -> Page + Send + '_> {
                let ((seen, path), developer) = (targets[n % 2].clone(), developer.clone());
                Box::new(move || browser.post(&path, &[("seen", &seen), ("role", &developer)]))
            })
            .collect();
        let answers = at_once(works);
        assert!(answers.iter().all(|status| [303, 422].contains(status)), "{answers:?}");
        assert_eq!(taken(app), 3);
    }

    fn a_role_that_is_edited_to_let_its_holders_own_keys_takes_seats(app) {
        let acme = app.fixture.tenants["acme"];
        app.write(|tx| keyward::store::members::give_built_in(tx, acme, app.fixture.members["acme/ada"], BuiltIn::Developer));
        let ada = app.signed_in("ada");
        led_to(&ada.submit("/t/acme/roles/new", &[("name", "Watcher"), ("p", "events.read")]));
        led_to(&set_roles(&ada, app, "nora", &["Watcher"]));
        led_to(&set_roles(&ada, app, "audrey", &["Auditor", "Watcher"]));
        let path = ada.open("/t/acme/roles").attributes("th a[href*='/roles/']", "href").remove(0);
        // ada, dora, emil and mia have one each; nora and audrey would take two more.
        assert_eq!(taken(app), 4);
        seats(app, 5);
        let with_keys = [("p", "events.read"), ("p", "keys.manage_own")];
        let refused = ada.submit(&path, &with_keys);
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(refused.find("#p-e").unwrap().contains("All 5 seats of this tenant are taken"), "{}", refused.text());
        assert_eq!(refused.attributes("input[name=p][checked]", "value").len(), 2, "what was ticked is kept");
        assert_eq!(taken(app), 4);
        assert_eq!(app.signed_in("nora").open("/t/acme/keys/new").status, 403);
        seats(app, 6);
        led_to(&ada.submit(&path, &with_keys));
        assert_eq!(taken(app), 6);
        assert_eq!(app.signed_in("nora").open("/t/acme/keys/new").status, 200);
    }

    fn a_setting_that_opens_own_keys_to_admins_takes_seats(app) {
        let ada = app.signed_in("ada");
        // dora, emil and mia have one each; ada would take the fourth.
        seats(app, 3);
        let on = [("see_all", "on"), ("manage_all", "on"), ("delete", "on")];
        let refused = ada.submit_to("/t/acme/settings", "/t/acme/settings/admins", &on);
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(refused.says("All 3 seats of this tenant are taken"), "{}", refused.text());
        assert_eq!(refused.attributes("#manage_all[checked]", "id").len(), 1, "what was ticked is kept");
        assert_eq!(taken(app), 3);
        assert_eq!(ada.open("/t/acme/settings").attributes("#manage_all[checked]", "id").len(), 0);
        seats(app, 4);
        assert_eq!(ada.submit_to("/t/acme/settings", "/t/acme/settings/admins", &on).status, 303);
        assert_eq!(taken(app), 4);
        // Lowered since: what is taken stays, and turning it off is always possible.
        seats(app, 2);
        assert_eq!(ada.submit_to("/t/acme/settings", "/t/acme/settings/limits", &[("per_member", "6")]).status, 303);
        assert_eq!(taken(app), 4);
    }

    fn a_named_admin_and_an_account_of_the_operator_take_seats(app) {
        let acme = app.fixture.tenants["acme"];
        set(app, |settings| settings.admins_manage_all = true);
        app.write(|tx| keyward::store::members::set_suspended(tx, acme, app.fixture.members["acme/ada"], true));
        seats(app, 3);
        let root = app.signed_in("root");
        let at = "/installation/tenants/acme/admin";
        let refused = root.submit(at, &[("admin", "nora@acme.example")]);
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(refused.says("All 3 seats of this tenant are taken"), "{}", refused.text());
        assert_eq!(refused.attributes("#admin", "value"), ["nora@acme.example"]);
        let makes = |email: &str, roles: &[BuiltIn]| {
            let email: EmailAddress = email.parse().unwrap();
            let new = NewUser { email: &email, name: "New One", tenant: Some("acme"), roles };
            app.app.store.write(app.now(), |tx| operator::create_user(tx, &By::operator(Some("keyward user create"), tx.now()), &new))
        };
        let refused = makes("new@acme.example", &[BuiltIn::Developer]).unwrap_err();
        assert!(refused.to_string().contains("All 3 seats"), "{refused}");
        assert!(app.read(|db| accounts::by_email(db, "new@acme.example")).is_none(), "nothing was made");
        assert!(makes("new@acme.example", &[BuiltIn::Auditor, BuiltIn::Auditor]).unwrap().is_some());
        assert_eq!(taken(app), 3);
        // Fifty at once for one seat that is left.
        seats(app, 4);
        let makes = &makes;
        let made = std::thread::scope(|scope| {
            let running: Vec<_> = (0..50).map(|n| scope.spawn(move || makes(&format!("at{n}@acme.example"), &[BuiltIn::Developer]).is_ok())).collect();
            running.into_iter().filter(|_| true).map(|thread| thread.join().unwrap()).filter(|made| *made).count()
        });
        assert_eq!((made, taken(app)), (1, 4));
    }

    fn an_operator_brings_a_removed_member_back(app) {
        let ada = app.signed_in("ada");
        let emil = id(app, "acme/emil");
        led_to(&ada.submit(&url(app, "emil", "/remove"), &[("all", "revoke")]));
        let email: EmailAddress = "emil@acme.example".parse().unwrap();
        let new = NewUser { email: &email, name: "Emil Again", tenant: Some("acme"), roles: &[BuiltIn::Developer] };
        let by = By::operator(Some("keyward user create"), app.now());
        assert!(app.app.store.write(app.now(), |tx| operator::create_user(tx, &by, &new)).unwrap().is_none(), "the password stays");
        let page = ada.open(&format!("/t/acme/members/{emil}"));
        assert!(page.status == 200 && page.says("Emil Again"), "{}", page.text());
        assert_eq!(app.signed_in("emil").open("/t/acme/keys/new").status, 200);
        let again = app.app.store.write(app.now(), |tx| operator::create_user(tx, &by, &new)).unwrap_err();
        assert!(again.to_string().contains("is a member of acme already"), "{again}");
    }
}
