//! Random lives of a key through the real store, beside the same lives by the rules alone: after each step the stored key, the
//! grid's status, Explain and the answer for every secret that the key ever had are what the rules say.

use keyward::{
    actions::{
        self, By, credentials,
        keys::{KeyError, KeyForm},
        members::MemberError,
    },
    domain::{
        ids::{KeyId, MemberId},
        key::{Actor, Key, Status},
        lifetime::{Choice, Lifetime},
        roll,
        tenant::Settings,
        verdict::{Code, Presented, Request},
    },
    store::{
        Tx,
        grid::{self, Count, Filter, Order, Tab, View},
        keys as rows, members, tenants,
    },
    verify,
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};

use super::{act, ask, make, plain};
use crate::{
    domain::properties::{Step, World, step},
    support::TestApp,
};

/// A real key and its double.
struct Twins<'a> {
    app: &'a TestApp,
    id: KeyId,
    /// Every token that the key ever had, in order.
    tokens: Vec<String>,
    double: World,
    /// Whose key it is, by name in the fixture; the other one inherits.
    owner: &'static str,
}

impl<'a> Twins<'a> {
    fn new(app: &'a TestApp, expiry: Choice) -> Self {
        let settings = Settings { keys_enabled: true, ..Settings::default() };
        set(app, &settings);
        for name in ["dora", "mia"] {
            app.write(|tx| members::set_suspended(tx, app.fixture.tenants["acme"], member(app, name), false));
        }
        let made = make(app, plain("twin"), expiry);
        let mut double = World::new(made.key.clone(), settings, app.now());
        [double.person, double.heir] = ["dora", "mia"].map(|name| actor(app, name));
        Self { app, id: made.key.id, tokens: vec![made.token.reveal().to_owned()], double, owner: "dora" }
    }

