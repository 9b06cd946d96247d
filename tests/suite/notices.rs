//! The sweep: who is told of what, when, and that nobody is told twice.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::Duration;
use diesel::RunQueryDsl as _;
use keyward::{
    actions::{self, By, Who, keys::KeyForm},
    domain::{
        access::{KeyAccess, ResourceSet},
        ids::{KeyId, MemberId},
        ip_range::IpRanges,
        lifetime::{Choice, Lifetime},
        mail::{Mail, Role},
        time::{Time, days},
        token::{Purpose, Token, fresh_id},
    },
    jobs::notices::{Sweep, Swept},
    store::{
        Address, StoreError, gateways, jobs, members,
        outbox::{self, NewNotice, State, To},
        tenants,
    },
};

use crate::support::TestApp;

fn sweep(app: &TestApp) -> Option<Swept> {
    Sweep::new(app.app.store.clone(), app.app.clock.clone(), "test".into()).round(&AtomicBool::new(false)).unwrap()
}

/// Goes on to the next 06:00 UTC.
fn next_digest(app: &TestApp) {
    app.advance(keyward::domain::notice::next_digest(app.now()) - app.now());
}

/// A key that `by` makes for a member of acme, as the form does.
fn make(app: &TestApp, by: &str, owner: &str, name: &str, expires_in: i64, extra: &[&str]) -> KeyId {
    make_many(app, by, owner, &[name], expires_in, extra)[0]
}

/// Keys that `by` makes for a member of acme, as the form does.
pub fn make_many(app: &TestApp, by: &str, owner: &str, names: &[&str], expires_in: i64, extra: &[&str]) -> Vec<KeyId> {
    let (account, owner) = (app.person(by).account, app.fixture.members[&format!("acme/{owner}")]);
    let now = app.now();
    let made: Result<Vec<KeyId>, actions::keys::KeyError> = app.app.store.write(now, |tx| {
        let tenant = tenants::get(tx, app.fixture.tenants["acme"])?;
        let settings = keyward::domain::tenant::Settings { keys_per_member: 1000, ..tenant.settings.clone() };
        tenants::save_settings(tx, &tenant, &settings)?;
        let acting = members::acting(tx, "acme", account)?.unwrap();
        let by = By { who: Who::Member(Box::new(acting)), address: None, user_agent: String::new(), now, session: None };
        names
            .iter()
            .map(|name| {
                let form = KeyForm {
                    name: Some(name.parse().unwrap()),
                    comment: String::new(),
                    access: KeyAccess::Owner,
                    resources: ResourceSet::All,
                    ip_ranges: IpRanges::default(),
                    notice_recipients: extra.iter().map(|address| address.parse().unwrap()).collect(),
                };
                let life = Choice::For(Lifetime::Days(expires_in as u32));
                Ok(actions::keys::create(tx, &by, owner, &form, life, &format!("{name}-{now}"), None)?.key.id)
            })
            .collect()
    });
    made.unwrap()
}

