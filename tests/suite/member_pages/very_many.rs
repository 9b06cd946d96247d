//! Members with more keys than a form has room for.

use keyward::{
    chance,
    domain::{
        ids::KeyId,
        key::Key,
        token::{SecretHash, fresh_id},
    },
    store::{keys, members},
};

use super::{id, led_to, url};
use crate::support::TestApp;

/// Gives a member so many more keys.
fn fill(app: &TestApp, owner: &str, count: usize) {
    let (acme, member, id) = (app.fixture.tenants["acme"], app.fixture.members[&format!("acme/{owner}")], app.fixture.key(owner).id);
    app.write(|tx| {
        let reach = members::acting(tx, "acme", app.person("ada").account)?.unwrap().reach();
        let owner = members::find(tx, acme, member)?.unwrap();
        let model = keys::find(tx, &reach, id)?.unwrap();
        for n in 0..count {
            let key = Key { id: fresh_id(&mut chance::fill), name: format!("bulk {n}").parse().unwrap(), ..model.clone() };
            keys::insert(tx, &key, &owner, SecretHash([7; 32]), 1)?;
        }
        Ok(())
    });
}

/// How many keys of a member are not revoked.
fn left(app: &TestApp, owner: &str) -> i64 {
    app.read(|db| keys::count_for_limit(db, app.fixture.tenants["acme"], app.fixture.members[&format!("acme/{owner}")]))
}

fn owner(app: &TestApp, key: KeyId) -> String {
    app.read(|db| {
        let reach = members::acting(db, "acme", app.person("ada").account)?.unwrap().reach();
        Ok(keys::find(db, &reach, key)?.unwrap().owner.to_string())
    })
}

both! {
    fn a_member_with_a_thousand_keys_is_removed(app) {
        fill(app, "emil", 999);
        let ada = app.signed_in("ada");
        let at = url(app, "emil", "/remove");
        let page = ada.open(&at);
        assert!(page.says("1000 keys of Emil Example"), "{}", page.find("h2").unwrap_or_default());
        let some = ada.send(&page, &at, &[]);
        assert_eq!(some.status, 422);
        // The newest goes another way than the others.
        let newest = page.attributes("input[name=key]", "value").remove(0);
        let form = page.form(&at);
        let mut fields: Vec<(&str, &str)> = Vec::new();
        let dora = id(app, "acme/dora");
        let mut first = true;
        for (name, value) in &form {
            match name.as_str() {
                "all" => fields.push(("all", "revoke")),
                "fate" if first => {
                    fields.push(("fate", &dora));
                    first = false;
                }
                _ => fields.push((name, value)),
            }
        }
        let last = ada.post(&at, &fields);
        assert_eq!(last.status, 200, "{}", last.text());
        assert!(last.says("Revoked: 999 keys") && last.says("Handed over: 1 key"), "{}", last.text());
        led_to(&ada.send(&last, &at, &[("totp", &app.code("ada"))]));
        assert_eq!(left(app, "emil"), 0);
        assert_eq!(owner(app, KeyId::parse(&newest).unwrap()), dora);
        assert_eq!(app.verify(&app.fixture.key("emil").token), "owner_inactive");
    }

    fn a_service_account_with_1600_keys_hands_all_of_them_over(app) {
        fill(app, "ci", 1599);
        let ada = app.signed_in("ada");
        let at = url(app, "ci", "/remove");
        let last = ada.submit(&at, &[("all", &id(app, "acme/dora"))]);
        assert!(last.says("Handed over: 1600 keys"), "{} {}", last.status, last.find("h2").unwrap_or_default());
        led_to(&ada.send(&last, &at, &[]));
        assert_eq!((left(app, "ci"), left(app, "dora")), (0, 1601));
        assert_eq!(app.verify(&app.fixture.key("ci").token), "valid");
    }

    fn who_leaves_with_1600_keys_leaves_none_that_works(app) {
        fill(app, "dora", 1599);
        let dora = app.signed_in("dora");
        let at = "/profile/tenants/acme/leave";
        let page = dora.open(at);
        assert!(page.says("These 1600 keys are revoked"), "{}", page.find("main p").unwrap_or_default());
        led_to(&dora.send(&page, at, &[("totp", &app.code("dora"))]));
        assert_eq!(left(app, "dora"), 0);
    }
}