    fn done_by(&self, name: &str, f: impl FnOnce(&mut Tx<'_>, &By, i64) -> Result<(), KeyError>) -> bool {
        let seen = self.stored().version;
        act(self.app, name, |tx, by| match f(tx, by, seen) {
            Err(KeyError::Store(error)) => panic!("{error}"),
            result => Ok(result.is_ok()),
        })
    }

    fn stored(&self) -> Key {
        let app = self.app;
        let reach = act(app, "ada", |_, by| Ok(by.acting().unwrap().reach()));
        app.read(|db| rows::find(db, &reach, self.id)).unwrap()
    }

    /// Does to the real key what a step says; returns whether it was done.
    fn really(&mut self, step: &Step) -> bool {
        let (app, id) = (self.app, self.id);
        match step {
            Step::Roll { stop, expiry, keep } => {
                let request = roll::Request { stop: *stop, expiry: *expiry, keep: *keep };
                let (code, form_id) =
                    (crate::support::oathtool(app.person(self.owner).totp.as_deref().unwrap(), app.now()), format!("{:?}", app.now()));
                let mut token = None;
                let done = self.done_by(self.owner, |tx, by, seen| {
                    let proof = credentials::confirm_code(tx, by, &code)?.unwrap();
                    token = Some(actions::keys::roll(tx, by, id, seen, &request, &form_id, Some(&proof))?.token.reveal().to_owned());
                    Ok(())
                });
                self.tokens.extend(token);
                done
            }
            Step::Finish => self.done_by(self.owner, |tx, by, _| actions::keys::finish(tx, by, id).map(drop)),
            Step::Renew => self.done_by(self.owner, |tx, by, seen| actions::keys::renew(tx, by, id, seen, None).map(drop)),
            Step::Edit(choice) => {
                let form = KeyForm { access: self.stored().access, resources: self.stored().resources, ..plain("twin") };
                self.done_by(self.owner, |tx, by, seen| actions::keys::edit(tx, by, id, seen, &form, Some(*choice), None).map(drop))
            }
            Step::Disable => self.done_by(self.owner, |tx, by, _| actions::keys::disable(tx, by, id, "").map(drop)),
            // What its last owner disabled the new one cannot enable alone.
            Step::Enable => self.done_by(
                if self.double.key.disabled_by.as_ref().is_none_or(|by| *by == self.double.person) { self.owner } else { "ada" },
                |tx, by, seen| actions::keys::enable(tx, by, id, seen, None).map(drop),
            ),
            Step::Revoke => self.done_by(self.owner, |tx, by, _| actions::keys::revoke(tx, by, id, "").map(drop)),
            Step::HandOver => {
                let heir = if self.owner == "dora" { "mia" } else { "dora" };
                let (to, seen) = (member(app, heir), self.stored().version);
                let done = act(app, "ada", |tx, by| match actions::hand_over::hand_over(tx, by, id, seen, to) {
                    Err(MemberError::Store(error)) => panic!("{error}"),
                    result => Ok(result.is_ok()),
                });
                self.owner = if done { heir } else { self.owner };
                done
            }
            Step::Use => {
                app.app.gate.verifier.count(true);
                ask(&app.app, app.fixture.tenants["acme"], self.tokens.last().unwrap()).unwrap();
                app.app.gate.verifier.write_tallies();
                app.app.gate.verifier.count(false);
                true
            }
            Step::Wait(_) | Step::Extend(_) => true,
            Step::SuspendOwner(suspended) => {
                let owner = member(app, self.owner);
                app.write(|tx| members::set_suspended(tx, app.fixture.tenants["acme"], owner, *suspended));
                true
            }
            Step::SetGrace(_) | Step::SetOverlap(_) | Step::SetRule(_) | Step::SwitchKeys(_) => {
                set(app, &self.double.settings);
                true
            }
        }
    }

    /// Compares all that can be seen of the real key with its double.
    fn compare(&self, step: &Step) {
        let (app, tenant, double) = (self.app, self.app.fixture.tenants["acme"], &self.double);
        let stored = self.stored();
        let rest = stored.clone();
        let double_key = double.key.clone();
        // What access goes with a key that is handed over has tests of its own.
        let expected =
            Key { seq: rest.seq, version: rest.version, last_used: rest.last_used, access: rest.access, resources: rest.resources, ..double_key };
        assert_eq!(stored, expected, "after {step:?}");

        let status = double.key.life.status(app.now());
        let reach = act(app, "ada", |_, by| Ok(by.acting().unwrap().reach()));
        let filter = Filter { text: self.id.to_string(), ..Filter::default() };
        let view = View { reach: &reach, filter: &filter, now: app.now(), soon: double.settings.expiring_soon() };
        let counts = app.read(|db| grid::page(db, &view, Order::default(), None, 50)).counts;
        for (tab, one) in
            [(Tab::Active, Status::Active), (Tab::Expired, Status::Expired), (Tab::Disabled, Status::Disabled), (Tab::Revoked, Status::Revoked)]
        {
            let place = Tab::ALL.iter().position(|(known, ..)| *known == tab).unwrap();
            assert_eq!(counts[place], Count { number: usize::from(one == status), or_more: false }, "{tab:?} after {step:?}");
        }

        // The ten last dead secrets of a key are remembered.
        let first = self.tokens.len().saturating_sub(11);
        for (number, token) in self.tokens.iter().enumerate().skip(first) {
            let code = double.accepts(number);
            assert_eq!(ask(&app.app, tenant, token).unwrap().verdict.code, code, "secret {number} after {step:?}");
            let (found, presented) = app.read(|db| verify::find_by_token(db, &app.app.secrets, tenant, token)).unwrap();
            let expected = match number {
                current if current == double.made => Presented::Current,
                old if Some(old) == double.old => Presented::Old,
                _ => Presented::Dead,
            };
            assert_eq!((found, presented), (self.id, expected), "secret {number} after {step:?}");
            let explained = app.read(|db| verify::explain(db, tenant, self.id, presented, &Request::default(), app.now())).unwrap();
            assert_eq!(explained.verdict.code, code, "Explain of secret {number} after {step:?}");
        }
    }
}

fn set(app: &TestApp, settings: &Settings) {
    app.write(|tx| {
        let tenant = tenants::get(tx, app.fixture.tenants["acme"])?;
        tenants::save_settings(tx, &tenant, settings)
    });
}

fn member(app: &TestApp, name: &str) -> MemberId {
    app.fixture.members[&format!("acme/{name}")]
}

fn actor(app: &TestApp, name: &str) -> Actor {
    let id = member(app, name);
    let name = app.read(|db| members::find(db, app.fixture.tenants["acme"], id)).unwrap().name;
    Actor { member: Some(id), name }
}

both! {
    fn a_real_key_lives_as_the_rules_say(app) {
        // The answers that compare are no uses.
        app.app.gate.verifier.count(false);
        let mut runner = TestRunner::deterministic();
        let steps = proptest::collection::vec(step(), 24);
        for life in 0..48 {
            let expiry = if life % 3 == 0 { Choice::Never } else { Choice::For(Lifetime::Days(20)) };
            let mut twins = Twins::new(app, expiry);
            for step in steps.new_tree(&mut runner).unwrap().current() {
                if let Step::Wait(hours) = step {
                    app.advance(chrono::Duration::hours(hours));
                }
                // A code is accepted once.
                app.advance(chrono::Duration::seconds(30));
                twins.double.now = app.now();
                // Who is suspended does nothing, and links are not followed here.
                let by_owner = !matches!(step, Step::Wait(_) | Step::Use | Step::SuspendOwner(_) | Step::SetGrace(_) | Step::SetOverlap(_) | Step::SetRule(_) | Step::SwitchKeys(_));
                if matches!(step, Step::Extend(_)) || (by_owner && !twins.double.owner_active) {
                    continue;
                }
                // The real clock has gone on already.
                let by_the_rules = matches!(step, Step::Wait(_)) || twins.double.take(&step);
                assert_eq!(twins.really(&step), by_the_rules, "{step:?}");
                twins.compare(&step);
            }
            assert!(twins.done_by("ada", |tx, by, seen| actions::keys::delete(tx, by, twins.id, seen).map(drop)));
            for token in &twins.tokens {
                let answer = ask(&app.app, app.fixture.tenants["acme"], token).unwrap();
                assert_eq!((answer.verdict.code, answer.key.is_none()), (Code::NotFound, true));
            }
        }
    }
}
