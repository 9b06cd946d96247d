//! The Gateways page: create, roll and revoke a credential.

use super::auth;

fn token(page: &crate::support::browser::Page) -> String {
    let token = page.find("#c-tok").unwrap_or_else(|| panic!("no token: {} {}", page.status, page.text()));
    assert!(token.starts_with("kwg_"));
    token
}

both! {
    fn a_credential_is_made_rolled_and_revoked_with_a_code(app) {
        let ada = app.signed_in("ada");
        let key = ("x-api-key", app.fixture.key("dora").token.as_str());
        let form = ada.get("/t/acme/gateways/new");
        assert_eq!(form.status, 200, "{}", form.text());
        let wrong = ada.send(&form, "/t/acme/gateways", &[("name", "eu-1 nginx"), ("totp", "000000")]);
        assert_eq!(wrong.status, 422);
        assert_eq!(wrong.attributes("#name", "value"), ["eu-1 nginx"]);
        let code = app.code("ada");
        let made = ada.send(&wrong, "/t/acme/gateways", &[("totp", &code)]);
        let first = token(&made);
        assert_eq!(made.header("cache-control").as_deref(), Some("no-store"));
        assert_eq!(auth(app, &first, "", &[key]).status, 200);
        let code = app.code("ada");
        let again = ada.send(&wrong, "/t/acme/gateways", &[("totp", &code)]);
        assert_eq!(again.status, 422);
        assert!(again.says("This form was sent before"));
        let twice = ada.send(&wrong, "/t/acme/gateways", &[("totp", &code)]);
        assert!(twice.says("This form was sent before"), "whatever became of the code: {}", twice.text());

        let list = ada.get("/t/acme/gateways");
        assert!(list.says("eu-1 nginx") && list.says("Active"));
        assert!(!list.body.contains(&first[21..]));
        let roll = list.attributes("a[href$='/roll']", "href").remove(0);
        let form = ada.get(&roll);
        let code = app.code("ada");
        let second = token(&ada.send(&form, &roll, &[("stop", "3600"), ("totp", &code)]));
        assert_eq!((auth(app, &first, "", &[key]).status, auth(app, &second, "", &[key]).status), (200, 200));
        let code = app.code("ada");
        let third = token(&ada.send(&ada.get(&roll), &roll, &[("stop", "longest"), ("totp", &code)]));
        assert_eq!([&first, &second, &third].map(|token| auth(app, token, "", &[key]).status), [403, 200, 200]);
        app.advance(chrono::Duration::days(14));
        assert_eq!([&second, &third].map(|token| auth(app, token, "", &[key]).status), [403, 200]);

        let ada = app.signed_in("ada");
        let revoke = roll.replace("/roll", "/revoke");
        let code = app.code("ada");
        let done = ada.send(&ada.get(&revoke), &revoke, &[("totp", &code)]);
        assert_eq!(done.status, 303, "{}", done.text());
        assert_eq!(auth(app, &third, "", &[key]).status, 403);
        assert!(ada.get("/t/acme/gateways").says("Revoked"));
    }

    fn a_leaked_credential_stops_whatever_the_clock_does(app) {
        let ada = app.signed_in("ada");
        let key = ("x-api-key", app.fixture.key("ci").token.as_str());
        let code = app.code("ada");
        let first = token(&ada.send(&ada.get("/t/acme/gateways/new"), "/t/acme/gateways", &[("name", "leaky"), ("totp", &code)]));
        let roll = ada.get("/t/acme/gateways").attributes("a[href$='/roll']", "href").remove(0);
        let code = app.code("ada");
        let second = token(&ada.send(&ada.get(&roll), &roll, &[("stop", "compromised"), ("totp", &code)]));
        assert_eq!([&first, &second].map(|token| auth(app, token, "", &[key]).status), [403, 200]);
        app.advance(chrono::Duration::minutes(-10));
        assert_eq!([&first, &second].map(|token| auth(app, token, "", &[key]).status), [403, 200]);
    }

    fn a_credential_that_many_asked_with_at_once_is_refused_once_it_is_revoked(app) {
        let (ada, acme) = (app.signed_in("ada"), app.fixture.tenants["acme"]);
        let key = app.fixture.key("ci").token.as_str();
        let code = app.code("ada");
        let credential = token(&ada.send(&ada.get("/t/acme/gateways/new"), "/t/acme/gateways", &[("name", "busy"), ("totp", &code)]));
        for round in 0..20 {
            // Everything that is known of the tenant is forgotten, and then asked for by many at once.
            app.write(|tx| keyward::store::tenants::rename(tx, acme, &format!("Acme {round}")));
            std::thread::scope(|scope| {
                for _ in 0..12 {
                    scope.spawn(|| assert_eq!(auth(app, &credential, "", &[("x-api-key", key)]).status, 200));
                }
            });
        }
        let revoke = ada.get("/t/acme/gateways").attributes("a[href$='/revoke']", "href").remove(0);
        let code = app.code("ada");
        assert_eq!(ada.send(&ada.get(&revoke), &revoke, &[("totp", &code)]).status, 303);
        assert_eq!(auth(app, &credential, "", &[("x-api-key", key)]).status, 403);
    }

    fn an_expired_credential_is_refused_without_grace(app) {
        let ada = app.signed_in("ada");
        let code = app.code("ada");
        let made = ada.send(&ada.get("/t/acme/gateways/new"), "/t/acme/gateways", &[("name", "short"), ("expires", "days"), ("days", "1"), ("totp", &code)]);
        let credential = token(&made);
        let key = ("x-api-key", app.fixture.key("ci").token.as_str());
        app.advance(chrono::Duration::days(1) - chrono::Duration::seconds(1));
        assert_eq!(auth(app, &credential, "", &[key]).status, 200);
        app.advance(chrono::Duration::seconds(1));
        assert_eq!(auth(app, &credential, "", &[key]).status, 403);
    }

    fn a_credential_that_expires_soon_says_so_on_the_page(app) {
        let ada = app.signed_in("ada");
        let code = app.code("ada");
        ada.send(&ada.get("/t/acme/gateways/new"), "/t/acme/gateways", &[("name", "edge"), ("expires", "days"), ("days", "40"), ("totp", &code)]);
        // The first mail about it is due 14 days before its end.
        app.advance(chrono::Duration::days(26) - chrono::Duration::hours(1));
        assert!(!app.signed_in("ada").get("/t/acme/gateways").says("Expiring soon"));
        app.advance(chrono::Duration::hours(2));
        assert!(app.signed_in("ada").get("/t/acme/gateways").says("Expiring soon: stops in 13 days"));
        app.advance(chrono::Duration::days(14));
        assert!(!app.signed_in("ada").get("/t/acme/gateways").says("Expiring soon"));
    }

    fn only_who_manages_settings_sees_gateways_and_only_their_own_tenants(app) {
        assert_eq!(app.signed_in("dora").get("/t/acme/gateways").status, 403);
        let ada = app.signed_in("ada");
        assert_eq!(ada.get("/t/globex/gateways").status, 404);
        crate::verification::gateway(app, "globex");
        let id = app.read(|db| keyward::store::gateways::all(db, app.fixture.tenants["globex"])).pop().unwrap().id;
        for page in ["roll", "revoke"] {
            assert_eq!(ada.get(&format!("/t/acme/gateways/{id}/{page}")).status, 404);
        }
    }

    fn recipes_carry_the_public_address_and_the_chosen_scope(app) {
        let page = app.signed_in("ada").get("/t/acme/gateways?scope=shipments:read");
        for id in ["#rc-nginx", "#rc-caddy", "#rc-haproxy-lua", "#rc-traefik"] {
            assert!(page.find(id).unwrap().contains("/api/v1/auth?scope=shipments:read"), "{id}");
        }
        let host = app.url.strip_prefix("http://").unwrap();
        for id in ["#rc-nginx", "#rc-caddy", "#rc-haproxy", "#rc-traefik"] {
            assert!(page.find(id).unwrap().contains(host), "{id}");
        }
        let page = app.signed_in("ada").get("/t/acme/gateways?scope=%22%3Bevil");
        assert!(!page.find("#rc-nginx").unwrap().contains("evil"));
    }
}
