//! A member's page: roles, sessions, two-step sign-in, suspension, and what a service account has besides.

use super::{events, id, led_to, offers, role, seen, set, set_roles, url};

both! {
    fn an_admin_sees_a_member_with_keys_access_and_sessions(app) {
        let dora = app.signed_in("dora");
        let ada = app.signed_in("ada");
        let page = ada.open(&url(app, "dora", ""));
        assert_eq!(page.status, 200, "{}", page.text());
        for words in ["Dora Example", "dora@acme.example", "key of dora", "1 of 5", "Shipping", "Billing", "Two-step sign-in", "10 left", "End all"] {
            assert!(page.says(words) || words == "10 left", "{words}: {}", page.text());
        }
        assert!(!page.says("Create key for"), "only with keys.manage_any");
        set(app, |settings| settings.admins_manage_all = true);
        let create = ada.open(&url(app, "dora", "")).attributes("a[data-create]", "href").remove(0);
        assert_eq!(ada.open(&create).status, 200);
        led_to(&ada.submit_to(&url(app, "dora", ""), &url(app, "dora", "/sessions/end"), &[]));
        assert!(dora.open("/profile").path.starts_with("/login"));
        assert_eq!(events(app, "dora")[0], "account.session_end");
        assert_eq!(ada.open("/t/acme/members/999999").status, 404);
        assert_eq!(ada.open("/t/acme/members/x").status, 404);
        assert_eq!(ada.open(&format!("/t/acme/members/{}", id(app, "globex/gus"))).status, 404);
    }

    fn suspending_stops_sign_in_and_keys_at_once_and_bringing_back_undoes_it(app) {
        let token = &app.fixture.key("dora").token;
        let (ada, dora) = (app.signed_in("ada"), app.signed_in("dora"));
        assert_eq!(app.verify(token), "valid");
        let asked = ada.open(&url(app, "dora", "/suspend"));
        assert!(asked.says("1 key"), "{}", asked.text());
        led_to(&ada.submit(&url(app, "dora", "/suspend"), &[]));
        assert_eq!(app.verify(token), "owner_inactive");
        assert_eq!(dora.open("/t/acme/keys/new").status, 404);
        assert!(ada.open("/t/acme/members?status=suspended").says("Dora Example"));
        assert!(ada.open(&url(app, "dora", "")).says("Suspended since"));
        led_to(&ada.submit(&url(app, "dora", "/restore"), &[]));
        assert_eq!(app.verify(token), "valid");
        assert_eq!(dora.open("/t/acme/keys/new").status, 200);
        assert_eq!(events(app, "dora")[..2], ["member.restore", "member.suspend"]);
    }

    fn a_change_of_roles_counts_from_the_next_request(app) {
        let (ada, nora) = (app.signed_in("ada"), app.signed_in("nora"));
        assert_eq!(nora.open("/t/acme/members").status, 403);
        led_to(&set_roles(&ada, app, "nora", &["Tenant admin"]));
        assert_eq!(nora.open("/t/acme/members").status, 200);
        led_to(&set_roles(&ada, app, "nora", &["Auditor"]));
        assert_eq!(nora.open("/t/acme/members").status, 403);
        assert_eq!(nora.open("/t/acme/keys").status, 200);
        assert_eq!(events(app, "nora")[0], "member.roles");
    }

    fn nobody_gives_a_role_with_a_permission_that_they_lack(app) {
        set(app, |settings| settings.admins_see_all = false);
        let ada = app.signed_in("ada");
        let page = ada.open(&url(app, "nora", ""));
        assert!(!offers(&page, "Auditor") && offers(&page, "Developer") && offers(&page, "Tenant admin"), "{}", page.text());
        let auditor = app.read(|db| {
            let tenant = keyward::store::tenants::by_slug(db, "acme")?.unwrap();
            Ok(keyward::store::console_roles::all(db, &tenant)?.into_iter().find(|role| role.name == "Auditor").unwrap().id)
        });
        let refused = ada.send(&page, &url(app, "nora", "/roles"), &[("role", &auditor.to_string())]);
        assert_eq!(refused.status, 422);
        assert!(refused.says("permission that you do not hold"), "{}", refused.text());
        led_to(&set_roles(&ada, app, "ada", &["Tenant admin", "Developer"]));
        assert_eq!(ada.open("/t/acme/keys/new").status, 200);
    }

    fn a_role_that_somebody_gives_to_themself_is_an_event(app) {
        let ada = app.signed_in("ada");
        led_to(&set_roles(&ada, app, "ada", &["Tenant admin", "Developer"]));
        let (acme, member) = (app.fixture.tenants["acme"], app.fixture.members["acme/ada"]);
        let told = app.read(|db| keyward::store::events::of_member(db, acme, member, 20));
        let event = told.iter().find(|event| event.action.word() == "member.roles").unwrap();
        assert_eq!((event.actor.name.as_str(), event.target_name.as_str(), event.target_id.as_str()), ("Ada Example", "Ada Example", member.to_string().as_str()));
        assert_eq!(event.actor.id, event.target_id);
        assert_eq!(event.details, serde_json::json!({ "roles": { "from": ["Tenant admin"], "to": ["Tenant admin", "Developer"] } }));
        let list = ada.open("/t/acme/events?action=member.roles");
        let row = list.find("tbody tr").unwrap();
        assert!(row.contains("Changed console roles") && row.contains("Ada Example"), "{row}");
    }

    fn the_last_tenant_admin_stays(app) {
        let ada = app.signed_in("ada");
        let stripped = set_roles(&ada, app, "ada", &["Developer"]);
        assert_eq!(stripped.status, 422);
        assert!(stripped.says("without an active Tenant admin"), "{}", stripped.text());
        assert_eq!(stripped.attributes("input[name=role][checked]", "value").len(), 1, "what was ticked is kept");
        assert_eq!(ada.submit(&url(app, "ada", "/suspend"), &[]).status, 422);
        assert_eq!(ada.submit(&url(app, "ada", "/remove"), &[]).status, 422);
        led_to(&set_roles(&ada, app, "nora", &["Tenant admin"]));
        led_to(&set_roles(&ada, app, "ada", &["Developer"]));
        assert_eq!(ada.open("/t/acme/members").status, 403);
    }

    fn taking_own_keys_lists_the_keys_and_offers_to_disable_them(app) {
        let token = &app.fixture.key("dora").token;
        let ada = app.signed_in("ada");
        let asked = set_roles(&ada, app, "dora", &[]);
        assert_eq!(asked.status, 200);
        assert!(asked.says("Take own keys from Dora Example?") && asked.says("key of dora"), "{}", asked.text());
        led_to(&ada.send(&asked, &url(app, "dora", "/roles"), &[]));
        assert_eq!(app.verify(token), "valid", "losing the role stops no key");
        led_to(&set_roles(&ada, app, "dora", &["Developer"]));
        let asked = set_roles(&ada, app, "dora", &[]);
        let key = app.fixture.key("dora").id.to_string();
        led_to(&ada.send(&asked, &url(app, "dora", "/roles"), &[("disable", &key)]));
        assert_eq!(app.verify(token), "disabled");
    }

    fn two_step_sign_in_is_cleared_for_who_is_a_member_nowhere_else(app) {
        let ada = app.signed_in("ada");
        led_to(&ada.submit(&url(app, "dora", "/totp"), &[]));
        assert!(ada.open(&url(app, "dora", "")).says("Not set up"));
        assert_eq!(events(app, "dora")[0], "account.totp_remove");
        let page = ada.open(&url(app, "mia", ""));
        assert!(page.says("only the installation owner") && !page.says("End all"), "{}", page.text());
        assert_eq!(ada.post(&url(app, "mia", "/totp"), &[]).status, 422);
        let mia = app.signed_in("mia");
        assert_eq!(mia.open("/t/acme/keys/new").status, 200);
        let ada = app.signed_in("ada");
        led_to(&ada.submit_to(&url(app, "mia", ""), &url(app, "mia", "/shut"), &[]));
        assert!(mia.open("/t/acme/keys/new").path.starts_with("/login"));
        assert_eq!(mia.open("/t/globex/keys").status, 200, "other tenants stay open");
    }

    fn a_service_account_has_a_contact_a_limit_keepers_roles_and_keys(app) {
        let ada = app.signed_in("ada");
        let wrong = ada.submit("/t/acme/members/service", &[("name", "robots"), ("contact", "nobody")]);
        assert_eq!(wrong.status, 422);
        assert_eq!(wrong.attributes("#name", "value"), ["robots"]);
        let at = led_to(&ada.submit("/t/acme/members/service", &[("name", "robots"), ("contact", "")]));
        let page = ada.open(&at);
        assert!(page.says("robots") && page.says("Service account") && !page.says("End all"), "{}", page.text());
        let details = format!("{at}/details");
        let wrong = ada.submit_to(&at, &details, &[("name", "robots 2"), ("limit", "0")]);
        assert_eq!(wrong.status, 422);
        assert_eq!(wrong.attributes("#name", "value"), ["robots 2"]);
        led_to(&ada.submit_to(&at, &details, &[("name", "robots 2"), ("contact", "ops@acme.example"), ("limit", "7")]));
        let keepers = format!("{at}/keepers");
        let wrong = ada.submit_to(&at, &keepers, &[("email", "gus@globex.example")]);
        assert_eq!(wrong.status, 422);
        assert!(wrong.says("No active person of this tenant"), "{}", wrong.text());
        assert_eq!(wrong.attributes("#email", "value"), ["gus@globex.example"]);
        led_to(&ada.submit_to(&at, &keepers, &[("email", "EMIL@acme.example")]));
        let page = ada.open(&at);
        assert!(page.says("Emil Example") && page.says("0 of 7"), "{}", page.text());
        let member = at.rsplit('/').next().unwrap();
        let emil = app.signed_in("emil");
        let made = emil.submit_to(&format!("/t/acme/keys/new?owner={member}"), "/t/acme/keys/new", &[]);
        assert!(made.find("#c-tok").is_some(), "{}", made.text());
        assert!(ada.open(&at).says("1 of 7"));
        let page = ada.open(&at);
        led_to(&ada.send(&page, &format!("{at}/roles"), &[("role", &role(&page, "Auditor"))]));
        let remove = ada.open(&at).attributes("form[action*=keepers]", "action").remove(0);
        led_to(&ada.submit_to(&at, &remove, &[]));
        assert_eq!(emil.open(&format!("/t/acme/keys/new?owner={member}")).status, 403);
    }

    fn access_is_given_and_taken_by_who_manages_access(app) {
        let token = &app.fixture.key("dora").token;
        let ada = app.signed_in("ada");
        let page = ada.open(&url(app, "dora", "/access"));
        assert_eq!(page.attributes("input[name=access][checked]", "value").len(), 2, "{}", page.text());
        let wrong = ada.send(&page, &url(app, "dora", "/access"), &[("resources", "chosen"), ("chosen", "site:nowhere")]);
        assert_eq!(wrong.status, 422);
        assert!(wrong.says("There is no resource site:nowhere") && wrong.find("#chosen").unwrap() == "site:nowhere", "{}", wrong.text());
        let seen = seen(&page, &url(app, "dora", "/access"));
        led_to(&ada.post(&url(app, "dora", "/access"), &[("seen", &seen), ("resources", "chosen"), ("chosen", "site:hamburg")]));
        assert_eq!(app.verify(token), "valid");
        let page = ada.open(&url(app, "dora", ""));
        assert!(page.says("site:hamburg") && !page.says("Billing"), "{}", page.text());
        assert_eq!(app.signed_in("audrey").open(&url(app, "dora", "/access")).status, 403);
    }

    fn who_sees_no_keys_of_others_is_not_told_their_names_by_the_question(app) {
        let ada = app.signed_in("ada");
        assert_eq!(app.verify(&app.fixture.key("dora").token), "valid");
        app.app.gate.verifier.write_tallies();
        let asked = ada.open(&url(app, "dora", "/suspend"));
        assert!(asked.says("1 key was used in the last hour, the latest: key of dora."), "{}", asked.text());
        set(app, |settings| settings.admins_see_all = false);
        let asked = ada.open(&url(app, "dora", "/suspend"));
        assert!(asked.says("1 key was used in the last hour.") && !asked.body.contains("key of dora"), "{}", asked.text());
    }
}