/// The digests of a tenant that wait or left: recipient, and key with stage of each line.
fn digests(app: &TestApp) -> Vec<(String, Vec<(KeyId, String, &'static str)>)> {
    let mut all = app.read(|db| -> Result<Vec<_>, StoreError> {
        let rows = outbox::list(db, app.fixture.tenants["acme"], None, None, 10_000)?;
        rows.into_iter()
            .filter(|row| row.mail == Mail::Digest)
            .map(|row| {
                let lines = outbox::notices_of(db, row.id)?;
                Ok((row.to.address, lines.into_iter().map(|line| (line.key, line.stage, line.role.word())).collect()))
            })
            .collect()
    });
    all.sort();
    all
}

fn line(key: KeyId, stage: &str, role: &'static str) -> (KeyId, String, &'static str) {
    (key, stage.to_owned(), role)
}

pub fn suspend(app: &TestApp, name: &str, suspended: bool) {
    let member: MemberId = app.fixture.members[&format!("acme/{name}")];
    app.write(|tx| members::set_suspended(tx, app.fixture.tenants["acme"], member, suspended));
}

both! {
    fn one_digest_a_recipient_with_a_line_a_key(app) {
        let one = make(app, "dora", "dora", "one", 28, &["ops@acme.example", "DORA@acme.example"]);
        let two = make(app, "dora", "dora", "two", 28, &[]);
        let other = make(app, "emil", "emil", "three", 28, &["ops@acme.example"]);
        // 14 days before 19 Dec 10:00 is 5 Dec 10:00.
        app.advance(days(13) - Duration::hours(4));
        assert_eq!(app.now(), "2026-12-04T06:00:00Z".parse::<Time>().unwrap());
        assert_eq!(sweep(app).unwrap().due, 0);
        assert_eq!(digests(app), []);
        app.advance(days(1));
        assert_eq!(sweep(app).unwrap().lines, 5);
        let expected = vec![
            ("dora@acme.example".to_owned(), vec![line(one, "before_14", "owner"), line(two, "before_14", "owner")]),
            ("emil@acme.example".to_owned(), vec![line(other, "before_14", "owner")]),
            ("ops@acme.example".to_owned(), vec![line(one, "before_14", "extra"), line(other, "before_14", "extra")]),
        ];
        assert_eq!(digests(app), expected);
        assert_eq!(sweep(app), None, "this day's are written");
        app.advance(days(1));
        assert_eq!(sweep(app).unwrap().due, 0, "and the next day has nothing");
        assert_eq!(digests(app), expected);
    }

    fn a_service_account_has_its_contact_and_keepers_and_nobody_active_the_admins(app) {
        let service = make(app, "dora", "ci", "deploy", 28, &[]);
        let emils = make(app, "emil", "emil", "left", 28, &["ops@acme.example"]);
        suspend(app, "emil", true);
        app.advance(days(14));
        sweep(app).unwrap();
        assert_eq!(digests(app), vec![
            ("ada@acme.example".to_owned(), vec![line(emils, "before_14", "admin")]),
            ("ci@acme.example".to_owned(), vec![line(service, "before_14", "owner")]),
            ("dora@acme.example".to_owned(), vec![line(service, "before_14", "keeper")]),
            ("ops@acme.example".to_owned(), vec![line(emils, "before_14", "extra")]),
        ]);
        // A keeper who is suspended is told no more, and a service account that is suspended has nobody.
        suspend(app, "dora", true);
        app.advance(days(7));
        sweep(app).unwrap();
        assert!(digests(app).contains(&("ci@acme.example".to_owned(), vec![line(service, "before_7", "owner")])));
        suspend(app, "ci", true);
        app.advance(days(6));
        sweep(app).unwrap();
        assert!(digests(app).contains(&("ada@acme.example".to_owned(), vec![line(emils, "before_1", "admin"), line(service, "before_1", "admin")]))
            || digests(app).contains(&("ada@acme.example".to_owned(), vec![line(service, "before_1", "admin"), line(emils, "before_1", "admin")])));
    }

    fn four_processes_at_once_tell_nobody_twice(app) {
        let names: Vec<String> = (0..250).map(|n| format!("key {n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        make_many(app, "dora", "dora", &names, 28, &["ops@acme.example"]);
        make_many(app, "emil", "emil", &names[..40], 28, &[]);
        app.advance(days(14));
        let swept: Vec<Option<Swept>> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4)
                .map(|n| scope.spawn(move || Sweep::new(app.app.store.clone(), app.app.clock.clone(), format!("process {n}")).round(&AtomicBool::new(false)).unwrap()))
                .collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(swept.iter().flatten().map(|swept| swept.lines).sum::<usize>(), 540, "{swept:?}");
        let sizes: Vec<(String, usize)> = digests(app).into_iter().map(|(to, lines)| (to, lines.len())).collect();
        assert_eq!(sizes, [("dora@acme.example".to_owned(), 250), ("emil@acme.example".to_owned(), 40), ("ops@acme.example".to_owned(), 250)]);
        // A long digest leaves in one piece, and now.
        let waiting = app.read(|db| outbox::list(db, app.fixture.tenants["acme"], Some(State::Waiting), None, 10));
        assert!(waiting.iter().all(|row| row.next_at.unwrap() <= app.now()), "{waiting:?}");
    }

    fn processes_that_each_believe_the_sweep_is_theirs_tell_nobody_twice(app) {
        let names: Vec<String> = (0..250).map(|n| format!("key {n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        make_many(app, "dora", "dora", &names, 28, &["ops@acme.example"]);
        make_many(app, "emil", "emil", &names[..40], 28, &[]);
        app.advance(days(14));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Every hold ends at once, whoever has it.
            let ends = scope.spawn(|| {
                let mut conn = Address::parse(&app.app.config.database_url).unwrap().connect().unwrap();
                while !done.load(Ordering::Relaxed) {
                    diesel::sql_query("UPDATE jobs SET held_until = 0 WHERE name = 'notices'").execute(&mut conn).unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
            });
            let all: Vec<_> = (0..4)
                .map(|n| {
                    let sweep = Sweep::new(app.app.store.clone(), app.app.clock.clone(), format!("process {n}"));
                    scope.spawn(move || {
                        // Mails leave while others still write.
                        while sweep.round(&AtomicBool::new(false)).unwrap().is_none() && app.read(|db| jobs::done_to(db, "notices")).is_none() {}
                        app.app.post.round().unwrap();
                    })
                })
                .collect();
            all.into_iter().for_each(|thread| thread.join().unwrap());
            done.store(true, Ordering::Relaxed);
            ends.join().unwrap();
        });
        let sizes: Vec<(String, usize)> = digests(app).into_iter().map(|(to, lines)| (to, lines.len())).collect();
        assert_eq!(sizes, [("dora@acme.example".to_owned(), 250), ("emil@acme.example".to_owned(), 40), ("ops@acme.example".to_owned(), 250)]);
        app.app.post.round().unwrap();
        let rows = app.read(|db| outbox::list(db, app.fixture.tenants["acme"], Some(State::Sent), None, 10));
        assert_eq!(rows.len(), 3, "{rows:?}");
    }

    fn a_sweep_that_was_cut_off_is_gone_on_with(app) {
        make_many(app, "dora", "dora", &["a", "b", "c"], 28, &["ops@acme.example"]);
        app.advance(days(14));
        let stopped = Sweep::new(app.app.store.clone(), app.app.clock.clone(), "stops".into());
        assert_eq!(stopped.round(&AtomicBool::new(true)).unwrap(), None);
        app.write(|tx| jobs::hold(tx, "notices", "dies").map(|held| assert!(held, "one that was told to stop lets go")));
        assert_eq!(sweep(app), None, "one that died still holds it");
        app.advance(Duration::minutes(2));
        assert_eq!(sweep(app).unwrap().lines, 6);
    }

    fn a_sweep_that_ends_between_two_recipients_tells_the_others_when_it_goes_on(app) {
        let keys = make_many(app, "dora", "dora", &["a", "b", "c"], 28, &["ops@acme.example", "it@acme.example"]);
        app.advance(days(14));
        // One that died after the first of three recipients.
        let lines: Vec<_> = keys.iter().map(|key| NewNotice { key: *key, stage: "before_14".into(), expires_at: app.now() + days(14), role: Role::Owner }).collect();
        let dora = To { address: "dora@acme.example".into(), name: "Dora Example".into() };
        app.write(|tx| outbox::add_notices(tx, app.fixture.tenants["acme"], &dora, keyward::domain::notice::digest(tx.now()), &lines));
        assert_eq!(sweep(app).unwrap().lines, 6);
        let told: Vec<(String, usize)> = digests(app).into_iter().map(|(to, lines)| (to, lines.len())).collect();
        assert_eq!(told, [("dora@acme.example".to_owned(), 3), ("it@acme.example".to_owned(), 3), ("ops@acme.example".to_owned(), 3)]);
        app.advance(days(1));
        assert_eq!(sweep(app).unwrap().due, 0, "and the next day has nothing");
    }

    fn a_sweep_that_is_stopped_at_any_moment_tells_everybody_of_everything_in_the_end(app) {
        let names: Vec<String> = (0..600).map(|n| format!("key {n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        make_many(app, "dora", "dora", &names, 28, &["a@x.example", "b@x.example", "c@x.example", "d@x.example", "e@x.example"]);
        app.advance(days(14));
        let lines = || digests(app).iter().map(|(_, lines)| lines.len()).sum::<usize>();
        // It is told to stop as soon as something of it is seen.
        let stopped = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sweeping = scope.spawn(|| Sweep::new(app.app.store.clone(), app.app.clock.clone(), "stops".into()).round(&stopped).unwrap());
            while lines() == 0 {
                std::thread::yield_now();
            }
            stopped.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(sweeping.join().unwrap(), None);
        });
        let before = lines();
        assert!(before > 0 && before < 3600, "{before}");
        // Those who were told have had their mail by then.
        app.app.post.round().unwrap();
        assert_eq!(sweep(app).unwrap().lines, 3600 - before);
        let told: Vec<(String, usize)> = digests(app).into_iter().map(|(to, lines)| (to, lines.len())).collect();
        assert!(told.len() == 6 && told.iter().all(|(_, lines)| *lines == 600), "{told:?}");
    }

    fn a_key_that_cannot_be_read_keeps_nobody_else_from_being_told(app) {
        let keys = make_many(app, "dora", "dora", &["a", "b", "c", "d"], 28, &[]);
        make(app, "emil", "emil", "e", 28, &["ops@acme.example"]);
        app.sql(&format!("UPDATE keys SET notice_recipients = '[\"ops' WHERE id = '{}'", keys[0]));
        app.sql(&format!("UPDATE keys SET id = 'no ID' WHERE id = '{}'", keys[1]));
        app.advance(days(14));
        assert_eq!(sweep(app).unwrap(), Swept { keys: 3, due: 3, lines: 4 });
        // One more becomes unreadable before the mails leave.
        app.sql(&format!("UPDATE keys SET notice_recipients = '[\"ops' WHERE id = '{}'", keys[2]));
        app.app.post.round().unwrap();
        let mails = app.read(|db| outbox::list(db, app.fixture.tenants["acme"], None, None, 10));
        let mut left: Vec<(&str, State)> = mails.iter().map(|mail| (mail.to.address.as_str(), mail.state())).collect();
        left.sort_by_key(|(to, _)| *to);
        assert_eq!(left, ["dora@acme.example", "emil@acme.example", "ops@acme.example"].map(|to| (to, State::Sent)));
        let id = mails.iter().find(|mail| mail.to.address == "dora@acme.example").unwrap().id;
        let lines: Vec<(KeyId, bool)> = app.read(|db| outbox::notices_of(db, id)).iter().map(|line| (line.key, line.dropped_at.is_some())).collect();
        assert_eq!(lines, [(keys[2], true), (keys[3], false)]);
    }

    fn a_process_whose_clock_is_slow_does_not_sweep_for_the_day_before(app) {
        make_many(app, "dora", "dora", &["a"], 28, &[]);
        app.advance(days(14));
        next_digest(app);
        assert_eq!(sweep(app).unwrap().lines, 1);
        let slow = keyward::clock::Clock::fixed(app.now() - Duration::seconds(1));
        assert_eq!(Sweep::new(app.app.store.clone(), slow, "slow".into()).round(&AtomicBool::new(false)).unwrap(), None);
        assert_eq!(sweep(app), None, "nor does it make the others begin again");
        // One that was set wrong by days does not keep the others from sweeping.
        app.write(|tx| jobs::hold(tx, "notices", "wrong").and_then(|_| jobs::release(tx, "notices", "wrong", Some(tx.now() + days(40)))));
        assert!(sweep(app).is_some());
    }

    fn down_time_loses_none_and_repeats_none(app) {
        let key = make(app, "dora", "dora", "quiet", 30, &[]);
        // Down from the start until two days before the expiry, then until the grace is over.
        app.advance(days(28));
        sweep(app).unwrap();
        let seven = line(key, "before_7", "owner");
        assert_eq!(digests(app), vec![("dora@acme.example".to_owned(), vec![seven.clone()])], "the nearest alone");
        app.advance(days(30));
        sweep(app).unwrap();
        next_digest(app);
        sweep(app).unwrap();
        let told: Vec<_> = digests(app).into_iter().flat_map(|(_, lines)| lines).collect();
        assert_eq!(told, [seven, line(key, "expired", "owner")]);
    }

    fn keys_that_end_otherwise_and_tenants_that_are_suspended_have_none(app) {
        let keys = make_many(app, "dora", "dora", &["kept", "disabled", "revoked", "renewed"], 28, &[]);
        let page = |key: KeyId, end: &str| format!("/t/acme/keys/{key}{end}");
        app.advance(days(13) + Duration::hours(20));
        let dora = app.signed_in("dora");
        dora.submit(&page(keys[1], "/disable"), &[]);
        dora.submit(&page(keys[2], "/revoke"), &[]);
        dora.submit(&page(keys[3], "/renew"), &[]);
        app.write(|tx| tenants::set_suspended(tx, app.fixture.tenants["acme"], true));
        sweep(app).unwrap();
        assert_eq!(digests(app), []);
        app.write(|tx| tenants::set_suspended(tx, app.fixture.tenants["acme"], false));
        next_digest(app);
        sweep(app).unwrap();
        assert_eq!(digests(app), vec![("dora@acme.example".to_owned(), vec![line(keys[0], "before_14", "owner")])]);
        // One that works again is told of the next day.
        let dora = app.signed_in("dora");
        dora.submit(&page(keys[1], "/enable"), &[]);
        next_digest(app);
        sweep(app).unwrap();
        assert!(digests(app).iter().any(|(_, lines)| *lines == [line(keys[1], "before_14", "owner")]));
    }

    fn a_gateway_credential_that_ends_is_told_to_who_manages_the_settings(app) {
        let (acme, now) = (app.fixture.tenants["acme"], app.now());
        let id = fresh_id(&mut keyward::chance::fill);
        let token = Token::make(Purpose::Gateway, id, &mut keyward::chance::fill);
        let pepper = app.app.secrets.pepper_version();
        let hash = app.app.secrets.token_hash(pepper, Purpose::Gateway, acme, token.reveal()).unwrap();
        app.write(|tx| gateways::create(tx, acme, &gateways::New { public_id: id, name: "edge", by: "Ada", expires_at: Some(now + days(30)), hash, pepper }));
        let mut mails = Vec::new();
        for day in 0..60 {
            next_digest(app);
            sweep(app).unwrap();
            let all = app.read(|db| outbox::list(db, acme, None, None, 100));
            let count = all.iter().filter(|row| matches!(row.mail, Mail::GatewayExpires { .. })).count();
            if mails.last().is_none_or(|(_, before)| *before < count) && count > 0 {
                mails.push((day + 1, count));
            }
        }
        // It expires on 21 Dec 10:00: 7, 14 and 20 Dec, and 22 Dec once it has expired. The first digest is that of 22 Nov.
        assert_eq!(mails, [(16, 1), (23, 2), (29, 3), (31, 4)]);
        let to: Vec<String> = app.read(|db| outbox::list(db, acme, None, None, 100)).into_iter().map(|row| row.to.address).collect();
        assert!(to.iter().all(|address| address == "ada@acme.example"), "{to:?}");
    }
}
