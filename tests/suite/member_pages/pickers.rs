//! Choosing one of very many members, and some of very many resources, without scripts.

use keyward::{
    domain::access::ResourceSet,
    store::{access, members},
};

use super::{NEW_PASSWORD, invite, led_to, set, url};
use crate::{key_pages::token_of, support::TestApp};

const NEW: &str = "/t/acme/keys/new";

/// Sixty more members of acme, by name after all others; the ID of the last.
fn sixty_members(app: &TestApp) -> String {
    let acme = app.fixture.tenants["acme"];
    app.write(|tx| {
        let mut last = None;
        for number in 0..60 {
            last = Some(members::create(tx, acme, None, &format!("Zed {number:02}"), &format!("zed{number}@machines.example"))?);
        }
        Ok(last.unwrap().to_string())
    })
}

/// Sixty more resources of acme, by name after all others of their kind.
fn sixty_resources(app: &TestApp) {
    let acme = app.fixture.tenants["acme"];
    app.write(|tx| {
        for number in 0..60 {
            access::create_resource(tx, acme, &format!("site:z{number:02}").parse().unwrap(), "")?;
        }
        Ok(())
    });
}

fn resources(app: &TestApp, member: &str) -> ResourceSet {
    app.read(|db| access::held_by(db, app.fixture.tenants["acme"], app.fixture.members[member])).resources
}

fn set_of(names: &[&str]) -> ResourceSet {
    ResourceSet::Chosen(names.iter().map(|name| name.parse().unwrap()).collect())
}

