//! Who may not, and when nobody may.

use keyward::domain::{access::ResourceSet, permission::BuiltIn};

use super::{code_of, count, create, gateway, led_to, set, token_of, url};
use crate::support::browser::Browser;

const ASKED: [&str; 8] = ["/edit", "/roll", "/finish", "/renew", "/disable", "/enable", "/revoke", "/delete"];

fn statuses(browser: &Browser, id: &str) -> Vec<(u16, u16)> {
    ASKED
        .iter()
        .map(|end| {
            let fields = [("seen", "1"), ("form_id", "aaaaaaaaaaaaaaaaaaaaaa"), ("confirm", "delete")];
            let needed: &[(&str, &str)] = match *end {
                "/roll" => &fields[..2],
                "/delete" => &[fields[0], fields[2]],
                _ => &fields[..1],
            };
            (browser.get(&url(id, end)).status, browser.post(&url(id, end), needed).status)
        })
        .collect()
}

both! {
    fn a_key_out_of_reach_does_not_exist(app) {
        let id = app.fixture.key("dora").id.to_string();
        for name in ["emil", "nora"] {
            let browser = app.signed_in(name);
            browser.open("/profile?tenant=acme");
            assert_eq!(browser.get(&url(&id, "")).status, 404, "{name}");
            assert_eq!(statuses(&browser, &id), [(404, 404); 8], "{name}");
            assert_eq!(browser.get(&format!("/t/acme/explain?key={id}")).status, 422, "{name}");
        }
        let gus = app.signed_in("gus");
        gus.open("/profile?tenant=globex");
        assert_eq!(statuses(&gus, &id), [(404, 404); 8]);
        assert_eq!(gus.get(&format!("/t/globex/keys/{id}")).status, 404);
        assert_eq!(gus.get(&format!("/t/globex/explain?key={id}")).status, 422);
    }

    fn what_the_state_of_a_key_forbids_is_said_in_the_dialog(app) {
        let dora = app.signed_in("dora");
        let id = app.fixture.key("dora").id.to_string();
        for (end, words) in [("/finish", "No overlap is running"), ("/enable", "This key is not disabled.")] {
            let page = dora.get(&url(&id, end));
            assert!(page.status == 409 && page.says(words) && page.body.contains("<html"), "{end}: {}", page.text());
            let dialog = dora.get_with(&url(&id, end), &[("hx-request", "true"), ("hx-target", "dialog")]);
            assert_eq!(dialog.status, 409, "{end}");
            assert!(dialog.says(words) && dialog.find("#dialog-title").is_some() && !dialog.body.contains("<html"), "{end}: {}", dialog.body);
        }
    }

    fn who_may_only_read_changes_nothing(app) {
        let gateway = gateway(app);
        let key = app.fixture.key("dora");
        let audrey = app.signed_in("audrey");
        let page = audrey.open(&url(key.id.as_str(), ""));
        assert_eq!(page.status, 200);
        let links = page.attributes("main a", "href");
        assert!(!links.iter().any(|link| ASKED.iter().any(|end| link.ends_with(end))), "{links:?}");
        assert_eq!(statuses(&audrey, key.id.as_str()), [(403, 403); 8]);
        assert_eq!(audrey.get("/t/acme/keys/new").status, 403);
        assert_eq!(code_of(app, &gateway, &key.token), "valid");
    }

    fn an_admin_stops_keys_of_others_and_makes_none_of_them_work_longer(app) {
        let id = app.fixture.key("dora").id.to_string();
        let ada = app.signed_in("ada");
        let by_member: Vec<u16> = ["/edit", "/roll", "/renew"].iter().map(|end| ada.get(&url(&id, end)).status).collect();
        assert_eq!(by_member, [403; 3]);
        let long = ada.submit(&url(&id, "/disable"), &[("reason", &"x".repeat(201))]);
        assert_eq!(long.status, 422);
        assert_eq!(long.find("#reason-e").as_deref(), Some("Enter 200 characters or fewer; this has 201."));
        led_to(&ada.send(&long, &url(&id, "/disable"), &[("reason", "seen in a public log")]));

        let dora = app.signed_in("dora");
        let page = dora.open(&url(&id, ""));
        assert!(page.says("Disabled on 21 Nov 2026, 10:00 UTC by Ada Example.") && page.says("Reason: seen in a public log"), "{}", page.text());
        let page = dora.get(&url(&id, "/enable"));
        assert_eq!(page.status, 403);
        assert!(page.says("disabled by Ada Example"), "{}", page.text());

        let ada = app.signed_in("ada");
        let ask = ada.open(&url(&id, "/enable"));
        assert!(ask.says("by Ada Example. Reason: seen in a public log"), "{}", ask.text());
        led_to(&ada.send(&ask, &url(&id, "/enable"), &[]));
        led_to(&ada.submit(&url(&id, "/disable"), &[]));
        let again = ada.open(&url(&id, "")).find("main .note-bar span.grow").unwrap();
        assert!(again.starts_with("Disabled on 21 Nov 2026") && !again.contains("Reason"), "{again}");
        led_to(&ada.submit(&url(&id, "/revoke"), &[]));
        led_to(&ada.submit(&url(&id, "/delete"), &[("confirm", "delete")]));
    }

    fn who_manages_every_key_finishes_and_renews_those_of_others(app) {
        let gateway = gateway(app);
        let key = app.fixture.key("dora");
        let id = key.id.to_string();
        let (second, _) = token_of(&app.signed_in("dora").submit(&url(&id, "/roll"), &[("totp", &app.code("dora"))]));
        set(app, |settings| settings.admins_manage_all = true);
        let ada = app.signed_in("ada");
        assert_eq!(code_of(app, &gateway, &key.token), "valid_in_grace");
        led_to(&ada.submit(&url(&id, "/finish"), &[]));
        assert_eq!((code_of(app, &gateway, &key.token), code_of(app, &gateway, &second)), ("rolled".into(), "valid".into()));
        assert!(ada.open(&url(&id, "")).says("22 Sep 2027, in 304 days"));
        led_to(&ada.submit(&url(&id, "/renew"), &[]));
        let page = ada.open(&url(&id, ""));
        assert!(page.says("21 Nov 2027, in 365 days") && page.says("Ada Example renewed the key"), "{}", page.text());
        set(app, |settings| settings.admins_manage_all = false);
        assert_eq!(ada.get(&url(&id, "/renew")).status, 403);
    }

    fn who_lost_managing_own_keys_sees_disables_and_revokes_them_and_does_nothing_else(app) {
        let gateway = gateway(app);
        let (acme, member) = (app.fixture.tenants["acme"], app.fixture.members["acme/dora"]);
        let (id, service) = (app.fixture.key("dora").id.to_string(), app.fixture.key("ci").id.to_string());
        let dora = app.signed_in("dora");
        token_of(&dora.submit(&url(&id, "/roll"), &[("totp", &app.code("dora"))]));
        app.write(|tx| keyward::store::console_roles::set(tx, acme, member, &[]));
        let token = &app.fixture.key("dora").token;
        assert_eq!(code_of(app, &gateway, token), "valid_in_grace", "losing it stops no key");
        let list = dora.open("/profile?tenant=acme");
        assert!(list.says("key of dora") && list.says("key of ci"), "{}", list.text());
        assert_eq!(dora.get("/t/acme/keys/new").status, 403);
        for id in [&id, &service] {
            assert_eq!(dora.get(&url(id, "")).status, 200);
            let may: Vec<&str> = ASKED.into_iter().filter(|end| dora.get(&url(id, end)).status == 200).collect();
            assert_eq!(may, ["/disable", "/revoke"]);
            let refused: Vec<u16> = ["/edit", "/roll", "/finish", "/renew", "/delete"].iter().map(|end| dora.get(&url(id, end)).status).collect();
            assert_eq!(refused, [403; 5]);
            led_to(&dora.submit(&url(id, "/disable"), &[("reason", "not needed for now")]));
            assert_eq!(dora.get(&url(id, "/enable")).status, 403, "not even what one has disabled");
            led_to(&dora.submit(&url(id, "/revoke"), &[]));
        }
        assert_eq!(code_of(app, &gateway, token), "revoked");
        assert_eq!(code_of(app, &gateway, &app.fixture.key("ci").token), "revoked");
        assert_eq!(dora.get(&url(app.fixture.key("emil").id.as_str(), "")).status, 404);
    }

    fn a_service_account_may_have_a_limit_of_its_own(app) {
        let ci = app.fixture.members["acme/ci"].to_string();
        let (form, new) = (format!("/t/acme/keys/new?owner={ci}"), "/t/acme/keys/new");
        let (member, details) = (format!("/t/acme/members/{ci}"), format!("/t/acme/members/{ci}/details"));
        let (ada, dora) = (app.signed_in("ada"), app.signed_in("dora"));
        let open = dora.open(&form);
        assert!(open.says("1 of 5 keys used."), "{}", open.text());
        led_to(&ada.submit_to(&member, &details, &[("limit", "1")]));
        let refused = dora.send(&open, new, &[("name", "one too many")]);
        assert_eq!(refused.status, 422);
        assert!(refused.says("CI has 1 of 1 keys: 1 active."), "{}", refused.text());
        assert_eq!(count(app, "ci"), 1);
        token_of(&create(&dora, &[("name", "of dora, who has the tenant’s")]));
        // More than every member may have.
        set(app, |settings| settings.keys_per_member = 1);
        led_to(&ada.submit_to(&member, &details, &[("limit", "3")]));
        for name in ["second", "third"] {
            token_of(&dora.send(&dora.open(&form), new, &[("name", name)]));
        }
        assert_eq!(dora.send(&dora.open(&form), new, &[("name", "fourth")]).status, 422);
        // Without one it is the tenant's, and what is there stays.
        led_to(&ada.submit_to(&member, &details, &[("limit", "")]));
        let page = dora.open(&form);
        assert!(page.says("3 of 1 keys used."), "{}", page.text());
        assert_eq!((dora.send(&page, new, &[("name", "fourth")]).status, count(app, "ci")), (422, 3));
    }

    fn the_limit_holds_under_parallel_creations(app) {
        let emil = app.signed_in("emil");
        let pages: Vec<_> = (0..50).map(|_| emil.open("/t/acme/keys/new")).collect();
        let made: usize = std::thread::scope(|scope| {
            let running: Vec<_> = pages
                .iter()
                .map(|page| {
                    let emil = emil.twin();
                    let fields = page.form("/t/acme/keys/new");
                    scope.spawn(move || {
                        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                        emil.post("/t/acme/keys/new", &fields).status
                    })
                })
                .collect();
            running.into_iter().filter(|_| true).map(|thread| thread.join().unwrap()).filter(|status| *status == 200).count()
        });
        assert_eq!((made, count(app, "emil")), (4, 5));
        let page = emil.open("/t/acme/keys/new");
        assert!(page.says("You have 5 of 5 keys: 5 active. Revoke or delete one, or ask a tenant admin to raise the limit."), "{}", page.text());
    }

    fn nothing_is_made_or_rolled_while_keys_are_off(app) {
        let dora = app.signed_in("dora");
        let form = dora.open("/t/acme/keys/new");
        let id = app.fixture.key("dora").id.to_string();
        let roll = dora.open(&url(&id, "/roll"));
        set(app, |settings| settings.keys_enabled = false);
        assert!(dora.open("/t/acme/keys/new").says("API keys are turned off for Acme."));
        let before = count(app, "dora");
        assert!(dora.send(&form, "/t/acme/keys/new", &[]).says("turned off"));
        assert_eq!(dora.send(&roll, &url(&id, "/roll"), &[("totp", &app.code("dora"))]).status, 409);
        assert_eq!(count(app, "dora"), before);
        led_to(&dora.submit(&url(&id, "/edit"), &[("comment", "still editable")]));
        led_to(&dora.submit(&url(&id, "/renew"), &[]));
        led_to(&dora.submit(&url(&id, "/disable"), &[]));
        assert_eq!(dora.get(&url(&id, "/enable")).status, 409);
    }

    fn a_key_is_given_what_its_owner_holds_and_no_more(app) {
        let emil = app.signed_in("emil");
        let form = emil.open("/t/acme/keys/new");
        assert!(!form.says("invoices:read") && form.says("shipments:read") && !form.says("site:hamburg"), "{}", form.text());
        let page = emil.send(&form, "/t/acme/keys/new", &[("access", "scopes"), ("scope", "invoices:read")]);
        assert_eq!(page.status, 422);
        assert!(page.find("#access .errmsg").unwrap().contains("does not hold the scope invoices:read"), "{}", page.text());
        let page = emil.send(&form, "/t/acme/keys/new", &[("res", "some"), ("resource", "site:hamburg")]);
        assert!(page.find("#res .errmsg").unwrap().contains("does not hold site:hamburg"), "{}", page.text());
    }

    fn a_keeper_makes_keys_for_the_service_account(app) {
        let gateway = gateway(app);
        let dora = app.signed_in("dora");
        let ci = app.fixture.members["acme/ci"].to_string();
        let form = dora.open(&format!("/t/acme/keys/new?owner={ci}"));
        assert!(form.says("Same as owner"), "{}", form.text());
        let (token, _) = token_of(&dora.send(&form, "/t/acme/keys/new", &[("name", "build")]));
        assert_eq!(crate::key_pages::verify(app, &gateway, &token)["owner"]["email"], serde_json::Value::Null);
        let emil = app.signed_in("emil");
        assert_eq!(emil.get(&format!("/t/acme/keys/new?owner={ci}")).status, 403);
    }

    fn reserved_scopes_need_a_code_and_all_that_the_owner_may_do(app) {
        let dora = app.signed_in("dora");
        let fields = [("access", "scopes"), ("scope", "keyward:keys.read"), ("name", "robot")];
        let page = create(&dora, &fields);
        assert_eq!(page.status, 422);
        assert_eq!(page.find("#totp-e").as_deref(), Some("Enter the code from your authenticator app."));
        let code = app.code("dora");
        let (_, id) = token_of(&dora.send(&page, "/t/acme/keys/new", &[("totp", &code)]));
        led_to(&dora.submit(&url(&id, "/edit"), &[("comment", "no code for a comment")]));
        assert_eq!(dora.submit(&url(&id, "/edit"), &[("scope", "keyward:keys.read"), ("scope", "keyward:keys.roll")]).status, 422);

        // A service account with more than its keeper: the keeper may not make it a management key.
        let (tenant, ci) = (app.fixture.tenants["acme"], app.fixture.members["acme/ci"]);
        app.write(|tx| keyward::store::members::give_built_in(tx, tenant, ci, BuiltIn::TenantAdmin));
        let form = dora.open(&format!("/t/acme/keys/new?owner={ci}"));
        assert!(!form.body.contains("keyward:keys.read"));
        let code = app.code("dora");
        let page = dora.send(&form, "/t/acme/keys/new", &[("access", "scopes"), ("scope", "keyward:keys.read"), ("totp", &code)]);
        assert_eq!(page.status, 422);
        assert!(page.find("#access .errmsg").unwrap().contains("every console permission"), "{}", page.text());
        let emil = app.signed_in("emil");
        let page = create(&emil, &fields);
        assert_eq!(page.status, 422);
        assert!(page.says("Set up two-step sign-in first"));
    }

    fn what_the_owner_lost_stays_listed_and_is_without_effect(app) {
        let gateway = gateway(app);
        let dora = app.signed_in("dora");
        let key = app.fixture.key("dora");
        led_to(&dora.submit(&url(key.id.as_str(), "/edit"), &[("res", "some"), ("resource", "site:hamburg")]));
        let (tenant, member) = (app.fixture.tenants["acme"], app.fixture.members["acme/dora"]);
        let rotterdam = ResourceSet::Chosen(["site:rotterdam".parse().unwrap()].into());
        app.write(|tx| keyward::store::access::set_resources(tx, tenant, member, &rotterdam));
        assert_eq!(crate::key_pages::verify(app, &gateway, &key.token)["resources"], serde_json::json!([]));
        let form = dora.open(&url(key.id.as_str(), "/edit"));
        assert!(form.says("no effect"), "{}", form.text());
        led_to(&dora.send(&form, &url(key.id.as_str(), "/edit"), &[("comment", "kept")]));
    }
}
