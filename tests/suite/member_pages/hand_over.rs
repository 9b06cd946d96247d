//! Removing a member, and keys that get another owner.

use keyward::store::keys;

use super::{events, id, invite, led_to, set, set_roles, url};
use crate::support::{TestApp, browser::Page};

fn owner(app: &TestApp, key: &str) -> String {
    let (account, id) = (app.person("ada").account, app.fixture.key(key).id);
    app.read(|db| {
        let reach = keyward::store::members::acting(db, "acme", account)?.unwrap().reach();
        Ok(keys::find(db, &reach, id)?.unwrap().owner.to_string())
    })
}

fn options(page: &Page) -> Vec<String> {
    page.texts("select[name=fate] option")
}

both! {
    fn a_member_leaves_once_each_key_has_a_fate(app) {
        let token = &app.fixture.key("dora").token;
        let ada = app.signed_in("ada");
        let at = url(app, "dora", "/remove");
        let page = ada.open(&at);
        assert!(page.says("key of dora") && page.says("Never"), "{}", page.text());
        let offered = options(&page);
        assert!(offered.iter().any(|word| word.contains("CI (service account)")) && offered.iter().any(|word| word.contains("Emil")), "{offered:?}");
        assert!(!offered.iter().any(|word| word.contains("Nora") || word.contains("Dora")), "{offered:?}");
        let undecided = ada.send(&page, &at, &[]);
        assert_eq!(undecided.status, 422);
        assert!(undecided.says("Choose what happens to “key of dora”"), "{}", undecided.text());
        let found = ada.send(&page, &at, &[("find", "yes"), ("q", "emil")]);
        assert!(options(&found).iter().all(|word| !word.contains("CI")), "{:?}", options(&found));
        let emil = id(app, "acme/emil");
        let last = ada.send(&found, &at, &[("fate", &emil)]);
        assert_eq!(last.status, 200);
        assert!(last.says("invoices:read") && last.says("every resource but site:rotterdam") && last.says("Roll each key"), "{}", last.text());
        assert_eq!(owner(app, "dora"), id(app, "acme/dora"), "nothing was changed yet");
        led_to(&ada.send(&last, &at, &[]));
        assert_eq!(owner(app, "dora"), emil);
        assert_eq!(app.verify(token), "valid");
        assert_eq!(ada.open(&url(app, "dora", "")).status, 404);
        assert!(!ada.open("/t/acme/members").says("Dora Example"));
        assert_eq!(events(app, "dora")[0], "member.remove");
        let emil = app.signed_in("emil");
        assert!(emil.open("/profile").says("key of dora"));
    }

    fn removing_may_revoke_every_key(app) {
        let token = &app.fixture.key("emil").token;
        let (ada, emil) = (app.signed_in("ada"), app.signed_in("emil"));
        let at = url(app, "emil", "/remove");
        led_to(&ada.submit(&at, &[("all", "revoke")]));
        assert_eq!(app.verify(token), "owner_inactive");
        assert!(emil.open("/profile").path.starts_with("/login"), "sessions end");
        let refused = app.browser();
        refused.submit("/login", &[("email", "emil@acme.example"), ("password", app.person("emil").password)]);
        assert!(refused.open("/profile").path.starts_with("/login"), "nobody without a tenant signs in");
        let again = invite(&ada, "emil@acme.example", &["Developer"]);
        let emil = app.signed_in("emil");
        led_to(&emil.submit(&again, &[]));
        assert_eq!(app.verify(token), "revoked", "what was revoked stays so");
    }

    fn a_key_is_decided_again_where_one_came_meanwhile(app) {
        let (ada, emil) = (app.signed_in("ada"), app.signed_in("emil"));
        let at = url(app, "emil", "/remove");
        let page = ada.open(&at);
        assert!(emil.submit("/t/acme/keys/new", &[("name", "late one")]).find("#c-tok").is_some());
        let refused = ada.send(&page, &at, &[("fate", "revoke")]);
        assert_eq!(refused.status, 422);
        assert!(refused.says("Choose what happens to “late one”"), "{}", refused.text());
        assert_eq!(app.verify(&app.fixture.key("emil").token), "valid");
    }

    fn one_key_is_handed_over_after_its_losses_were_seen(app) {
        let key = app.fixture.key("dora");
        let at = format!("/t/acme/keys/{}/hand-over", key.id);
        let ada = app.signed_in("ada");
        let page = ada.open(&at);
        assert_eq!(page.status, 200, "{}", page.text());
        let none = ada.send(&page, &at, &[]);
        assert_eq!(none.status, 422);
        assert!(none.says("Choose who gets the key"), "{}", none.text());
        let nora = ada.send(&page, &at, &[("to", &id(app, "acme/nora"))]);
        assert_eq!(nora.status, 200);
        let refused = ada.send(&nora, &at, &[]);
        assert_eq!(refused.status, 422);
        assert!(refused.says("Keys are handed over to"), "{}", refused.text());
        assert_eq!(ada.send(&page, &at, &[("to", &id(app, "globex/gus"))]).status, 422);
        let ci = id(app, "acme/ci");
        let asked = ada.send(&page, &at, &[("to", &ci)]);
        assert!(asked.says("It loses") && asked.says("invoices:read") && asked.says("shipments:read"), "{}", asked.text());
        led_to(&ada.send(&asked, &at, &[]));
        assert_eq!(owner(app, "dora"), ci);
        assert_eq!(app.verify(&key.token), "valid");
        for name in ["dora", "audrey"] {
            assert_eq!(app.signed_in(name).open(&at).status, 403, "{name}");
        }
        assert_eq!(app.signed_in("emil").open(&at).status, 403);
    }

    fn a_key_that_was_changed_meanwhile_is_asked_about_again(app) {
        let at = format!("/t/acme/keys/{}/hand-over", app.fixture.key("emil").id);
        let ada = app.signed_in("ada");
        let asked = ada.submit(&at, &[("to", &id(app, "acme/dora"))]);
        let emil = app.signed_in("emil");
        led_to(&emil.submit(&format!("/t/acme/keys/{}/edit", app.fixture.key("emil").id), &[("comment", "newer")]));
        let again = ada.send(&asked, &at, &[]);
        assert_eq!(again.status, 409);
        assert!(again.says("changed since this was asked"), "{}", again.text());
        led_to(&ada.send(&again, &at, &[]));
        assert_eq!(owner(app, "emil"), id(app, "acme/dora"));
    }

    fn the_limit_of_keys_does_not_bar_a_hand_over(app) {
        set(app, |settings| settings.keys_per_member = 1);
        let at = format!("/t/acme/keys/{}/hand-over", app.fixture.key("emil").id);
        let ada = app.signed_in("ada");
        let asked = ada.submit(&at, &[("to", &id(app, "acme/dora"))]);
        led_to(&ada.send(&asked, &at, &[]));
        assert_eq!(owner(app, "emil"), id(app, "acme/dora"));
    }

    fn a_keeper_of_a_removed_service_account_loses_nothing_else(app) {
        let ada = app.signed_in("ada");
        let at = url(app, "ci", "/remove");
        let last = ada.submit(&at, &[("all", &id(app, "acme/dora"))]);
        led_to(&ada.send(&last, &at, &[]));
        assert_eq!(app.verify(&app.fixture.key("ci").token), "valid");
        led_to(&set_roles(&ada, app, "nora", &["Developer"]));
    }

    fn a_key_that_is_handed_over_keeps_what_it_had_cut_to_its_new_owner(app) {
        let gateway = app.gateway("acme");
        let verify = |token: &str| {
            let headers = [("authorization", &*format!("Bearer {gateway}"))];
            app.call("POST", "/api/v1/keys/verify", &headers, Some(serde_json::json!({ "key": token }))).json()
        };
        let ada = app.signed_in("ada");
        let hand_over = |key: &str, to: &str| {
            let at = format!("/t/acme/keys/{}/hand-over", app.fixture.key(key).id);
            let asked = ada.submit(&at, &[("to", &id(app, to))]);
            led_to(&ada.send(&asked, &at, &[]));
        };
        // dora's key follows her: Shipping, Billing and all resources. CI holds Shipping and all resources.
        hand_over("dora", "acme/ci");
        let seen = verify(&app.fixture.key("dora").token);
        assert_eq!(seen["scopes"], serde_json::json!(["shipments:read", "shipments:write"]), "{seen}");
        assert_eq!(seen["resources"], serde_json::Value::Null, "all stays all: {seen}");
        // emil holds one resource, and that is what his key takes along.
        hand_over("emil", "acme/dora");
        let seen = verify(&app.fixture.key("emil").token);
        assert_eq!((&seen["scopes"], &seen["resources"]), (&serde_json::json!(["shipments:read", "shipments:write"]), &serde_json::json!(["site:rotterdam"])));
        // What it has is chosen from now on: it follows no owner.
        let page = ada.open(&format!("/t/acme/keys/{}", app.fixture.key("emil").id));
        assert!(page.says("shipments:read, shipments:write") && !page.says("Same as owner"), "{}", page.text());
        // To somebody with fewer resources: cut.
        hand_over("dora", "acme/emil");
        assert_eq!(verify(&app.fixture.key("dora").token)["resources"], serde_json::json!(["site:rotterdam"]));
    }
}
