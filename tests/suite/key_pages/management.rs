//! Keys that manage Keyward itself: who may do what with one, and what the menus draw.

use keyward::{
    domain::{access::KeyAccess, permission::BuiltIn},
    store::{keys, members},
};

use super::{code_of, gateway, led_to, set, token_of, url};
use crate::support::{
    TestApp,
    browser::{Browser, Page},
};

const VERBS: [&str; 9] = ["/edit", "/roll", "/renew", "/finish", "/hand-over", "/enable", "/disable", "/revoke", "/delete"];

/// Makes the key of the service account a management key, and the service account a Tenant admin.
fn management_key(app: &TestApp) -> String {
    let (acme, ci) = (app.fixture.tenants["acme"], app.fixture.members["acme/ci"]);
    let (id, account) = (app.fixture.key("ci").id, app.person("dora").account);
    app.write(|tx| {
        members::give_built_in(tx, acme, ci, BuiltIn::TenantAdmin)?;
        let reach = members::acting(tx, "acme", account)?.unwrap().reach();
        let (mut key, owner) = (keys::find(tx, &reach, id)?.unwrap(), members::find(tx, acme, ci)?.unwrap());
        key.access = KeyAccess::Scopes(["keyward:keys.read".parse().unwrap()].into());
        keys::save(tx, &key, key.version, &owner)
    });
    id.to_string()
}

/// The verbs of the key that a page draws.
fn drawn(page: &Page, id: &str) -> Vec<&'static str> {
    let links = [page.attributes("main a", "href"), page.attributes("main button", "formaction")].concat();
    VERBS.into_iter().filter(|verb| links.contains(&url(id, verb))).collect()
}

/// The verbs of the key that answer.
fn open(browser: &Browser, id: &str) -> Vec<&'static str> {
    VERBS.into_iter().filter(|verb| browser.get(&url(id, verb)).status == 200).collect()
}

both! {
    fn menus_draw_the_verbs_that_the_member_may_do_and_no_others(app) {
        let id = management_key(app);
        let (dora, ada) = (app.signed_in("dora"), app.signed_in("ada"));
        for manages in [false, true] {
            set(app, |settings| settings.admins_manage_all = manages);
            for _ in 0..2 {
                for (browser, list) in [(&dora, "/profile?tenant=acme"), (&ada, "/t/acme/keys")] {
                    let may = open(browser, &id);
                    assert_eq!(drawn(&browser.open(list), &id), may, "{list}, manages all: {manages}");
                    assert_eq!(drawn(&browser.open(&url(&id, "")), &id), may, "the key's page, manages all: {manages}");
                }
                let dora_may: &[&str] = if open(&dora, &id).contains(&"/disable") { &["/disable", "/revoke", "/delete"] } else { &["/revoke", "/delete"] };
                assert_eq!(open(&dora, &id), dora_may);
                if open(&dora, &id).contains(&"/disable") {
                    led_to(&dora.submit(&url(&id, "/disable"), &[]));
                }
            }
            if manages {
                assert_eq!(open(&ada, &id), ["/edit", "/roll", "/hand-over", "/enable", "/revoke", "/delete"]);
            }
        }
    }

    fn a_keeper_with_less_than_the_owner_rolls_edits_and_enables_no_management_key(app) {
        let gateway = gateway(app);
        let id = management_key(app);
        let dora = app.signed_in("dora");
        for verb in ["/roll", "/edit"] {
            let refused = dora.get(&url(&id, verb));
            assert!(refused.status == 403 && refused.says("every console permission"), "{verb}: {}", refused.text());
        }
        let code = app.code("dora");
        assert_eq!(dora.post(&url(&id, "/roll"), &[("seen", "2"), ("form_id", "aaaaaaaaaaaaaaaaaaaaaa"), ("stop", "now"), ("totp", &code)]).status, 403);
        led_to(&dora.submit(&url(&id, "/disable"), &[]));
        assert_eq!(dora.post(&url(&id, "/enable"), &[("seen", "3")]).status, 403);
        assert_eq!(code_of(app, &gateway, &app.fixture.key("ci").token), "disabled");
        // Another keeper who holds all that it holds may.
        let (acme, ci, mia) = (app.fixture.tenants["acme"], app.fixture.members["acme/ci"], app.fixture.members["acme/mia"]);
        app.write(|tx| {
            members::add_keeper(tx, acme, ci, mia)?;
            members::give_built_in(tx, acme, mia, BuiltIn::TenantAdmin)
        });
        let mia = app.signed_in("mia");
        led_to(&mia.submit(&url(&id, "/enable"), &[]));
        let (token, _) = token_of(&mia.submit(&url(&id, "/roll"), &[("totp", &app.code("mia"))]));
        assert_eq!(code_of(app, &gateway, &token), "valid");
        led_to(&mia.submit(&url(&id, "/edit"), &[("comment", "by a keeper")]));
    }

    fn who_manages_every_key_does_so_only_with_all_that_the_owner_holds(app) {
        let gateway = gateway(app);
        let id = management_key(app);
        set(app, |settings| settings.admins_manage_all = true);
        let ada = app.signed_in("ada");
        let (token, _) = token_of(&ada.submit(&url(&id, "/roll"), &[("totp", &app.code("ada"))]));
        assert_eq!(code_of(app, &gateway, &token), "valid");
        led_to(&ada.submit(&url(&id, "/disable"), &[]));
        led_to(&ada.submit(&url(&id, "/enable"), &[]));
        // Who may manage any key, but not members or settings.
        led_to(&ada.submit("/t/acme/roles/new", &[("name", "Key master"), ("p", "keys.manage_any")]));
        let (acme, nora) = (app.fixture.tenants["acme"], app.fixture.members["acme/nora"]);
        app.write(|tx| {
            let tenant = keyward::store::tenants::get(tx, acme)?;
            let role = keyward::store::console_roles::all(tx, &tenant)?.into_iter().find(|role| role.name == "Key master").unwrap();
            keyward::store::console_roles::set(tx, acme, nora, &[role.id])
        });
        let nora = app.signed_in("nora");
        assert_eq!(nora.get(&url(&id, "/roll")).status, 403);
        assert_eq!(nora.get(&url(&id, "/edit")).status, 403);
        led_to(&nora.submit(&url(&id, "/disable"), &[]));
        assert_eq!(nora.get(&url(&id, "/enable")).status, 403);
        let plain = app.fixture.key("dora").id.to_string();
        led_to(&nora.submit(&url(&plain, "/edit"), &[("comment", "a plain key is another matter")]));
    }
}
