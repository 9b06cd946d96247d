//! Console roles: the matrix, a tenant's own roles, and that nobody climbs.

use super::{led_to, offers, role, set_roles, url};
use crate::support::browser::Browser;

fn make(browser: &Browser, name: &str, permissions: &[&str]) -> String {
    let fields: Vec<(&str, &str)> = std::iter::once(("name", name)).chain(permissions.iter().map(|p| ("p", *p))).collect();
    led_to(&browser.submit("/t/acme/roles/new", &fields));
    let page = browser.open("/t/acme/roles");
    page.attributes("thead a.name", "href").pop().unwrap()
}

both! {
    fn the_roles_and_who_holds_them_are_shown(app) {
        let ada = app.signed_in("ada");
        let page = ada.open("/t/acme/roles");
        assert_eq!(page.status, 200);
        assert_eq!(page.texts("thead th")[1..], ["Tenant admin", "Developer", "Auditor", "Installation owner"]);
        assert_eq!(page.texts("tbody tr:last-child td")[..3], ["1", "3", "1"]);
        for name in ["dora", "audrey", "nora"] {
            assert_eq!(app.signed_in(name).open("/t/acme/roles").status, 403, "{name}");
        }
    }

    fn a_role_of_the_tenant_is_made_changed_and_deleted(app) {
        let (ada, nora) = (app.signed_in("ada"), app.signed_in("nora"));
        let none = ada.submit("/t/acme/roles/new", &[("name", "Stopper")]);
        assert_eq!(none.status, 422);
        assert_eq!(none.attributes("#name", "value"), ["Stopper"]);
        let at = make(&ada, "Stopper", &["keys.revoke_any"]);
        let taken = ada.submit("/t/acme/roles/new", &[("name", "stopper"), ("p", "events.read")]);
        assert_eq!(taken.status, 422);
        assert!(taken.says("A role of this name"), "{}", taken.text());
        led_to(&set_roles(&ada, app, "nora", &["Stopper"]));
        let key = format!("/t/acme/keys/{}", app.fixture.key("dora").id);
        assert_eq!(nora.open(&format!("{key}/disable")).status, 200);
        assert!(ada.open(&at).says("Nora Example"));
        led_to(&ada.submit(&at, &[("name", "Reader"), ("p", "keys.read_any")]));
        assert_eq!(nora.open(&format!("{key}/disable")).status, 403, "a change counts on the next request");
        assert_eq!(nora.open(&key).status, 200);
        led_to(&ada.submit(&format!("{at}/delete"), &[]));
        assert_eq!(nora.open(&key).status, 404);
        assert_eq!(ada.open(&at).status, 404);
    }

    fn nobody_makes_or_edits_a_role_beyond_what_they_hold(app) {
        let ada = app.signed_in("ada");
        let page = ada.open("/t/acme/roles/new");
        assert!(!page.attributes("input[name=p]", "value").contains(&"keys.manage_any".to_owned()));
        for permission in ["keys.manage_any", "keys.manage_own"] {
            let refused = ada.post("/t/acme/roles/new", &[("name", "Climber"), ("p", permission)]);
            assert_eq!(refused.status, 422, "{permission}");
            assert!(refused.says("do not hold every permission"), "{}", refused.text());
        }
        assert_eq!(ada.post("/t/acme/roles/new", &[("name", "Odd"), ("p", "keys.fly")]).status, 422);
        let at = make(&ada, "Settings keeper", &["settings.manage"]);
        make(&ada, "People keeper", &["members.manage"]);
        led_to(&set_roles(&ada, app, "nora", &["Settings keeper"]));
        let nora = app.signed_in("nora");
        assert_eq!(nora.open("/t/acme/roles").status, 200);
        assert_eq!(nora.open("/t/acme/members").status, 403);
        let refused = nora.submit(&at, &[("name", "Settings keeper"), ("p", "settings.manage"), ("p", "members.manage")]);
        assert_eq!(refused.status, 422);
        assert_eq!(nora.open("/t/acme/members").status, 403);
        led_to(&set_roles(&ada, app, "nora", &["People keeper"]));
        let page = nora.open(&url(app, "nora", ""));
        assert!(offers(&page, "People keeper") && !offers(&page, "Tenant admin") && !offers(&page, "Developer"), "{}", page.text());
        let admin = role(&ada.open(&url(app, "nora", "")), "Tenant admin");
        assert_eq!(nora.send(&page, &url(app, "nora", "/roles"), &[("role", &admin)]).status, 422);
        assert_eq!(nora.open(&url(app, "nora", "/access")).status, 403);
        assert_eq!(nora.open("/t/acme/roles/new").status, 403);
        let invited = nora.post("/t/acme/members/invite", &[("email", "x@acme.example"), ("role", &admin), ("resources", "all"), ("chosen", "")]);
        assert_eq!(invited.status, 422);
    }

    fn built_in_roles_stay_as_they_are(app) {
        let ada = app.signed_in("ada");
        let admin = role(&ada.open(&url(app, "nora", "")), "Tenant admin");
        assert_eq!(ada.open(&format!("/t/acme/roles/{admin}")).status, 404);
        assert_eq!(ada.post(&format!("/t/acme/roles/{admin}"), &[("name", "X"), ("p", "events.read")]).status, 404);
        assert_eq!(ada.post(&format!("/t/acme/roles/{admin}/delete"), &[]).status, 404);
    }

    fn deleting_a_role_that_lets_members_own_keys_offers_to_disable_them(app) {
        let ada = app.signed_in("ada");
        led_to(&set_roles(&ada, app, "ada", &["Tenant admin", "Developer"]));
        let at = make(&ada, "Maker", &["keys.manage_own"]);
        led_to(&set_roles(&ada, app, "emil", &["Maker"]));
        let key = app.fixture.key("emil");
        let asked = ada.submit(&at, &[("name", "Maker"), ("p", "events.read")]);
        assert_eq!(asked.status, 200);
        assert!(asked.says("Take own keys") && asked.says("key of emil"), "{}", asked.text());
        let asked = ada.open(&format!("{at}/delete"));
        assert!(asked.says("One member holds this role") && asked.says("key of emil"), "{}", asked.text());
        led_to(&ada.send(&asked, &format!("{at}/delete"), &[("disable", key.id.as_str())]));
        assert_eq!(app.verify(&key.token), "disabled");
    }
}
