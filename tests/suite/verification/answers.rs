//! Every code and header of the verify calls.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use chrono::Duration;
use keyward::{
    actions::keys as act_keys,
    chance,
    domain::{
        access::{KeyAccess, ResourceSet},
        lifetime::{Choice, Lifetime},
        roll::Stays,
        tenant::Settings,
        token::{self, Purpose, Token},
    },
    store::{access, keys, members, tenants},
};
use serde_json::{Value, json};

use super::{act, auth, code, gateway, make, plain, roll, verify};

both! {
    fn a_valid_key_is_answered_with_all_that_a_gateway_needs(app) {
        let gateway = gateway(app, "acme");
        let dora = app.fixture.key("dora");
        let answer = verify(app, &gateway, json!({ "key": dora.token, "scopes": ["shipments:read"], "resource": "site:hamburg", "ip": "203.0.113.7" }));
        let owner = app.fixture.members["acme/dora"].0;
        assert_eq!(answer, json!({
            "valid": true, "code": "valid", "key_id": dora.id.as_str(), "name": "key of dora", "tenant": "acme",
            "owner": { "id": owner, "email": "dora@acme.example" }, "scopes": ["invoices:read", "shipments:read", "shipments:write"],
            "resources": null, "expires_at": answer["expires_at"], "grace": null,
        }));
        assert!(answer["expires_at"].as_str().unwrap().ends_with('Z'));
        let bearer = format!("bearer {}", dora.token);
        for header in [("authorization", bearer.as_str()), ("x-api-key", &dora.token)] {
            let page = auth(app, &gateway, "?scope=shipments:read&scope=shipments:write&resource=site:hamburg", &[header]);
            assert_eq!(page.status, 200, "{}", page.body);
            for (name, value) in [
                ("x-key-id", dora.id.as_str()), ("x-key-owner", &owner.to_string()), ("x-key-tenant", "acme"),
                ("x-key-scopes", "invoices:read shipments:read shipments:write"), ("x-key-resources", "*"),
            ] {
                assert_eq!(page.header(name).as_deref(), Some(value), "{name}");
            }
            assert_eq!((page.header("sunset"), page.header("deprecation"), page.header("x-key-code")), (None, None, None));
        }
    }

    fn a_service_account_and_a_key_without_scopes_still_set_every_header(app) {
        let gateway = gateway(app, "acme");
        let form = act_keys::KeyForm {
            access: KeyAccess::Scopes(["invoices:read".parse().unwrap()].into()),
            resources: ResourceSet::Chosen(["site:hamburg".parse().unwrap()].into()),
            ..plain("nothing")
        };
        let none = make(app, form, Choice::Never);
        let (acme, dora) = (app.fixture.tenants["acme"], app.fixture.members["acme/dora"]);
        app.write(|tx| access::set_resources(tx, acme, dora, &ResourceSet::Chosen(["site:rotterdam".parse().unwrap()].into())));
        let billing = app.read(|db| access::roles(db, acme)).into_iter().find(|role| role.name == "Billing").unwrap().id;
        app.write(|tx| access::take_role(tx, acme, dora, billing));
        let page = auth(app, &gateway, "", &[("x-api-key", none.token.reveal())]);
        assert_eq!(page.status, 200);
        assert_eq!((page.header("x-key-scopes").as_deref(), page.header("x-key-resources").as_deref()), (Some(""), Some("")));
        let answer = verify(app, &gateway, json!({ "key": app.fixture.key("ci").token }));
        assert_eq!((&answer["code"], &answer["owner"]["email"]), (&json!("valid"), &Value::Null));
    }

    fn whatever_is_no_key_of_this_tenant_is_not_found(app) {
        let gateway = gateway(app, "acme");
        let dora = &app.fixture.key("dora").token;
        let unknown = Token::make(Purpose::Key, token::fresh_id(&mut chance::fill), &mut chance::fill);
        let wrong = Token::make(Purpose::Key, app.fixture.key("dora").id, &mut chance::fill);
        let changed = format!("{}{}", &dora[..dora.len() - 1], if dora.ends_with('x') { 'y' } else { 'x' });
        for token in ["", "junk", &changed, unknown.reveal(), wrong.reveal(), &app.fixture.key("gus").token, &gateway, "kwk_\u{0}"] {
            assert_eq!(verify(app, &gateway, json!({ "key": token })), json!({ "valid": false, "code": "not_found" }), "{token:?}");
        }
        let deleted = make(app, plain("deleted"), Choice::Never);
        act(app, "dora", |tx, by| act_keys::delete(tx, by, deleted.key.id, deleted.key.version));
        assert_eq!(code(app, &gateway, deleted.token.reveal()), "not_found");
    }

    fn each_refusal_has_its_code_status_and_challenge(app) {
        let gateway = gateway(app, "acme");
        let form = act_keys::KeyForm {
            access: KeyAccess::Scopes(["shipments:read".parse().unwrap()].into()),
            resources: ResourceSet::Chosen(["site:hamburg".parse().unwrap()].into()),
            ip_ranges: "10.0.0.0/8 2001:db8::/32".parse_ranges(),
            ..plain("narrow")
        };
        let made = make(app, form, Choice::Never);
        let token = made.token.reveal().to_owned();
        let ask = |body: Value| {
            let mut body = body;
            body["key"] = json!(token);
            verify(app, &gateway, body)
        };
        let refused = |name: &str| json!({ "valid": false, "code": name, "key_id": made.key.id.as_str() });
        assert_eq!(ask(json!({}))["code"], "ip_denied");
        assert_eq!(ask(json!({ "ip": "192.0.2.1" })), refused("ip_denied"));
        assert_eq!(ask(json!({ "ip": "10.1.2.3" }))["resources"], json!(["site:hamburg"]));
        assert_eq!(ask(json!({ "ip": "::ffff:10.1.2.3" }))["code"], "valid");
        assert_eq!(ask(json!({ "ip": "2001:db8::1", "resource": "site:rotterdam" })), refused("resource_denied"));
        assert_eq!(ask(json!({ "ip": "10.1.2.3", "resource": "site:hamburg", "scopes": ["shipments:read", "shipments:write"] })), refused("insufficient_scope"));

        let open = make(app, act_keys::KeyForm { access: KeyAccess::Scopes(["shipments:read".parse().unwrap()].into()), ..plain("open") }, Choice::Never);
        let open = ("x-api-key", open.token.reveal());
        for (query, status, name, challenge) in [
            ("?scope=shipments:write", 403, "insufficient_scope", "Bearer realm=\"keyward\", error=\"insufficient_scope\", scope=\"shipments:write\""),
            ("?scope=no%20scope", 403, "insufficient_scope", "Bearer realm=\"keyward\", error=\"insufficient_scope\""),
            ("?scope=", 403, "insufficient_scope", "Bearer realm=\"keyward\", error=\"insufficient_scope\""),
            ("?scope=%ff", 403, "insufficient_scope", "Bearer realm=\"keyward\", error=\"insufficient_scope\""),
            ("?resource=nonsense", 403, "resource_denied", "Bearer realm=\"keyward\", error=\"insufficient_scope\""),
            ("?resource=a:b&resource=a:b", 403, "resource_denied", "Bearer realm=\"keyward\", error=\"insufficient_scope\""),
        ] {
            let page = auth(app, &gateway, query, &[open]);
            assert_eq!((page.status, page.header("x-key-code").as_deref(), page.header("www-authenticate").as_deref()), (status, Some(name), Some(challenge)), "{query}");
        }
        let nothing = auth(app, &gateway, "", &[]);
        assert_eq!((nothing.status, nothing.header("www-authenticate").as_deref()), (401, Some("Bearer realm=\"keyward\"")));
        assert_eq!(nothing.header("x-key-code").as_deref(), Some("not_found"));
        let narrow = auth(app, &gateway, "", &[("x-api-key", &token)]);
        assert_eq!((narrow.status, narrow.header("x-key-code").as_deref()), (403, Some("ip_denied")));
    }

    fn more_than_one_credential_is_none(app) {
        let gateway = gateway(app, "acme");
        let token = app.fixture.key("dora").token.as_str();
        let bearer = format!("Bearer {token}");
        let basic = "Basic dXNlcjpwYXNz";
        for headers in [
            vec![("authorization", bearer.as_str()), ("x-api-key", token)],
            vec![("authorization", &bearer), ("authorization", &bearer)],
            vec![("x-api-key", token), ("x-api-key", token)],
            vec![("authorization", basic), ("x-api-key", token)],
            vec![("authorization", basic)],
            vec![("authorization", token)],
        ] {
            let page = auth(app, &gateway, "", &headers);
            assert_eq!((page.status, page.header("x-key-code").as_deref()), (401, Some("not_found")), "{headers:?}");
            assert_eq!(page.header("www-authenticate").as_deref(), Some("Bearer realm=\"keyward\", error=\"invalid_token\""));
        }
    }

    fn what_stops_a_key_stops_it_on_the_next_request_and_what_lifts_it_lets_it_through(app) {
        let gateway = gateway(app, "acme");
        let made = make(app, plain("mine"), Choice::Never);
        let (id, token) = (made.key.id, made.token.reveal().to_owned());
        let acme = app.fixture.tenants["acme"];
        let set = |on: bool| app.write(|tx| {
            let before = tenants::get(tx, acme)?;
            tenants::save_settings(tx, &before, &Settings { keys_enabled: on, ..before.settings.clone() })
        });
        let now = || code(app, &gateway, &token);
        assert_eq!(now(), "valid");
        set(false);
        assert_eq!(now(), "tenant_disabled");
        set(true);
        assert_eq!(now(), "valid");
        app.write(|tx| tenants::set_suspended(tx, acme, true));
        assert_eq!(now(), "tenant_disabled");
        app.write(|tx| tenants::set_suspended(tx, acme, false));
        assert_eq!(now(), "valid");
        let dora = app.fixture.members["acme/dora"];
        app.write(|tx| members::set_suspended(tx, acme, dora, true));
        assert_eq!(now(), "owner_inactive");
        app.write(|tx| members::set_suspended(tx, acme, dora, false));
        assert_eq!(now(), "valid");
        act(app, "dora", |tx, by| act_keys::disable(tx, by, id, ""));
        assert_eq!(now(), "disabled");
        act(app, "dora", |tx, by| {
            let version = keys::find(tx, &by.acting().unwrap().reach(), id)?.unwrap().version;
            act_keys::enable(tx, by, id, version, None)
        });
        assert_eq!(now(), "valid");
        act(app, "dora", |tx, by| act_keys::revoke(tx, by, id, ""));
        assert_eq!(now(), "revoked");
    }

    fn a_key_never_has_more_than_its_owner(app) {
        let gateway = gateway(app, "acme");
        let made = make(app, act_keys::KeyForm { access: KeyAccess::Scopes(["shipments:read".parse().unwrap(), "invoices:read".parse().unwrap()].into()), ..plain("cut") }, Choice::Never);
        let scopes = || verify(app, &gateway, json!({ "key": made.token.reveal() }))["scopes"].clone();
        assert_eq!(scopes(), json!(["invoices:read", "shipments:read"]));
        let (acme, dora) = (app.fixture.tenants["acme"], app.fixture.members["acme/dora"]);
        let billing = app.read(|db| access::roles(db, acme)).into_iter().find(|role| role.name == "Billing").unwrap().id;
        app.write(|tx| access::take_role(tx, acme, dora, billing));
        assert_eq!(scopes(), json!(["shipments:read"]));
        let emil = verify(app, &gateway, json!({ "key": app.fixture.key("emil").token }));
        assert_eq!(emil["resources"], json!(["site:rotterdam"]));
    }

    fn an_old_secret_works_through_its_overlap_and_says_so(app) {
        let gateway = gateway(app, "acme");
        let made = make(app, plain("rolled"), Choice::Never);
        let old = made.token.reveal().to_owned();
        let until = app.now() + Duration::days(2);
        let new = roll(app, made.key.id, Stays::Current(until));
        assert_eq!(code(app, &gateway, &new), "valid");
        let answer = verify(app, &gateway, json!({ "key": old }));
        assert_eq!((&answer["code"], &answer["grace"]), (&json!("valid_in_grace"), &json!({ "reason": "rolled", "until": "2026-11-23T10:00:00Z" })));
        let page = auth(app, &gateway, "", &[("x-api-key", &old)]);
        assert_eq!(page.header("deprecation").as_deref(), Some("@1795255200"));
        assert_eq!(page.header("sunset").as_deref(), Some("Mon, 23 Nov 2026 10:00:00 GMT"));
        app.advance(Duration::days(2) - Duration::microseconds(1));
        assert_eq!(code(app, &gateway, &old), "valid_in_grace");
        app.advance(Duration::microseconds(1));
        assert_eq!(verify(app, &gateway, json!({ "key": old })), json!({ "valid": false, "code": "rolled", "key_id": made.key.id.as_str() }));
        assert_eq!(code(app, &gateway, &new), "valid");
        let newest = roll(app, made.key.id, Stays::None);
        assert_eq!((code(app, &gateway, &old), code(app, &gateway, &new), code(app, &gateway, &newest)), ("rolled".into(), "rolled".into(), "valid".into()));
    }

    fn an_expired_key_works_through_its_grace_and_says_so(app) {
        let gateway = gateway(app, "acme");
        let made = make(app, plain("short"), Choice::For(Lifetime::Days(1)));
        let token = made.token.reveal().to_owned();
        app.advance(Duration::days(1) - Duration::microseconds(1));
        assert_eq!(code(app, &gateway, &token), "valid");
        app.advance(Duration::microseconds(1));
        let answer = verify(app, &gateway, json!({ "key": token }));
        assert_eq!((&answer["code"], &answer["grace"]), (&json!("valid_in_grace"), &json!({ "reason": "expired", "until": "2026-12-06T10:00:00Z" })));
        let page = auth(app, &gateway, "", &[("x-api-key", &token)]);
        assert_eq!((page.header("deprecation").as_deref(), page.header("sunset").as_deref()), (Some("@1795341600"), Some("Sun, 06 Dec 2026 10:00:00 GMT")));
        app.advance(Duration::days(14) - Duration::microseconds(1));
        assert_eq!(code(app, &gateway, &token), "valid_in_grace");
        app.advance(Duration::microseconds(1));
        assert_eq!(code(app, &gateway, &token), "expired");
    }

    fn only_a_working_gateway_credential_of_the_tenant_opens_the_calls(app) {
        let token = app.fixture.key("dora").token.as_str();
        for gateway in ["", "junk", token, Token::make(Purpose::Gateway, token::fresh_id(&mut chance::fill), &mut chance::fill).reveal()] {
            let page = auth(app, gateway, "", &[("x-api-key", token)]);
            assert_eq!((page.status, page.header("www-authenticate"), page.header("x-key-id")), (403, None, None), "{gateway}");
            let page = app.call("POST", "/api/v1/keys/verify", &[("authorization", &format!("Bearer {gateway}"))], Some(json!({ "key": token })));
            assert_eq!(page.status, 401);
            assert_eq!(page.header("content-type").as_deref(), Some("application/problem+json"));
            assert!(page.header("www-authenticate").unwrap().starts_with("Bearer realm"));
        }
        let twice = gateway(app, "acme");
        let page = app.call("GET", "/api/v1/auth", &[("x-keyward-gateway", &twice), ("x-keyward-gateway", &twice), ("x-api-key", token)], None);
        assert_eq!(page.status, 403);
        let other = gateway(app, "globex");
        assert_eq!(code(app, &other, token), "not_found");
        assert_eq!(code(app, &other, &app.fixture.key("gus").token), "valid");
    }

    fn the_call_for_envoy_ignores_path_and_query_and_takes_headers(app) {
        let gateway = gateway(app, "acme");
        let token = ("x-api-key", app.fixture.key("emil").token.as_str());
        assert_eq!(auth(app, &gateway, "/any/%2e%2e/path?scope=nobody:has&resource=x", &[token]).status, 200);
        assert_eq!(auth(app, &gateway, "/x", &[token, ("x-keyward-scope", "shipments:read shipments:write")]).status, 200);
        assert_eq!(auth(app, &gateway, "/x", &[token, ("x-keyward-scope", "shipments:read invoices:read")]).status, 403);
        assert_eq!(auth(app, &gateway, "/x", &[token, ("x-keyward-scope", "shipments:read"), ("x-keyward-scope", "invoices:read")]).status, 403);
        assert_eq!(auth(app, &gateway, "/x", &[token, ("x-keyward-resource", "site:rotterdam")]).status, 200);
        assert_eq!(auth(app, &gateway, "/x", &[token, ("x-keyward-resource", "site:hamburg")]).status, 403);
        // Exactly /auth does not look at these headers, for a gateway that does not set them does not strip them.
        assert_eq!(auth(app, &gateway, "", &[token, ("x-keyward-scope", "invoices:read")]).status, 200);
    }

    fn any_method_is_answered_and_none_is_redirected(app) {
        let gateway = gateway(app, "acme");
        let token = app.fixture.key("dora").token.as_str();
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
            let page = app.call(method, "/api/v1/auth", &[("x-keyward-gateway", &gateway), ("x-api-key", token), ("host", "elsewhere.example")], None);
            assert_eq!(page.status, 200, "{method}");
        }
    }

    fn an_unknown_address_of_the_api_is_a_problem_in_words_under_any_host(app) {
        for host in ["localhost", "elsewhere.example"] {
            let page = app.call("GET", "/api/v1/nothing/here", &[("host", host)], None);
            assert_eq!(page.status, 404);
            assert_eq!(page.header("content-type").as_deref(), Some("application/problem+json"));
            assert_eq!(page.header("x-content-type-options").as_deref(), Some("nosniff"));
            assert_eq!(page.json()["code"], "not_found");
        }
    }

    fn a_body_that_comes_in_pieces_is_read_whole(app) {
        let (gateway, dora) = (gateway(app, "acme"), app.fixture.key("dora"));
        let address = app.url.strip_prefix("http://").unwrap();
        let body = json!({ "key": dora.token }).to_string();
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "POST /api/v1/keys/verify HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {gateway}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        for piece in std::iter::once(head.as_bytes()).chain(body.as_bytes().chunks(20)) {
            stream.write_all(piece).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"code\":\"valid\""), "{answer}");
    }

    fn a_call_that_makes_no_sense_is_a_problem_in_words(app) {
        let gateway = format!("Bearer {}", gateway(app, "acme"));
        for (body, status) in [
            (json!({ "key": "x", "ip": "not an address" }), 422),
            (json!({ "key": "x", "scopes": ["no scope"] }), 422),
            (json!({ "key": "x", "resource": "nonsense" }), 422),
            (json!({ "key": "x", "scopes": vec!["a"; 101] }), 422),
            (json!({ "key": "x", "extra": 1 }), 400),
            (json!({ "key": 1 }), 400),
            (json!([]), 400),
            (json!({ "key": "x".repeat(70_000) }), 413),
        ] {
            let page = app.call("POST", "/api/v1/keys/verify", &[("authorization", &gateway)], Some(body));
            assert_eq!((page.status, page.header("content-type").as_deref()), (status, Some("application/problem+json")), "{}", page.body);
            assert!(!page.json()["detail"].as_str().unwrap().is_empty());
        }
        assert_eq!(app.call("GET", "/api/v1/keys/verify", &[], None).status, 405);
    }
}

