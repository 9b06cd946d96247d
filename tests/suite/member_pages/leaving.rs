//! The profile page: tenants, switching, leaving.

use super::led_to;

both! {
    fn the_profile_lists_tenants_and_switches_between_them(app) {
        let mia = app.signed_in("mia");
        let page = mia.open("/profile?tenant=acme");
        assert!(page.says("Acme") && page.says("Globex") && page.says("Developer") && page.says("Auditor"), "{}", page.text());
        let page = mia.open("/t/globex");
        assert_eq!(page.status, 200);
        assert!(!mia.open("/profile").attributes("a[href='/t/acme']", "href").is_empty(), "Globex is shown now");
    }

    fn leaving_revokes_own_keys_and_ends_the_membership(app) {
        let token = &app.fixture.key("emil").token;
        let emil = app.signed_in("emil");
        let at = "/profile/tenants/acme/leave";
        let page = emil.open(at);
        assert!(page.says("key of emil") && page.says("cannot be undone"), "{}", page.text());
        assert!(emil.submit("/t/acme/keys/new", &[("name", "late one")]).find("#c-tok").is_some());
        let again = emil.send(&page, at, &[]);
        assert_eq!(again.status, 422);
        assert!(again.says("late one"), "{}", again.text());
        assert_eq!(app.verify(token), "valid");
        led_to(&emil.send(&again, at, &[]));
        assert_ne!(app.verify(token), "valid");
        assert!(emil.open("/t/acme/keys/new").path.starts_with("/login"));
    }

    fn the_last_tenant_admin_cannot_leave(app) {
        let ada = app.signed_in("ada");
        let answer = ada.submit("/profile/tenants/acme/leave", &[]);
        assert_eq!(answer.status, 422);
        assert!(answer.says("without an active Tenant admin"), "{}", answer.text());
        assert_eq!(ada.open("/profile/tenants/globex/leave").status, 404);
    }
}
