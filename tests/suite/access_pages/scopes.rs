//! The catalogue of scopes.

use keyward::domain::event::Action;

use super::{NEW_SCOPE, SCOPES, done, events, remove, role, verify};

both! {
    fn a_scope_is_added_described_and_removed_with_an_event_each(app) {
        let ada = app.signed_in("ada");
        let added = ada.submit(NEW_SCOPE, &[("scope", "blacklist:read"), ("description", "See the blacklist")]);
        done(&ada, added, "Scope blacklist:read added.");
        let page = ada.open("/t/acme/access?q=BLACK");
        assert_eq!(page.texts("tbody th"), ["blacklist:read"]);
        assert!(page.says("See the blacklist") && page.says("None yet"), "{}", page.text());
        let edit = "/t/acme/access/scopes/edit";
        let saved = ada.submit_to(&format!("{edit}?scope=blacklist:read"), edit, &[("description", "Read it")]);
        done(&ada, saved, "Description saved.");
        let question = ada.open("/t/acme/access/scopes/remove?scope=blacklist:read");
        assert!(question.says("Nobody has it, so nobody loses anything."), "{}", question.text());
        let removed = remove(&ada, "/t/acme/access/scopes/remove?scope=blacklist:read");
        done(&ada, removed, "Scope blacklist:read removed.");
        assert!(!ada.open(SCOPES).says("blacklist:read"));
        let told: Vec<_> = events(app, "scope", "blacklist:read").into_iter().map(|(action, _)| action).collect();
        assert_eq!(told, [Action::ScopeDeleted, Action::ScopeEdited, Action::ScopeCreated]);
    }

    fn a_pair_comes_with_its_two_access_roles(app) {
        let ada = app.signed_in("ada");
        let added = ada.submit(NEW_SCOPE, &[("makes", "pair"), ("scope", "inventory"), ("roles", "on")]);
        done(&ada, added, "Scopes inventory:read and inventory:write added, with two access roles.");
        let roles = ada.open("/t/acme/access/roles?q=inventory").texts("tbody tr");
        assert_eq!(roles.len(), 2, "{roles:?}");
        assert!(roles[0].contains("Inventory: read & write") && roles[0].contains("inventory:write"), "{roles:?}");
        assert!(roles[1].contains("Inventory: read only") && !roles[1].contains("inventory:write"), "{roles:?}");
        // A pair of which one half is there already adds nothing at all.
        ada.submit(NEW_SCOPE, &[("scope", "depot:write")]);
        let page = ada.submit(NEW_SCOPE, &[("makes", "pair"), ("scope", "depot")]);
        assert_eq!(page.status, 422);
        assert_eq!(page.find("#scope-e").as_deref(), Some("There is a scope depot:write already."));
        assert_eq!(ada.open("/t/acme/access?q=depot").texts("tbody th"), ["depot:write"]);
    }

    fn what_cannot_be_a_scope_is_said_at_the_field_and_stays_typed(app) {
        let ada = app.signed_in("ada");
        let long = "s".repeat(101);
        for (scope, words) in [
            ("", "100"),
            ("two words", "A–Z"),
            ("caf\u{e9}", "A–Z"),
            (long.as_str(), "100"),
            ("keyward:keys.read", "reserved for managing Keyward itself"),
            ("shipments:read", "There is a scope shipments:read already."),
        ] {
            let page = ada.submit(NEW_SCOPE, &[("scope", scope), ("description", "kept")]);
            assert_eq!(page.status, 422, "{scope}");
            assert!(page.find("#scope-e").is_some_and(|said| said.contains(words)), "{scope}: {}", page.text());
            assert!(page.form(NEW_SCOPE).contains(&("scope".into(), scope.into())), "{scope}");
            assert!(page.form(NEW_SCOPE).contains(&("description".into(), "kept".into())), "{scope}");
        }
        let page = ada.submit(NEW_SCOPE, &[("scope", "fine"), ("description", &"d".repeat(201))]);
        assert!(page.status == 422 && page.find("#description-e").is_some(), "{}", page.text());
        assert_eq!(ada.post(NEW_SCOPE, &[("scope", "fine"), ("color", "red")]).status, 400);
        assert_eq!(ada.open("/t/acme/access?q=e").texts("tbody th").len(), 3);
    }

    fn reserved_scopes_are_shown_as_such_and_cannot_be_touched(app) {
        let ada = app.signed_in("ada");
        let page = ada.open(SCOPES);
        assert!(page.says("keyward:keys.read") && page.says("Reserved"), "{}", page.text());
        for verb in ["edit", "remove"] {
            assert_eq!(ada.get(&format!("/t/acme/access/scopes/{verb}?scope=keyward:keys.read")).status, 404, "{verb}");
        }
    }

    fn removing_a_scope_in_use_names_who_loses_it_and_works_at_once(app) {
        let gateway = app.gateway("acme");
        let dora = app.signed_in("dora");
        let id = app.fixture.key("dora").id.to_string();
        let edit = format!("/t/acme/keys/{id}/edit");
        assert_eq!(dora.submit(&edit, &[("access", "scopes"), ("scope", "shipments:read"), ("scope", "shipments:write")]).status, 303);
        let token = &app.fixture.key("dora").token;
        assert_eq!(verify(app, &gateway, token)["scopes"], serde_json::json!(["shipments:read", "shipments:write"]));

        let ada = app.signed_in("ada");
        let path = "/t/acme/access/scopes/remove?scope=shipments:write";
        let question = ada.open(path);
        assert!(question.says("1 access role : “Shipping” (6 members, 0 keys)") || question.says("1 access role: “Shipping” (6 members, 0 keys)"), "{}", question.text());
        assert!(question.says("“key of dora”") && question.says("cannot be undone"), "{}", question.text());
        // Somebody else gives it to another key meanwhile: asked again, and nothing is removed.
        let emil = app.signed_in("emil");
        let of_emil = format!("/t/acme/keys/{}/edit", app.fixture.key("emil").id);
        assert_eq!(emil.submit(&of_emil, &[("access", "scopes"), ("scope", "shipments:write")]).status, 303);
        let again = ada.send(&question, "/t/acme/access/scopes/remove", &[]);
        assert_eq!(again.status, 409);
        assert!(again.says("Nothing was removed") && again.says("“key of emil”"), "{}", again.text());
        assert_eq!(verify(app, &gateway, token)["scopes"], serde_json::json!(["shipments:read", "shipments:write"]));

        let removed = ada.send(&again, "/t/acme/access/scopes/remove", &[]);
        done(&ada, removed, "Scope shipments:write removed.");
        assert_eq!(verify(app, &gateway, token)["scopes"], serde_json::json!(["shipments:read"]));
        assert_eq!(verify(app, &gateway, &app.fixture.key("emil").token)["scopes"], serde_json::json!([]));
        assert_eq!(verify(app, &gateway, &app.fixture.key("ci").token)["scopes"], serde_json::json!(["shipments:read"]));
        let (action, details) = events(app, "scope", "shipments:write").remove(0);
        assert_eq!((action, &details["access_roles"], &details["keys"]), (Action::ScopeDeleted, &serde_json::json!(["Shipping"]), &serde_json::json!(2)));
        assert_eq!(events(app, "key", &id)[0].0, Action::KeyEdited);
        // It comes back without anybody having it.
        ada.submit(NEW_SCOPE, &[("scope", "shipments:write")]);
        assert_eq!(verify(app, &gateway, token)["scopes"], serde_json::json!(["shipments:read"]));
        let role = ada.open(&format!("/t/acme/access/roles/{}", role(app, "acme", "Shipping")));
        assert!(!role.form(&role.path).contains(&("scope".into(), "shipments:write".into())));
    }
}
