//! Many at once: parallel requests, long lists.

use std::time::Instant;

use keyward::store::access;

use super::{NEW_RESOURCE, NEW_ROLE, NEW_SCOPE, RESOURCES, ROLES, make_developer, member, role, verify};
use crate::support::{
    TestApp,
    browser::{Browser, Page},
};

/// Sends the same form 50 times at once; the statuses.
fn fifty(browser: &Browser, pages: &[Page], action: &str, change: impl Fn(usize) -> Vec<(String, String)>) -> Vec<u16> {
    std::thread::scope(|scope| {
        let running: Vec<_> = pages
            .iter()
            .enumerate()
            .map(|(number, page)| {
                let browser = browser.twin();
                let changed = change(number);
                scope.spawn(move || {
                    let changed: Vec<(&str, &str)> = changed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                    browser.send(page, action, &changed).status
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn fields(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn count(statuses: &[u16], status: u16) -> usize {
    statuses.iter().filter(|s| **s == status).count()
}

fn chain_is_whole(app: &TestApp) {
    for chain in app.read(keyward::store::events::chains) {
        let found = app.read(|db| keyward::store::events::verify(db, &app.app.secrets, chain));
        assert!(found.is_ok(), "{found:?}");
    }
}

both! {
    fn of_fifty_at_once_one_makes_the_thing_and_the_others_are_told(app) {
        let ada = app.signed_in("ada");
        let forms = |path: &str| (0..50).map(|_| ada.open(path)).collect::<Vec<_>>();
        let scopes = fifty(&ada, &forms(NEW_SCOPE), NEW_SCOPE, |_| fields(&[("scope", "once:only")]));
        assert_eq!((count(&scopes, 303), count(&scopes, 422)), (1, 49), "{scopes:?}");
        let roles = fifty(&ada, &forms(NEW_ROLE), NEW_ROLE, |_| fields(&[("name", "Once"), ("scope", "invoices:read")]));
        assert_eq!((count(&roles, 303), count(&roles, 422)), (1, 49), "{roles:?}");
        let resources = fifty(&ada, &forms(NEW_RESOURCE), NEW_RESOURCE, |_| fields(&[("kind", "site"), ("name", "once")]));
        assert_eq!((count(&resources, 303), count(&resources, 422)), (1, 49), "{resources:?}");
        chain_is_whole(app);
    }

    fn of_fifty_edits_of_one_form_one_is_saved(app) {
        let ada = app.signed_in("ada");
        let url = format!("{ROLES}/{}", role(app, "acme", "Billing"));
        let pages: Vec<_> = (0..50).map(|_| ada.open(&url)).collect();
        let statuses = fifty(&ada, &pages, &url, |number| fields(&[("description", &format!("number {number}"))]));
        assert_eq!((count(&statuses, 303), count(&statuses, 409)), (1, 49), "{statuses:?}");
        chain_is_whole(app);
    }

    fn the_limit_of_keys_holds_where_fifty_make_a_resource_with_a_key(app) {
        make_developer(app, "ada");
        let ada = app.signed_in("ada");
        let pages: Vec<_> = (0..50).map(|_| ada.open(NEW_RESOURCE)).collect();
        let statuses = fifty(&ada, &pages, NEW_RESOURCE, |number| fields(&[("kind", "site"), ("name", &format!("s{number}")), ("key", "yes")]));
        assert_eq!(count(&statuses, 200), 50, "{statuses:?}");
        assert_eq!(crate::key_pages::count(app, "ada"), 5);
        assert_eq!(ada.open(&format!("{RESOURCES}?kind=site&q=site:s")).texts("tbody th").len(), 50);
        chain_is_whole(app);
    }

    fn a_hundred_thousand_resources_are_paged_and_found_quickly(app) {
        let tenant = app.fixture.tenants["acme"];
        app.write(|tx| {
            let many = (0..100_000).map(|n| (format!("kind-{}:r{n:06}", n % 20).parse().unwrap(), format!("Number {n}")));
            keyward::store::resources::create_many(tx, tenant, many)
        });
        let ada = app.signed_in("ada");
        let quick = |path: &str| {
            let begun = Instant::now();
            let page = ada.get(path);
            let took = begun.elapsed().as_millis();
            assert_eq!(page.status, 200, "{path}");
            // A debug build on a busy machine; what reads every row in vain takes longer by far.
            assert!(took < 1500, "{path} took {took} ms");
            page
        };
        let first = quick(RESOURCES);
        assert_eq!(first.texts("tbody th").len(), 50);
        assert!(first.says("50 of 100003 resources") || first.says("50 of 100 003 resources"), "{}", first.find(".pager").unwrap_or_default());
        let next = first.attributes("a[rel=next]", "href").remove(0);
        let second = quick(&next);
        assert_ne!(first.texts("tbody th"), second.texts("tbody th"));
        let back = quick(&second.attributes("a[rel=prev]", "href")[0]);
        assert_eq!(first.texts("tbody th"), back.texts("tbody th"));
        assert_eq!(quick(&format!("{RESOURCES}?q=r099999")).texts("tbody th"), ["kind-19:r099999"]);
        assert_eq!(quick(&format!("{RESOURCES}?kind=kind-7&q=r09998")).texts("tbody th"), ["kind-7:r099987"]);
        assert!(quick(&format!("{RESOURCES}?q=nothing-has-this")).says("No resource matches"));
        quick(&format!("{RESOURCES}?after=site%3Ahamburg"));
        // Every page once, in order and without a gap.
        let mut seen = Vec::new();
        let mut at = format!("{RESOURCES}?kind=kind-3&q=r0000");
        loop {
            let page = quick(&at);
            seen.extend(page.texts("tbody th"));
            let Some(next) = page.attributes("a[rel=next]", "href").into_iter().next() else { break };
            at = next;
        }
        assert_eq!(seen, (0..100).filter(|n| n % 20 == 3).map(|n| format!("kind-3:r{n:06}")).collect::<Vec<_>>());
    }

    fn the_form_of_a_key_searches_among_many_without_scripts(app) {
        let tenant = app.fixture.tenants["acme"];
        let dora = member(app, "dora");
        app.write(|tx| {
            let scopes: Vec<keyward::domain::names::Scope> = (0..1000).map(|n| format!("area{n:04}:read").parse().unwrap()).collect();
            for scope in &scopes {
                access::create_scope(tx, tenant, scope, "")?;
            }
            let wide = access::create_role(tx, tenant, "Wide", "", &scopes.into_iter().collect())?;
            access::give_role(tx, tenant, dora, wide)?;
            let many = (0..100_000).map(|n| (format!("kind-{}:r{n:06}", n % 20).parse().unwrap(), format!("Number {n}")));
            keyward::store::resources::create_many(tx, tenant, many)
        });
        let browser = app.signed_in("dora");
        let new = "/t/acme/keys/new";
        let form = browser.open(new);
        assert!(form.attributes("#found-scope input[type=checkbox]", "value").len() <= 50 && form.attributes("#found-resource input[type=checkbox]", "value").len() <= 80);
        let asked = [("name", "Wide"), ("access", "scopes"), ("scope", "area0001:read"), ("find_scope", "0999"), ("res", "some"), ("find_resource", "R099999"), ("offer", "1")];
        let begun = Instant::now();
        let found = browser.send(&form, new, &asked);
        assert!(begun.elapsed().as_millis() < 1500, "{:?}", begun.elapsed());
        assert_eq!(found.status, 200);
        assert_eq!(found.attributes("#found-scope input[type=checkbox]", "value"), ["area0001:read", "area0999:read"]);
        assert_eq!(found.attributes("#found-resource input[type=checkbox]", "value"), ["kind-19:r099999"]);
        assert!(found.form(new).contains(&("name".into(), "Wide".into())) && found.form(new).contains(&("scope".into(), "area0001:read".into())));
        // Enter in the search sends no button: it searches too, and makes nothing.
        let again = browser.send(&found, new, &[("res", "some"), ("resource", "kind-19:r099999"), ("find_resource", "data:")]);
        assert_eq!(again.status, 200);
        assert_eq!(again.attributes("#found-resource input[type=checkbox]", "value"), ["kind-19:r099999", "data:*", "data:tariffs"]);
        assert_eq!(crate::key_pages::count(app, "dora"), 1);
        let chosen = [("scope", "area0001:read"), ("scope", "area0999:read"), ("resource", "kind-19:r099999"), ("resource", "data:tariffs")];
        let (token, id) = crate::key_pages::token_of(&browser.send(&again, new, &chosen));
        let answer = verify(app, &app.gateway("acme"), &token);
        assert_eq!(answer["scopes"], serde_json::json!(["area0001:read", "area0999:read"]));
        assert_eq!(answer["resources"], serde_json::json!(["data:tariffs", "kind-19:r099999"]));
        // Editing shows what it has, and the search keeps it.
        let edit = format!("/t/acme/keys/{id}/edit");
        let found = browser.submit(&edit, &[("find_resource", "kind-3:r00000"), ("comment", "kept")]);
        assert_eq!(found.attributes("#found-resource input[checked]", "value"), ["data:tariffs", "kind-19:r099999"]);
        assert!(found.says("kind-3:r000003") && found.form(&edit).contains(&("comment".into(), "kept".into())));
        assert_eq!(browser.send(&found, &edit, &[]).status, 303);
        // Whoever holds a kind and a single one is offered those.
        let only = keyward::domain::access::ResourceSet::Chosen(["kind-3:*".parse().unwrap(), "site:hamburg".parse().unwrap()].into());
        app.write(|tx| access::set_resources(tx, tenant, dora, &only));
        let form = browser.open(new);
        let offered = form.attributes("#found-resource input[type=checkbox]", "value");
        assert!(offered.iter().all(|value| value.starts_with("kind-3:") || value == "site:hamburg"), "{offered:?}");
        let found = browser.send(&form, new, &[("res", "some"), ("find_resource", "ham")]);
        assert_eq!(found.attributes("#found-resource input[type=checkbox]", "value"), ["site:hamburg"]);
    }
}
