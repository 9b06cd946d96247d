//! The keys of a service account, in the hands of its keepers.

use keyward::store::members;

use super::{code_of, gateway, led_to, set, token_of, url};

both! {
    fn a_keeper_does_everything_with_a_key_of_the_service_account(app) {
        let gateway = gateway(app);
        let dora = app.signed_in("dora");
        let ci = app.fixture.members["acme/ci"].to_string();
        let form = dora.open(&format!("/t/acme/keys/new?owner={ci}"));
        let (first, id) = token_of(&dora.send(&form, "/t/acme/keys/new", &[("name", "build"), ("life", "P3M")]));
        led_to(&dora.submit(&url(&id, "/edit"), &[("comment", "of the build")]));
        let (second, _) = token_of(&dora.submit(&url(&id, "/roll"), &[("totp", &app.code("dora"))]));
        assert_eq!(code_of(app, &gateway, &first), "valid_in_grace");
        led_to(&dora.submit(&url(&id, "/finish"), &[]));
        assert_eq!(code_of(app, &gateway, &first), "rolled");
        led_to(&dora.submit(&url(&id, "/renew"), &[]));
        led_to(&dora.submit(&url(&id, "/disable"), &[]));
        assert_eq!(code_of(app, &gateway, &second), "disabled");
        assert!(!dora.open(&url(&id, "")).says("Only someone who may revoke any key"));
        assert!(dora.open("/profile?tenant=acme").attributes(".menu [formaction]", "formaction").contains(&url(&id, "/enable")) || dora.open("/profile?tenant=acme").body.contains(&url(&id, "/enable")));
        led_to(&dora.submit(&url(&id, "/enable"), &[]));
        assert_eq!(code_of(app, &gateway, &second), "valid");
        led_to(&dora.submit(&url(&id, "/revoke"), &[]));
        led_to(&dora.submit(&url(&id, "/delete"), &[("confirm", "delete")]));
        assert_eq!(code_of(app, &gateway, &second), "not_found");
    }

    fn what_one_keeper_disabled_another_enables_and_what_an_admin_disabled_neither(app) {
        let gateway = gateway(app);
        let (acme, ci, emil) = (app.fixture.tenants["acme"], app.fixture.members["acme/ci"], app.fixture.members["acme/emil"]);
        app.write(|tx| members::add_keeper(tx, acme, ci, emil));
        let key = app.fixture.key("ci");
        let id = key.id.to_string();
        let (dora, emil, ada) = (app.signed_in("dora"), app.signed_in("emil"), app.signed_in("ada"));
        led_to(&emil.submit(&url(&id, "/disable"), &[]));
        // Nobody but the keepers could lift it where admins see no keys of others.
        set(app, |settings| settings.admins_see_all = false);
        led_to(&dora.submit(&url(&id, "/enable"), &[]));
        assert_eq!(code_of(app, &gateway, &key.token), "valid");
        set(app, |settings| settings.admins_see_all = true);
        led_to(&ada.submit(&url(&id, "/disable"), &[]));
        let refused = dora.get(&url(&id, "/enable"));
        assert!(refused.status == 403 && refused.says("disabled by Ada Example"), "{}", refused.text());
        assert_eq!(code_of(app, &gateway, &key.token), "disabled");
    }
}
