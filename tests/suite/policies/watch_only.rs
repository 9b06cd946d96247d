//! The installation owner only sees, revokes and deletes; everybody else sees only their own keys.

use super::{code, gives, member, saves};
use crate::key_pages::url;

both! {
    fn the_installation_owner_watches_and_nobody_sees_anothers_keys(app) {
        let ada = app.signed_in("ada");
        saves(&ada, "acme", "admins", &[], &[]);
        // An Auditor would see every key; here they are a Developer like the others, and so is the admin.
        assert_eq!(gives(&ada, &member(app, "audrey"), &["Developer"]).status, 303);
        assert_eq!(gives(&ada, &member(app, "ada"), &["Tenant admin", "Developer"]).status, 303);

        let keys: Vec<_> = ["dora", "emil"].map(|name| app.fixture.key(name)).to_vec();
        for (name, hidden) in [("ada", "emil"), ("audrey", "emil"), ("emil", "dora"), ("dora", "emil")] {
            let person = app.signed_in(name);
            let id = app.fixture.key(hidden).id.to_string();
            assert!(person.open("/t/acme/keys").path.starts_with("/profile"), "{name}");
            assert!(!person.open("/t/acme/keys").says(&format!("key of {hidden}")));
            for end in ["", "/edit", "/roll", "/revoke", "/delete", "/disable"] {
                assert_eq!(person.get(&url(&id, end)).status, 404, "{name} {end}");
            }
            assert!(!person.get("/t/acme/keys.csv").body.contains(&id), "{name}");
            assert!(!person.open("/t/acme/events").body.contains(&id), "{name}");
            assert_eq!(person.open(&format!("/t/acme/events?key={id}")).texts("tbody tr").len(), 0, "{name}");
        }
        let emil = app.signed_in("emil");
        assert!(emil.open("/profile?tenant=acme").says("key of emil"));

        let root = app.signed_in("root");
        let grid = root.open("/installation/keys?tenant=acme");
        assert_eq!(grid.texts("tbody .name").len(), 3);
        for key in &keys {
            for verb in ["edit", "roll", "renew", "enable", "disable", "finish", "extend", "hand-over"] {
                assert_eq!(root.get(&format!("/installation/keys/{}/{verb}", key.id)).status, 404, "{verb}");
                assert_eq!(root.get(&url(key.id.as_str(), &format!("/{verb}"))).status, 404, "{verb}");
            }
        }
        assert_eq!(root.get("/t/acme/keys/new").status, 404);
        assert_eq!(root.submit(&format!("/installation/keys/{}/revoke", keys[0].id), &[("reason", "leaked")]).status, 303);
        assert_eq!(root.submit(&format!("/installation/keys/{}/delete", keys[1].id), &[("confirm", "delete")]).status, 303);
        assert_eq!(code(app, "acme", &keys[0].token), "revoked");
        assert_eq!(code(app, "acme", &keys[1].token), "not_found");
        // The owner reads who did it and why.
        let dora = app.signed_in("dora");
        assert!(dora.open(&url(keys[0].id.as_str(), "")).says("leaked"));
        assert!(dora.open("/t/acme/events").says("Root Example"));
    }
}
