//! Who may open these pages, and whose things they reach.

use super::{NEW_RESOURCE, NEW_ROLE, NEW_SCOPE, RESOURCES, ROLES, SCOPES, remove, resource, role, verify};
use crate::support::TestApp;

/// Every page of a tenant's access with what its form sends, by the things of `of`.
fn every_page(app: &TestApp, tenant: &str, of: &str) -> Vec<(String, Vec<(&'static str, &'static str)>)> {
    let base = format!("/t/{tenant}/access");
    let (role, resource) = (role(app, of, "Billing"), resource(app, of, "site:hamburg"));
    let at = |end: &str| format!("{base}{end}");
    vec![
        (at("/scopes/new"), vec![("scope", "a:b"), ("description", "")]),
        (at("/scopes/edit?scope=invoices:read"), vec![("scope", "invoices:read"), ("description", "x")]),
        (at("/scopes/remove?scope=invoices:read"), vec![("scope", "invoices:read"), ("seen", "")]),
        (at("/roles/new"), vec![("name", "x"), ("description", "")]),
        (at(&format!("/roles/{role}")), vec![("name", "x"), ("description", ""), ("seen", "")]),
        (at(&format!("/roles/{role}/remove")), vec![("seen", "")]),
        (at("/resources/new"), vec![("kind", "a"), ("name", "b"), ("description", "")]),
        (at(&format!("/resources/{resource}/edit")), vec![("description", "x")]),
        (at(&format!("/resources/{resource}/remove")), vec![("seen", "")]),
    ]
}

both! {
    fn without_the_permission_nothing_is_drawn_and_everything_refused(app) {
        for name in ["dora", "emil", "audrey", "nora"] {
            let person = app.signed_in(name);
            let page = person.open("/profile?tenant=acme");
            assert!(!page.attributes("nav a", "href").iter().any(|link| link.contains("/access")), "{name}");
            for list in [SCOPES, ROLES, RESOURCES] {
                assert_eq!(person.get(list).status, 403, "{name} {list}");
            }
            for (path, fields) in every_page(app, "acme", "acme") {
                let action = path.split('?').next().unwrap();
                assert_eq!((person.get(&path).status, person.post(action, &fields).status), (403, 403), "{name} {path}");
            }
        }
    }

    fn another_tenant_has_none_of_it(app) {
        // The owner of the installation, and an admin of another tenant, under this tenant's address.
        for name in ["gus", "root"] {
            let person = app.signed_in(name);
            person.open("/profile");
            for list in [SCOPES, ROLES, RESOURCES] {
                assert_eq!(person.get(list).status, 404, "{name} {list}");
            }
            for (path, fields) in every_page(app, "acme", "acme") {
                let action = path.split('?').next().unwrap();
                assert_eq!((person.get(&path).status, person.post(action, &fields).status), (404, 404), "{name} {path}");
            }
        }
        // This tenant's numbers under the admin's own address.
        let gus = app.signed_in("gus");
        gus.open("/t/globex/access");
        for (path, fields) in every_page(app, "globex", "acme").into_iter().filter(|(path, _)| path.chars().any(|c| c.is_ascii_digit())) {
            assert_eq!((gus.get(&path).status, gus.post(&path, &fields).status), (404, 404), "{path}");
        }
        // Whoever is nobody is asked to sign in.
        let visitor = app.browser();
        assert_eq!(visitor.open(SCOPES).path.split('?').next(), Some("/login"));
    }

    fn the_same_things_of_two_tenants_are_apart(app) {
        let gus = app.signed_in("gus");
        let path = "/t/globex/access/scopes/remove?scope=shipments:write";
        let question = gus.open(path);
        assert!(question.says("(2 members"), "{}", question.text());
        assert_eq!(remove(&gus, path).status, 303);
        let gateway = app.gateway("acme");
        let scopes = verify(app, &gateway, &app.fixture.key("ci").token)["scopes"].clone();
        assert_eq!(scopes, serde_json::json!(["shipments:read", "shipments:write"]));
        assert!(app.signed_in("ada").open(SCOPES).says("shipments:write"));
    }

    fn a_form_without_its_token_changes_nothing(app) {
        let ada = app.signed_in("ada");
        ada.open(SCOPES);
        for (path, fields) in [(NEW_SCOPE, [("scope", "a:b"), ("csrf", "x")]), (NEW_ROLE, [("name", "x"), ("csrf", "x")]), (NEW_RESOURCE, [("kind", "a"), ("csrf", "x")])] {
            assert_eq!(ada.post(path, &fields).status, 403, "{path}");
        }
        assert!(!ada.open(SCOPES).says("a:b"));
    }

    fn a_suspended_tenant_can_be_read_and_not_changed(app) {
        let ada = app.signed_in("ada");
        let form = ada.open(NEW_SCOPE);
        let tenant = app.fixture.tenants["acme"];
        app.write(|tx| keyward::store::tenants::set_suspended(tx, tenant, true));
        assert_eq!(ada.get(SCOPES).status, 200);
        let page = ada.send(&form, NEW_SCOPE, &[("scope", "a:b")]);
        assert!(page.status >= 400, "{}", page.status);
        assert!(!ada.open(SCOPES).says("a:b"));
    }
}
