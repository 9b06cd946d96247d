//! Last use and counters are written in batches, apart from everything else.

use keyward::{
    actions,
    domain::{ids::KeyId, lifetime::Choice, roll::Stays},
    store::{self, gateways, keys},
};

use super::{act, auth, code, gateway, make, plain, roll};
use crate::support::TestApp;

/// Accepted and refused of a key of acme, an hour each.
fn counts(app: &TestApp, key: KeyId) -> Vec<(i64, i64)> {
    let hours = app.read(|db| keys::usage_since(db, app.fixture.tenants["acme"], key, app.now() - chrono::Duration::days(1)));
    hours.iter().map(|(_, accepted, refused)| (*accepted, *refused)).collect()
}

both! {
    fn use_is_written_down_per_secret_without_being_a_change(app) {
        let gateway = gateway(app, "acme");
        let made = make(app, plain("used"), Choice::Never);
        let old = made.token.reveal().to_owned();
        let new = roll(app, made.key.id, Stays::Current(app.now() + chrono::Duration::days(1)));
        let key = || act(app, "dora", |tx, by| Ok(keys::find(tx, &by.acting().unwrap().reach(), made.key.id)?.unwrap()));
        let (before, changes) = (key(), app.read(store::newest_change));
        let first = app.now();
        assert_eq!(code(app, &gateway, &old), "valid_in_grace");
        app.advance(chrono::Duration::seconds(5));
        for _ in 0..3 {
            assert_eq!(crate::verification::verify(app, &gateway, serde_json::json!({ "key": new, "ip": "203.0.113.7" }))["code"], "valid");
        }
        assert_eq!(crate::verification::verify(app, &gateway, serde_json::json!({ "key": new, "scopes": ["nobody:has"] }))["code"], "insufficient_scope");
        app.app.gate.verifier.write_tallies();
        let after = key();
        assert_eq!((after.version, after.changed_at, app.read(store::newest_change)), (before.version, before.changed_at, changes));
        let used = after.last_used.clone().unwrap();
        assert_eq!((used.at, used.ip.as_deref()), (app.now(), Some("203.0.113.7")));
        assert_eq!(after.current.last_used.unwrap().at, app.now());
        assert_eq!(after.old.unwrap().secret.last_used.unwrap().at, first);
        assert_eq!(counts(app, made.key.id), [(4, 1)]);
    }

    fn a_use_before_a_roll_that_is_written_after_it_belongs_to_the_old_secret(app) {
        let gateway = gateway(app, "acme");
        let made = make(app, plain("late"), Choice::Never);
        assert_eq!(code(app, &gateway, made.token.reveal()), "valid");
        roll(app, made.key.id, Stays::Current(app.now() + chrono::Duration::days(1)));
        app.app.gate.verifier.write_tallies();
        let key = act(app, "dora", |tx, by| Ok(keys::find(tx, &by.acting().unwrap().reach(), made.key.id)?.unwrap()));
        assert!(key.current.last_used.is_none());
        assert!(key.old.unwrap().secret.last_used.is_some());
    }

    fn a_key_that_changes_while_its_use_is_counted_is_counted_exactly(app) {
        let gateway = gateway(app, "acme");
        let made = make(app, plain("changing"), Choice::Never);
        for _ in 0..2 {
            assert_eq!(code(app, &gateway, made.token.reveal()), "valid");
            act(app, "dora", |tx, by| actions::keys::disable(tx, by, made.key.id, ""));
            assert_eq!(code(app, &gateway, made.token.reveal()), "disabled");
            act(app, "dora", |tx, by| {
                let version = keys::find(tx, &by.acting().unwrap().reach(), made.key.id)?.unwrap().version;
                actions::keys::enable(tx, by, made.key.id, version, None)
            });
        }
        app.app.gate.verifier.write_tallies();
        assert_eq!(counts(app, made.key.id), [(2, 2)]);
    }

    fn use_that_cannot_be_written_is_kept_until_it_can(app) {
        let gateway = gateway(app, "acme");
        let made = make(app, plain("waiting"), Choice::Never);
        app.sql("ALTER TABLE key_usage RENAME TO put_away");
        for _ in 0..3 {
            assert_eq!(code(app, &gateway, made.token.reveal()), "valid");
            app.app.gate.verifier.write_tallies();
        }
        app.sql("ALTER TABLE put_away RENAME TO key_usage");
        let key = act(app, "dora", |tx, by| Ok(keys::find(tx, &by.acting().unwrap().reach(), made.key.id)?.unwrap()));
        assert_eq!(key.last_used, None);
        app.app.gate.verifier.write_tallies();
        assert_eq!(counts(app, made.key.id), [(3, 0)]);
    }

    fn a_gateway_shows_when_it_last_asked_and_whom_it_refused(app) {
        let credential = gateway(app, "acme");
        let token = ("x-api-key", app.fixture.key("dora").token.as_str());
        assert_eq!(auth(app, &credential, "", &[token]).status, 200);
        let id = keyward::domain::token::Token::check(keyward::domain::token::Purpose::Gateway, &credential).unwrap();
        let wrong = keyward::domain::token::Token::make(keyward::domain::token::Purpose::Gateway, id, &mut keyward::chance::fill);
        for _ in 0..2 {
            assert_eq!(auth(app, wrong.reveal(), "", &[token]).status, 403);
        }
        app.app.gate.verifier.write_tallies();
        let acme = app.fixture.tenants["acme"];
        let shown = app.read(|db| gateways::all(db, acme)).pop().unwrap();
        assert_eq!((shown.asked.unwrap().ip.as_deref(), shown.refused.unwrap().ip.as_deref(), shown.refused_count), (Some("127.0.0.1"), Some("127.0.0.1"), 2));
    }
}
