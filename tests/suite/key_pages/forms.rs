//! What the forms keep, refuse and never do twice.

use super::{code_of, count, create, gateway, led_to, set, token_of, url};

both! {
    fn a_form_that_arrives_twice_makes_one_key(app) {
        let dora = app.signed_in("dora");
        let form = dora.open("/t/acme/keys/new");
        let before = count(app, "dora");
        let first = dora.send(&form, "/t/acme/keys/new", &[("name", "once")]);
        let (token, id) = token_of(&first);
        let second = dora.send(&form, "/t/acme/keys/new", &[("name", "once")]);
        assert_eq!(second.status, 409);
        assert!(second.says("sent before") && second.says("Roll key") && !second.body.contains(&token), "{}", second.text());
        assert_eq!(second.attributes(".actions a", "href"), [url(&id, "/roll"), url(&id, "")]);
        assert_eq!(count(app, "dora"), before + 1);
    }

    fn a_roll_that_arrives_twice_rolls_once(app) {
        let gateway = gateway(app);
        let dora = app.signed_in("dora");
        let roll = url(app.fixture.key("dora").id.as_str(), "/roll");
        let form = dora.open(&roll);
        let code = app.code("dora");
        let (token, _) = token_of(&dora.send(&form, &roll, &[("totp", &code)]));
        let second = dora.send(&form, &roll, &[("totp", &code)]);
        assert_eq!(second.status, 409);
        assert!(second.says("sent before"), "{}", second.text());
        assert_eq!(code_of(app, &gateway, &token), "valid");
        assert_eq!(code_of(app, &gateway, &app.fixture.key("dora").token), "valid_in_grace");
    }

    fn a_token_is_in_one_answer_only(app) {
        let dora = app.signed_in("dora");
        let page = create(&dora, &[("name", "secret")]);
        let (token, id) = token_of(&page);
        assert_eq!(page.header("cache-control").as_deref(), Some("no-store"));
        assert!(page.body.contains("hx-history=\"false\""));
        assert_eq!(page.find("#c-id").as_deref(), Some(id.as_str()));
        let secret = page.find("#c-sec").unwrap();
        assert!(token.ends_with(&secret));
        for path in [url(&id, ""), url(&id, "/edit"), url(&id, "/roll"), url(&id, "/revoke"), format!("/t/acme/explain?key={id}"), "/profile?tenant=acme".into()] {
            let page = dora.open(&path);
            assert!(!page.body.contains(&secret) && !page.body.contains(&secret[..8]) && !page.body.contains(&secret[24..]), "{path}");
        }
        let found = dora.submit("/t/acme/keys/find", &[("token", &token)]);
        assert!(found.says("This token works") && !found.body.contains(&secret), "{}", found.text());
    }

    fn what_was_typed_comes_back_with_the_errors(app) {
        let dora = app.signed_in("dora");
        set(app, |settings| settings.maximum_days = Some(365));
        let page = create(&dora, &[
            ("name", "Kept"), ("comment", "why\nit is"), ("access", "scopes"), ("res", "some"), ("more_resources", "Site Rotterdam"), ("life", "days"), ("days", "400"),
            ("ips", "10.20.0.0/16\n185.41.12.8/42"), ("notify", "nobody"),
        ]);
        assert_eq!(page.status, 422);
        assert!(page.find("title").unwrap().starts_with("Error: "));
        let wrong = page.attributes(".errsum a", "href");
        assert_eq!(wrong, ["#access", "#res", "#ips", "#notify"], "{}", page.text());
        let form = page.form("/t/acme/keys/new");
        for (name, value) in [("name", "Kept"), ("comment", "why\nit is"), ("days", "400"), ("ips", "10.20.0.0/16\n185.41.12.8/42"), ("notify", "nobody"), ("more_resources", "Site Rotterdam")] {
            assert!(form.contains(&(name.to_owned(), value.to_owned())), "{name}: {form:?}");
        }
        let page = dora.send(&page, "/t/acme/keys/new", &[("access", "same"), ("res", "all"), ("ips", ""), ("notify", "")]);
        assert_eq!(page.find("#days-e").as_deref(), Some("Enter 365 days or fewer, the maximum of this tenant."));
        token_of(&dora.send(&page, "/t/acme/keys/new", &[("life", "date"), ("date", "2027-11-21")]));
    }

    fn odd_input_is_refused_and_changes_nothing(app) {
        let dora = app.signed_in("dora");
        let before = count(app, "dora");
        let long = "x".repeat(101);
        let comment = "x".repeat(501);
        for (name, value) in [
            ("name", long.as_str()), ("name", "a\u{202E}b"), ("name", "a\nb"), ("comment", comment.as_str()), ("life", "P0M"), ("life", "soon"), ("life", "days"), ("life", "date"),
            ("role", "x"), ("access", "everything"), ("access", ""), ("res", "most"), ("ips", "10.0.0.1/8"), ("notify", "nobody"),
        ] {
            let mut fields = vec![(name, value), ("days", "-1"), ("date", "2020-01-01")];
            if name == "role" {
                fields.push(("access", "role"));
            }
            let page = create(&dora, &fields);
            assert_eq!(page.status, 422, "{name}={value}: {}", page.text());
        }
        for (fields, status) in [(&[("colour", "red")][..], 400), (&[("name", "a\0b")], 400), (&[("owner", "x")], 404), (&[("owner", "999999")], 403), (&[("form_id", "x")], 400)] {
            let page = create(&dora, fields);
            assert_eq!(page.status, status, "{fields:?}");
        }
        assert_eq!(dora.post("/t/acme/keys/new", &[]).status, 400, "a form without its one-time ID");
        assert_eq!(count(app, "dora"), before);
        let key = url(app.fixture.key("dora").id.as_str(), "");
        for (end, fields) in [("/edit", &[("seen", "x")][..]), ("/renew", &[]), ("/delete", &[("confirm", "delete")]), ("/roll", &[("form_id", "short"), ("seen", "1")])] {
            assert_eq!(dora.post(&format!("{key}{end}"), fields).status, 400, "{end}");
        }
        for id in ["nothing", "0000000000000000", "%F0%9F%98%80", "../keys"] {
            assert_eq!(dora.get(&url(id, "")).status, 404, "{id}");
        }
    }

    fn an_empty_name_is_the_day(app) {
        let dora = app.signed_in("dora");
        let (_, id) = token_of(&create(&dora, &[("name", "  ")]));
        assert_eq!(dora.open(&url(&id, "")).find("h1").as_deref(), Some("Key of 21 Nov 2026"));
    }

    fn a_stale_form_is_shown_the_newer_version_and_asked_again(app) {
        let dora = app.signed_in("dora");
        let id = app.fixture.key("dora").id.to_string();
        let (edit, renew) = (dora.open(&url(&id, "/edit")), dora.open(&url(&id, "/renew")));
        let roll = dora.open(&url(&id, "/roll"));
        let delete = dora.open(&url(&id, "/delete"));
        led_to(&dora.submit(&url(&id, "/edit"), &[("name", "Newer name"), ("comment", "")]));

        let page = dora.send(&edit, &url(&id, "/edit"), &[("comment", "mine")]);
        assert_eq!(page.status, 409);
        assert!(page.says("was changed while") && page.says("Newer name"), "{}", page.text());
        led_to(&dora.send(&page, &url(&id, "/edit"), &[]));
        assert!(dora.open(&url(&id, "")).says("mine"));

        for (form, end, fields) in [(&renew, "/renew", &[][..]), (&delete, "/delete", &[("confirm", "delete")])] {
            let page = dora.send(form, &url(&id, end), fields);
            assert_eq!(page.status, 409, "{end}");
            assert!(page.says("was changed while"), "{}", page.text());
        }
        let code = app.code("dora");
        let page = dora.send(&roll, &url(&id, "/roll"), &[("totp", &code)]);
        assert_eq!(page.status, 409);
        // The code was not used up by what was not done.
        token_of(&dora.send(&page, &url(&id, "/roll"), &[("totp", &code)]));
    }

    fn a_wrong_code_rolls_nothing_and_the_fifth_ends_the_session(app) {
        let gateway = gateway(app);
        let dora = app.signed_in("dora");
        let roll = url(app.fixture.key("dora").id.as_str(), "/roll");
        let mut page = dora.open(&roll);
        for _ in 0..4 {
            page = dora.send(&page, &roll, &[("totp", "000000")]);
            assert_eq!(page.status, 422);
            assert!(page.find("#totp-e").unwrap().contains("not right"), "{}", page.text());
            assert!(!page.body.contains("000000"));
        }
        let page = dora.send(&page, &roll, &[("totp", "000000")]);
        assert_eq!(page.status, 303);
        assert!(page.location().unwrap().starts_with("/login"));
        assert_eq!(code_of(app, &gateway, &app.fixture.key("dora").token), "valid");
    }

    fn without_an_authenticator_a_roll_leads_to_setting_one_up(app) {
        let emil = app.signed_in("emil");
        let page = emil.open(&url(app.fixture.key("emil").id.as_str(), "/roll"));
        assert!(page.says("Set up two-step sign-in first"), "{}", page.text());
        assert!(page.attributes("#totp a", "href")[0].starts_with("/profile/totp?next="));
        let page = emil.send(&page, &url(app.fixture.key("emil").id.as_str(), "/roll"), &[]);
        assert_eq!(page.status, 422);
    }

    fn a_time_past_the_bound_is_refused_naming_it(app) {
        let dora = app.signed_in("dora");
        let roll = url(app.fixture.key("dora").id.as_str(), "/roll");
        let code = app.code("dora");
        let page = dora.submit(&roll, &[("stop", "at"), ("stop_at", "2026-12-31T12:00"), ("totp", &code)]);
        assert_eq!(page.status, 422);
        assert!(page.find("#stop_at-e").unwrap().contains("5 Dec 2026"), "{}", page.text());
        let page = dora.send(&page, &roll, &[("stop_at", "2026-11-01T12:00"), ("totp", &code)]);
        assert_eq!(page.find("#stop_at-e").as_deref(), Some("Choose a moment in the future."));
        let page = dora.send(&page, &roll, &[("stop_at", "2026-11-25T18:00"), ("totp", &code)]);
        assert!(page.says("Wed 25 Nov 2026, 18:00 UTC"), "{}", page.text());
    }

    fn choices_past_the_longest_overlap_are_left_out(app) {
        let dora = app.signed_in("dora");
        let roll = url(app.fixture.key("dora").id.as_str(), "/roll");
        let stops = || dora.open(&roll).attributes("input[name=stop]", "value");
        assert_eq!(stops(), ["0", "leaked", "3600", "86400", "259200", "604800", "longest", "at"]);
        assert_eq!(dora.open(&roll).attributes("input[name=stop][checked]", "value"), ["longest"]);
        set(app, |settings| settings.overlap_days = 2);
        assert_eq!(stops(), ["0", "leaked", "3600", "86400", "longest", "at"]);
        set(app, |settings| settings.overlap_days = 0);
        assert_eq!(stops(), ["0", "leaked"]);
        assert_eq!(dora.open(&roll).attributes("input[name=stop][checked]", "value"), ["0"]);
    }

    fn a_date_ends_in_the_members_own_time_zone(app) {
        let account = app.person("dora").account;
        app.write(|tx| keyward::store::accounts::set_look(tx, account, "system", true, "Asia/Tokyo"));
        let dora = app.signed_in("dora");
        let page = create(&dora, &[("life", "date"), ("date", "2027-06-30")]);
        assert!(page.says("30 Jun 2027, 15:00 UTC"), "{}", page.text());
    }
}
