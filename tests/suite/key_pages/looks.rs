//! What pages say, and that what people typed stays text.

use chrono::Duration;

use super::{create, led_to, set, token_of, url};

both! {
    fn hostile_text_stays_text_everywhere(app) {
        let dora = app.signed_in("dora");
        let evil = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;";
        let (_, id) = token_of(&create(&dora, &[("name", evil), ("comment", evil)]));
        for end in ["", "/edit", "/roll", "/renew", "/disable", "/revoke", "/delete"] {
            for headers in [&[][..], &[("hx-request", "true")]] {
                let page = dora.get_with(&url(&id, end), headers);
                assert!(!page.body.contains("<script>alert") && !page.body.contains("<img src=x"), "{end}");
            }
        }
        assert_eq!(dora.open(&url(&id, "")).find("h1").as_deref(), Some(evil));
        assert!(dora.open(&url(&id, "/edit")).form(&url(&id, "/edit")).contains(&("name".into(), evil.into())));
        led_to(&dora.submit(&url(&id, "/revoke"), &[("reason", evil)]));
        for path in [url(&id, ""), format!("/t/acme/explain?key={id}&resource=%3Cscript%3Ealert(1)"), format!("/t/acme/explain?key=%3Cscript%3Ealert(1)&ip={id}")] {
            let page = dora.get(&path);
            assert!(!page.body.contains("<script>alert") && !page.body.contains("<img src=x"), "{path}");
        }
    }

    fn a_question_is_a_page_or_a_dialog(app) {
        let dora = app.signed_in("dora");
        let disable = url(app.fixture.key("dora").id.as_str(), "/disable");
        assert!(dora.get(&disable).body.contains("<html"));
        let dialog = dora.get_with(&disable, &[("hx-request", "true")]);
        assert!(!dialog.body.contains("<html") && dialog.body.contains("dialog-title"), "{}", dialog.body);
        assert!(dialog.header("vary").unwrap().to_ascii_lowercase().contains("hx-request"));
    }

    fn a_roll_in_the_dialog_shows_the_token_in_place_of_the_page(app) {
        let dora = app.signed_in("dora");
        let roll = url(app.fixture.key("dora").id.as_str(), "/roll");
        let dialog = dora.get_with(&roll, &[("hx-request", "true")]);
        let code = app.code("dora");
        let mut fields: Vec<(String, String)> = dialog.form(&roll);
        fields.retain(|(name, _)| name != "totp");
        fields.push(("totp".into(), code));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = dora.post_with(&roll, &fields, &[("hx-request", "true")]);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("hx-retarget").as_deref(), Some("#main"));
        assert!(answer.body.starts_with("<main") && answer.body.contains("kwk_") && answer.body.contains("hx-history=\"false\""));
        assert!(answer.header("hx-trigger").unwrap().contains("dialogClose"));
    }

    fn explain_names_the_rule_that_decides(app) {
        let dora = app.signed_in("dora");
        let id = app.fixture.key("dora").id.to_string();
        let ask = |query: &str| dora.open(&format!("/t/acme/explain?key={id}{query}"));
        assert!(ask("").says("Accepted: valid"), "{}", ask("").text());
        assert!(ask("&scope=keyward:keys.read").says("Refused: insufficient_scope"));
        assert!(ask("&at=2027-09-25T10:00").says("Accepted: valid_in_grace"));
        assert!(ask("&at=2027-11-25T10:00").says("Refused: expired"));
        assert!(ask("&which=old").says("Refused: rolled"));
        led_to(&dora.submit(&url(&id, "/edit"), &[("ips", "203.0.113.0/24")]));
        let page = ask("&ip=198.51.100.1&resource=site:rotterdam");
        assert!(page.says("Refused: ip_denied") && page.says("198.51.100.1 is not in 203.0.113.0/24"), "{}", page.text());
        assert_eq!(page.texts(".rules li.untried").len(), 2);
        assert!(ask("&ip=203.0.113.9").says("203.0.113.9 is in 203.0.113.0/24"));
        for bad in ["&ip=x", "&at=2020-01-01T00:00", "&resource=x", "&which=third", "&scope=a%20b"] {
            assert_eq!(dora.get(&format!("/t/acme/explain?key={id}{bad}")).status, 422, "{bad}");
        }
        let token = &app.fixture.key("dora").token;
        let page = dora.get(&format!("/t/acme/explain?key={token}"));
        assert_eq!(page.status, 422);
    }

    fn find_by_token_tells_the_state_of_its_secret(app) {
        let dora = app.signed_in("dora");
        let key = app.fixture.key("dora");
        let find = |token: &str| dora.submit("/t/acme/keys/find", &[("token", token)]);
        assert!(find(&key.token).says("This token works"));
        token_of(&dora.submit(&url(key.id.as_str(), "/roll"), &[("totp", &app.code("dora"))]));
        let page = find(&format!("  {} ", key.token));
        assert!(page.says("This token still works") && page.says("5 Dec 2026"), "{}", page.text());
        assert!(page.attributes("main a", "href").contains(&url(key.id.as_str(), "/finish")));
        led_to(&dora.submit(&url(key.id.as_str(), "/finish"), &[]));
        assert!(find(&key.token).says("This token is dead"));
        for unknown in ["kwk_x", "hello", &app.fixture.key("emil").token, &app.fixture.key("gus").token] {
            assert!(find(unknown).says("No key has this token"), "{unknown}");
        }
        assert_eq!(find(" ").status, 422);
        let ada = app.signed_in("ada");
        assert!(ada.submit("/t/acme/keys/find", &[("token", &app.fixture.key("emil").token)]).says("key of emil"));
        led_to(&dora.submit(&url(key.id.as_str(), "/disable"), &[]));
    }

    fn the_key_page_says_what_works_and_until_when(app) {
        let dora = app.signed_in("dora");
        let (_, id) = token_of(&create(&dora, &[("life", "days"), ("days", "10")]));
        let page = dora.open(&url(&id, ""));
        assert!(page.says("This key expires on 1 Dec 2026, in 10 days.") && page.says("until 15 Dec 2026"), "{}", page.text());
        app.advance(Duration::days(11));
        let dora = app.signed_in("dora");
        let page = dora.open(&url(&id, ""));
        assert!(page.says("expired on 1 Dec 2026 and works until 15 Dec 2026"), "{}", page.text());
        let roll = dora.open(&url(&id, "/roll"));
        assert_eq!(roll.attributes("#expires option[value=keep]", "value").len(), 0);
        app.advance(Duration::days(20));
        let dora = app.signed_in("dora");
        assert!(dora.open(&url(&id, "")).says("expired on 1 Dec 2026 and is refused"));
        assert_eq!(dora.get(&url(&id, "/renew")).status, 409);
        set(app, |settings| settings.keys_enabled = false);
        assert!(dora.open(&url(&id, "")).says("API keys are turned off for Acme"));
    }

    fn the_documentation_names_this_installation(app) {
        let page = app.signed_in("dora").open("/docs");
        assert!(page.says(&format!("{}/api/v1/keys/verify", app.url)) && page.says("insufficient_scope"), "{}", page.text());
    }
}

