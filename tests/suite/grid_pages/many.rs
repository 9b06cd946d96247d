//! Changes of many keys at once.

use super::{add, find, life, numbered, settings};

both! {
    fn ticked_keys_are_revoked_after_the_number_was_typed(app) {
        let ids = add(app, "acme/emil", 'T', &numbered("tick", 4), |at, key| key.life.revoked_at = (at == 3).then_some(key.created_at));
        let ada = app.signed_in("ada");
        let page = ada.get(&format!("/t/acme/keys/revoke?key={}&key={}&key={}", ids[0], ids[1], ids[3]));
        assert!(page.says("Revoke 2 keys?") && page.says("1 of the chosen keys is revoked already"), "{}", page.text());
        let wrong = ada.send(&page, "/t/acme/keys/revoke", &[("number", "3"), ("reason", "left the yard")]);
        assert_eq!(wrong.status, 422);
        assert!(wrong.says("Type 2, the number of keys.") && wrong.body.contains("left the yard"));
        assert!(life(app, ids[0]).revoked_at.is_none());
        let sent = ada.send(&wrong, "/t/acme/keys/revoke", &[("number", "2")]);
        assert_eq!(sent.status, 303);
        assert!(ada.follow(sent).body.contains("2 keys revoked."));
        let key = find(app, "acme", "ada", ids[0]).unwrap();
        assert!(key.life.revoked_at.is_some() && key.revoke_reason == "left the yard");
        assert!(life(app, ids[1]).revoked_at.is_some() && life(app, ids[2]).revoked_at.is_none());
        let again = ada.send(&page, "/t/acme/keys/revoke", &[("number", "2")]);
        assert!(ada.follow(again).body.contains("None of the chosen keys can be revoked"));
        assert!(ada.open("/t/acme/keys/revoke").body.contains("Choose one key or more first."));
    }

    fn more_than_ten_are_revoked_with_a_code_only(app) {
        let ids = add(app, "acme/emil", 'M', &numbered("many", 11), |_, _| {});
        let ada = app.signed_in("ada");
        let page = ada.get("/t/acme/keys/revoke?all=1&q=many");
        assert!(page.says("Revoke 11 keys?") && page.says("Code from your authenticator app"));
        assert_eq!(ada.send(&page, "/t/acme/keys/revoke", &[("number", "11")]).status, 422);
        assert_eq!(ada.send(&page, "/t/acme/keys/revoke", &[("number", "11"), ("totp", "000000")]).status, 422);
        assert!(life(app, ids[0]).revoked_at.is_none());
        let code = app.code("ada");
        let sent = ada.send(&page, "/t/acme/keys/revoke", &[("number", "11"), ("totp", &code)]);
        assert_eq!(sent.status, 303, "{}", sent.text());
        assert!(ids.iter().all(|id| life(app, *id).revoked_at.is_some()));
        assert!(life(app, app.fixture.key("emil").id).revoked_at.is_none());
    }

    fn all_that_match_is_asked_again_where_others_match_now(app) {
        let ids = add(app, "acme/emil", 'C', &numbered("match", 2), |_, _| {});
        let other = add(app, "globex/gus", 'G', &numbered("match", 2), |_, _| {});
        let ada = app.signed_in("ada");
        let page = ada.get("/t/acme/keys/revoke?all=1&q=match");
        assert!(page.says("Revoke 2 keys?"));
        let more = add(app, "acme/emil", 'D', &["match too".into()], |_, _| {});
        let asked = ada.send(&page, "/t/acme/keys/revoke", &[("number", "2")]);
        assert_eq!(asked.status, 409);
        assert!(asked.says("Revoke 3 keys?") && asked.says("Nothing was done."));
        assert!(life(app, ids[0]).revoked_at.is_none());
        ada.send(&asked, "/t/acme/keys/revoke", &[("number", "3")]);
        assert!(ids.iter().chain(&more).all(|id| life(app, *id).revoked_at.is_some()));
        assert!(other.iter().all(|id| find(app, "globex", "gus", *id).unwrap().life.revoked_at.is_none()));
        // The other tenant's keys are out of reach by their IDs as well.
        assert!(ada.open(&format!("/t/acme/keys/revoke?key={}", other[0])).body.contains("Choose one key or more first."));
    }

    fn many_are_disabled_and_enabled_and_only_revoked_ones_deleted(app) {
        settings(app, |settings| settings.admins_manage_all = true);
        let ids = add(app, "acme/emil", 'E', &numbered("cycle", 3), |_, _| {});
        let ada = app.signed_in("ada");
        let ticked = ids.iter().map(|id| format!("key={id}")).collect::<Vec<_>>().join("&");
        let does = |verb: &str, fields: &[(&str, &str)]| {
            let path = format!("/t/acme/keys/{verb}");
            let page = ada.open(&format!("{path}?{ticked}"));
            if page.path.starts_with(&path) { ada.follow(ada.send(&page, &path, fields)) } else { page }
        };
        assert_eq!(does("disable", &[("reason", &"x".repeat(201))]).status, 422);
        assert!(does("disable", &[("reason", "yard closed")]).body.contains("3 keys disabled."));
        assert!(ids.iter().all(|id| find(app, "acme", "ada", *id).unwrap().disable_reason == "yard closed"));
        assert!(does("enable", &[]).body.contains("3 keys enabled."));
        assert!(life(app, ids[0]).disabled_at.is_none() && find(app, "acme", "ada", ids[0]).unwrap().disable_reason.is_empty());
        assert!(does("delete", &[("number", "3")]).body.contains("None of the chosen keys can be deleted: 3 not revoked."));
        assert!(does("revoke", &[("number", "3")]).body.contains("3 keys revoked."));
        assert!(does("delete", &[("number", "3")]).body.contains("3 keys deleted."));
        assert!(ids.iter().all(|id| find(app, "acme", "ada", *id).is_none()));
    }

    fn a_member_changes_many_of_their_own_keys_and_of_nobody_else(app) {
        let own = add(app, "acme/emil", 'O', &numbered("mine", 2), |_, _| {});
        let others = add(app, "acme/dora", 'P', &numbered("mine", 2), |_, _| {});
        let emil = app.signed_in("emil");
        let page = emil.get("/t/acme/keys/disable?all=1&q=mine");
        assert!(page.says("Disable 2 keys?"), "{}", page.text());
        emil.send(&page, "/t/acme/keys/disable", &[]);
        assert!(own.iter().all(|id| life(app, *id).disabled_at.is_some()));
        assert!(others.iter().all(|id| life(app, *id).disabled_at.is_none()));
        let refused = app.signed_in("audrey").open(&format!("/t/acme/keys/disable?key={}", others[0]));
        assert_eq!(refused.status, 403);
        assert!(refused.says("None of the chosen keys is yours to disable."), "{}", refused.text());
    }

    fn a_large_change_runs_in_the_background_and_says_how_far_it_is(app) {
        let ids = add(app, "acme/emil", 'X', &numbered("large", 620), |_, _| {});
        let ada = app.signed_in("ada");
        let page = ada.get("/t/acme/keys/disable?all=1&q=large");
        assert!(page.says("Disable 620 keys?") && page.says("and 610 more keys"), "{}", page.text());
        let sent = ada.send(&page, "/t/acme/keys/disable", &[]);
        let progress = sent.location().unwrap();
        assert!(progress.starts_with("/t/acme/keys/disable?job="), "{progress}");
        let mut looks = 0;
        let end = loop {
            let page = ada.get(&progress);
            if page.status == 303 {
                break ada.follow(page);
            }
            assert!(page.says("of 620 done."), "{}", page.text());
            looks += 1;
            assert!(looks < 600, "it never ends");
            std::thread::sleep(std::time::Duration::from_millis(100));
        };
        assert!(end.body.contains("620 keys disabled."), "{}", end.text());
        assert!(ids.iter().all(|id| life(app, *id).disabled_at.is_some()));
        assert!(!app.signed_in("dora").open(&progress).says("620"));
        let unknown = ada.follow(ada.get("/t/acme/keys/disable?job=from-before-a-restart"));
        assert!(unknown.body.contains("is not known here any more"), "{}", unknown.text());
    }
}
