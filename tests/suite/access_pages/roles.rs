//! Access roles: what changes for whom, and when.

use keyward::domain::event::Action;
use serde_json::json;

use super::{NEW_ROLE, ROLES, done, events, remove, role, verify};

both! {
    fn a_changed_role_counts_at_the_next_verification_of_every_key(app) {
        let gateway = app.gateway("acme");
        let tokens = || ["dora", "emil", "ci"].map(|name| verify(app, &gateway, &app.fixture.key(name).token)["scopes"].clone());
        let all = json!(["invoices:read", "shipments:read", "shipments:write"]);
        let both = json!(["shipments:read", "shipments:write"]);
        assert_eq!(tokens(), [all, both.clone(), both]);

        // One of them has the role as its own access.
        let emil = app.signed_in("emil");
        let shipping = role(app, "acme", "Shipping");
        let edit = format!("/t/acme/keys/{}/edit", app.fixture.key("emil").id);
        assert_eq!(emil.submit(&edit, &[("access", "role"), ("role", &shipping.to_string())]).status, 303);

        let ada = app.signed_in("ada");
        let url = format!("{ROLES}/{shipping}");
        let form = ada.open(&url);
        assert!(form.says("6 members hold it and 1 key has it."), "{}", form.text());
        let question = ada.send(&form, &url, &[("name", "Shipping"), ("scope", "shipments:read")]);
        assert_eq!(question.status, 200);
        assert!(question.says("6 members") && question.says("1 key") && question.says("Taken away: shipments:write"), "{}", question.text());
        // Nothing has changed until that is confirmed.
        assert_eq!(tokens()[1], json!(["shipments:read", "shipments:write"]));
        let saved = ada.send(&question, &url, &[]);
        done(&ada, saved, "Access role “Shipping” saved.");
        assert_eq!(tokens(), [json!(["invoices:read", "shipments:read"]), json!(["shipments:read"]), json!(["shipments:read"])]);

        // Adding a scope reaches them as soon.
        let question = ada.submit(&url, &[("scope", "shipments:read"), ("scope", "invoices:read")]);
        assert!(question.says("Added: invoices:read"), "{}", question.text());
        assert_eq!(ada.send(&question, &url, &[]).status, 303);
        assert_eq!(tokens()[1], json!(["invoices:read", "shipments:read"]));

        let told = events(app, "access_role", &shipping.to_string());
        assert_eq!(told.len(), 2);
        assert_eq!(told[1].0, Action::AccessRoleEdited);
        assert_eq!(told[1].1["scopes"], json!({ "added": [], "removed": ["shipments:write"], "members": 6, "keys": 1 }));
    }

    fn a_key_never_has_more_than_its_owner(app) {
        let gateway = app.gateway("acme");
        let ada = app.signed_in("ada");
        let emil = app.signed_in("emil");
        let shipping = role(app, "acme", "Shipping");
        let edit = format!("/t/acme/keys/{}/edit", app.fixture.key("emil").id);
        assert_eq!(emil.submit(&edit, &[("access", "scopes"), ("scope", "shipments:read"), ("scope", "shipments:write")]).status, 303);
        // The role loses a scope: the key, for which it was chosen, loses it too, and has it again with its owner.
        let url = format!("{ROLES}/{shipping}");
        let token = &app.fixture.key("emil").token;
        let question = ada.submit(&url, &[("scope", "shipments:read")]);
        assert_eq!(ada.send(&question, &url, &[]).status, 303);
        assert_eq!(verify(app, &gateway, token)["scopes"], json!(["shipments:read"]));
        // A role that the owner does not hold can be given to nobody's key by its number.
        let billing = role(app, "acme", "Billing").to_string();
        let page = emil.submit(&edit, &[("access", "role"), ("role", &billing)]);
        assert_eq!(page.status, 422);
        assert!(page.find("#access .errmsg").is_some(), "{}", page.text());
        // A role gets no scope that opens Keyward itself.
        let page = ada.submit(&url, &[("scope", "keyward:keys.read")]);
        assert_eq!(page.status, 422);
        assert!(page.find("#scope .errmsg").is_some_and(|said| said.contains("reserved")), "{}", page.text());
    }

    fn removing_a_role_names_who_loses_it_and_leaves_none_rather_than_all(app) {
        let gateway = app.gateway("acme");
        let dora = app.signed_in("dora");
        let (key, billing) = (app.fixture.key("dora"), role(app, "acme", "Billing"));
        let edit = format!("/t/acme/keys/{}/edit", key.id);
        assert_eq!(dora.submit(&edit, &[("access", "role"), ("role", &billing.to_string())]).status, 303);
        assert_eq!(verify(app, &gateway, &key.token)["scopes"], json!(["invoices:read"]));

        let ada = app.signed_in("ada");
        let path = format!("{ROLES}/{billing}/remove");
        let question = ada.open(&path);
        assert!(question.says("Dora Example") && question.says("“key of dora”") && question.says("keep no scope"), "{}", question.text());
        let removed = remove(&ada, &path);
        done(&ada, removed, "Access role “Billing” removed.");
        let now = verify(app, &gateway, &key.token);
        assert_eq!((&now["code"], &now["scopes"]), (&json!("valid"), &json!([])));
        assert_eq!(verify(app, &gateway, &app.fixture.key("ci").token)["scopes"], json!(["shipments:read", "shipments:write"]));
        assert_eq!(events(app, "access_role", &billing.to_string())[0].0, Action::AccessRoleDeleted);
        assert!(dora.open(&edit).status == 200);
        assert_eq!(ada.get(&path).status, 404);
    }

    fn a_form_that_is_behind_is_shown_what_the_role_is_now(app) {
        let ada = app.signed_in("ada");
        let url = format!("{ROLES}/{}", role(app, "acme", "Billing"));
        let (first, second) = (ada.open(&url), ada.open(&url));
        done(&ada, ada.send(&first, &url, &[("description", "Mine")]), "saved");
        let page = ada.send(&second, &url, &[("description", "Yours")]);
        assert_eq!(page.status, 409);
        let says = page.find("section[role=alert]").unwrap();
        assert!(says.contains("Nothing was saved.") && says.contains("What it is for Mine") && says.contains("Scopes invoices:read"), "{says}");
        assert!(page.form(&url).contains(&("description".into(), "Yours".into())), "what was typed is kept");
        assert_eq!(ada.open(&url).attributes("#description", "value"), ["Mine"]);
        done(&ada, ada.send(&page, &url, &[]), "saved");
        assert_eq!(ada.open(&url).attributes("#description", "value"), ["Yours"]);
    }

    fn faults_of_a_role_stand_at_their_fields_and_what_was_ticked_stays(app) {
        let ada = app.signed_in("ada");
        for (name, scope, at) in [("", "shipments:read", "#name-e"), ("Shipping", "invoices:read", "#name-e"), ("New", "no:such", "#scope .errmsg")] {
            let page = ada.submit(NEW_ROLE, &[("name", name), ("scope", scope)]);
            assert_eq!(page.status, 422, "{name} {scope}");
            assert!(page.find(at).is_some(), "{name} {scope}: {}", page.text());
            assert!(page.form(NEW_ROLE).contains(&("scope".into(), scope.into())), "{}", page.text());
        }
        let page = ada.submit(NEW_ROLE, &[("name", "New"), ("scope", "not a scope")]);
        assert_eq!(page.status, 422);
        let page = ada.submit(NEW_ROLE, &[("name", "Empty")]);
        assert_eq!(page.find("#scope .errmsg").as_deref(), Some("Choose one scope or more."), "{}", page.text());
    }

    fn scopes_are_found_for_a_role_without_scripts(app) {
        let tenant = app.fixture.tenants["acme"];
        app.write(|tx| {
            for number in 0..1000 {
                keyward::store::access::create_scope(tx, tenant, &format!("area{number:04}:read").parse().unwrap(), "")?;
            }
            Ok(())
        });
        let ada = app.signed_in("ada");
        let form = ada.open(NEW_ROLE);
        assert!(!form.body.contains("area0999:read"));
        let found = ada.send(&form, NEW_ROLE, &[("name", "Wide"), ("scope", "area0001:read"), ("find_scope", "0999"), ("offer", "1")]);
        assert_eq!(found.status, 200);
        let fields = found.form(NEW_ROLE);
        assert!(fields.contains(&("name".into(), "Wide".into())) && fields.contains(&("scope".into(), "area0001:read".into())), "{fields:?}");
        assert_eq!(found.attributes("#scope input[type=checkbox]", "value"), ["area0001:read", "area0999:read"]);
        let made = ada.send(&found, NEW_ROLE, &[("scope", "area0001:read"), ("scope", "area0999:read")]);
        done(&ada, made, "Access role “Wide” created.");
        let page = ada.open("/t/acme/access/roles?q=wide");
        assert!(page.says("area0001:read") && page.says("area0999:read"), "{}", page.text());
    }
}
