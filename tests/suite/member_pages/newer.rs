//! Two admins with one form open: the second one's save is stopped, and shows what the first one saved.

use keyward::{domain::permission::BuiltIn, store::members};

use super::{led_to, role, seen, set_roles, url};
use crate::support::{
    TestApp,
    browser::{Browser, Page},
};

/// Ada, and nora as a second Tenant admin.
fn two_admins(app: &TestApp) -> (Browser, Browser) {
    let (acme, nora) = (app.fixture.tenants["acme"], app.fixture.members["acme/nora"]);
    app.write(|tx| members::give_built_in(tx, acme, nora, BuiltIn::TenantAdmin));
    (app.signed_in("ada"), app.signed_in("nora"))
}

/// What was saved meanwhile, as the page says it.
fn newer(page: &Page) -> String {
    assert_eq!(page.status, 409, "{}", page.text());
    let says = page.find("section[role=alert]").unwrap();
    assert!(says.contains("Nothing was saved."), "{says}");
    says
}

fn ticked(page: &Page, name: &str) -> Vec<String> {
    page.attributes(&format!("input[name={name}][checked]"), "value")
}

both! {
    fn console_roles_of_a_member(app) {
        let (ada, nora) = two_admins(app);
        let (page, path) = (url(app, "audrey", ""), url(app, "audrey", "/roles"));
        let old = nora.open(&page);
        let (auditor, admin) = (role(&old, "Auditor"), role(&old, "Tenant admin"));
        led_to(&set_roles(&ada, app, "audrey", &["Developer"]));
        let stopped = nora.send(&old, &path, &[("role", &auditor), ("role", &admin)]);
        assert!(newer(&stopped).contains("Console roles Developer"), "{}", stopped.text());
        let mut chosen = vec![auditor, admin];
        chosen.sort();
        let mut shown = ticked(&stopped, "role");
        shown.sort();
        assert_eq!(shown, chosen, "what was chosen is kept");
        let developer = role(&ada.open(&page), "Developer");
        assert_eq!(ticked(&ada.open(&page), "role"), [developer.as_str()], "nothing was saved");
        // Asked again, it counts. A second arrival of it is no change.
        led_to(&nora.send(&stopped, &path, &[]));
        led_to(&nora.send(&stopped, &path, &[]));
        assert_eq!(ticked(&ada.open(&page), "role").len(), 2);
        // Nor does the question about keys lose what was seen.
        let old = nora.open(&url(app, "dora", ""));
        let asked = nora.post(&url(app, "dora", "/roles"), &[("seen", &seen(&old, &url(app, "dora", "/roles")))]);
        assert!(asked.says("Take own keys from Dora Example?"), "{}", asked.text());
        led_to(&set_roles(&ada, app, "dora", &["Developer", "Auditor"]));
        let stopped = nora.send(&asked, &url(app, "dora", "/roles"), &[]);
        assert!(newer(&stopped).contains("Console roles Developer, Auditor"), "{}", stopped.text());
    }

    fn access_of_a_member(app) {
        let (ada, nora) = two_admins(app);
        let path = url(app, "emil", "/access");
        let old = nora.open(&path);
        led_to(&ada.submit(&path, &[("resource", "site:hamburg")]));
        let stopped = nora.send(&old, &path, &[("resource", "site:rotterdam"), ("chosen", "data:tariffs")]);
        let says = newer(&stopped);
        assert!(says.contains("Access roles Shipping") && says.contains("Resources site:hamburg"), "{says}");
        assert_eq!((ticked(&stopped, "resource"), stopped.find("#chosen").unwrap()), (vec!["site:rotterdam".to_owned()], "data:tariffs".to_owned()));
        assert_eq!(ticked(&ada.open(&path), "resource"), ["site:hamburg"]);
        led_to(&nora.send(&stopped, &path, &[]));
        assert_eq!(ticked(&ada.open(&path), "resource"), ["data:tariffs", "site:rotterdam"]);
        // A fault in the form does not make it newer than it is.
        let old = nora.open(&path);
        led_to(&ada.submit(&path, &[("resources", "all")]));
        let wrong = nora.send(&old, &path, &[("chosen", "no resource")]);
        assert_eq!(wrong.status, 422);
        assert!(newer(&nora.send(&wrong, &path, &[("chosen", "")])).contains("Resources All"));
    }

    fn details_of_a_service_account(app) {
        let (ada, nora) = two_admins(app);
        let (page, path) = (url(app, "ci", ""), url(app, "ci", "/details"));
        let old = nora.open(&page);
        led_to(&ada.submit_to(&page, &path, &[("limit", "7")]));
        let stopped = nora.send(&old, &path, &[("name", "Nightly build")]);
        assert!(newer(&stopped).contains("Keys at most 7"), "{}", stopped.text());
        assert_eq!(stopped.attributes("#name", "value"), ["Nightly build"]);
        assert!(ada.open(&page).find("h1").unwrap() == "CI");
        let seen = stopped.attributes("form[action$='/details'] input[name=seen]", "value").remove(0);
        led_to(&nora.post(&path, &[("seen", &seen), ("name", "Nightly build"), ("contact", "ci@acme.example"), ("limit", "7")]));
        assert_eq!(ada.open(&page).find("h1").unwrap(), "Nightly build");
        assert_eq!(ada.open(&page).attributes("#limit", "value"), ["7"]);
    }

    fn a_console_role(app) {
        let (ada, nora) = two_admins(app);
        led_to(&ada.submit("/t/acme/roles/new", &[("name", "Watcher"), ("p", "events.read")]));
        let path = ada.open("/t/acme/roles").attributes("th a[href*='/roles/']", "href").remove(0);
        let old = nora.open(&path);
        led_to(&ada.submit(&path, &[("p", "events.read"), ("p", "keys.read_any")]));
        let stopped = nora.send(&old, &path, &[("name", "Events only")]);
        assert!(newer(&stopped).contains("See every key in the tenant; See events and export them"), "{}", stopped.text());
        assert_eq!((stopped.attributes("#name", "value"), ticked(&stopped, "p")), (vec!["Events only".to_owned()], vec!["events.read".to_owned()]));
        assert_eq!(ticked(&ada.open(&path), "p").len(), 2);
        led_to(&nora.send(&stopped, &path, &[]));
        assert_eq!(ticked(&ada.open(&path), "p"), ["events.read"]);
    }

    fn a_card_of_settings(app) {
        let (ada, nora) = two_admins(app);
        let (page, path) = ("/t/acme/settings", "/t/acme/settings/life");
        let old = nora.open(page);
        // Another card is no change of this one.
        led_to(&ada.submit_to(page, "/t/acme/settings/limits", &[("per_member", "6")]));
        led_to(&ada.submit_to(page, path, &[("overlap", "7"), ("keep", "original")]));
        let stopped = nora.send(&old, path, &[("extensions", "2")]);
        let says = newer(&stopped);
        assert!(says.contains("Longest overlap after a roll, in days 7") && says.contains("Rolling again keeps The original"), "{says}");
        let shown = |name: &str| stopped.attributes(&format!("#{name}"), "value").remove(0);
        assert_eq!((shown("extensions"), shown("overlap"), shown("per_member")), ("2".into(), "14".into(), "6".into()));
        let settings = || app.read(|db| keyward::store::tenants::get(db, app.fixture.tenants["acme"])).settings;
        assert_eq!((settings().overlap_days, settings().extensions), (7, 3));
        led_to(&nora.send(&stopped, path, &[("overlap", "7")]));
        assert_eq!((settings().overlap_days, settings().extensions), (7, 2));
        // The question before a shorter grace carries what was seen.
        app.write(|tx| {
            let tenant = keyward::store::tenants::get(tx, app.fixture.tenants["acme"])?;
            let retention = keyward::domain::tenant::Retention { events: 399, ..tenant.settings.retention };
            keyward::store::tenants::save_settings(tx, &tenant, &keyward::domain::tenant::Settings { retention, ..tenant.settings.clone() })
        });
        let path = "/t/acme/settings/retention";
        let asked = nora.submit_to(page, path, &[("events", "30")]);
        assert!(asked.says("Keep less than now?"), "{}", asked.text());
        led_to(&ada.submit_to(page, path, &[("usage", "401")]));
        let stopped = nora.send(&asked, path, &[]);
        assert!(newer(&stopped).contains("Usage kept, in days 401"), "{}", stopped.text());
        assert_eq!(settings().retention.events, 399);
    }

    fn a_tenant_of_the_installation(app) {
        let root = app.signed_in("root");
        let path = "/installation/tenants/acme/edit";
        let old = root.open(path);
        led_to(&root.submit(path, &[("seats", "9")]));
        let stopped = root.send(&old, path, &[("name", "Acme Freight")]);
        assert!(newer(&stopped).contains("Seats 9"), "{}", stopped.text());
        assert_eq!((stopped.attributes("#name", "value"), stopped.attributes("#seats", "value")), (vec!["Acme Freight".to_owned()], vec![String::new()]));
        let tenant = || app.read(|db| keyward::store::tenants::get(db, app.fixture.tenants["acme"]));
        assert_eq!((tenant().name.as_str(), tenant().seats), ("Acme", Some(9)));
        led_to(&root.send(&stopped, path, &[("seats", "9")]));
        assert_eq!((tenant().name.as_str(), tenant().seats), ("Acme Freight", Some(9)));
    }
}
