//! A key from its creation to its end.

use chrono::Duration;

use super::{code_of, count, create, gateway, led_to, set, token_of, url, verify};

both! {
    fn a_key_lives_from_creation_to_revocation(app) {
        let gateway = gateway(app);
        let dora = app.signed_in("dora");
        let page = create(&dora, &[("name", "Warehouse sync"), ("life", "P12M")]);
        let (first, id) = token_of(&page);
        assert_eq!(verify(app, &gateway, &first)["code"], "valid");

        let page = dora.submit(&url(&id, "/roll"), &[("totp", &app.code("dora"))]);
        let (second, same) = token_of(&page);
        assert_eq!(same, id);
        assert!(page.says("Old secret stops"), "{}", page.text());
        assert!(page.says("5 Dec 2026"), "{}", page.text());
        assert!(page.says("21 Nov 2027"), "{}", page.text());
        assert_eq!(code_of(app, &gateway, &second), "valid");
        let old = verify(app, &gateway, &first);
        assert_eq!((old["code"].as_str(), old["grace"]["reason"].as_str()), (Some("valid_in_grace"), Some("rolled")));

        app.advance(Duration::days(14));
        assert_eq!(code_of(app, &gateway, &first), "rolled");
        assert_eq!(code_of(app, &gateway, &second), "valid");

        let dora = app.signed_in("dora");
        assert_eq!(led_to(&dora.submit(&url(&id, "/revoke"), &[("reason", "no longer needed")])), url(&id, ""));
        assert_eq!(code_of(app, &gateway, &second), "revoked");
        let page = dora.open(&url(&id, ""));
        assert!(page.says("Revoked on 5 Dec 2026") && page.says("no longer needed"), "{}", page.text());
        for gone in ["/edit", "/roll", "/renew", "/disable", "/revoke"] {
            assert_eq!(dora.get(&url(&id, gone)).status, 409, "{gone}");
        }
    }

    fn an_overlap_can_be_finished_at_once(app) {
        let gateway = gateway(app);
        let dora = app.signed_in("dora");
        let key = app.fixture.key("dora");
        let id = key.id.to_string();
        let (second, _) = token_of(&dora.submit(&url(&id, "/roll"), &[("totp", &app.code("dora"))]));
        assert_eq!(code_of(app, &gateway, &key.token), "valid_in_grace");
        let page = dora.open(&url(&id, ""));
        assert!(page.says("In overlap") && page.says("Cut-over to the new secret"), "{}", page.text());
        led_to(&dora.submit(&url(&id, "/finish"), &[]));
        assert_eq!(code_of(app, &gateway, &key.token), "rolled");
        assert_eq!(code_of(app, &gateway, &second), "valid");
        assert_eq!(dora.get(&url(&id, "/finish")).status, 409);
        app.advance(Duration::minutes(-10));
        assert_eq!(code_of(app, &gateway, &key.token), "rolled", "not even where the clock goes back");
    }

    fn who_rolls_because_of_a_leak_is_asked_again_with_the_same_choice(app) {
        let dora = app.signed_in("dora");
        let id = app.fixture.key("dora").id.to_string();
        let form = dora.open(&url(&id, "/roll"));
        dora.submit(&url(&id, "/edit"), &[("comment", "changed meanwhile")]);
        let asked = dora.send(&form, &url(&id, "/roll"), &[("stop", "leaked"), ("totp", &app.code("dora"))]);
        assert_eq!(asked.status, 409, "{}", asked.text());
        assert_eq!(asked.form(&url(&id, "/roll")).iter().find(|(name, _)| name == "stop").map(|(_, value)| value.as_str()), Some("leaked"));
    }

    fn a_leaked_secret_stops_at_once(app) {
        let gateway = gateway(app);
        let dora = app.signed_in("dora");
        let key = app.fixture.key("dora");
        let (second, id) = token_of(&dora.submit(&url(key.id.as_str(), "/roll"), &[("stop", "leaked"), ("totp", &app.code("dora"))]));
        assert_eq!((code_of(app, &gateway, &key.token), code_of(app, &gateway, &second)), ("rolled".into(), "valid".into()));
        assert!(dora.open(&url(&id, "")).says("it was leaked"));
    }

    fn rolling_again_keeps_the_secret_in_use(app) {
        let gateway = gateway(app);
        let dora = app.signed_in("dora");
        let key = app.fixture.key("dora");
        let id = key.id.to_string();
        let (second, _) = token_of(&dora.submit(&url(&id, "/roll"), &[("totp", &app.code("dora"))]));
        let again = dora.open(&url(&id, "/roll"));
        assert!(again.says("Two secrets work now"), "{}", again.text());
        assert_eq!(again.attributes("input[name=keep][checked]", "value"), ["original"]);
        let (third, _) = token_of(&dora.send(&again, &url(&id, "/roll"), &[("totp", &app.code("dora"))]));
        let codes = [&key.token, &second, &third].map(|token| code_of(app, &gateway, token));
        assert_eq!(codes, ["valid_in_grace", "rolled", "valid"]);
        let (fourth, _) = token_of(&dora.submit(&url(&id, "/roll"), &[("keep", "none"), ("totp", &app.code("dora"))]));
        let codes = [&key.token, &third, &fourth].map(|token| code_of(app, &gateway, token));
        assert_eq!(codes, ["rolled", "rolled", "valid"]);
    }

    fn rolling_again_keeps_what_the_tenant_says_where_nobody_chooses(app) {
        let gateway = gateway(app);
        let ada = app.signed_in("ada");
        // Whether the second secret was used before the third is made: with *the secret in use* each would keep the other.
        for (rule, used, expected) in [
            ("original", true, ["valid_in_grace", "rolled", "valid"]),
            ("latest", false, ["rolled", "valid_in_grace", "valid"]),
            ("none", true, ["rolled", "rolled", "valid"]),
        ] {
            led_to(&ada.submit_to("/t/acme/settings", "/t/acme/settings/life", &[("keep", rule)]));
            assert_eq!(ada.open("/t/acme/settings").attributes("#keep option[selected]", "value"), [rule]);
            let dora = app.signed_in("dora");
            let (first, id) = token_of(&create(&dora, &[("name", rule)]));
            let roll = || dora.open(&url(&id, "/roll"));
            let (second, _) = token_of(&dora.send(&roll(), &url(&id, "/roll"), &[("totp", &app.code("dora"))]));
            if used {
                assert_eq!(code_of(app, &gateway, &second), "valid");
                app.app.gate.verifier.write_tallies();
            }
            let again = roll();
            assert_eq!(again.attributes("input[name=keep][checked]", "value"), [rule]);
            let (third, _) = token_of(&dora.send(&again, &url(&id, "/roll"), &[("totp", &app.code("dora"))]));
            assert_eq!([&first, &second, &third].map(|token| code_of(app, &gateway, token)), expected, "{rule}");
        }
        let wrong = ada.submit_to("/t/acme/settings", "/t/acme/settings/life", &[("keep", "both")]);
        assert!([400, 422].contains(&wrong.status), "{}", wrong.status);
    }

    fn a_disabled_key_is_refused_until_it_is_enabled(app) {
        let gateway = gateway(app);
        let dora = app.signed_in("dora");
        let key = app.fixture.key("dora");
        led_to(&dora.submit(&url(key.id.as_str(), "/disable"), &[]));
        assert_eq!(code_of(app, &gateway, &key.token), "disabled");
        led_to(&dora.submit(&url(key.id.as_str(), "/enable"), &[]));
        assert_eq!(code_of(app, &gateway, &key.token), "valid");
    }

    fn the_key_page_enables_at_once_unless_a_code_is_asked_for(app) {
        let gateway = gateway(app);
        let dora = app.signed_in("dora");
        let key = app.fixture.key("dora");
        let page = url(key.id.as_str(), "");
        for asks in [false, true] {
            set(app, |settings| settings.code_actions.enable = asks);
            led_to(&dora.submit(&url(key.id.as_str(), "/disable"), &[]));
            let shown = dora.get(&page);
            let buttons = shown.attributes(&format!("button[form=one-key][formaction='{page}/enable'][name=seen]"), "value");
            let links = shown.attributes(&format!("main a[href='{page}/enable']"), "href");
            assert_eq!((buttons.len(), links.len()), if asks { (0, 2) } else { (1, 0) }, "{}", shown.text());
            if let Some(seen) = buttons.first() {
                led_to(&dora.post(&format!("{page}/enable"), &[("seen", seen)]));
                assert_eq!(code_of(app, &gateway, &key.token), "valid");
            }
        }
    }

    fn renewing_starts_the_lifetime_again(app) {
        let dora = app.signed_in("dora");
        let id = app.fixture.key("dora").id.to_string();
        let ask = dora.open(&url(&id, "/renew"));
        assert!(ask.says("22 Sep 2027") && ask.says("21 Nov 2027"), "{}", ask.text());
        led_to(&dora.send(&ask, &url(&id, "/renew"), &[]));
        assert!(dora.open(&url(&id, "")).says("21 Nov 2027, in 365 days"));
    }

    fn a_deleted_key_is_gone_and_unknown_to_gateways(app) {
        let gateway = gateway(app);
        let dora = app.signed_in("dora");
        let key = app.fixture.key("dora");
        let wrong = dora.submit(&url(key.id.as_str(), "/delete"), &[("confirm", "remove")]);
        assert_eq!(wrong.status, 422);
        assert!(wrong.says("Type delete to confirm."));
        led_to(&dora.submit(&url(key.id.as_str(), "/delete"), &[("confirm", "delete")]));
        assert_eq!(code_of(app, &gateway, &key.token), "not_found");
        assert_eq!(dora.get(&url(key.id.as_str(), "")).status, 404);
        assert_eq!(count(app, "dora"), 0);
    }

    fn an_edit_counts_from_the_next_request(app) {
        let gateway = gateway(app);
        let dora = app.signed_in("dora");
        let key = app.fixture.key("dora");
        let edit = url(key.id.as_str(), "/edit");
        assert_eq!(verify(app, &gateway, &key.token)["scopes"].as_array().unwrap().len(), 3);
        led_to(&dora.submit(&edit, &[("access", "scopes"), ("scope", "shipments:read"), ("name", "Renamed"), ("notify", "ops@acme.example, OPS@acme.example")]));
        let answer = verify(app, &gateway, &key.token);
        assert_eq!((answer["scopes"].clone(), answer["name"].as_str()), (serde_json::json!(["shipments:read"]), Some("Renamed")));
        led_to(&dora.submit(&edit, &[("ips", "203.0.113.0/24\n2001:db8::/32")]));
        assert_eq!(code_of(app, &gateway, &key.token), "ip_denied");
        let page = dora.open(&url(key.id.as_str(), ""));
        assert!(page.says("IP ranges: added 203.0.113.0/24, 2001:db8::/32") && page.says("before “key of dora”"), "{}", page.text());
    }

    fn an_expiry_moves_nearer_by_edit_and_never_away(app) {
        let dora = app.signed_in("dora");
        let edit = url(app.fixture.key("dora").id.as_str(), "/edit");
        let page = dora.submit(&edit, &[("life", "days"), ("days", "700")]);
        assert_eq!(page.status, 422);
        assert!(page.find("#days-e").unwrap().contains("no later than 22 Sep 2027"), "{}", page.text());
        led_to(&dora.submit(&edit, &[("life", "days"), ("days", "10")]));
        assert!(dora.open(&url(app.fixture.key("dora").id.as_str(), "")).says("1 Dec 2026, in 10 days"));
    }
}
