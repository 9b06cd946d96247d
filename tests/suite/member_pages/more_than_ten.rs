//! More than ten keys that are revoked at once with their owner ask for a code.

use super::{led_to, set, url};
use crate::{
    key_pages::{count, token_of},
    support::{TestApp, browser::Browser},
};

/// Makes keys until somebody has so many, and returns the last one's token.
fn makes(app: &TestApp, name: &str, browser: &Browser, number: i64) -> String {
    set(app, |settings| settings.keys_per_member = 20);
    let mut last = String::new();
    while count(app, name) < number {
        last = token_of(&browser.submit("/t/acme/keys/new", &[])).0;
    }
    last
}

both! {
    fn removing_a_member_with_more_than_ten_keys_asks_for_a_code(app) {
        let (dora, ada) = (app.signed_in("dora"), app.signed_in("ada"));
        let token = makes(app, "dora", &dora, 11);
        let at = url(app, "dora", "/remove");
        let page = ada.open(&at);
        assert!(page.says("More than ten at once ask for a code"), "{}", page.text());
        let asked = ada.send(&page, &at, &[("all", "revoke")]);
        assert_eq!((asked.status, app.verify(&token)), (200, "valid".to_owned()), "{}", asked.text());
        assert!(asked.says("Code from your authenticator app"), "{}", asked.text());
        for totp in ["", "000000"] {
            let refused = ada.send(&asked, &at, &[("totp", totp)]);
            assert_eq!((refused.status, app.verify(&token)), (422, "valid".to_owned()));
            assert!(refused.find("#totp-e").is_some(), "{}", refused.text());
        }
        led_to(&ada.send(&asked, &at, &[("totp", &app.code("ada"))]));
        assert_eq!((app.verify(&token), count(app, "dora")), ("owner_inactive".to_owned(), 0));
    }

    fn leaving_with_more_than_ten_keys_asks_for_a_code(app) {
        let dora = app.signed_in("dora");
        let token = makes(app, "dora", &dora, 11);
        let at = "/profile/tenants/acme/leave";
        let page = dora.open(at);
        assert!(page.says("These 11 keys are revoked") && page.says("Code from your authenticator app"), "{}", page.text());
        for totp in ["", "000000"] {
            let refused = dora.send(&page, at, &[("totp", totp)]);
            assert_eq!((refused.status, app.verify(&token)), (422, "valid".to_owned()));
            assert!(refused.find("#totp-e").is_some(), "{}", refused.text());
        }
        led_to(&dora.send(&page, at, &[("totp", &app.code("dora"))]));
        assert_eq!((app.verify(&token), count(app, "dora")), ("owner_inactive".to_owned(), 0));
    }

    fn ten_keys_ask_for_none(app) {
        let (dora, emil, ada) = (app.signed_in("dora"), app.signed_in("emil"), app.signed_in("ada"));
        makes(app, "dora", &dora, 10);
        makes(app, "emil", &emil, 10);
        led_to(&ada.submit(&url(app, "emil", "/remove"), &[("all", "revoke")]));
        let page = dora.open("/profile/tenants/acme/leave");
        assert!(!page.says("Code from your authenticator app"), "{}", page.text());
        led_to(&dora.send(&page, "/profile/tenants/acme/leave", &[]));
        assert_eq!((count(app, "dora"), count(app, "emil")), (0, 0));
    }
}