both! {
    fn the_owner_of_a_key_is_found_among_very_many_and_nothing_typed_is_lost(app) {
        let last = sixty_members(app);
        set(app, |settings| settings.admins_manage_all = true);
        let ada = app.signed_in("ada");
        let page = ada.open(NEW);
        let offered = page.attributes("#owner option", "value");
        assert_eq!(offered.len(), 50, "{offered:?}");
        assert!(!offered.contains(&last) && page.says("The first 50 are listed."), "{}", page.text());
        // Enter in the search sends the form as it is; nothing is made by that.
        let found = ada.send(&page, NEW, &[("name", "Returns portal"), ("comment", "typed"), ("find_owner", "zed 59")]);
        assert_eq!(found.status, 200, "{}", found.text());
        assert_eq!(crate::key_pages::count(app, "ada"), 0);
        assert_eq!(found.texts("#owner option"), ["Ada Example (ada@acme.example)", "Zed 59 (service account)"]);
        assert_eq!(found.attributes("#owner option[selected]", "value"), [app.fixture.members["acme/ada"].to_string()]);
        assert!(found.says("1 member matches."));
        assert_eq!((found.attributes("#name", "value"), found.find("#comment").unwrap()), (vec!["Returns portal".to_owned()], "typed".to_owned()));
        // By address, too.
        let found = ada.send(&found, NEW, &[("find_owner", "ZED59@machines"), ("offer", "1")]);
        assert_eq!(found.texts("#owner option").len(), 2);
        let chosen = ada.send(&found, NEW, &[("owner", &last), ("offer", "1")]);
        assert!(chosen.says("0 of 5 keys used."), "{}", chosen.text());
        token_of(&ada.send(&chosen, NEW, &[]));
        assert!(ada.open(&format!("/t/acme/keys?owner={last}")).says("Returns portal"));
        let nobody = ada.send(&ada.open(NEW), NEW, &[("find_owner", "nobody of that name")]);
        assert!(nobody.says("No member matches.") && nobody.texts("#owner option").len() == 1, "{}", nobody.text());
    }

    fn the_owner_of_a_key_for_a_new_resource_is_found_too(app) {
        let last = sixty_members(app);
        set(app, |settings| settings.admins_manage_all = true);
        crate::access_pages::make_developer(app, "ada");
        let ada = app.signed_in("ada");
        let path = "/t/acme/access/resources/new";
        let page = ada.open(path);
        let found = ada.send(&page, path, &[("key", "yes"), ("kind", "site"), ("name", "bremen"), ("find_owner", "zed 59")]);
        assert_eq!(found.status, 200, "{}", found.text());
        assert_eq!(found.attributes("input[name=name]", "value"), ["bremen"]);
        assert!(found.attributes("#owner option", "value").contains(&last));
        token_of(&ada.send(&found, path, &[("owner", &last)]));
        assert!(ada.open(&format!("/t/acme/keys?owner={last}")).says("site:bremen"));
    }

    fn filters_by_member_find_one_of_very_many(app) {
        let last = sixty_members(app);
        let ada = app.signed_in("ada");
        for (path, name) in [("/t/acme/keys", "owner"), ("/t/acme/events", "member")] {
            let page = ada.open(path);
            let options = format!("#f-{name} option");
            assert_eq!(page.attributes(&options, "value").iter().filter(|value| !value.is_empty()).count(), 50, "{path}");
            let found = ada.open(&format!("{path}?find_{name}=zed+59&{name}="));
            assert!(found.attributes(&options, "value").contains(&last), "{path}: {:?}", found.texts(&options));
            assert_eq!(found.attributes(&format!("#find_{name}"), "value"), ["zed 59"]);
            // With a script only the options come.
            let target = format!("f-{name}");
            let part = ada.get_with(&format!("{path}?find_{name}=zed+59&{name}={last}"), &[("hx-request", "true"), ("hx-target", &target)]);
            assert!(part.body.trim_start().starts_with("<option") && part.body.contains(&format!("value=\"{last}\" selected")), "{}", part.body);
            // Who is chosen stays, though the first ones come before.
            let chosen = ada.open(&format!("{path}?{name}={last}"));
            assert_eq!(chosen.attributes(&format!("{options}[selected]"), "value"), [last.as_str()], "{path}");
        }
        let dora = app.signed_in("dora").get_with("/t/acme/events?find_member=zed", &[("hx-request", "true"), ("hx-target", "f-member")]);
        assert!(!dora.body.contains("Zed"), "{}", dora.body);
    }

    fn the_resources_of_a_member_are_found_among_very_many(app) {
        sixty_resources(app);
        let ada = app.signed_in("ada");
        let path = url(app, "emil", "/access");
        let page = ada.open(&path);
        assert_eq!(page.attributes("input[name=resource][checked]", "value"), ["site:rotterdam"]);
        let found = ada.send(&page, &path, &[("find_resource", "z59"), ("chosen", "data:tariffs")]);
        assert_eq!(found.status, 200, "{}", found.text());
        assert_eq!(resources(app, "acme/emil"), set_of(&["site:rotterdam"]), "a search saves nothing");
        assert_eq!(found.attributes("input[name=resource]", "value"), ["site:rotterdam", "site:z59"]);
        assert_eq!(found.find("#chosen").unwrap(), "data:tariffs");
        led_to(&ada.send(&found, &path, &[("resource", "site:rotterdam"), ("resource", "site:z59")]));
        assert_eq!(resources(app, "acme/emil"), set_of(&["data:tariffs", "site:rotterdam", "site:z59"]));
    }

    fn the_resources_of_an_invitation_are_found_among_very_many(app) {
        sixty_resources(app);
        let ada = app.signed_in("ada");
        let path = "/t/acme/members/invite";
        let page = ada.open(path);
        let found = ada.send(&page, path, &[("email", "new@acme.example"), ("resources", "chosen"), ("find_resource", "z59"), ("offer", "1")]);
        assert_eq!((found.status, found.attributes("#email", "value")), (200, vec!["new@acme.example".to_owned()]), "{}", found.text());
        let sent = ada.send(&found, path, &[("resource", "site:z59")]);
        assert_eq!(sent.status, 200, "{}", sent.text());
        let link = sent.find("#c-link").unwrap();
        let guest = app.browser();
        led_to(&guest.submit(&link[link.find("/invite/").unwrap()..], &[("name", "New"), ("new_password", NEW_PASSWORD)]));
        let held = app.read(|db| {
            let found = members::search(db, app.fixture.tenants["acme"], "new@acme.example", true, 1)?;
            access::held_by(db, app.fixture.tenants["acme"], found[0].id)
        });
        assert_eq!(held.resources, set_of(&["site:z59"]));
        assert!(invite(&ada, "other@acme.example", &[]).starts_with("/invite/"));
    }
}
