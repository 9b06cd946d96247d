//! Keys are off until the tenant's admin turns them on; making one takes a seat and the role Developer; admins only revoke; a
//! member may have a thousand.

use keyward::{
    chance,
    domain::{
        key::Key,
        token::{SecretHash, fresh_id},
    },
    store::{keys, members, tenants},
};

use super::{code, creates, invites, joins, link, saves};
use crate::key_pages::token_of;

both! {
    fn keys_are_switched_on_and_making_one_takes_a_seat(app) {
        let root = app.signed_in("root");
        let fields = [("name", "Northgate Foods"), ("slug", "northgate"), ("admin", "elif@northgate.example"), ("seats", "2")];
        let created = root.submit("/installation/tenants/new", &fields);
        let elif = joins(app, &link(&created), "Elif Aydın");
        let dev = joins(app, &link(&invites(&elif, "northgate", "dev@northgate.example", &["Developer"])), "Dev One");

        // Off: no key is made, by nobody.
        assert_ne!(dev.get("/t/northgate/keys/new").status, 303);
        assert!(dev.open("/t/northgate/keys/new").says("off") , "{}", dev.open("/t/northgate/keys/new").text());
        assert_eq!(dev.post("/t/northgate/settings/keys", &[]).status, 403, "a developer does not turn them on");
        saves(&elif, "northgate", "limits", &[], &[("per_member", "1000")]);
        saves(&elif, "northgate", "admins", &["see_all"], &[]);
        let question = elif.open("/t/northgate/settings/keys");
        assert_eq!(elif.send(&question, "/t/northgate/settings/keys", &[]).status, 303);
        let (token, id) = token_of(&creates(&dev, "northgate", "first"));
        assert_eq!(code(app, "northgate", &token), "valid");

        // The admin has no seat and no key; the role is what takes one.
        assert_eq!(elif.get("/t/northgate/keys/new").status, 403);
        assert!(root.open("/installation/tenants?q=northgate").says("1 of 2"));
        joins(app, &link(&invites(&elif, "northgate", "two@northgate.example", &["Developer"])), "Dev Two");
        let third = invites(&elif, "northgate", "three@northgate.example", &["Developer"]);
        assert_eq!(third.status, 422, "{}", third.text());
        assert!(third.says("2 seats"), "{}", third.text());
        let auditor = joins(app, &link(&invites(&elif, "northgate", "four@northgate.example", &["Auditor"])), "Audit Four");
        assert_eq!(auditor.get("/t/northgate/keys/new").status, 403, "an Auditor takes none");

        // Up to a thousand: the rest is put in by hand, because pages make one at a time.
        app.write(|tx| {
            let tenant = tenants::by_slug(tx, "northgate")?.unwrap();
            let account = keyward::store::accounts::by_email(tx, "dev@northgate.example")?.unwrap().id;
            let acting = members::acting(tx, "northgate", account)?.unwrap();
            let owner = members::find(tx, tenant.id, acting.id)?.unwrap();
            let model = keys::find(tx, &acting.reach(), keyward::domain::ids::KeyId::parse(&id).unwrap())?.unwrap();
            for n in 0..998 {
                let key = Key { id: fresh_id(&mut chance::fill), name: format!("bulk {n}").parse().unwrap(), ..model.clone() };
                keys::insert(tx, &key, &owner, SecretHash([7; 32]), 1)?;
            }
            Ok(())
        });
        token_of(&creates(&dev, "northgate", "the thousandth"));
        let more = dev.open("/t/northgate/keys/new");
        assert!(more.says("1000") || more.says("1,000"), "{}", more.text());
        assert!(!more.body.contains("name=\"form_id\"") || creates(&dev, "northgate", "one more").status >= 400);

        // Admins only revoke.
        let url = |end: &str| format!("/t/northgate/keys/{id}{end}");
        assert!(elif.open(&url("")).says("first"));
        for end in ["/edit", "/roll", "/renew", "/enable", "/delete"] {
            let answer = elif.get(&url(end));
            assert!([403, 409].contains(&answer.status), "{end}: {}", answer.status);
        }
        assert_eq!(code(app, "northgate", &token), "valid");
        assert_eq!(elif.submit(&url("/revoke"), &[("reason", "contract ended")]).status, 303);
        assert_eq!(code(app, "northgate", &token), "revoked");
    }
}
