//! What each console permission alone opens of members and their keys.

use super::{led_to, set, set_roles, url};
use crate::{access_pages, support::browser::Browser};

/// Makes a console role with these permissions.
fn make(ada: &Browser, name: &str, permissions: &[&str]) {
    let fields: Vec<(&str, &str)> = std::iter::once(("name", name)).chain(permissions.iter().map(|p| ("p", *p))).collect();
    led_to(&ada.submit("/t/acme/roles/new", &fields));
}

both! {
    fn a_remover_who_sees_no_keys_is_shown_name_id_and_last_use_and_no_more(app) {
        let ada = app.signed_in("ada");
        make(&ada, "People keeper", &["members.manage"]);
        led_to(&set_roles(&ada, app, "nora", &["People keeper"]));
        let key = app.fixture.key("emil");
        let gateway = app.gateway("acme");
        let body = serde_json::json!({ "key": key.token, "ip": "203.0.113.9" });
        let answer = app.call("POST", "/api/v1/keys/verify", &[("authorization", &format!("Bearer {gateway}"))], Some(body));
        assert_eq!(answer.json()["code"], "valid");
        app.app.gate.verifier.write_tallies();
        app.advance(chrono::Duration::hours(2));
        let nora = app.signed_in("nora");
        assert_eq!(nora.get(&format!("/t/acme/keys/{}", key.id)).status, 404);
        let at = url(app, "emil", "/remove");
        let page = nora.open(&at);
        let row = page.find("table.handover tbody tr").unwrap();
        assert!(row.contains("key of emil") && row.contains(key.id.as_str()) && row.contains("2 h ago"), "{row}");
        assert!(!row.contains("Active") && !page.says("203.0.113.9") && !page.says("127.0.0.1"), "{}", page.text());
        assert!(!page.body.contains(&format!("/keys/{}", key.id)), "no link to what is out of reach");
        // An admin sees where it was used from, and its status.
        let row = app.signed_in("ada").open(&at).find("table.handover tbody tr").unwrap();
        assert!(row.contains("Active") && row.contains("203.0.113.9"), "{row}");
        led_to(&nora.send(&page, &at, &[("all", "revoke")]));
        assert_eq!(app.verify(&key.token), "owner_inactive");
    }

    fn the_overview_with_its_charts_is_for_who_reads_every_key(app) {
        let ada = app.signed_in("ada");
        make(&ada, "Key reader", &["keys.read_any"]);
        led_to(&set_roles(&ada, app, "nora", &["Key reader"]));
        let (nora, dora) = (app.signed_in("nora"), app.signed_in("dora"));
        let page = nora.open("/t/acme");
        assert_eq!((page.status, page.path.as_str()), (200, "/t/acme"));
        assert!(page.says("key of emil") && page.says("key of ci") && !page.says("key of gus"), "{}", page.text());
        assert_eq!(nora.get(&format!("/t/acme/keys/{}", app.fixture.key("emil").id)).status, 200);
        // Others see the chart of their own keys, on their pages.
        assert!(dora.open("/t/acme").path.starts_with("/profile"));
        assert_eq!(dora.get(&format!("/t/acme/keys/{}", app.fixture.key("dora").id)).status, 200);
        assert_eq!(dora.get(&format!("/t/acme/keys/{}", app.fixture.key("emil").id)).status, 404);
        led_to(&set_roles(&ada, app, "nora", &[]));
        assert!(nora.open("/t/acme").path.starts_with("/profile"));
        set(app, |settings| settings.admins_see_all = false);
        assert!(ada.open("/t/acme").path.starts_with("/profile"));
    }

    fn managing_access_alone_opens_the_access_pages_and_nothing_else(app) {
        let ada = app.signed_in("ada");
        make(&ada, "Access keeper", &["access.manage"]);
        led_to(&set_roles(&ada, app, "nora", &["Access keeper"]));
        let nora = app.signed_in("nora");
        for path in [access_pages::SCOPES, access_pages::ROLES, access_pages::RESOURCES] {
            let page = nora.open(path);
            assert_eq!((page.status, page.path.as_str()), (200, path));
        }
        led_to(&nora.submit(access_pages::NEW_RESOURCE, &[("kind", "site"), ("name", "gdansk")]));
        let at = url(app, "emil", "/access");
        led_to(&nora.submit(&at, &[("resource", "site:gdansk"), ("chosen", "")]));
        assert_eq!(ada.open(&at).attributes("input[name=resource][checked]", "value"), ["site:gdansk"]);
        let closed = ["/t/acme/members", "/t/acme/members/invite", "/t/acme/roles", "/t/acme/settings", "/t/acme/gateways", "/t/acme/keys/new"];
        for path in closed {
            assert_eq!(nora.get(path).status, 403, "{path}");
        }
        for end in ["", "/remove", "/suspend"] {
            assert_eq!(nora.get(&url(app, "emil", end)).status, 403, "{end}");
        }
        assert_eq!(nora.get(&format!("/t/acme/keys/{}", app.fixture.key("emil").id)).status, 404);
        assert!(nora.open("/t/acme/keys").path.starts_with("/profile"));
        let events = nora.open("/t/acme/events");
        assert_eq!(events.texts("tbody tr").len(), 0, "{}", events.text());
        // What is not open is not drawn.
        let links = nora.open(access_pages::SCOPES).attributes("nav.nav a", "href");
        assert!(!links.iter().any(|to| to.ends_with("/members") || to.ends_with("/settings") || to.ends_with("/roles")), "{links:?}");
    }
}
