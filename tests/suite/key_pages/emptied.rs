//! Keys whose chosen scopes or resources were all taken away.

use super::{create, gateway, led_to, token_of, url, verify};

both! {
    fn a_key_whose_chosen_lists_became_empty_is_edited_and_stays_without(app) {
        let gateway = gateway(app);
        let dora = app.signed_in("dora");
        let chosen = [("access", "scopes"), ("scope", "invoices:read"), ("res", "some"), ("resource", "data:tariffs")];
        let (token, id) = token_of(&create(&dora, &chosen));
        let ada = app.signed_in("ada");
        let scope = "/t/acme/access/scopes/remove?scope=invoices:read";
        led_to(&ada.send(&ada.open(scope), "/t/acme/access/scopes/remove", &[]));
        let tariffs = ada.open("/t/acme/access/resources?q=tariffs").attributes("a[href$='/remove']", "href").remove(0);
        led_to(&ada.submit(&tariffs, &[]));

        let form = dora.open(&url(&id, "/edit"));
        assert_eq!(form.attributes("input[name=access][checked]", "value"), ["none"]);
        assert_eq!(form.attributes("input[name=res][checked]", "value"), ["none"]);
        led_to(&dora.send(&form, &url(&id, "/edit"), &[("comment", "only a comment"), ("ips", "203.0.113.0/24")]));
        let seen = verify(app, &gateway, &token);
        assert_eq!(seen["code"], "ip_denied", "{seen}");
        led_to(&dora.submit(&url(&id, "/edit"), &[("ips", "")]));
        let seen = verify(app, &gateway, &token);
        assert_eq!((&seen["scopes"], &seen["resources"]), (&serde_json::json!([]), &serde_json::json!([])), "{seen}");

        // Nobody chooses it: neither for a new key, nor for one that has something.
        assert!(!dora.open("/t/acme/keys/new").body.contains("value=\"none\""));
        assert_eq!(create(&dora, &[("access", "none")]).status, 422);
        assert_eq!(create(&dora, &[("res", "none")]).status, 422);
        let own = app.fixture.key("dora").id.to_string();
        assert_eq!(dora.submit(&url(&own, "/edit"), &[("access", "none")]).status, 422);
        led_to(&dora.submit(&url(&id, "/edit"), &[("access", "scopes"), ("scope", "shipments:read")]));
        assert_eq!(verify(app, &gateway, &token)["scopes"], serde_json::json!(["shipments:read"]));
    }
}
