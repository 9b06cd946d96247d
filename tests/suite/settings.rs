//! The settings of a tenant, through their page.

use chrono::Duration;
both! {
    fn turning_keys_off_stops_all_at_once_and_on_brings_them_back(app) {
        let ada = app.signed_in("ada");
        let token = &app.fixture.key("dora").token;
        assert_eq!(app.verify(token), "valid");
        let question = ada.open("/t/acme/settings/keys");
        assert!(question.says("Turn off API keys for Acme?") && question.says("All 3 active keys"), "{}", question.text());
        assert_eq!(app.verify(token), "valid", "asking changes nothing");
        let answer = ada.send(&question, "/t/acme/settings/keys", &[]);
        assert_eq!(answer.status, 303);
        assert_eq!(app.verify(token), "tenant_disabled");
        let question = ada.open("/t/acme/settings/keys");
        assert!(question.says("Turn on API keys for Acme?"), "{}", question.text());
        ada.send(&question, "/t/acme/settings/keys", &[]);
        assert_eq!(app.verify(token), "valid");
    }

    fn turning_keys_on_asks_for_a_code_where_the_tenant_says_so(app) {
        let ada = app.signed_in("ada");
        ada.submit_to("/t/acme/settings", "/t/acme/settings/codes", &[("code_turn_on", "on")]);
        ada.submit_to("/t/acme/settings/keys", "/t/acme/settings/keys", &[]);
        let refused = ada.submit_to("/t/acme/settings/keys", "/t/acme/settings/keys", &[("totp", "000000")]);
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert_eq!(app.verify(&app.fixture.key("dora").token), "tenant_disabled");
        let code = app.code("ada");
        let done = ada.submit_to("/t/acme/settings/keys", "/t/acme/settings/keys", &[("totp", &code)]);
        assert_eq!(done.status, 303, "{}", done.text());
        assert_eq!(app.verify(&app.fixture.key("dora").token), "valid");
    }

    fn a_shorter_grace_says_what_stops_before_it_cuts(app) {
        // dora's key of 12 months was made on 22 Sep 2026, so it expires on 22 Sep 2027; ten days later it is in its grace.
        app.advance(Duration::days(315));
        let ada = app.signed_in("ada");
        assert_eq!(app.verify(&app.fixture.key("dora").token), "valid_in_grace");
        let asked = ada.submit_to("/t/acme/settings", "/t/acme/settings/life", &[("grace", "5")]);
        assert!(asked.says("Shorten the grace to 5 days?") && asked.says("1 key"), "{}", asked.text());
        assert_eq!(app.verify(&app.fixture.key("dora").token), "valid_in_grace", "asking changes nothing");
        assert_eq!(ada.send(&asked, "/t/acme/settings/life", &[]).status, 303);
        assert_eq!(app.verify(&app.fixture.key("dora").token), "expired");
        app.advance(Duration::minutes(1));
        ada.submit_to("/t/acme/settings", "/t/acme/settings/life", &[("grace", "90")]);
        assert_eq!(app.verify(&app.fixture.key("dora").token), "expired", "raising it revives nothing");
    }

    fn grace_and_longest_overlap_have_their_bounds(app) {
        let ada = app.signed_in("ada");
        let (page, path) = ("/t/acme/settings", "/t/acme/settings/life");
        let settings = || app.read(|db| keyward::store::tenants::get(db, app.fixture.tenants["acme"])).settings;
        for field in ["grace", "overlap"] {
            for bad in ["91", "-1", "1.5", "", "x"] {
                let wrong = ada.submit_to(page, path, &[(field, bad)]);
                assert_eq!((wrong.status, wrong.texts(&format!("#{field}-e"))), (422, vec!["Enter a whole number from 0 to 90.".to_owned()]), "{field} {bad}");
                assert_eq!(wrong.attributes(&format!("#{field}"), "value"), [bad]);
            }
        }
        assert_eq!((settings().grace_days, settings().overlap_days), (14, 14));
        assert_eq!(ada.submit_to(page, path, &[("grace", "90"), ("overlap", "90")]).status, 303);
        assert_eq!((settings().grace_days, settings().overlap_days), (90, 90));
        let dora = app.signed_in("dora");
        let roll = format!("/t/acme/keys/{}/roll", app.fixture.key("dora").id);
        // 90 days from 21 Nov 2026.
        let form = dora.open(&roll);
        assert!(form.says("19 Feb 2027"), "{}", form.text());
        assert_eq!(ada.submit_to(page, path, &[("grace", "0"), ("overlap", "0")]).status, 303);
        assert_eq!((settings().grace_days, settings().overlap_days), (0, 0));
        let first = &app.fixture.key("dora").token;
        let second = dora.submit(&roll, &[("totp", &app.code("dora"))]).find("#c-tok").unwrap();
        assert_eq!((app.verify(first), app.verify(&second)), ("rolled".into(), "valid".into()), "the old secret stops at once");
        app.advance(Duration::days(305));
        assert_eq!(app.verify(&second), "expired", "without a grace");
    }

    fn a_wrong_number_is_named_at_its_field_and_nothing_typed_is_lost(app) {
        let ada = app.signed_in("ada");
        let page = ada.submit_to("/t/acme/settings", "/t/acme/settings/limits", &[("per_member", "1001"), ("maximum", "365"), ("default", "P12M")]);
        assert_eq!(page.status, 422);
        assert_eq!(page.texts("#per_member-e"), ["Enter a whole number from 1 to 1000."]);
        assert_eq!(page.attributes("#per_member", "value"), ["1001"]);
        assert_eq!(page.attributes("#maximum", "value"), ["365"]);
        assert_eq!(ada.open("/t/acme/settings").attributes("#per_member", "value"), ["5"]);
        for bad in ["0", "181", "14 14", "1 2 3 4 5 6", "x"] {
            let page = ada.submit_to("/t/acme/settings", "/t/acme/settings/life", &[("notices", bad)]);
            assert_eq!((page.status, page.texts("#notices-e").len()), (422, 1), "{bad}");
        }
    }

    fn only_who_may_change_settings_sees_them(app) {
        for name in ["dora", "audrey", "nora"] {
            let other = app.signed_in(name);
            assert_eq!(other.get("/t/acme/settings").status, 403, "{name}");
        }
        assert_eq!(app.signed_in("gus").get("/t/acme/settings").status, 404);
    }

    fn admins_who_do_not_see_all_keys_manage_none(app) {
        let ada = app.signed_in("ada");
        let page = ada.open("/t/acme/settings");
        let form: Vec<_> = page.form("/t/acme/settings/admins").into_iter().filter(|(name, _)| ["csrf", "seen"].contains(&name.as_str())).collect();
        let mut fields: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        fields.push(("manage_all", "on"));
        assert_eq!(ada.post("/t/acme/settings/admins", &fields).status, 303);
        let page = ada.open("/t/acme/settings");
        assert!(page.find("#see_all[checked]").is_none() && page.find("#manage_all[checked]").is_none());
        assert_eq!(ada.get(&format!("/t/acme/keys/{}", app.fixture.key("dora").id)).status, 404);
    }

    fn keeping_less_says_what_goes_and_when(app) {
        let ada = app.signed_in("ada");
        let page = ada.open("/t/acme/settings");
        assert_eq!((page.attributes("#events", "value"), page.attributes("#usage", "value")), (vec!["400".to_owned()], vec!["400".to_owned()]));
        for (field, bad) in [("events", "0"), ("events", "3651"), ("usage", "x")] {
            let wrong = ada.submit_to("/t/acme/settings", "/t/acme/settings/retention", &[(field, bad)]);
            assert_eq!(wrong.status, 422);
            assert_eq!(wrong.texts(&format!("#{field}-e")), ["Enter a whole number from 1 to 3650."]);
            assert_eq!(wrong.attributes(&format!("#{field}"), "value"), [bad]);
        }
        // Four keys were made 60 days ago in acme and globex; acme's three are its events of then.
        let asked = ada.submit_to("/t/acme/settings", "/t/acme/settings/retention", &[("events", "30")]);
        assert!(asked.says("Keep less than now?") && asked.says("3 events older than 30 days go") && asked.says("06:00 UTC"), "{}", asked.text());
        let kept = |app: &crate::support::TestApp| app.read(|db| keyward::store::tenants::get(db, app.fixture.tenants["acme"])).settings.retention;
        assert_eq!(kept(app).events, 400, "asking changes nothing");
        assert_eq!(ada.send(&asked, "/t/acme/settings/retention", &[]).status, 303);
        assert_eq!((kept(app).events, kept(app).usage, kept(app).access_log), (30, 400, 30));
        assert_eq!(ada.submit_to("/t/acme/settings", "/t/acme/settings/retention", &[("events", "3650"), ("usage", "1")]).status, 303, "nothing goes");
    }

    fn taking_keys_from_admins_asks_first_and_names_what_they_lose(app) {
        let ada = app.signed_in("ada");
        let boxes = |ticked: &[&str]| {
            let form: Vec<_> = ada.open("/t/acme/settings").form("/t/acme/settings/admins").into_iter().filter(|(name, _)| ["csrf", "seen"].contains(&name.as_str())).collect();
            let csrf = form.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            ada.post("/t/acme/settings/admins", &csrf.chain(ticked.iter().map(|name| (*name, "on"))).collect::<Vec<_>>())
        };
        assert_eq!(boxes(&["see_all", "manage_all", "delete"]).status, 303);
        let made = ada.submit("/t/acme/keys/new", &[("name", "of ada")]);
        let token = made.find("#c-tok").unwrap();
        let asked = boxes(&["see_all", "delete"]);
        assert!(asked.status == 200 && asked.says("Take managing keys from Tenant admins?"), "{}", asked.text());
        assert!(asked.says("Ada Example") && asked.says("of ada") && !asked.says("key of dora"), "{}", asked.text());
        let settings = || app.read(|db| keyward::store::tenants::get(db, app.fixture.tenants["acme"])).settings;
        assert!(settings().admins_manage_all, "asking changes nothing");
        let key = asked.attributes("input[name=disable]", "value").remove(0);
        assert_eq!(ada.send(&asked, "/t/acme/settings/admins", &[("disable", &key)]).status, 303);
        assert!(!settings().admins_manage_all && settings().admins_see_all && settings().admins_delete);
        assert_eq!(app.verify(&token), "disabled");

        // What an admin disabled nobody could enable any more.
        assert_eq!(ada.submit(&format!("/t/acme/keys/{}/disable", app.fixture.key("dora").id), &[]).status, 303);
        let asked = boxes(&["delete"]);
        assert!(asked.says("Hide the keys of others") && asked.says("1 key was disabled by somebody else than its owner"), "{}", asked.text());
        assert!(settings().admins_see_all);
        assert_eq!(ada.send(&asked, "/t/acme/settings/admins", &[]).status, 303);
        assert!(!settings().admins_see_all && settings().admins_delete);
    }
}
