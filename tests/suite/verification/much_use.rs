//! Where many keys are used in a second, their use takes a way of its own to the rows; what arrives is the same.

use keyward::{
    app::App,
    chance,
    domain::{
        ids::KeyId,
        key::Key,
        lifetime::Choice,
        roll::Stays,
        token::{Purpose, Token, fresh_id},
        verdict::{Code, Request},
    },
    store::{
        keys::{self, NewKey},
        members,
    },
    verify::Question,
};

use super::{act, make, plain, roll};
use crate::support::TestApp;

/// More than are written straight to their rows.
const MANY: usize = 1200;

/// Many keys of dora's, with their tokens.
fn many(app: &TestApp) -> Vec<(KeyId, String)> {
    let (acme, dora, model) = (app.fixture.tenants["acme"], app.fixture.members["acme/dora"], app.fixture.key("dora").id);
    let tokens: Vec<Token> = (0..MANY).map(|_| Token::make(Purpose::Key, fresh_id(&mut chance::fill), &mut chance::fill)).collect();
    app.write(|tx| {
        let reach = members::acting(tx, "acme", app.person("ada").account)?.unwrap().reach();
        let owner = members::find(tx, acme, dora)?.unwrap();
        let model = keys::find(tx, &reach, model)?.unwrap();
        let pepper = tx.secrets().pepper_version();
        let copies: Vec<Key> = tokens.iter().map(|token| Key { id: token.id(), name: "many".parse().unwrap(), ..model.clone() }).collect();
        let hashes: Vec<_> = tokens.iter().map(|token| tx.secrets().token_hash(pepper, Purpose::Key, acme, token.reveal()).unwrap()).collect();
        let rows: Vec<NewKey<'_>> =
            copies.iter().zip(hashes).map(|(key, hash)| NewKey { key, owner: &owner, hash, old_hash: None, pepper }).collect();
        keys::insert_many(tx, &rows)
    });
    tokens.iter().map(|token| (token.id(), token.reveal().to_owned())).collect()
}

/// A second process on the same database, whose tallies are written when the test says so.
fn process(app: &TestApp) -> App {
    let other = App::open(app.app.config.clone(), app.app.clock.clone()).unwrap();
    other.gate.verifier.confirm();
    other
}

/// Presents every token once, from an address.
fn present(app: &TestApp, process: &App, tokens: &[(KeyId, String)], ip: &str) {
    process.gate.verifier.confirm();
    let request = Request { ip: Some(ip.parse().unwrap()), ..Request::default() };
    actix_web::rt::System::new().block_on(async {
        for (_, token) in tokens {
            let question = Question { token: Some(token), request: &request, impossible_scope: false, impossible_resource: false };
            let answer = process.gate.verifier.verify(app.fixture.tenants["acme"], &question).await.unwrap();
            assert!(answer.verdict.code.is_accepted(), "{:?}", answer.verdict.code);
        }
    });
}

fn key(app: &TestApp, id: KeyId) -> Key {
    act(app, "dora", |tx, by| Ok(keys::find(tx, &by.acting().unwrap().reach(), id)?.unwrap()))
}

/// All that was counted of a key.
fn counted(app: &TestApp, id: KeyId) -> (i64, i64) {
    let hours = app.read(|db| keys::usage_since(db, app.fixture.tenants["acme"], id, app.now() - chrono::Duration::days(1)));
    hours.iter().fold((0, 0), |sum, (_, accepted, refused)| (sum.0 + accepted, sum.1 + refused))
}

/// Writes down until there is nothing left to fold.
fn settle(process: &App, ids: &[(KeyId, String)], app: &TestApp, expected: (i64, i64)) {
    for _ in 0..200 {
        process.gate.verifier.write_tallies();
        if ids.iter().all(|(id, _)| counted(app, *id) == expected) {
            return;
        }
    }
    let differ = ids.iter().find(|(id, _)| counted(app, *id) != expected).map(|(id, _)| counted(app, *id));
    panic!("{differ:?} instead of {expected:?}");
}

both! {
    fn the_use_of_very_many_keys_arrives_exactly_whoever_writes_it_down(app) {
        let keys = many(app);
        let (one, two) = (process(app), process(app));
        let first = app.now();
        present(app, &one, &keys, "203.0.113.1");
        // The first use of a secret is written down at once, however many there are.
        one.gate.verifier.write_tallies();
        assert!(keys.iter().all(|(id, _)| key(app, *id).current.last_used.is_some_and(|used| used.at == first)));
        settle(&one, &keys, app, (1, 0));

        app.advance(chrono::Duration::seconds(90));
        present(app, &one, &keys, "203.0.113.2");
        present(app, &two, &keys, "203.0.113.2");
        // Both processes go away before anything reached the rows, and leave it to whoever comes.
        let before = app.now();
        app.advance(chrono::Duration::seconds(5));
        present(app, &two, &keys, "203.0.113.3");
        for process in [&one, &two] {
            process.gate.verifier.write_tallies();
        }
        let late = keys.iter().filter(|(id, _)| counted(app, *id) == (1, 0)).count();
        assert!(late > MANY / 2, "only {late} keys wait for their turn");
        let third = process(app);
        std::thread::scope(|scope| {
            for process in [&third, &app.app] {
                scope.spawn(|| (0..30).for_each(|_| process.gate.verifier.write_tallies()));
            }
        });
        settle(&third, &keys, app, (4, 0));
        for (id, _) in &keys {
            let used = key(app, *id).last_used.unwrap();
            assert_eq!((used.at, used.ip.as_deref()), (before + chrono::Duration::seconds(5), Some("203.0.113.3")));
        }
    }

    fn a_use_that_waits_belongs_to_the_secret_that_was_used_and_dies_with_a_deleted_key(app) {
        let rolled = make(app, plain("rolled"), Choice::Never);
        let mut keys = many(app);
        keys.push((rolled.key.id, rolled.token.reveal().to_owned()));
        let process = process(app);
        present(app, &process, &keys, "203.0.113.1");
        process.gate.verifier.write_tallies();
        app.advance(chrono::Duration::seconds(10));
        present(app, &process, &keys, "203.0.113.1");
        process.gate.verifier.write_tallies();
        let used = app.now();
        app.advance(chrono::Duration::seconds(10));
        roll(app, rolled.key.id, Stays::Current(app.now() + chrono::Duration::days(1)));
        let gone = keys.swap_remove(0).0;
        act(app, "dora", |tx, by| keyward::actions::keys::revoke(tx, by, gone, ""));
        act(app, "dora", |tx, by| keyward::actions::keys::delete(tx, by, gone, 2));
        // Its second use waits, unless the running process has folded it meanwhile.
        let at_the_end = counted(app, gone);
        settle(&app.app, &keys, app, (2, 0));
        let after = key(app, rolled.key.id);
        assert!(after.current.last_used.is_none());
        assert_eq!(after.old.unwrap().secret.last_used.unwrap().at, used);
        (0..70).for_each(|_| app.app.gate.verifier.write_tallies());
        assert_eq!(counted(app, gone), at_the_end, "a deleted key was counted on");
        assert_eq!(crate::verification::ask(&process, app.fixture.tenants["acme"], &keys[0].1).unwrap().verdict.code, Code::Valid);
    }
}