both! {
    fn what_is_done_from_the_grid_brings_the_grid_up_to_date(app) {
        let ada = app.signed_in("ada");
        let id = app.fixture.key("dora").id.to_string();
        let disable = url(&id, "/disable");
        let dialog = ada.get_with(&disable, &[("hx-request", "true")]);
        assert_eq!(dialog.status, 200);
        let from = format!("{}/t/acme/keys?status=active", app.url);
        let answer = ada.post_with(&disable, &[("seen", "1")], &[("hx-request", "true"), ("hx-current-url", &from)]);
        assert_eq!((answer.status, answer.header("hx-retarget").as_deref()), (200, Some("#grid")));
        let trigger = answer.header("hx-trigger").unwrap();
        assert!(trigger.contains("dialogClose") && trigger.contains("Key disabled."), "{trigger}");
        assert!(answer.body.contains("id=\"tabs\""), "{}", answer.body);
        assert!(!answer.body.contains(&format!("row-{id}")), "only active keys are shown: {}", answer.text());
        let page = ada.post_with(&url(&id, "/enable"), &[("seen", "2")], &[("hx-request", "true"), ("hx-current-url", "https://elsewhere.example/t/acme/keys")]);
        assert_eq!(page.header("hx-redirect"), Some(url(&id, "")));
    }

    fn find_by_token_opens_in_the_dialog(app) {
        let dora = app.signed_in("dora");
        let dialog = dora.get_with("/t/acme/keys/find", &[("hx-request", "true")]);
        assert!(!dialog.body.contains("<html") && dialog.body.contains("dialog-title"));
        let answer = dora.post_with("/t/acme/keys/find", &[("token", &app.fixture.key("dora").token)], &[("hx-request", "true")]);
        assert_eq!(answer.header("hx-retarget").as_deref(), Some("#main"));
        assert!(answer.says("This token works"));
    }
}