trait ParseRanges {
    fn parse_ranges(&self) -> keyward::domain::ip_range::IpRanges;
}

impl ParseRanges for str {
    fn parse_ranges(&self) -> keyward::domain::ip_range::IpRanges {
        keyward::domain::ip_range::IpRanges::parse(self).unwrap()
    }
}

#[test]
fn the_clients_address_is_believed_from_trusted_proxies_only() {
    use crate::support::{Backend, spawn, spawn_with};
    let check = |app: &crate::support::TestApp, forwarded: &[&str], accepted: bool| {
        let gateway = gateway(app, "acme");
        let made = make(app, act_keys::KeyForm { ip_ranges: "203.0.113.0/24".parse_ranges(), ..plain("ranged") }, Choice::Never);
        let mut headers = vec![("x-api-key", made.token.reveal())];
        headers.extend(forwarded.iter().map(|value| ("x-forwarded-for", *value)));
        let page = auth(app, &gateway, "", &headers);
        assert_eq!(page.status, if accepted { 200 } else { 403 }, "{forwarded:?}");
        act(app, "dora", |tx, by| act_keys::revoke(tx, by, made.key.id, ""));
    };
    let trusting = spawn_with(Backend::Sqlite, &[("trusted_proxies", "127.0.0.1, 10.0.0.0/8")]);
    for (forwarded, accepted) in [
        (&["203.0.113.7"][..], true),
        (&["203.0.113.7, 10.1.1.1"], true),
        (&["203.0.113.7", "10.1.1.1"], true),
        (&["203.0.113.7, 198.51.100.1"], false),
        (&["198.51.100.1, 203.0.113.7"], true),
        (&["203.0.113.7:4711"], true),
        (&["::ffff:203.0.113.7"], true),
        (&["203.0.113.7, junk"], false),
        (&["203.0.113.7,"], false),
        (&[""], false),
        (&[], false),
    ] {
        check(&trusting, forwarded, accepted);
    }
    let plain_app = spawn(Backend::Sqlite);
    check(&plain_app, &["203.0.113.7"], false);
}
