//! While a tenant's keys are off, and while it has more of them than its limit.

use chrono::Duration;

use super::{code_of, count, create, gateway, led_to, token_of, url};
use crate::support::{TestApp, browser::Page};

/// Turns acme's keys off, or on again.
fn turn(app: &TestApp) {
    led_to(&app.signed_in("ada").submit("/t/acme/settings/keys", &[]));
}

both! {
    fn keys_are_revoked_and_deleted_while_they_are_off(app) {
        let gateway = gateway(app);
        let (dora, ada) = (app.signed_in("dora"), app.signed_in("ada"));
        let (key, of_emil) = (app.fixture.key("dora"), app.fixture.key("emil"));
        turn(app);
        led_to(&dora.submit(&url(key.id.as_str(), "/revoke"), &[("reason", "not needed")]));
        led_to(&ada.submit(&url(of_emil.id.as_str(), "/revoke"), &[]));
        led_to(&ada.submit(&url(of_emil.id.as_str(), "/delete"), &[("confirm", "delete")]));
        assert_eq!(ada.get(&url(of_emil.id.as_str(), "")).status, 404);
        let page = dora.open(&url(key.id.as_str(), ""));
        assert!(page.says("Revoked on 21 Nov 2026") && page.says("not needed"), "{}", page.text());
        turn(app);
        assert_eq!(code_of(app, &gateway, &key.token), "revoked");
        assert_eq!(code_of(app, &gateway, &of_emil.token), "not_found");
        let dora = app.signed_in("dora");
        turn(app);
        led_to(&dora.submit(&url(key.id.as_str(), "/delete"), &[("confirm", "delete")]));
        assert_eq!(dora.get(&url(key.id.as_str(), "")).status, 404);
    }

    fn no_clock_stops_while_keys_are_off(app) {
        let gateway = gateway(app);
        let dora = app.signed_in("dora");
        let (key, service) = (app.fixture.key("dora"), app.fixture.key("ci"));
        // 14 days of overlap from 21 Nov, of a key without expiry.
        let roll = url(service.id.as_str(), "/roll");
        let (second, _) = token_of(&dora.submit(&roll, &[("totp", &app.code("dora"))]));
        assert_eq!(code_of(app, &gateway, &service.token), "valid_in_grace");
        turn(app);
        assert_eq!(code_of(app, &gateway, &service.token), "tenant_disabled");
        app.advance(Duration::days(15));
        turn(app);
        assert_eq!((code_of(app, &gateway, &service.token), code_of(app, &gateway, &second)), ("rolled".into(), "valid".into()));
        // dora's key expires on 22 Sep 2027, 305 days after the start: while keys are off.
        assert_eq!(code_of(app, &gateway, &key.token), "valid");
        turn(app);
        app.advance(Duration::days(300));
        assert_eq!(code_of(app, &gateway, &key.token), "tenant_disabled");
        turn(app);
        assert_eq!(code_of(app, &gateway, &key.token), "valid_in_grace", "ten days after its expiry");
        // Its 14 days of grace end while they are off again.
        turn(app);
        app.advance(Duration::days(5));
        turn(app);
        assert_eq!(code_of(app, &gateway, &key.token), "expired");
    }

    fn a_lower_limit_leaves_the_keys_that_there_are(app) {
        let gateway = gateway(app);
        let (ada, dora) = (app.signed_in("ada"), app.signed_in("dora"));
        let (second, id) = token_of(&create(&dora, &[("name", "second")]));
        let (third, _) = token_of(&create(&dora, &[("name", "third"), ("life", "P3M")]));
        let form = dora.open("/t/acme/keys/new");
        led_to(&ada.submit_to("/t/acme/settings", "/t/acme/settings/limits", &[("per_member", "1")]));
        for token in [&app.fixture.key("dora").token, &second, &third] {
            assert_eq!(code_of(app, &gateway, token), "valid");
        }
        assert_eq!(count(app, "dora"), 3);
        let refused = |answer: &Page| {
            assert!(answer.status >= 400 && answer.says("3 of 1 keys: 3 active."), "{} {}", answer.status, answer.text());
            assert!(answer.find("#c-tok").is_none());
        };
        refused(&dora.send(&form, "/t/acme/keys/new", &[("name", "fourth")]));
        // What is there is still changed, stopped, started and rolled.
        led_to(&dora.submit(&url(&id, "/edit"), &[("comment", "over the limit")]));
        led_to(&dora.submit(&url(&id, "/disable"), &[]));
        led_to(&dora.submit(&url(&id, "/enable"), &[]));
        let (rolled, _) = token_of(&dora.submit(&url(&id, "/roll"), &[("totp", &app.code("dora"))]));
        assert_eq!(code_of(app, &gateway, &rolled), "valid");
        led_to(&dora.submit(&url(&third[4..20], "/renew"), &[]));
        // One may be made once there is room.
        led_to(&dora.submit(&url(&third[4..20], "/revoke"), &[]));
        led_to(&dora.submit(&url(&id, "/revoke"), &[]));
        assert!(dora.send(&form, "/t/acme/keys/new", &[("name", "fourth")]).says("1 of 1 keys: 1 active."));
        led_to(&dora.submit(&url(app.fixture.key("dora").id.as_str(), "/delete"), &[("confirm", "delete")]));
        token_of(&dora.send(&form, "/t/acme/keys/new", &[("name", "fourth")]));
        assert_eq!(count(app, "dora"), 1);
    }
}
