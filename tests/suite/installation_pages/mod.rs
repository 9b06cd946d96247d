//! The installation owner: looks after tenants, sees and stops their keys, and can do nothing else.

pub mod mail;

use keyward::store::{events, installation, tenants};

use crate::support::{Backend, TestApp, browser::Browser, spawn_with};

const LIST: &str = "/installation/tenants";

fn chain_is_whole(app: &TestApp, tenant: i64) {
    app.read(|db| events::verify(db, &app.app.secrets, tenant)).unwrap();
}

fn creates(root: &Browser, slug: &str, name: &str, seats: &str) -> crate::support::browser::Page {
    root.submit(&format!("{LIST}/new"), &[("name", name), ("slug", slug), ("admin", "first@new.example"), ("seats", seats)])
}

both! {
    fn the_installation_owner_lands_on_the_tenants_with_their_numbers(app) {
        let root = app.signed_in("root");
        let page = root.open("/");
        assert_eq!(page.path, LIST);
        assert_eq!(page.texts(".nav a"), ["Tenants", "Keys of all tenants", "People", "Mail"]);
        let acme = page.find("#tenant-acme").unwrap();
        // Seven members with the service account, three keys, and three Developers.
        assert!(acme.contains("/t/acme Active Ada Example 7 3 3 active 3"), "{acme}");
        assert!(page.find("#tenant-globex").unwrap().contains("Gus Example 2 1 1 active 1"));
        assert_eq!(root.open(&format!("{LIST}?q=GLOB")).texts("tbody tr").len(), 1);
        assert!(root.open(&format!("{LIST}?q=nothing")).says("No tenant matches"));
    }

    fn nobody_else_finds_its_pages(app) {
        for name in ["ada", "gus", "nora"] {
            let person = app.signed_in(name);
            for path in [LIST, "/installation/tenants/new", "/installation/tenants/acme/edit", "/installation/tenants/acme/suspend", "/installation/keys"] {
                assert_eq!(person.get(path).status, 404, "{name} {path}");
            }
            person.open("/profile");
            for path in ["/installation/tenants/acme/suspend", "/installation/tenants/acme/restore", "/installation/tenants/new"] {
                assert_eq!(person.post(path, &[]).status, 404, "{name} {path}");
            }
        }
        assert!(app.browser().get(LIST).location().unwrap().starts_with("/login"));
    }

    fn a_new_tenant_has_api_keys_off_and_an_invitation_for_its_first_admin(app) {
        let root = app.signed_in("root");
        let page = creates(&root, "northgate", "Northgate Foods", "20");
        assert_eq!(page.status, 200, "{}", page.text());
        let link = page.find("#c-link").unwrap();
        assert!(link.starts_with(&format!("{}/invite/kwi_", app.url)), "{link}");
        assert!(!root.open(LIST).body.contains("kwi_"), "the link is shown once");
        let row = root.open(LIST).find("#tenant-northgate").unwrap();
        assert!(row.contains("Keys are off None active 0 0 all refused 0 of 20"), "{row}");
        let tenant = app.read(|db| tenants::by_slug(db, "northgate")).unwrap();
        assert!(!tenant.settings.keys_enabled);
        assert_eq!(tenant.seats, Some(20));
        chain_is_whole(app, tenant.id.number());
        chain_is_whole(app, events::INSTALLATION);
    }

    fn a_wrong_field_keeps_what_was_typed(app) {
        let root = app.signed_in("root");
        for (slug, admin, seats, wrong) in [
            ("Not Good", "a@b.example", "", "slug"),
            ("acme", "a@b.example", "", "slug"),
            ("fine", "nobody", "", "admin"),
            ("fine", "root@acme.example", "", "admin"),
            ("fine", "a@b.example", "-1", "seats"),
        ] {
            let path = format!("{LIST}/new");
            let page = root.submit(&path, &[("name", "Kept name"), ("slug", slug), ("admin", admin), ("seats", seats)]);
            assert_eq!(page.status, 422, "{slug} {admin} {seats}");
            assert!(page.find(&format!("#{wrong}-e")).is_some(), "{wrong}: {}", page.text());
            assert!(page.form(&path).contains(&("name".into(), "Kept name".into())));
            assert!(page.form(&path).contains(&("slug".into(), slug.into())));
        }
        assert_eq!(app.read(tenants::all).len(), 2);
    }

    fn a_tenant_gets_another_name_and_seats_and_both_are_events(app) {
        let root = app.signed_in("root");
        let path = format!("{LIST}/acme/edit");
        assert_eq!(root.submit(&path, &[("name", "Acme Freight"), ("seats", "2")]).status, 303);
        let page = root.open(LIST);
        assert!(page.find("#tenant-acme").unwrap().contains("3 of 2"), "fewer seats take none away");
        assert!(page.says("Acme Freight"));
        let told = app.signed_in("ada").open("/t/acme/settings");
        assert!(told.says("Acme Freight"));
        chain_is_whole(app, app.fixture.tenants["acme"].number());
        assert_eq!(root.get("/installation/tenants/nowhere/edit").status, 404);
    }

    fn a_tenant_with_an_active_admin_gets_none_from_the_installation_owner(app) {
        let root = app.signed_in("root");
        let path = format!("{LIST}/acme/admin");
        root.open(LIST);
        for answer in [root.get(&path), root.post(&path, &[("admin", "nora@acme.example")])] {
            assert_eq!(answer.status, 409, "{}", answer.text());
            assert!(answer.says("Acme has a Tenant admin") && answer.says("who can name others. Nothing was changed."), "{}", answer.text());
            assert_eq!(answer.attributes("main .card a", "href"), [LIST]);
        }
        let dialog = root.get_with(&path, &[("hx-request", "true")]);
        assert!(dialog.status == 409 && dialog.body.contains("dialog-title") && !dialog.body.contains("<html"), "{}", dialog.body);
        assert_eq!(app.signed_in("nora").get("/t/acme/members").status, 403);
    }

    fn a_suspended_tenant_refuses_its_keys_and_all_but_its_admins_until_it_is_back(app) {
        let root = app.signed_in("root");
        let (ada, dora) = (app.signed_in("ada"), app.signed_in("dora"));
        ada.open("/t/acme/settings");
        assert!(root.open(&format!("{LIST}/acme/suspend")).says("3 active keys"));
        assert_eq!(root.submit(&format!("{LIST}/acme/suspend"), &[]).status, 303);
        assert!(root.open(LIST).find("#tenant-acme").unwrap().contains("Suspended"));
        assert_eq!(dora.get("/t/acme/keys/new").status, 403);
        assert_eq!(app.verify(&app.fixture.key("emil").token), "tenant_disabled");
        assert_eq!(ada.get("/t/acme/settings").status, 200, "admins may read");
        let saved = ada.submit_to("/t/acme/settings", "/t/acme/settings/admins", &[("see_all", "on")]);
        assert_eq!(saved.status, 403, "but change nothing");
        assert_eq!(root.submit(&format!("{LIST}/acme/restore"), &[]).status, 303);
        assert_eq!(dora.get("/t/acme/keys/new").status, 200);
        assert_eq!(app.verify(&app.fixture.key("emil").token), "valid");
        chain_is_whole(app, app.fixture.tenants["acme"].number());
    }

    fn an_admin_is_named_only_where_no_active_one_is_left(app) {
        let root = app.signed_in("root");
        assert_eq!(root.get(&format!("{LIST}/acme/admin")).status, 409);
        let (acme, ada) = (app.fixture.tenants["acme"], app.fixture.members["acme/ada"]);
        app.write(|tx| keyward::store::members::set_suspended(tx, acme, ada, true));
        assert!(root.open(LIST).find("#tenant-acme").unwrap().contains("None active"));
        let path = format!("{LIST}/acme/admin");
        assert_eq!(root.submit(&path, &[("admin", "ada@acme.example")]).status, 422, "she is suspended");
        let invited = root.submit(&path, &[("admin", "new@acme.example")]);
        assert!(invited.find("#c-link").unwrap().contains("/invite/kwi_"));
        assert_eq!(root.submit(&path, &[("admin", "dora@acme.example")]).status, 303);
        assert!(root.open(LIST).find("#tenant-acme").unwrap().contains("Dora Example"));
        let tenant = app.read(|db| tenants::by_slug(db, "acme")).unwrap();
        assert_eq!(app.read(|db| installation::holders(db, &tenant)).0, ["Dora Example"]);
        assert_eq!(root.post(&path, &[("admin", "emil@acme.example")]).status, 409);
        chain_is_whole(app, acme.number());
    }

    fn the_grid_has_the_keys_of_all_tenants_filtered_and_paged(app) {
        let root = app.signed_in("root");
        let names = |path: &str| root.open(path).texts("tbody .name");
        let page = root.open("/installation/keys");
        assert_eq!(names("/installation/keys"), ["key of gus", "key of ci", "key of emil", "key of dora"]);
        assert!(page.find("tbody tr").unwrap().contains("Globex"));
        assert_eq!(page.find("#tab-1").unwrap(), "All 4");
        assert_eq!(names("/installation/keys?tenant=globex"), ["key of gus"]);
        assert_eq!(names("/installation/keys?q=emil"), ["key of emil"]);
        assert_eq!(names("/installation/keys?status=revoked"), Vec::<String>::new());
        assert!(!page.body.contains("/roll") && !page.body.contains("/renew") && !page.body.contains("/edit"));
        let (acme, globex) = (app.fixture.tenants["acme"], app.fixture.tenants["globex"]);
        app.write(|tx| {
            for (tenant, owner, count) in [(acme, "acme/emil", 70), (globex, "globex/gus", 60)] {
                let owner = keyward::store::members::find(tx, tenant, app.fixture.members[owner])?.unwrap();
                let reach = keyward::store::members::acting(tx, if tenant == acme { "acme" } else { "globex" }, owner.account.unwrap())?.unwrap().reach();
                let first = app.fixture.key(if tenant == acme { "emil" } else { "gus" }).id;
                let model = keyward::store::keys::find(tx, &reach, first)?.unwrap();
                for n in 0..count {
                    let id = keyward::domain::token::fresh_id(&mut keyward::chance::fill);
                    let key = keyward::domain::key::Key { id, name: format!("bulk {n}").parse().unwrap(), ..model.clone() };
                    keyward::store::keys::insert(tx, &key, &owner, keyward::domain::token::SecretHash([7; 32]), 1)?;
                }
            }
            Ok(())
        });
        let mut seen: Vec<String> = Vec::new();
        let mut path = "/installation/keys?q=bulk".to_owned();
        let mut before = Vec::new();
        loop {
            let page = root.open(&path);
            before.push(page.texts("tbody .id"));
            seen.extend(page.texts("tbody .id"));
            match page.attributes("a[rel=next]", "href").into_iter().next() {
                Some(next) => path = next,
                None => break,
            }
        }
        assert_eq!((seen.len(), before.len()), (130, 3));
        assert_eq!(seen.iter().collect::<std::collections::BTreeSet<_>>().len(), 130, "each key once");
        let back = root.open(&path).attributes("a[rel=prev]", "href").remove(0);
        assert_eq!(root.open(&back).texts("tbody .id"), before[1], "and the same on the way back");
    }

    fn a_key_of_any_tenant_is_seen_with_its_events_and_nothing_else_of_the_tenant(app) {
        let root = app.signed_in("root");
        let id = app.fixture.key("gus").id;
        let page = root.open(&format!("/installation/keys/{id}"));
        assert!(page.says("key of gus") && page.says("Globex") && page.says("created the key"), "{}", page.text());
        for path in ["", "/keys", "/settings", "/keys/new", "/keys.csv", "/events", "/members", "/explain", "/gateways"] {
            assert_eq!(root.get(&format!("/t/globex{path}")).status, 404, "{path}");
        }
        for verb in ["edit", "roll", "renew", "enable", "disable", "finish", "revoke", "delete"] {
            assert_eq!(root.get(&format!("/t/globex/keys/{id}/{verb}")).status, 404, "{verb}");
            assert_eq!(root.post(&format!("/t/globex/keys/{id}/{verb}"), &[]).status, 404, "{verb}");
        }
        for verb in ["edit", "roll", "renew", "enable", "disable", "extend"] {
            assert_eq!(root.get(&format!("/installation/keys/{id}/{verb}")).status, 404, "{verb}");
            assert_eq!(root.post(&format!("/installation/keys/{id}/{verb}"), &[]).status, 404, "{verb}");
        }
        assert_eq!(root.get("/installation/keys/0000000000000000").status, 404);
    }

    fn revoking_and_deleting_stop_a_key_and_are_events_of_the_tenant_by_the_installation_owner(app) {
        let root = app.signed_in("root");
        let (gus, emil) = (app.fixture.key("gus").id, app.fixture.key("emil").id);
        let path = format!("/installation/keys/{gus}/revoke");
        assert_eq!(root.submit(&path, &[("reason", "found in a repository")]).status, 303);
        assert!(root.open(&format!("/installation/keys/{gus}")).says("Reason: found in a repository"));
        assert_eq!(root.post(&path, &[]).status, 400, "once is for good");
        let seen = app.signed_in("gus").open(&format!("/t/globex/keys/{gus}"));
        assert!(seen.says("Revoked on") && seen.says("Root Example"), "{}", seen.text());

        let path = format!("/installation/keys/{emil}/delete");
        assert_eq!(root.submit(&path, &[("confirm", "no")]).status, 422);
        assert_eq!(root.submit(&path, &[("confirm", "delete"), ("seen", "99")]).status, 409, "it was changed meanwhile");
        assert_eq!(root.submit(&path, &[("confirm", "delete")]).status, 303);
        assert_eq!(root.get(&format!("/installation/keys/{emil}")).status, 404);
        let acme = app.fixture.tenants["acme"];
        let told = app.read(|db| events::of_key(db, acme, emil, 10));
        let told: Vec<_> = told.iter().map(|event| (event.actor.kind.as_str(), event.action.word())).collect();
        assert_eq!(told, [("installation_owner", "key.delete"), ("installation_owner", "key.revoke"), ("member", "key.create")]);
        chain_is_whole(app, acme.number());
        chain_is_whole(app, app.fixture.tenants["globex"].number());
    }

    fn nobody_but_the_installation_owner_reaches_a_key_there(app) {
        let id = app.fixture.key("gus").id;
        for name in ["gus", "ada"] {
            let person = app.signed_in(name);
            person.open("/profile");
            for end in ["", "/revoke", "/delete"] {
                assert_eq!(person.get(&format!("/installation/keys/{id}{end}")).status, 404);
            }
            for end in ["/revoke", "/delete"] {
                assert_eq!(person.post(&format!("/installation/keys/{id}{end}"), &[("confirm", "delete"), ("seen", "1")]).status, 404);
            }
        }
    }

    fn into_a_suspended_tenant_only_its_admins_sign_in(app) {
        let (dora, mia) = (app.signed_in("dora"), app.signed_in("mia"));
        let root = app.signed_in("root");
        assert_eq!(root.submit(&format!("{LIST}/acme/suspend"), &[]).status, 303);
        let person = app.person("dora");
        let refused = app.browser().submit("/login", &[("email", &person.email), ("password", person.password)]);
        assert_eq!(refused.status, 422, "{}", refused.text());
        let wrong = app.browser().submit("/login", &[("email", &person.email), ("password", "not her password")]);
        assert_eq!(refused.text().replace(&person.email, ""), wrong.text().replace(&person.email, ""), "the same words");
        // Who was signed in sees why there are no keys, and is offered nothing.
        let page = dora.open("/profile?tenant=acme");
        assert!(page.says("Acme is suspended.") && !page.says("key of dora") && !page.body.contains("/keys/new"), "{}", page.text());
        // Her other tenant lets mia in.
        assert_eq!(mia.open("/profile?tenant=globex").status, 200);
        app.signed_in("mia");
        let ada = app.signed_in("ada");
        let grid = ada.open("/t/acme/keys");
        assert!(grid.says("key of dora"), "{}", grid.text());
        for verb in ["/edit", "/roll", "/renew", "/disable", "/revoke", "/delete", "/hand-over"] {
            assert!(!grid.body.contains(&format!("{}{verb}", app.fixture.key("dora").id)), "{verb} is drawn");
        }
        assert_eq!(root.submit(&format!("{LIST}/acme/restore"), &[]).status, 303);
        assert!(app.signed_in("dora").open("/profile?tenant=acme").says("key of dora"));
    }
}

#[test]
fn a_tenants_own_name_leads_to_its_pages() {
    let app = spawn_with(Backend::Sqlite, &[("tenant_domain", "keys.example")]);
    let led_to = |host: &str| app.call("GET", "/login", &[("host", host)], None).location().unwrap();
    assert_eq!(led_to("acme.keys.example"), format!("{}/t/acme", app.url));
    assert_eq!(led_to("ACME.keys.example:443"), format!("{}/t/acme", app.url));
    for other in ["keys.example", "evil.example", "a.b.keys.example", "acmekeys.example", "acme.keys.example.evil.example"] {
        assert_eq!(led_to(other), format!("{}/login", app.url), "{other}");
    }
    // Gateways may ask under any name.
    assert_eq!(app.call("GET", "/healthz", &[("host", "acme.keys.example")], None).status, 200);
    assert!(app.browser().open("/t/acme").path.starts_with("/login"), "and there one signs in");
}
