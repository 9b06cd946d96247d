//! What the tenant's settings ask of the people who keep keys: lifetimes, and codes.

use chrono::Duration;
use keyward::domain::lifetime::Lifetime;

use super::{create, led_to, set, token_of, url};

both! {
    fn the_form_begins_with_the_default_lifetime_or_the_maximum_where_that_is_less(app) {
        let (ada, dora) = (app.signed_in("ada"), app.signed_in("dora"));
        let chosen = || {
            let form = dora.open("/t/acme/keys/new").form("/t/acme/keys/new");
            let text = |name: &str| form.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone()).unwrap_or_default();
            (text("life"), text("days"))
        };
        assert_eq!(chosen().0, "never", "the default of a new tenant");
        let limits = |fields: &[(&str, &str)]| led_to(&ada.submit_to("/t/acme/settings", "/t/acme/settings/limits", fields));
        limits(&[("default", "P12M")]);
        assert_eq!(chosen().0, "P12M");
        // The maximum may be less than the default; forms then begin with the maximum.
        limits(&[("maximum", "90")]);
        assert_eq!(chosen(), ("days".to_owned(), "90".to_owned()));
        let settings = ada.open("/t/acme/settings");
        assert_eq!(settings.attributes("#default option[selected]", "value"), ["P12M"], "the default stays what it is");
        limits(&[("maximum", "400")]);
        assert_eq!(chosen().0, "P12M");
        limits(&[("default", "never")]);
        assert_eq!(chosen(), ("days".to_owned(), "400".to_owned()), "Never is not offered");
    }

    fn the_maximum_binds_renew_roll_and_edit_and_no_expiry_that_was_set_before(app) {
        let dora = app.signed_in("dora");
        // Made on 22 Sep 2026 for a year, so it expires on 22 Sep 2027, in 305 days.
        let id = app.fixture.key("dora").id.to_string();
        let (_, endless) = token_of(&create(&dora, &[("life", "never")]));
        set(app, |settings| settings.maximum_days = Some(200));
        assert!(dora.open(&url(&id, "")).says("22 Sep 2027") && dora.open(&url(&endless, "")).says("Never"), "what was set stays");
        assert!(!dora.open("/t/acme/keys/new").attributes("input[name=life]", "value").contains(&"never".to_owned()));

        // Renewing for a year would reach 21 Nov 2027; 200 days reach 9 Jun 2027, and nearer than now it never gets.
        led_to(&dora.submit(&url(&id, "/renew"), &[]));
        assert!(dora.open(&url(&id, "")).says("22 Sep 2027"));
        let (_, short) = token_of(&create(&dora, &[("life", "days"), ("days", "100")]));
        app.advance(Duration::days(50));
        let dora = app.signed_in("dora");
        set(app, |settings| settings.maximum_days = Some(80));
        // 10 Jan 2027 + 80 days; 100 days would be 20 Apr.
        led_to(&dora.submit(&url(&short, "/renew"), &[]));
        assert!(dora.open(&url(&short, "")).says("31 Mar 2027"), "{}", dora.open(&url(&short, "")).text());

        let refused = dora.submit(&url(&id, "/edit"), &[("life", "days"), ("days", "81")]);
        assert_eq!(refused.status, 422);
        assert_eq!(refused.find("#days-e").as_deref(), Some("Enter 80 days or fewer, the maximum of this tenant."));
        led_to(&dora.submit(&url(&id, "/edit"), &[("life", "days"), ("days", "80")]));
        let roll = dora.open(&url(&endless, "/roll"));
        assert!(!roll.attributes("input[name=expires]", "value").contains(&"never".to_owned()), "{}", roll.text());
        let refused = dora.send(&roll, &url(&endless, "/roll"), &[("expires", "days"), ("days", "81"), ("totp", &app.code("dora"))]);
        assert_eq!(refused.status, 422);
        assert!(refused.says("80 days or fewer"), "{}", refused.text());
        token_of(&dora.send(&refused, &url(&endless, "/roll"), &[("days", "80"), ("totp", &app.code("dora"))]));
        assert!(dora.open(&url(&endless, "")).says("31 Mar 2027"), "{}", dora.open(&url(&endless, "")).text());
        set(app, |settings| settings.default_lifetime = Some(Lifetime::Months(12)));
    }

    fn creating_renewing_and_enabling_ask_for_a_code_where_the_tenant_says_so(app) {
        let dora = app.signed_in("dora");
        let key = app.fixture.key("dora");
        let id = key.id.to_string();
        set(app, |settings| settings.code_actions.create_and_renew = true);
        let refused = create(&dora, &[("name", "with a code")]);
        assert_eq!(refused.status, 422);
        assert_eq!(refused.find("#totp-e").as_deref(), Some("Enter the code from your authenticator app."));
        let wrong = dora.send(&refused, "/t/acme/keys/new", &[("totp", "000000")]);
        assert_eq!(wrong.status, 422);
        token_of(&dora.send(&wrong, "/t/acme/keys/new", &[("totp", &app.code("dora"))]));
        assert_eq!(dora.submit(&url(&id, "/renew"), &[]).status, 422);
        led_to(&dora.submit(&url(&id, "/renew"), &[("totp", &app.code("dora"))]));
        led_to(&dora.submit(&url(&id, "/disable"), &[]));
        led_to(&dora.submit(&url(&id, "/enable"), &[]));
        set(app, |settings| settings.code_actions.enable = true);
        led_to(&dora.submit(&url(&id, "/disable"), &[]));
        assert_eq!(dora.submit(&url(&id, "/enable"), &[]).status, 422);
        assert_eq!(app.verify(&key.token), "disabled");
        led_to(&dora.submit(&url(&id, "/enable"), &[("totp", &app.code("dora"))]));
        assert_eq!(app.verify(&key.token), "valid");
    }
}
