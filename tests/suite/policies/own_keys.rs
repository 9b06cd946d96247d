//! Any member makes up to five keys of their own; an admin manages everyone's.

use super::{creates, gives, member, saves};
use crate::key_pages::{token_of, url};

both! {
    fn five_own_keys_for_every_member_and_all_of_them_for_an_admin(app) {
        let ada = app.signed_in("ada");
        saves(&ada, "acme", "limits", &[], &[("per_member", "5")]);
        saves(&ada, "acme", "admins", &["see_all", "manage_all", "delete"], &[]);

        // Somebody without a console role makes no key; the role Developer is what opens it.
        let nora = app.signed_in("nora");
        assert_eq!(nora.get("/t/acme/keys/new").status, 403);
        assert_eq!(gives(&ada, &member(app, "nora"), &["Developer"]).status, 303);
        let new = "/t/acme/keys/new";
        let in_time = nora.open(new);
        let made: Vec<_> = (1..=5).map(|n| token_of(&creates(&nora, "acme", &format!("nora {n}")))).collect();
        for (token, _) in &made {
            assert_eq!(app.verify(token), "valid");
        }
        assert!(!nora.open(new).body.contains("name=\"form_id\""), "a sixth is not offered");
        // A form that was opened while there was room makes none either.
        let sixth = nora.send(&in_time, new, &[("name", "nora 6")]);
        assert!(sixth.status >= 400 && sixth.find("#c-tok").is_none(), "{}: {}", sixth.status, sixth.text());
        assert_eq!(nora.open("/profile?tenant=acme").texts("tbody .name").len(), 5);

        // Her own keys are hers alone, but for admins.
        let emil = app.signed_in("emil");
        let (token, id) = &made[0];
        assert_eq!(emil.get(&url(id, "")).status, 404);
        assert_eq!(emil.post(&url(id, "/revoke"), &[]).status, 404);
        assert_eq!(nora.submit(&url(id, "/edit"), &[("name", "renamed by nora")]).status, 303);

        let admin = ada.open(&url(id, ""));
        assert!(admin.says("renamed by nora"));
        assert_eq!(ada.submit(&url(id, "/edit"), &[("comment", "looked after by ada")]).status, 303);
        assert_eq!(ada.submit(&url(id, "/disable"), &[]).status, 303);
        assert_eq!(app.verify(token), "disabled");
        assert_eq!(ada.submit(&url(id, "/enable"), &[]).status, 303);
        assert_eq!(app.verify(token), "valid");
        let code = app.code("ada");
        let (rolled, _) = token_of(&ada.submit(&url(id, "/roll"), &[("stop", "0"), ("totp", &code)]));
        assert_eq!((app.verify(token), app.verify(&rolled)), ("rolled".to_owned(), "valid".to_owned()));
        assert_eq!(ada.submit(&url(id, "/revoke"), &[("reason", "no longer used")]).status, 303);
        assert_eq!(app.verify(&rolled), "revoked");
        assert_eq!(ada.submit(&url(&made[1].1, "/delete"), &[("confirm", "delete")]).status, 303);
        assert_eq!(app.verify(&made[1].0), "not_found");
        // What was revoked or deleted counts no longer, so the admin makes one for her.
        let path = format!("/t/acme/keys/new?owner={}", app.fixture.members["acme/nora"]);
        let (token, _) = token_of(&ada.submit_to(&path, "/t/acme/keys/new", &[("name", "made by ada")]));
        assert_eq!(app.verify(&token), "valid");
        assert_eq!(nora.open("/profile?tenant=acme").texts("tbody .name").len(), 5, "four that work and a revoked one");
    }
}
