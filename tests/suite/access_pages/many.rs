//! Many at once: parallel requests, long lists.

use std::time::Instant;

use super::{NEW_RESOURCE, NEW_ROLE, NEW_SCOPE, RESOURCES, ROLES, make_developer, role};
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
        assert_eq!((count(&statuses, 303), count(&statuses, 422)), (1, 49), "{statuses:?}");
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
}
