//! Resources, and a key that reaches one and nothing else.

use keyward::domain::event::Action;
use serde_json::json;

use super::{NEW_RESOURCE, RESOURCES, done, events, make_developer, member, remove, resource, verify};
use crate::key_pages::{count, led_to, set, token_of};

both! {
    fn resources_are_listed_by_kind_and_found_by_any_part(app) {
        let ada = app.signed_in("ada");
        assert_eq!(ada.open(RESOURCES).texts("tbody th"), ["data:tariffs", "site:hamburg", "site:rotterdam"]);
        assert_eq!(ada.open(&format!("{RESOURCES}?kind=site")).texts("tbody th").len(), 2);
        assert_eq!(ada.open(&format!("{RESOURCES}?kind=site&q=HAMB")).texts("tbody th"), ["site:hamburg"]);
        assert_eq!(ada.open(&format!("{RESOURCES}?q=site:rot")).texts("tbody th"), ["site:rotterdam"]);
        assert!(ada.open(&format!("{RESOURCES}?q=100%25")).says("No resource matches"));
        let rows = ada.open(RESOURCES).texts("tbody tr");
        assert!(rows[2].contains("7 members"), "all but nobody: {rows:?}");
    }

    fn a_resource_is_added_described_and_removed_with_an_event_each(app) {
        let ada = app.signed_in("ada");
        let added = ada.submit(NEW_RESOURCE, &[("kind", "site"), ("name", "Pozna\u{144}")]);
        assert!(added.status == 422 && added.find("#name-e").is_some(), "{}", added.text());
        let added = ada.send(&added, NEW_RESOURCE, &[("name", "poz"), ("description", "Site Poznań")]);
        done(&ada, added, "Resource site:poz added.");
        assert_eq!(ada.open(&format!("{RESOURCES}?q=Pozna%C5%84")).texts("tbody th"), ["site:poz"]);
        let url = format!("{RESOURCES}/{}", resource(app, "acme", "site:poz"));
        let saved = ada.submit(&format!("{url}/edit"), &[("description", "Moved")]);
        done(&ada, saved, "Description saved.");
        let removed = remove(&ada, &format!("{url}/remove"));
        done(&ada, removed, "Resource site:poz removed.");
        let told: Vec<_> = events(app, "resource", "site:poz").into_iter().map(|(action, _)| action).collect();
        assert_eq!(told, [Action::ResourceDeleted, Action::ResourceEdited, Action::ResourceCreated]);
    }

    fn faults_stand_at_their_fields_and_what_was_typed_stays(app) {
        let ada = app.signed_in("ada");
        let (kind, name) = ("k".repeat(41), "n".repeat(201));
        for (kind, name, at) in [
            ("", "x", "#kind-e"),
            ("Site", "x", "#kind-e"),
            (kind.as_str(), "x", "#kind-e"),
            ("site", "", "#name-e"),
            ("site", "a b", "#name-e"),
            ("site", "*", "#name-e"),
            ("site", name.as_str(), "#name-e"),
            ("site", "hamburg", "#name-e"),
        ] {
            let page = ada.submit(NEW_RESOURCE, &[("kind", kind), ("name", name), ("description", "kept")]);
            assert_eq!(page.status, 422, "{kind}:{name}");
            assert!(page.find(at).is_some(), "{kind}:{name}: {}", page.text());
            let fields = page.form(NEW_RESOURCE);
            for field in [("kind", kind), ("name", name), ("description", "kept")] {
                assert!(fields.contains(&(field.0.into(), field.1.into())), "{field:?} of {fields:?}");
            }
        }
        assert_eq!(ada.open(RESOURCES).texts("tbody th").len(), 3);
    }

    fn a_key_for_it_is_made_in_the_same_step(app) {
        let gateway = app.gateway("acme");
        make_developer(app, "ada");
        let ada = app.signed_in("ada");
        let form = ada.open(NEW_RESOURCE);
        let (token, id) = token_of(&ada.send(&form, NEW_RESOURCE, &[("kind", "site"), ("name", "poz"), ("key", "yes")]));
        let answer = verify(app, &gateway, &token);
        assert_eq!((&answer["code"], &answer["resources"]), (&json!("valid"), &json!(["site:poz"])));
        assert_eq!(events(app, "key", &id)[0].0, Action::KeyCreated);
        assert_eq!(events(app, "resource", "site:poz")[0].0, Action::ResourceCreated);
        // The same form once more makes nothing and says so.
        let again = ada.send(&form, NEW_RESOURCE, &[("kind", "site"), ("name", "poz2"), ("key", "yes")]);
        assert!(!again.body.contains("kwk_") && again.says("made"), "{} {}", again.status, again.text());
        assert_eq!(count(app, "ada"), 1);
        assert!(!ada.open(RESOURCES).says("poz2"));
    }

    fn nothing_is_half_made_and_at_the_limit_the_page_says_so(app) {
        make_developer(app, "ada");
        let ada = app.signed_in("ada");
        // A fault of the key keeps the resource back too.
        let page = ada.submit(NEW_RESOURCE, &[("kind", "site"), ("name", "poz"), ("key", "yes"), ("life", "days"), ("days", "0")]);
        assert_eq!(page.status, 422);
        assert!(page.find("#days-e").is_some() || page.find("#life-e").is_some(), "{}", page.text());
        assert!(!ada.open(RESOURCES).says("site:poz"));
        set(app, |settings| settings.keys_per_member = 1);
        token_of(&ada.submit(NEW_RESOURCE, &[("kind", "site"), ("name", "one"), ("key", "yes")]));
        let page = ada.submit(NEW_RESOURCE, &[("kind", "site"), ("name", "two"), ("key", "yes")]);
        assert_eq!(page.status, 200);
        assert!(page.says("The resource site:two was added.") && page.says("The key was not made:"), "{}", page.text());
        assert_eq!(count(app, "ada"), 1);
        assert!(ada.open(RESOURCES).says("site:two"));
    }

    fn who_may_make_no_key_is_not_offered_one(app) {
        let ada = app.signed_in("ada");
        assert!(!ada.open(NEW_RESOURCE).says("Also make a key"));
        let fields = ada.open(NEW_RESOURCE).form(NEW_RESOURCE);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let all = [&fields[..], &[("kind", "site"), ("name", "poz"), ("key", "yes")]].concat();
        let all: Vec<_> = all.into_iter().rev().fold(Vec::new(), |mut seen: Vec<(&str, &str)>, field| {
            if !seen.iter().any(|(name, _)| *name == field.0) { seen.push(field) }
            seen
        });
        assert_eq!(ada.post(NEW_RESOURCE, &all).status, 403);
        assert!(!ada.open(RESOURCES).says("site:poz"));
    }

    fn a_key_cannot_be_bound_to_what_its_owner_does_not_hold(app) {
        make_developer(app, "ada");
        let tenant = app.fixture.tenants["acme"];
        let only = keyward::domain::access::ResourceSet::Chosen(["site:hamburg".parse().unwrap()].into());
        app.write(|tx| keyward::store::access::set_resources(tx, tenant, member(app, "ada"), &only));
        let ada = app.signed_in("ada");
        let page = ada.submit(NEW_RESOURCE, &[("kind", "site"), ("name", "poz"), ("key", "yes")]);
        assert_eq!(page.status, 422);
        assert!(page.says("does not hold site:poz"), "{}", page.text());
        assert!(!ada.open(RESOURCES).says("site:poz") && count(app, "ada") == 0);
    }

    fn removing_a_resource_names_who_loses_it_and_leaves_none_rather_than_all(app) {
        let gateway = app.gateway("acme");
        let dora = app.signed_in("dora");
        let (key, of_emil) = (app.fixture.key("dora"), app.fixture.key("emil"));
        led_to(&dora.submit(&format!("/t/acme/keys/{}/edit", key.id), &[("res", "some"), ("resource", "site:rotterdam")]));
        let ada = app.signed_in("ada");
        let path = format!("{RESOURCES}/{}/remove", resource(app, "acme", "site:rotterdam"));
        let question = ada.open(&path);
        assert!(question.says("1 member") && question.says("Emil Example") && question.says("“key of dora”"), "{}", question.text());
        let removed = remove(&ada, &path);
        done(&ada, removed, "Resource site:rotterdam removed.");
        assert_eq!(verify(app, &gateway, &key.token)["resources"], json!([]));
        assert_eq!(verify(app, &gateway, &of_emil.token)["resources"], json!([]));
        // It comes back without anybody having it.
        ada.submit(NEW_RESOURCE, &[("kind", "site"), ("name", "rotterdam")]);
        assert_eq!(verify(app, &gateway, &key.token)["resources"], json!([]));
    }

    fn a_key_is_made_for_a_resource_from_the_list(app) {
        let gateway = app.gateway("acme");
        make_developer(app, "ada");
        let ada = app.signed_in("ada");
        let links = ada.open(RESOURCES).attributes("tbody .menu a", "href");
        let link = links.iter().find(|link| link.ends_with("/keys/new?resource=site%3Ahamburg")).unwrap_or_else(|| panic!("{links:?}"));
        let form = ada.open(link);
        let (token, _) = token_of(&ada.send(&form, "/t/acme/keys/new", &[]));
        assert_eq!(verify(app, &gateway, &token)["resources"], json!(["site:hamburg"]));
    }
}
